// A linear with everything around its product in a decoder, so that a layer takes few operators:
//
//   x' = x                                      [R, k]
//        x / sqrt(mean(x²) + epsilon) * norm    with `norm` [k]
//        silu(gate) * up                        `gated`: x is gate beside up, [R, 2k]
//   y  = x' Wᵀ * gain + adapters + bias + residual      [R, n]; see grouped_lora.c for gain and adapters
//
//   1 weights  of the linear's own packing        4 norm      float32 [k]        7 shares   float32 [R, C]
//   2 coarse   int32 [1], of QuantizedLinear      5 residual  float32 [R, n]     8 gain     float32 [G, n]
//   3 bias     float32 [n]                        6 pages     int32 [R, C]       9 gain_of  int32 [R]
//   10 and on  float16 [slots, ...]: pages of A and of B for each part of y that has adapters of its own; parts have
//              `out0`, `out1` and `out2` outputs, and values of `adapter_bits` bits, 16 or 8
//
// All but x and the weights may be left out. Each row is prepared by itself, in one order of its values, so its bits
// depend on nothing else.
#ifndef LINEAR_H
#define LINEAR_H
#include "../operator.h"
#include "../scratch.h"
#include "gate.h"
#include "grouped_lora.h"
#include "vector.h"
#include <math.h>

enum { X = 0, WEIGHTS, COARSE, BIAS, NORM, RESIDUAL, ADAPTERS };

/** Attributes of a node. */
typedef struct {
  size_t n, k, parts, outs[PARTS_MAX];
  int gated, adapter_bits;
  float epsilon;
} LinearNode;

/**
 * Where products go. Tiles work on a copy, since for all that a compiler knows their stores could change this struct.
 */
typedef struct {
  size_t n;
  const float *bias, *residual;
  /** See Lora: products of such rows are stored without additions. */
  const uint8_t *adapted;
  float *y;
} Outputs;

/** State of one call. */
typedef struct {
  LinearNode node;
  size_t rows;
  /** The input as given, and as prepared; both are the same where nothing has to be prepared. */
  const float *given, *norm;
  float *prepared;
  const float *x;
  Outputs to;
  Lora lora;
} Linear;

#define LINEAR_INPUTS(weights)                                                                                         \
  {FLOAT32}, {weights}, {INT32, .optional = 1}, {FLOAT32, .optional = 1}, {FLOAT32, .optional = 1},                     \
      {FLOAT32, .optional = 1}, {INT32, .optional = 1}, {FLOAT32, .optional = 1}, {FLOAT32, .optional = 1},             \
      {INT32, .optional = 1}, {FLOAT16, .optional = 1}, {FLOAT16, .optional = 1}, {FLOAT16, .optional = 1},             \
      {FLOAT16, .optional = 1}, {FLOAT16, .optional = 1}, {FLOAT16, .optional = 1}

/** Reads a node's attributes. Returns null, or what is wrong with them. */
INLINE const char *read_linear_node(const Node *node, LinearNode *linear) {
  *linear = (LinearNode){
      .n = (size_t)int_attribute(node, "n", 0),
      .k = (size_t)int_attribute(node, "k", 0),
      .gated = (int)int_attribute(node, "gated", 0),
      .adapter_bits = (int)int_attribute(node, "adapter_bits", 16),
      .epsilon = float_attribute(node, "epsilon", 0),
  };
  if (linear->adapter_bits != 8 && linear->adapter_bits != 16) return "adapter_bits must be 8 or 16";
  static const char *const outs[PARTS_MAX] = {"out0", "out1", "out2"};
  for (; linear->parts < PARTS_MAX; linear->parts++) {
    int64_t out = int_attribute(node, outs[linear->parts], 0);
    if (out <= 0) break;
    linear->outs[linear->parts] = (size_t)out;
  }
  return linear->n == 0 || linear->k == 0 ? "weights must be [n, k]" : NULL;
}

/** Reads a call's inputs and makes y. Returns null, or what is wrong with them. */
INLINE const char *read_linear(const Call *call, const LinearNode *node, Linear *l) {
  Shape x = input_shape(call, X), norm = input_shape(call, NORM), residual = input_shape(call, RESIDUAL);
  size_t width = node->gated ? 2 * node->k : node->k;
  if (x.rank != 2 || (size_t)x.dims[1] != width) return node->gated ? "x must be [R, 2k]" : "x must be [R, k]";
  Shape y = {2, {x.dims[0], (int64_t)node->n}};
  if (norm.rank > 0 && (node->gated || norm.rank != 1 || (size_t)norm.dims[0] != node->k)) return "norm must be [k]";
  if (residual.rank > 0 && (residual.rank != 2 || residual.dims[0] != y.dims[0] || residual.dims[1] != y.dims[1])) {
    return "residual must be [R, n]";
  }
  *l = (Linear){
      .node = *node,
      .rows = (size_t)x.dims[0],
      .given = input(call, X),
      .norm = norm.rank > 0 ? input(call, NORM) : NULL,
      .to = {.n = node->n, .bias = input(call, BIAS), .y = output(call, 0, y)},
  };
  if (residual.rank > 0) l->to.residual = input(call, RESIDUAL);
  if (l->to.y == NULL) return "there is no memory for y";
  l->x = l->given;
  l->lora = (Lora){.rows = l->rows, .in = node->k, .out = node->n, .bits = node->adapter_bits};
  return node->parts > 0 ? VARIANT(read_lora)(call, ADAPTERS, node->parts, node->outs, &l->lora) : NULL;
}

INLINE int is_prepared(const Linear *l) { return l->norm != NULL || l->node.gated; }

/** Bytes that `place_linear` needs, a multiple of 64. */
INLINE size_t linear_bytes(const Linear *l) {
  size_t x = is_prepared(l) ? (l->rows * l->node.k * sizeof(float) + 63) / 64 * 64 : 0;
  return x + VARIANT(lora_bytes)(&l->lora);
}

INLINE void place_linear(Linear *l, void *memory) {
  uint8_t *at = memory;
  if (is_prepared(l)) {
    l->x = l->prepared = (float *)(void *)at;
    at += (l->rows * l->node.k * sizeof(float) + 63) / 64 * 64;
  }
  l->lora.x = l->x;
  l->lora.y = l->to.y;
  l->lora.bias = l->to.bias;
  l->lora.residual = l->to.residual;
  VARIANT(group_lora)(&l->lora, at);
  l->to.adapted = l->lora.adapted;
}

/** The sum of squares: 32 sums side by side, and one of what is left over. */
INLINE float sum_of_squares(const float *x, size_t k) {
  Floats sums[4] = {zero_floats(), zero_floats(), zero_floats(), zero_floats()};
  size_t i = 0;
  for (; i + 4 * LANES <= k; i += 4 * LANES) {
    for (size_t j = 0; j < 4; j++) {
      Floats values = load_floats(x + i + j * LANES);
      sums[j] = multiply_add(values, values, sums[j]);
    }
  }
  float parts[4], rest = 0;
  sums_of_4(sums, parts);
  for (; i < k; i++) rest += x[i] * x[i];
  return parts[0] + parts[1] + (parts[2] + parts[3]) + rest;
}

/** Prepares row `row` of x'. */
INLINE const float *prepare_row(const Linear *l, size_t row) {
  size_t k = l->node.k;
  if (!is_prepared(l)) return l->given + row * k;
  float *to = l->prepared + row * k;
  if (l->node.gated) {
    const float *x = l->given + row * 2 * k;
    gate(x, x + k, to, k);
    return to;
  }
  const float *x = l->given + row * k;
  float factor = 1.0f / sqrtf(sum_of_squares(x, k) / (float)k + l->node.epsilon);
  for (size_t i = 0; i < k; i++) to[i] = x[i] * factor * l->norm[i];
  return to;
}

/** Values that one thread prepares alone, in less time than others need to wake. */
enum { ALONE_VALUES = 8192 };

/** Calls `prepare(work, row)` for all rows. */
INLINE void prepare_rows(const Call *call, const Linear *l, void (*prepare)(void *, size_t), void *work) {
  if (l->rows * l->node.k > ALONE_VALUES) in_parallel(call, l->rows, prepare, work);
  else for (size_t row = 0; row < l->rows; row++) prepare(work, row);
}

/** Called before the products of these outputs are made, since the residual is far away in memory. */
INLINE void prefetch_outputs(const Outputs *to, size_t row, size_t g) {
  if (to->residual) prefetch(to->residual + row * to->n + g * LANES);
}

/** Whether nothing is added to products of any row, and `groups` groups of outputs are whole. */
INLINE int is_plain(const Outputs *to, size_t g, size_t groups) {
  return to->adapted == NULL && to->bias == NULL && to->residual == NULL && (g + groups) * LANES <= to->n;
}

/**
 * Stores outputs [g * LANES, ...) of a row, as many as exist. Adapted rows get bias and residual later, after the
 * adapters.
 */
INLINE void store_outputs(const Outputs *to, size_t row, size_t g, Floats sum) {
  size_t from = g * LANES, at = row * to->n + from;
  const int is_last = to->adapted == NULL || !to->adapted[row];
  if (from + LANES <= to->n) {
    if (is_last && to->bias) sum = add(sum, load_floats(to->bias + from));
    if (is_last && to->residual) sum = add(sum, load_floats(to->residual + at));
    store_floats(to->y + at, sum);
    return;
  }
  float values[LANES];
  store_floats(values, sum);
  for (size_t i = 0; from + i < to->n; i++) {
    if (is_last && to->bias) values[i] += to->bias[from + i];
    if (is_last && to->residual) values[i] += to->residual[at + i];
    to->y[at + i] = values[i];
  }
}

#endif
