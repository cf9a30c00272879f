// Linux's scheduling class of threads that run only while a core would idle. A low priority is not enough beside steps
// that use every core: the scheduler may wake two of their threads on one core while a background thread keeps another,
// and takes some 30 ms to notice. A core that runs only idle-class threads counts as free.

import { setPriority } from 'node:os';
import { koffi } from './native.ts';

/** SCHED_IDLE in sched.h. */
const idle = 5;
const thisThread = 0;

/** Nice value that gets a tenth of a contested core. */
const lowNice = 10;

/**
 * Lowers the priority of the calling thread, and of those that it starts: they run beside others, but far behind them.
 */
export function runLow(): void {
  try {
    setPriority(thisThread, lowNice);
  } catch {
    // Keeps the priority that the thread was started with.
  }
}

/**
 * Moves the calling thread, and those that it starts, to the idle class; there is no way back. Gives false, and changes
 * nothing, on other systems and where it is forbidden.
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
