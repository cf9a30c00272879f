// How many threads to use: two on one physical core slow each other down in dense arithmetic.

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Physical cores that this process may use; logical cores where the system does not tell. */
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
 * @param status /proc/self/status, which lists the processors that the process may run on
 * @param siblingsOf gives a text that the processors of one core have in common
 * @param logical upper bound: what a quota of processor time leaves
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
