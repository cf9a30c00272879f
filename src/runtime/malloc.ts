// How glibc hands memory out in a process that makes sessions. Making one packs every weight and, where another
// session has packed it already, frees its own copy again, on a thread of libuv's pool. By default that memory stays
// in a heap of the thread: six sessions over a 135M model took 1041 MB, and 528 MB with these, at the same speed.

/** For the environment of a child process; read by glibc at its start, and by nothing else. */
export const mallocEnvironment = {
  MALLOC_ARENA_MAX: '1',
  /** Bytes: larger blocks go back to the system as soon as they are freed. */
  MALLOC_MMAP_THRESHOLD_: '131072',
} as const;
