// QuantizedLinearGrad: dx [R, k] = dy [R, n] W, W [n, k] packed (see packed.h): the backward pass of QuantizedLinear.
//
// Weights lie in blocks along k, with a scale for each output, but here the sum runs over outputs. So tiles of 8 inputs
// and 32 outputs are turned into floats and rounded to codes of 12 bits under one scale, with an error of 2^-12 of
// their largest; dy is rounded to 16 bits in blocks of 32 outputs. Then it goes on as QuantizedLinear with activations
// of 16 bits: sums of a block are exact, the sum over blocks is one chain, and a row's bits depend on nothing but the
// row and the weights.
#include "../scratch.h"
#include "packed.h"
#include "wide.h"
#include <math.h>

/** Groups of 8 in a block of 32 inputs or outputs. */
enum { GROUPS = BLOCK / LANES, CODE_MAX = 2047 };

typedef struct {
  const Packed *weights;
  const uint8_t *packed;
  Product product;
  size_t rows, rows_a_part;
  int failed;
} Work;

/** w [32 inputs, 32 outputs] of input block `b` and outputs from 32 * `outputs` on; outputs past n are 0. */
static void read_tile(const Work *w, size_t b, size_t outputs, float *to) {
  const Packed *p = w->weights;
  const Format f = p->format;
  for (size_t j = 0; j < GROUPS; j++, to += LANES) {
    size_t g = outputs * GROUPS + j;
    if (g >= groups_of(p)) {
      for (size_t i = 0; i < BLOCK; i++) store_floats(to + i * BLOCK, zero_floats());
      continue;
    }
    const uint8_t *at = w->packed + g * group_bytes(p) + b * block_bytes(f);
    int16_t codes[WIDE_BLOCK];
    widen_codes(at, f, codes);
    Floats scales = load_scales(at, f), minimums = f.minimums ? load_scales(at + scale_bytes(f), f) : zero_floats();
    for (size_t i = 0; i < BLOCK; i += 4) {
      // Pairs are of inputs i and i + 2, and of i + 1 and i + 3.
      for (size_t half = 0; half < 2; half++) {
        Floats first, second;
        split_pairs(load_pairs(codes + i * LANES + half * 2 * LANES), &first, &second);
        store_floats(to + (i + half) * BLOCK, multiply_add(first, scales, minimums));
        store_floats(to + (i + half + 2) * BLOCK, multiply_add(second, scales, minimums));
      }
    }
  }
}

/** Rounds w [8 inputs, 32 outputs] to codes in pairs of outputs. */
static void round_tile(const float *w, int16_t *codes, float *scales) {
  float most = 0;
  for (size_t i = 0; i < LANES * BLOCK; i++) most = fmaxf(most, fabsf(w[i]));
  float inverse = most > 1e-30f ? CODE_MAX / most : 0;
  for (size_t o = 0; o < BLOCK; o++) {
    int16_t *to = codes + o / 4 * 4 * LANES + (o & 1) * 2 * LANES + (o >> 1 & 1);
    for (size_t i = 0; i < LANES; i++) to[2 * i] = (int16_t)nearest(w[i * BLOCK + o] * inverse);
  }
  store_floats(scales, all_of(most / CODE_MAX));
}

/** Computes input block `i % blocks` for the rows of part `i / blocks`. */
static void part(void *data, size_t i) {
  Work *w = data;
  size_t blocks = w->product.blocks, count = w->weights->k / BLOCK, b = i % count, from = i / count * w->rows_a_part;
  size_t to = from + w->rows_a_part < w->rows ? from + w->rows_a_part : w->rows;
  uint8_t *memory = take_scratch(GROUPS * wide_bytes(blocks));
  if (memory == NULL) {
    w->failed = 1;
    return;
  }
  Wide wide[GROUPS];
  for (size_t j = 0; j < GROUPS; j++) wide[j] = wide_in(memory + j * wide_bytes(blocks), blocks);
  for (size_t outputs = 0; outputs < blocks; outputs++) {
    float tile[BLOCK * BLOCK];
    read_tile(w, b, outputs, tile);
    for (size_t j = 0; j < GROUPS; j++) {
      int16_t *codes = wide[j].codes + outputs * WIDE_BLOCK;
      round_tile(tile + j * LANES * BLOCK, codes, wide[j].scales + outputs * 2 * LANES);
    }
  }
  for (size_t j = 0; j < GROUPS; j += 2) wide_rows(&w->product, wide + j, b * GROUPS + j, from, to, 2, 0);
  give_scratch(memory);
}

/** Rounds dy's rows [n], padded with zeros to whole blocks of outputs. */
typedef struct {
  const float *dy;
  size_t n, whole;
  Activations a;
  int failed;
} Rounding;

static void round_dy(void *data, size_t row) {
  Rounding *r = data;
  const float *dy = r->dy + row * r->n;
  if (r->whole == r->n) {
    round_row(dy, r->n, 16, row, r->a);
    return;
  }
  float *x = take_scratch(r->whole * sizeof(float));
  if (x == NULL) {
    r->failed = 1;
    return;
  }
  memcpy(x, dy, r->n * sizeof(float));
  memset(x + r->n, 0, (r->whole - r->n) * sizeof(float));
  round_row(x, r->whole, 16, row, r->a);
  give_scratch(x);
}

static const char *open(const Node *node, void *state) { return read_packed(node, state); }

/** Rows of a part: many share the weights' codes, which are made once for each part. */
enum { PART_ROWS = 256 };

static const char *run(const Call *call, void *state) {
  const Packed *p = state;
  Shape shape = input_shape(call, 0);
  if (shape.rank != 2 || (size_t)shape.dims[1] != p->n) return "QuantizedLinearGrad: dy must be [R, n]";
  if (!is_whole(call, 1, p)) return "QuantizedLinearGrad: the packed weights have another size";
  size_t rows = (size_t)shape.dims[0], blocks = (p->n + BLOCK - 1) / BLOCK, whole = blocks * BLOCK;
  shape.dims[1] = (int64_t)p->k;
  Work w = {.weights = p, .packed = input(call, 1), .rows = rows, .rows_a_part = PART_ROWS};
  const Outputs to = {.n = p->k, .y = output(call, 0, shape)};
  if (rows == 0) return NULL;
  void *memory = take_scratch(activation_bytes(rows, whole, 16));
  if (memory == NULL) return "QuantizedLinearGrad: out of memory";
  w.product = (Product){activations_in(memory, rows, whole, 16), blocks, 0, &to};
  Rounding r = {input(call, 0), p->n, whole, w.product.a, 0};
  in_parallel(call, rows, round_dy, &r);
  if (!r.failed) in_parallel(call, p->k / BLOCK * ((rows + PART_ROWS - 1) / PART_ROWS), part, &w);
  give_scratch(memory);
  return w.failed || r.failed ? "QuantizedLinearGrad: out of memory" : NULL;
}

Operator VARIANT(QuantizedLinearGrad) = {
    .name = "QuantizedLinearGrad",
    .inputs = {{FLOAT32}, {UINT8}},
    .outputs = {{FLOAT32}},
    .state = sizeof(Packed),
    .open = open,
    .run = run,
};
