// CUDA's driver without a card, as far as the project's own kernels and ONNX Runtime ask it.
#include "log.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { INVALID_IMAGE = 200, NOT_FOUND = 500 };

NOTHING(cuInit)
NOTHING(cuCtxSetCurrent)
NOTHING(cuTensorMapEncodeTiled)
int cuGetExportTable(void) { return NOT_FOUND; }
int cuDeviceGet(int *device, int index) { return *device = index, 0; }
int cuDevicePrimaryCtxRetain(void **context) { return *context = (void *)8, 0; }
/** Compute capability 9.0. */
int cuDeviceGetAttribute(int *value, int which) { return *value = which == 75 ? 9 : 0, 0; }
int cuStreamCreate(void **stream) { return *stream = malloc(1), 0; }
int cuMemAlloc_v2(uint64_t *address, size_t bytes) { return rehearsal_log("take %zu\n", bytes), *address = (uint64_t)(uintptr_t)calloc(1, bytes), 0; }
int cuMemsetD8Async(uint64_t at, unsigned char value, size_t bytes) { return memset((void *)(uintptr_t)at, value, bytes), 0; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes) {
  rehearsal_log("copy in %zu\n", bytes);
  return memcpy((void *)(uintptr_t)to, from, bytes), 0;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes) {
  rehearsal_log("copy out %zu\n", bytes);
  return memcpy(to, (void *)(uintptr_t)from, bytes), 0;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes) {
  rehearsal_log("copy within %zu\n", bytes);
  return memmove((void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes), 0;
}
/** What a compiler for cards makes is an ELF file. */
int cuModuleLoadData(void **module, const void *image) {
  *module = (void *)8;
  return memcmp(image, "\177ELF", 4) == 0 ? 0 : INVALID_IMAGE;
}
int cuModuleGetFunction(void **kernel, void *module, const char *name) { return (void)module, *kernel = strdup(name), 0; }
int cuLaunchKernel(const char *kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream) {
  (void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz, (void)shared;
  return rehearsal_launch(kernel, stream), 0;
}
int cuStreamSynchronize(void) { return rehearsal_log("wait\n"), 0; }
int cuStreamBeginCapture_v2(void *stream) {
  rehearsal_recorded = stream, rehearsal_nodes = 0;
  return rehearsal_log("record\n"), 0;
}
int cuStreamEndCapture(void *stream, void **graph) {
  (void)stream, rehearsal_recorded = NULL;
  return *graph = (void *)8, rehearsal_log("recorded %lu\n", rehearsal_nodes), 0;
}
int cuGraphGetNodes(void *graph, void **nodes, size_t *count) { return (void)graph, (void)nodes, *count = rehearsal_nodes, 0; }
int cuGraphInstantiateWithFlags(void **executable) { return rehearsal_log("make graph\n"), *executable = (void *)8, 0; }
int cuGraphLaunch(void) { return rehearsal_log("replay\n"), 0; }
NOTHING(cuGraphDestroy)
int cuGraphExecDestroy(void) { return rehearsal_log("give back graph\n"), 0; }
