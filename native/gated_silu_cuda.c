// SiLU(gate) * up on an NVIDIA card: [rows, 2 * width] -> [rows, width].
#include "cuda.h"

enum { THREADS = 256, ALIGNMENT = 16 };

/** In the order of `GatedSilu` in native/cuda/gated-silu.cu. */
typedef struct {
  const void *x;
  void *y;
  int64_t rows, width;
} Job;

static const char *run_silu(const Call *call, void *state) {
  (void)state;
  Shape shape = input_shape(call, 0);
  if (shape.rank != 2 || shape.dims[1] % 2 != 0) return "GatedSilu: a shape is wrong";
  Job job = {.x = input(call, 0), .rows = shape.dims[0], .width = shape.dims[1] / 2};
  shape.dims[1] = job.width;
  job.y = output(call, 0, shape);
  const int64_t values = job.rows * job.width, each = 8 * THREADS;
  return launch(GATED_SILU, stream_of(call), (unsigned)((values + each - 1) / each), THREADS, 0, &job);
}

Operator GatedSiluOnCuda = {
    .name = "GatedSilu",
    .provider = "CUDAExecutionProvider",
    .inputs = {{CARD_REAL}},
    .outputs = {{CARD_REAL}},
    .run = run_silu,
};
