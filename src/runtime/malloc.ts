// Settings of glibc's allocator for processes that make sessions. Making a session packs every weight on a thread of
// libuv's pool and, where another session has packed it already, frees its own copy again. By default that memory stays
// in the thread's heap: six sessions over a 135M model took 1041 MB, and 528 MB with these settings, at the same speed.

/** For the environment of a child process; glibc reads it at its start, and nothing else does. */
export const mallocEnvironment = {
  MALLOC_ARENA_MAX: '1',
  /** Bytes; larger blocks go back to the system as soon as they are freed. */
  MALLOC_MMAP_THRESHOLD_: '131072',
} as const;
