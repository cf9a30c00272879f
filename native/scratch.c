// A few places for buffers, each taken and given by one exchange of a pointer.
#include "scratch.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

enum { PLACES = 8, ALIGNMENT = 64 };

/** Lies before the bytes that are handed out. */
typedef struct {
  void *block;
  size_t bytes;
} Header;

static _Atomic(void *) places[PLACES];

static Header *header_of(void *scratch) { return (Header *)scratch - 1; }

static void release(void *scratch) {
  if (scratch != NULL) free(header_of(scratch)->block);
}

static void *allocate(size_t bytes) {
  // A quarter more, so that sizes that grow slowly do not ask for each.
  bytes += bytes / 4;
  void *block = malloc(bytes + sizeof(Header) + ALIGNMENT);
  if (block == NULL) return NULL;
  uintptr_t at = ((uintptr_t)block + sizeof(Header) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  *header_of((void *)at) = (Header){block, bytes};
  return (void *)at;
}

void *take_scratch(size_t bytes) {
  for (int i = 0; i < PLACES; i++) {
    void *found = atomic_exchange(&places[i], NULL);
    if (found == NULL) continue;
    if (header_of(found)->bytes >= bytes) return found;
    release(found);
    break;
  }
  return allocate(bytes);
}

void give_scratch(void *scratch) {
  if (scratch == NULL) return;
  for (int i = 0; i < PLACES; i++) {
    void *empty = NULL;
    if (atomic_compare_exchange_strong(&places[i], &empty, scratch)) return;
  }
  release(scratch);
}
