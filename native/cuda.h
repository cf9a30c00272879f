// Kernels on an NVIDIA card: what operators need of CUDA's driver. The driver's functions and the compiled kernels come
// from outside (src/runtime/cuda-kernels.ts), so that this library is linked with nothing of CUDA.
#ifndef CUDA_H
#define CUDA_H
#include "operator.h"

/** By the names of native/cuda/; 0 where there is none. */
typedef enum { GROUPED_LORA, GROUPED_LORA_UNALIGNED, GATED_SILU, CUDA_KERNELS } CudaKernel;

/** Where what a device computes in order is queued. */
typedef void *Stream;
Stream stream_of(const Call *);

/** One parameter, by value. Null, or what is wrong. */
const char *launch(CudaKernel, Stream, unsigned blocks, unsigned threads, unsigned shared_bytes, void *parameter);

/** Memory of a stream for one launch after another, made of zeros when it is new. Null where there is none. */
void *workspace(Stream, int which, size_t bytes);

enum { WORKSPACES = 2 };

#endif
