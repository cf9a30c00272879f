// A few places for buffers; a buffer is taken and given back by one exchange of a pointer.
#include "scratch.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

enum { PLACES = 8, ALIGNMENT = 64, LARGE = 128 * 1024 };

/** Lies before the bytes that are handed out. */
typedef struct {
  void *block;
  size_t bytes;
} Header;

/**
 * Small buffers and large ones apart, so that a run that needs little does not take a large buffer from another run.
 */
static _Atomic(void *) places[2][PLACES];

static _Atomic(void *) *places_of(size_t bytes) { return places[bytes > LARGE]; }

/** A quarter more, so that sizes that grow slowly do not allocate each time. */
static size_t padded(size_t bytes) { return bytes + bytes / 4; }

static Header *header_of(void *scratch) { return (Header *)scratch - 1; }

static void release(void *scratch) {
  if (scratch != NULL) free(header_of(scratch)->block);
}

static void *allocate(size_t bytes) {
  void *block = malloc(bytes + sizeof(Header) + ALIGNMENT);
  if (block == NULL) return NULL;
  uintptr_t at = ((uintptr_t)block + sizeof(Header) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  *header_of((void *)at) = (Header){block, bytes};
  return (void *)at;
}

void *take_scratch(size_t bytes) {
  _Atomic(void *) *among = places_of(padded(bytes));
  for (int i = 0; i < PLACES; i++) {
    void *found = atomic_exchange(&among[i], NULL);
    if (found == NULL) continue;
    if (header_of(found)->bytes >= bytes) return found;
    release(found);
    break;
  }
  return allocate(padded(bytes));
}

void give_scratch(void *scratch) {
  if (scratch == NULL) return;
  _Atomic(void *) *among = places_of(header_of(scratch)->bytes);
  for (int i = 0; i < PLACES; i++) {
    void *empty = NULL;
    if (atomic_compare_exchange_strong(&among[i], &empty, scratch)) return;
  }
  release(scratch);
}
