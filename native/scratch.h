// Memory for the length of a run, kept for the next one: operators of all sessions share a few buffers.
#ifndef SCRATCH_H
#define SCRATCH_H
#include <stddef.h>

/** Aligned to 64 bytes; null where there is no memory. */
void *take_scratch(size_t bytes);
void give_scratch(void *);

#endif
