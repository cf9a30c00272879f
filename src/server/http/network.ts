// Whose an address is: one of IPv4 is somebody's, and of IPv6 whoever has one has 2^64 of them.

import { isIPv6 } from 'node:net';

/** What limits by address count by: of IPv6 the first four groups, which one customer of a network has at least. */
export function networkOf(address: string): string {
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [before = '', after] = address.split('%', 1)[0]!.split('::') as [string, string?];
  const [head, tail] = [groupsOf(before), groupsOf(after ?? '')];
  // An IPv4 address at the end stands for two groups.
  const missing = 8 - head.length - tail.length - (address.includes('.') ? 1 : 0);
  const groups = after === undefined ? head : [...head, ...Array(missing).fill('0'), ...tail];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}

const groupsOf = (text: string): string[] => (text === '' ? [] : text.split(':'));
