// Maps addresses to networks. One IPv4 address is one caller's, while the owner of an IPv6 address has 2^64 of them.

import { isIPv6 } from 'node:net';

/** The network that limits by address count by: for IPv6 the first four groups, the least that one customer gets. */
export function networkOf(address: string): string {
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [before = '', after] = address.split('%', 1)[0]!.split('::') as [string, string?];
  const [head, tail] = [groupsOf(before), groupsOf(after ?? '')];
  // An IPv4 address at the end takes the place of two groups.
  const missing = 8 - head.length - tail.length - (address.includes('.') ? 1 : 0);
  const groups = after === undefined ? head : [...head, ...Array(missing).fill('0'), ...tail];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}

const groupsOf = (text: string): string[] => (text === '' ? [] : text.split(':'));
