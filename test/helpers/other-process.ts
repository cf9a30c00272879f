// What a test sees of a process that is not its own.

import { existsSync, readFileSync } from 'node:fs';

const statOf = (pid: number) => (existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '');

/** One that has ended and whose parent has not looked yet is not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z /.test(statOf(pid));
  } catch {
    return false;
  }
}

/** Hundredths of a second of the processor that it has had; more than any, where the system does not tell. */
export function processorTime(pid: number): number {
  const [user, system] = statOf(pid).split(') ').at(-1)!.split(' ').slice(11, 13).map(Number);
  return user === undefined || system === undefined ? Number.POSITIVE_INFINITY : user + system;
}
