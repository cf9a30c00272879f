// Linux's class of threads that compute only where a core would idle. A low priority is not enough beside steps that
// use every core: their threads are woken beside each other while the other has a core of its own, and it takes the
// system some 30 ms to notice. A core that runs only such threads counts as free.

import { setPriority } from 'node:os';
import { koffi } from './native.ts';

/** SCHED_IDLE in sched.h. */
const idle = 5;
const thisThread = 0;

/** A tenth of a contested core. */
const lowNice = 10;

/** For the calling thread, and those that it starts: beside others, but far behind them. */
export function runLow(): void {
  try {
    setPriority(thisThread, lowNice);
  } catch {
    // The priority that it was started with stays.
  }
}

/**
 * For the calling thread, and those that it starts; there is no way back. Elsewhere, and where it is forbidden, nothing
 * changes: false.
 */
export function runWhenIdle(): boolean {
  if (process.platform !== 'linux') return false;
  try {
    const process = koffi.load(null);
    const set = process.func('int sched_setscheduler(int pid, int policy, const void* priority)');
    return set(thisThread, idle, Int32Array.of(0)) === 0;
  } catch {
    return false;
  }
}
