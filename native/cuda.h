// Kernels on an NVIDIA card: what operators need of CUDA's driver. The driver's functions and the compiled kernels come
// from outside (src/runtime/cuda-kernels.ts), so that this library is linked with nothing of CUDA.
#ifndef CUDA_H
#define CUDA_H
#include "operator.h"

/** By the names of native/cuda/; 0 where there is none. */
typedef enum { GROUPED_LORA, GROUPED_LORA_UNALIGNED, GATED_SILU, SEND_ROWS, CUDA_KERNELS } CudaKernel;

/** Where what a device computes in order is queued. */
typedef void *Stream;
Stream stream_of(const Call *);

/** One parameter, by value. Null, or what is wrong. */
const char *launch(CudaKernel, Stream, unsigned blocks, unsigned threads, unsigned shared_bytes, void *parameter);

/** What workspaces are for; each its own memory. */
typedef enum { INNER_PRODUCTS, COUNTERS, SENDING, WORKSPACES } Workspace;

/** Memory of a stream for one launch after another, made of zeros when it is new. Null where there is none. */
void *workspace(Stream, Workspace, size_t bytes);


/** As it is given to `lorikeet_use_cuda`, an address each. */
typedef struct {
  int (*launch)(void *kernel, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned shared, Stream, void **, void **);
  int (*allocate)(uint64_t *address, size_t);
  int (*clear)(uint64_t address, unsigned char, size_t, Stream);
  int (*copy_in)(uint64_t to, const void *from, size_t, Stream);
  int (*copy_out)(void *to, uint64_t from, size_t, Stream);
  int (*copy_within)(uint64_t to, uint64_t from, size_t, Stream);
  int (*use_context)(void *);
  int (*synchronize)(Stream);
  int (*begin_capture)(Stream, int mode);
  int (*end_capture)(Stream, void **graph);
  int (*nodes)(void *graph, void **nodes, size_t *count);
  int (*instantiate)(void **executable, void *graph, unsigned long long flags);
  int (*launch_graph)(void *executable, Stream);
  int (*destroy_graph)(void *graph);
  int (*destroy_executable)(void *executable);
  void *context;
  /** Of every session. */
  Stream stream;
  void *kernels[CUDA_KERNELS];
} Driver;
extern Driver driver;

#endif
