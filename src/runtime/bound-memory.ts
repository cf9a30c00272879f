// What another process may still take of memory, where the system has bounds: Linux's RLIMIT_DATA, which counts what a
// process may write to and has for itself, and not the addresses that V8 reserves.

import { readFileSync } from 'node:fs';
import { koffi } from './native.ts';

/** RLIMIT_DATA in bits/resource.h, on every architecture that Node runs on but MIPS. */
const data = 2;

/**
 * An allocation beyond the bound fails from now on. Elsewhere, and where it is forbidden, nothing changes: false.
 * @param moreBytes beside what it has now
 */
export function boundMemory(pid: number, moreBytes: number): boolean {
  if (process.platform !== 'linux') return false;
  try {
    const [, kiB] = /^VmData:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
    const bytes = BigInt(Number(kiB) * 1024 + moreBytes);
    const library = koffi.load(null);
    const set = library.func('int prlimit(int pid, int resource, const void* limit, void* old)');
    return set(pid, data, BigUint64Array.of(bytes, bytes), null) === 0;
  } catch {
    return false;
  }
}
