// Memory for the duration of a run, kept for later runs: operators of all sessions share a few buffers.
#ifndef SCRATCH_H
#define SCRATCH_H
#include <stddef.h>

/** At least `bytes` bytes, aligned to 64; null where there is no memory. */
void *take_scratch(size_t bytes);
void give_scratch(void *);

#endif
