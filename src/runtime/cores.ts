// How many threads are worth having: two on one physical core only get in each other's way in dense arithmetic.

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Physical cores that this process may use. Where the system does not tell, logical ones. */
export function physicalCores(): number {
  const logical = availableParallelism();
  if (process.platform !== 'linux') return logical;
  try {
    const siblings = (cpu: number) => readFileSync(`/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`);
    return coresOf(readFileSync('/proc/self/status', 'utf8'), (cpu) => siblings(cpu).toString().trim(), logical);
  } catch {
    return logical;
  }
}

/**
 * @param status /proc/self/status, which has the processors that the process may run on
 * @param siblingsOf a text that processors of one core have in common
 * @param logical what a quota of processor time leaves: not more threads than that run at once
 */
export function coresOf(status: string, siblingsOf: (cpu: number) => string, logical: number): number {
  const [, list] = /^Cpus_allowed_list:\s*([\d,-]+)$/m.exec(status) ?? [];
  if (list === undefined) return logical;
  const cpus = list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last! - first! + 1 }, (_, i) => first! + i);
  });
  return Math.min(new Set(cpus.map(siblingsOf)).size, logical);
}
