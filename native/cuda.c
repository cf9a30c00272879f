// Holds the driver's functions as they were handed in, and memory that launches on one stream share.
#include "cuda.h"
#include "export.h"
#include <stdatomic.h>
#include <string.h>

Driver driver;

/** @param addresses in the order of `Driver` */
EXPORT size_t lorikeet_use_cuda(const uint64_t *addresses, size_t count) {
  if (count * sizeof *addresses != sizeof driver) return 0;
  memcpy(&driver, addresses, sizeof driver);
  card_real = (ElementType)driver.real;
  return count;
}

Stream stream_of(const Call *call) {
  OrtStatus (*get)(const void *, void **) = (void *)call->api[CONTEXT_GPU_STREAM];
  void (*release)(OrtStatus) = (void (*)(OrtStatus))call->api[RELEASE_STATUS];
  Stream stream = NULL;
  OrtStatus failure = get(call->context, &stream);
  if (failure != NULL) release(failure);
  return stream;
}

const char *launch(CudaKernel kernel, Stream stream, unsigned blocks, unsigned threads, unsigned shared_bytes, void *parameter) {
  if (driver.launch == NULL || driver.kernels[kernel] == NULL) return "no kernels were compiled for this card";
  if (blocks == 0) return NULL;
  int code = driver.launch(driver.kernels[kernel], blocks, 1, 1, threads, 1, 1, shared_bytes, stream, (void *[]){parameter}, NULL);
  return code == 0 ? NULL : "CUDA refused to launch a kernel";
}

/** Most streams: each session may have one of its own. Runs on one stream take turns, so they share its memory. */
enum { STREAMS_MAX = 256 };
typedef struct {
  Stream stream;
  uint64_t address[WORKSPACES];
  size_t bytes[WORKSPACES];
} Space;
static Space spaces[STREAMS_MAX];
static size_t space_count;
static atomic_flag busy = ATOMIC_FLAG_INIT;

static void *space_in(Space *space, Workspace which, size_t bytes) {
  if (space->bytes[which] >= bytes) return (void *)(uintptr_t)space->address[which];
  // The smaller memory is kept, since recorded runs go on with it. Doubling keeps all that is kept below the size of
  // the last.
  size_t taken = 2 * bytes;
  uint64_t address = 0;
  if (driver.allocate(&address, taken) != 0 || driver.clear(address, 0, taken, space->stream) != 0) return NULL;
  space->address[which] = address;
  space->bytes[which] = taken;
  return (void *)(uintptr_t)address;
}

void *workspace(Stream stream, Workspace which, size_t bytes) {
  if (driver.allocate == NULL) return NULL;
  while (atomic_flag_test_and_set(&busy)) {
  }
  Space *space = NULL;
  for (size_t i = 0; i < space_count && space == NULL; i++) {
    if (spaces[i].stream == stream) space = &spaces[i];
  }
  // A stream that was destroyed leaves its place to the next one at the same address.
  if (space == NULL && space_count < STREAMS_MAX) {
    space = &spaces[space_count++];
    space->stream = stream;
  }
  void *found = space == NULL ? NULL : space_in(space, which, bytes > 0 ? bytes : 1);
  atomic_flag_clear(&busy);
  return found;
}
