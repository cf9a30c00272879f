// QuantizedLinear and QuantizedEmbedding on an NVIDIA card: y = x Wᵀ (+ bias), and rows of W.
//
//   0 x [R, k]   1 W uint8, as native/cuda/quantized-linear.cu says   2 left out   3 bias [n], or left out
//   0 numbers int64 [R]   1 W uint8   ->   [R, k]
//
// Attributes n, k, bits (4 or 8) and minimums (1 where W has them), as on the processor (native/kernels/packed.h).
#include "cuda.h"
#include "quantized_linear_cuts.h"

enum { X, WEIGHTS, COARSE, BIAS, THREADS = 256, EMBEDDING_THREADS = 128, ALIGNMENT = 16 };

/** In the order of native/cuda/quantized-linear.cu. */
typedef struct {
  const void *x, *weights, *bias;
  void *y, *partials, *counters;
  int32_t rows, n, k, minimums, parts, columns, turns, splits;
} Job;

typedef struct {
  const void *numbers, *weights;
  void *y;
  int32_t n, k, bits, minimums;
} Rows;

/** Sizes of a node's weights. */
typedef struct {
  int64_t n, k, bits, minimums;
} Packed;

static const char *open_packed(const Node *node, void *state) {
  Packed *packed = state;
  *packed = (Packed){int_attribute(node, "n", 0), int_attribute(node, "k", 0), int_attribute(node, "bits", 0),
                     int_attribute(node, "minimums", 0)};
  const int64_t n = packed->n, k = packed->k, bits = packed->bits;
  if (n < 1 || k < 1 || n > INT32_MAX || k > INT32_MAX || k % CUT_TILE != 0) {
    return "weights must be [n, k], k a multiple of 32";
  }
  return bits == 4 || bits == 8 ? NULL : "weights must be of 4 or 8 bits";
}

static int is_whole(const Call *call, const Packed *packed) {
  const Shape shape = input_shape(call, WEIGHTS);
  const int64_t tile = CUT_TILE * CUT_TILE / 8 * packed->bits + 2 * CUT_TILE * (1 + packed->minimums);
  return shape.rank == 1 && shape.dims[0] == cut_ceil(packed->n, CUT_TILE) * (packed->k / CUT_TILE) * tile;
}

static const char *run_linear(const Call *call, void *state) {
  static const CudaKernel kernels[2][3] = {{QUANTIZED_LINEAR_4_16, QUANTIZED_LINEAR_4_32, QUANTIZED_LINEAR_4_64},
                                           {QUANTIZED_LINEAR_8_16, QUANTIZED_LINEAR_8_32, QUANTIZED_LINEAR_8_64}};
  const Packed *packed = state;
  Shape shape = input_shape(call, X);
  if (shape.rank != 2 || shape.dims[1] != packed->k) return "QuantizedLinear: x must be [rows, k]";
  if (!is_whole(call, packed)) return "QuantizedLinear: the packed weights have another size";
  const int64_t rows = shape.dims[0];
  if (rows * packed->k > UINT32_MAX) return "QuantizedLinear: there are too many rows";
  shape.dims[1] = packed->n;
  void *y = output(call, 0, shape);
  if (rows == 0) return NULL;
  const Stream stream = stream_of(call);
  const LinearCuts cuts = cut_linear(rows, packed->n, packed->k);
  Job job = {
      .x = input(call, X),
      .weights = input(call, WEIGHTS),
      .bias = input(call, BIAS),
      .y = y,
      .rows = (int32_t)rows,
      .n = (int32_t)packed->n,
      .k = (int32_t)packed->k,
      .minimums = (int32_t)packed->minimums,
      .parts = cuts.parts,
      .columns = cuts.columns,
      .turns = cuts.turns,
      .splits = cuts.splits,
  };
  if (((uintptr_t)job.x | (uintptr_t)job.weights | (uintptr_t)y) % ALIGNMENT != 0) {
    return "QuantizedLinear: memory is not aligned";
  }
  if (cuts.splits > 1) {
    job.partials = workspace(stream, PARTIAL_SUMS, cuts.partial_bytes);
    job.counters = workspace(stream, COUNTERS, sizeof(unsigned) * cuts.counters);
    if (job.partials == NULL || job.counters == NULL) return "QuantizedLinear: no memory on the card";
  }
  return launch(kernels[packed->bits == 8][cuts.row_tiles / 2], stream, cuts.blocks, THREADS, cuts.shared_bytes, &job);
}

static const char *run_embedding(const Call *call, void *state) {
  const Packed *packed = state;
  const Shape numbers = input_shape(call, 0);
  if (numbers.rank != 1) return "QuantizedEmbedding: numbers must be [rows]";
  if (!is_whole(call, packed)) return "QuantizedEmbedding: the packed weights have another size";
  void *y = output(call, 0, (Shape){2, {numbers.dims[0], packed->k}});
  Rows rows = {
      .numbers = input(call, 0),
      .weights = input(call, WEIGHTS),
      .y = y,
      .n = (int32_t)packed->n,
      .k = (int32_t)packed->k,
      .bits = (int32_t)packed->bits,
      .minimums = (int32_t)packed->minimums,
  };
  if (((uintptr_t)rows.weights | (uintptr_t)y) % ALIGNMENT != 0) return "QuantizedEmbedding: memory is not aligned";
  return launch(QUANTIZED_EMBEDDING, stream_of(call), (unsigned)numbers.dims[0], EMBEDDING_THREADS, 0, &rows);
}

#define REAL CARD_REAL
Operator QuantizedLinearOnCuda = {
    .name = "QuantizedLinear",
    .provider = "CUDAExecutionProvider",
    .inputs = {{REAL}, {UINT8}, {INT32, 1}, {REAL, 1}},
    .outputs = {{REAL}},
    .state = sizeof(Packed),
    .open = open_packed,
    .run = run_linear,
};

Operator QuantizedEmbeddingOnCuda = {
    .name = "QuantizedEmbedding",
    .provider = "CUDAExecutionProvider",
    .inputs = {{INT64}, {UINT8}},
    .outputs = {{REAL}},
    .state = sizeof(Packed),
    .open = open_packed,
    .run = run_embedding,
};
