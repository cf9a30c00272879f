// State of other processes, for tests.

import { existsSync, readFileSync } from 'node:fs';

const statOf = (pid: number) => (existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '');

/** Whether the process runs. One that has ended and waits for its parent (a zombie) does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z /.test(statOf(pid));
  } catch {
    return false;
  }
}

/** The process's processor time in hundredths of a second; infinite where the system does not tell. */
export function processorTime(pid: number): number {
  const [user, system] = statOf(pid).split(') ').at(-1)!.split(' ').slice(11, 13).map(Number);
  return user === undefined || system === undefined ? Number.POSITIVE_INFINITY : user + system;
}
