// CUDA's runtime without a card: memory is the processor's, kernels are named and not run. ONNX Runtime's CUDA provider
// makes real sessions over it, so operators without a kernel, wrong shapes and bindings, and what a step asks of the card
// are seen; values are garbage.
#define _GNU_SOURCE
#include "log.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct {
  unsigned x, y, z;
} Size;
/** As much as an H100 has. */
static const size_t memory_bytes = (size_t)80 << 30;
enum { OUT_OF_MEMORY = 2, NOT_SUPPORTED = 801, ANSWER_BYTES = 8 };

void rehearsal_log(const char *format, ...) {
  static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
  static FILE *file;
  va_list values;
  pthread_mutex_lock(&turn);
  if (file == NULL) {
    const char *folder = getenv("REHEARSAL_LOG");
    char path[4096];
    snprintf(path, sizeof path, "%s/%d", folder ? folder : "", getpid());
    file = fopen(folder ? path : "/dev/null", "a");
    setvbuf(file, NULL, _IOLBF, 1 << 16);
  }
  va_start(values, format);
  vfprintf(file, format, values);
  va_end(values);
  pthread_mutex_unlock(&turn);
}

// Kernels, by the address that the provider launches them by.
typedef struct {
  const void *address;
  const char *name;
} Kernel;
static Kernel *kernels;
static size_t kernel_count;

void **__cudaRegisterFatBinary(void *binary) { return (void **)binary; }
NOTHING(__cudaRegisterFatBinaryEnd)
NOTHING(__cudaUnregisterFatBinary)
NOTHING(__cudaRegisterVar)
void __cudaRegisterFunction(void **binary, const void *address, char *stub, const char *name) {
  (void)binary, (void)stub;
  if (kernel_count % 1024 == 0) kernels = realloc(kernels, (kernel_count + 1024) * sizeof *kernels);
  kernels[kernel_count++] = (Kernel){address, name};
}
static int by_address(const void *one, const void *other) {
  const uintptr_t a = (uintptr_t)((const Kernel *)one)->address, b = (uintptr_t)((const Kernel *)other)->address;
  return a < b ? -1 : a > b;
}
static int launched(const void *address, void *stream) {
  static size_t sorted;
  if (sorted != kernel_count) qsort(kernels, kernel_count, sizeof *kernels, by_address), sorted = kernel_count;
  const Kernel *kernel = bsearch(&(Kernel){address, NULL}, kernels, kernel_count, sizeof *kernels, by_address);
  rehearsal_launch(kernel ? kernel->name : "?", stream);
  return 0;
}
void *rehearsal_recorded;
unsigned long rehearsal_nodes;
void rehearsal_launch(const char *name, void *stream) {
  if (rehearsal_recorded != NULL && stream == rehearsal_recorded) rehearsal_nodes++;
  rehearsal_log("launch %s%s\n", name, rehearsal_recorded != NULL && stream != rehearsal_recorded ? " elsewhere" : "");
}
static __thread struct {
  Size grid, block;
  size_t shared;
  void *stream;
} pushed[16];
static __thread int depth;
unsigned __cudaPushCallConfiguration(Size grid, Size block, size_t shared, void *stream) {
  pushed[depth].grid = grid, pushed[depth].block = block, pushed[depth].shared = shared, pushed[depth++].stream = stream;
  return 0;
}
int __cudaPopCallConfiguration(Size *grid, Size *block, size_t *shared, void **stream) {
  *grid = pushed[--depth].grid, *block = pushed[depth].block, *shared = pushed[depth].shared, *stream = pushed[depth].stream;
  return 0;
}
int __cudaGetKernel(const void **kernel, const void *address) { return *kernel = address, 0; }
#define LAUNCH(name)                                                                                     \
  int name(const void *kernel, Size grid, Size block, void **arguments, size_t shared, void *stream) { \
    return (void)grid, (void)block, (void)arguments, (void)shared, launched(kernel, stream);           \
  }
LAUNCH(__cudaLaunchKernel)
LAUNCH(cudaLaunchKernel)
LAUNCH(cudaLaunchCooperativeKernel)
typedef struct {
  Size grid, block;
  size_t shared;
  void *stream;
} HowToLaunch;
int cudaLaunchKernelExC(const HowToLaunch *how, const void *kernel) { return launched(kernel, how->stream); }
int cudaLaunchHostFunc(void *stream, void (*work)(void *), void *data) { return (void)stream, work(data), 0; }

// Memory. Its length lies before it.
static size_t used;
static int allocate(void **address, size_t bytes) {
  const size_t whole = (bytes + 8191) & ~(size_t)4095;
  *address = NULL;
  if (used + whole > memory_bytes) return OUT_OF_MEMORY;
  char *start = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return OUT_OF_MEMORY;
  __atomic_add_fetch(&used, whole, __ATOMIC_SEQ_CST);
  rehearsal_log("take %zu\n", bytes);
  *(size_t *)start = whole;
  *address = start + 4096;
  return 0;
}
int cudaFree(char *address) {
  if (address == NULL) return 0;
  const size_t whole = *(size_t *)(address - 4096);
  rehearsal_log("give back %zu\n", whole);
  __atomic_sub_fetch(&used, whole, __ATOMIC_SEQ_CST);
  return munmap(address - 4096, whole);
}
int cudaMalloc(void **address, size_t bytes) { return allocate(address, bytes); }
int cudaMallocFromPoolAsync(void **address, size_t bytes) { return allocate(address, bytes); }
int cudaFreeAsync(char *address) { return cudaFree(address); }
int cudaHostAlloc(void **address, size_t bytes) { return *address = calloc(1, bytes), rehearsal_log("take pinned %zu\n", bytes), 0; }
int cudaMallocHost(void **address, size_t bytes) { return cudaHostAlloc(address, bytes); }
int cudaFreeHost(void *address) { return free(address), rehearsal_log("give back pinned\n"), 0; }
int cudaMemGetInfo(size_t *left, size_t *all) { return *left = memory_bytes - used, *all = memory_bytes, 0; }

/** Weights are not copied: nothing reads them. Shapes and positions are. */
enum { COPIED_BYTES_MAX = 1 << 16 };
static int copy(void *to, const void *from, size_t bytes, int kind) {
  static const char *const kinds[] = {"on host", "in", "out", "within"};
  rehearsal_log("copy %s %zu\n", kind < 4 ? kinds[kind] : "anywhere", bytes);
  if (bytes <= COPIED_BYTES_MAX) memcpy(to, from, bytes);
  return 0;
}
int cudaMemcpy(void *to, const void *from, size_t bytes, int kind) { return copy(to, from, bytes, kind); }
int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind) { return copy(to, from, bytes, kind); }
int cudaMemcpy2DAsync(void) { return rehearsal_log("copy rows\n"), 0; }
int cudaMemcpyFromSymbol(void *to, const void *from, size_t bytes) { return (void)from, memset(to, 0, bytes), 0; }
int cudaMemset(void *at, int value, size_t bytes) {
  if (bytes <= COPIED_BYTES_MAX) memset(at, value, bytes);
  return rehearsal_log("set\n"), 0;
}
int cudaMemsetAsync(void *at, int value, size_t bytes) { return cudaMemset(at, value, bytes); }
int cudaPointerGetAttributes(char *answer, void *address) {
  memset(answer, 0, 88);
  *(int *)answer = 2; // a device's
  *(void **)(answer + ANSWER_BYTES) = address;
  return 0;
}
int cudaMemPoolCreate(void **pool) { return *pool = &used, 0; }
int cudaMemPoolGetAttribute(void *pool, int which, uint64_t *value) { return (void)pool, (void)which, *value = 0, 0; }
NOTHING(cudaMemPoolDestroy)
NOTHING(cudaMemPoolSetAttribute)
NOTHING(cudaMemPoolTrimTo)

// The card: an H100 as far as it is asked.
int cudaGetDevice(int *device) { return *device = 0, 0; }
int cudaGetDeviceCount(int *count) { return *count = 1, 0; }
NOTHING(cudaSetDevice)
int cudaDriverGetVersion(int *version) { return *version = 13000, 0; }
int cudaRuntimeGetVersion(int *version) { return *version = 13000, 0; }
int cudaDeviceGetAttribute(int *value, int which) {
  static const int known[][2] = {{1, 1024}, {8, 49152}, {10, 32}, {16, 132}, {39, 2048}, {75, 9}, {76, 0}, {97, 232448}};
  *value = 1;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i][0] == which) *value = known[i][1];
  return 0;
}
int cudaGetDeviceProperties(char *answer) {
  // Places in CUDA 13's cudaDeviceProp.
  static const struct {
    size_t at, bytes;
    uint64_t value;
  } known[] = {
      {288, 8, (uint64_t)80 << 30}, {296, 8, 49152}, {304, 4, 65536}, {308, 4, 32}, {320, 4, 1024}, {324, 4, 1024}, {328, 4, 1024},
      {332, 4, 64}, {336, 4, INT32_MAX}, {340, 4, 65535}, {344, 4, 65535}, {352, 8, 65536}, {360, 4, 9}, {364, 4, 0}, {384, 4, 132},
      {560, 4, 1}, {596, 4, 50 << 20}, {604, 4, 2048}, {624, 8, 233472}, {632, 4, 65536}, {668, 4, 1}, {672, 8, 232448}, {720, 4, 1},
  };
  memset(answer, 0, 1008);
  strcpy(answer, "no card");
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) memcpy(answer + known[i].at, &known[i].value, known[i].bytes);
  return 0;
}
int cudaFuncGetAttributes(char *answer) {
  memset(answer, 0, 144);
  *(int *)(answer + 24) = 1024; // threads of a block
  *(int *)(answer + 28) = 64;   // registers
  *(int *)(answer + 36) = 90;   // compute capability
  return 0;
}
NOTHING(cudaFuncSetAttribute)
NOTHING(cudaKernelSetAttributeForDevice)
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks) { return *blocks = 2, 0; }
int cudaGetDriverEntryPointByVersion(const char *name, void **entry) { return (void)name, *entry = NULL, NOT_SUPPORTED; }
int cudaLibraryGetKernel(void) { return NOT_SUPPORTED; }
int cudaLibraryLoadData(void) { return NOT_SUPPORTED; }
NOTHING(cudaLibraryUnload)

// Order.
static int handle(void **made) { return *made = malloc(1), rehearsal_log("make\n"), 0; }
int cudaStreamCreate(void **stream) { return handle(stream); }
int cudaStreamCreateWithFlags(void **stream) { return handle(stream); }
int cudaEventCreate(void **event) { return handle(event); }
int cudaEventCreateWithFlags(void **event) { return handle(event); }
int cudaEventDestroy(void *event) { return free(event), 0; }
int cudaStreamDestroy(void *stream) { return free(stream), 0; }
int cudaEventElapsedTime(float *ms) { return *ms = 1, 0; }
NOTHING(cudaEventRecord)
NOTHING(cudaStreamWaitEvent)
int cudaDeviceSynchronize(void) { return rehearsal_log("wait\n"), 0; }
int cudaStreamSynchronize(void) { return rehearsal_log("wait\n"), 0; }
int cudaEventSynchronize(void) { return rehearsal_log("wait\n"), 0; }
int cudaStreamIsCapturing(void *stream, int *answer) { return (void)stream, *answer = 0, 0; }
int cudaStreamBeginCapture(void) { return NOT_SUPPORTED; }
int cudaStreamEndCapture(void) { return NOT_SUPPORTED; }
int cudaGraphInstantiate(void) { return NOT_SUPPORTED; }
int cudaGraphLaunch(void) { return NOT_SUPPORTED; }
NOTHING(cudaGraphDestroy)
NOTHING(cudaGraphExecDestroy)

const char *cudaGetErrorName(int code) { return code == OUT_OF_MEMORY ? "out of memory" : "error"; }
const char *cudaGetErrorString(int code) { return cudaGetErrorName(code); }
NOTHING(cudaGetLastError)
NOTHING(cudaPeekAtLastError)
