// Bounds what another process may still allocate, by Linux's RLIMIT_DATA, which counts a process's private writable
// memory, and not the addresses that V8 reserves.

import { readFileSync } from 'node:fs';
import { koffi } from './native.ts';

/** RLIMIT_DATA in bits/resource.h, the same on every architecture that Node runs on except MIPS. */
const data = 2;

/**
 * Makes allocations beyond the bound fail from now on. Gives false, and changes nothing, on other systems and where it
 * is forbidden.
 * @param moreBytes beside what the process has now
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
