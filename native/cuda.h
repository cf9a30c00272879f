// Kernels on an NVIDIA card: what operators need of CUDA's driver. The driver's functions and the compiled kernels are
// handed in from outside (src/runtime/cuda-kernels.ts), so this library is linked with nothing of CUDA.
#ifndef CUDA_H
#define CUDA_H
#include "operator.h"

/** Kernels, in the order in which src/runtime/cuda-kernels.ts loads them. */
typedef enum {
  GROUPED_LORA,
  GROUPED_LORA_UNALIGNED,
  GATED_SILU,
  SEND_ROWS,
  QUANTIZED_LINEAR_4_16,
  QUANTIZED_LINEAR_8_16,
  QUANTIZED_LINEAR_4_32,
  QUANTIZED_LINEAR_8_32,
  QUANTIZED_LINEAR_4_64,
  QUANTIZED_LINEAR_8_64,
  QUANTIZED_EMBEDDING,
  CUDA_KERNELS
} CudaKernel;

/** A queue of work that a device computes in order. */
typedef void *Stream;
Stream stream_of(const Call *);

/** Launches a kernel with one parameter, passed by value. Returns null, or what is wrong. */
const char *launch(CudaKernel, Stream, unsigned blocks, unsigned threads, unsigned shared_bytes, void *parameter);

/** Purposes of workspaces, each with memory of its own. */
typedef enum { INNER_PRODUCTS, COUNTERS, SENDING, PARTIAL_SUMS, WORKSPACES } Workspace;

/** Memory of a stream that its launches use one after another, zeroed when it is new. Null where there is none left. */
void *workspace(Stream, Workspace, size_t bytes);


/** The addresses that `lorikeet_use_cuda` is given, in this order. */
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
  /** The stream of all sessions. */
  Stream stream;
  /** An ElementType: of the 16-bit floats for which the kernels were compiled. */
  uint64_t real;
  void *kernels[CUDA_KERNELS];
} Driver;
extern Driver driver;

#endif
