// QuantizedLinear: y [R, n] = x [R, k] Wᵀ (+ bias [n]), W packed (see packed.h), activations rounded to 8 or 16 bits a
// block of 32 (see activations.h).
//
//   y = sum over blocks of  scale * xScale * (codes · xCodes)  +  minimum * xSum
//
// The products in brackets are of integers, and exact; the sum over blocks is one chain of fused multiplies and adds,
// the same for each row and output. So a row's bits depend on nothing but the row and the weights.
//
// 8 bits: all is read once from memory, and each block serves up to eight rows while it is in registers.
// 16 bits: a pair of groups is widened to 16 bits in the first-level cache, and four rows at a time go over it.
#include "../scratch.h"
#include "activations.h"
#include "packed.h"

typedef struct {
  Packed weights;
  int activations;
} Linear;

typedef struct {
  const Linear *linear;
  const uint8_t *packed;
  const float *x, *bias;
  Activations a;
  float *y;
  /** Groups of a part, and rows of a part. */
  size_t rows, groups_a_part, group_parts, rows_a_part;
  int failed;
} Work;

/** Of group `g`: 8 outputs, or what is left of them. */
INLINE void store(const Work *w, size_t row, size_t g, Floats sum) {
  size_t n = w->linear->weights.n, from = g * LANES;
  float *y = w->y + row * n + from;
  if (from + LANES <= n) {
    store_floats(y, w->bias ? add(sum, load_floats(w->bias + from)) : sum);
    return;
  }
  float values[LANES];
  store_floats(values, sum);
  for (size_t i = 0; from + i < n; i++) y[i] = w->bias ? values[i] + w->bias[from + i] : values[i];
}

INLINE Floats add_block(Floats sum, Floats dots, Floats scales, Floats minimums, float x_scale, float x_sum, int has) {
  sum = multiply_add(dots, multiply(scales, all_of(x_scale)), sum);
  return has ? multiply_add(minimums, all_of(x_sum), sum) : sum;
}

/** Rows [row, row + count) of group g; `count` and `bits` are constants. */
INLINE void rows_of_8(const Work *w, size_t g, size_t row, const int count, const int bits) {
  const Packed *p = &w->linear->weights;
  const Format f = p->format;
  size_t blocks = p->k / BLOCK, bytes = block_bytes(f);
  const uint8_t *at = w->packed + g * blocks * bytes;
  Floats sums[8];
  for (int i = 0; i < count; i++) sums[i] = zero_floats();
  for (size_t b = 0; b < blocks; b++, at += bytes) {
    for (size_t line = 0; line < bytes; line += 64) prefetch(at + 6 * 160 + line);
    Codes codes = bits == 4 ? codes_4(at + codes_at(f)) : codes_8(at + codes_at(f));
    Floats scales = load_scales(at, f);
    Floats minimums = f.minimums ? load_scales(at + scale_bytes(f), f) : scales;
    for (int i = 0; i < count; i++) {
      size_t block = (row + (size_t)i) * blocks + b;
      const int8_t *x = (const int8_t *)w->a.codes + block * BLOCK;
      Floats dots = bits == 4 ? dots_4x8(&codes, x) : dots_8x8(&codes, x);
      sums[i] = add_block(sums[i], dots, scales, minimums, w->a.scales[block], w->a.sums[block], f.minimums);
    }
  }
  for (int i = 0; i < count; i++) store(w, row + (size_t)i, g, sums[i]);
}

INLINE void groups_8(const Work *w, size_t from, size_t to, const int bits) {
  for (size_t g = from; g < to; g++) {
    size_t row = 0;
    for (; row + 8 <= w->rows; row += 8) rows_of_8(w, g, row, 8, bits);
    if (row + 4 <= w->rows) rows_of_8(w, g, row, 4, bits), row += 4;
    if (row + 2 <= w->rows) rows_of_8(w, g, row, 2, bits), row += 2;
    if (row < w->rows) rows_of_8(w, g, row, 1, bits);
  }
}

/** A group in 16 bits, and its scales and minimums (zeros where there are none) as floats, a block after another. */
typedef struct {
  int16_t *codes;
  float *scales;
} Wide;

enum { WIDE_BLOCK = BLOCK * LANES };
INLINE size_t wide_bytes(size_t blocks) { return blocks * (WIDE_BLOCK * sizeof(int16_t) + 2 * LANES * sizeof(float)); }

static Wide widen_group(const uint8_t *at, size_t blocks, void *memory, const Format f) {
  Wide wide = {memory, (float *)(void *)((int16_t *)memory + blocks * WIDE_BLOCK)};
  for (size_t b = 0; b < blocks; b++, at += block_bytes(f)) {
    int16_t *to = wide.codes + b * WIDE_BLOCK;
    if (f.bits == 4) widen_4(at + codes_at(f), to);
    else widen_8(at + codes_at(f), to);
    store_floats(wide.scales + b * 2 * LANES, load_scales(at, f));
    Floats minimums = f.minimums ? load_scales(at + scale_bytes(f), f) : zero_floats();
    store_floats(wide.scales + b * 2 * LANES + LANES, minimums);
  }
  return wide;
}

/** Rows [row, row + count) of `pair` groups from g on, both constants. */
INLINE void rows_of_16(const Work *w, const Wide *wide, size_t g, size_t row, const int count, const int pair) {
  size_t blocks = w->linear->weights.k / BLOCK;
  Floats sums[2][4];
  for (int j = 0; j < pair; j++) {
    for (int i = 0; i < count; i++) sums[j][i] = zero_floats();
  }
  for (size_t b = 0; b < blocks; b++) {
    Sums dots[2][4];
    for (int j = 0; j < pair; j++) {
      for (int i = 0; i < count; i++) dots[j][i] = zero_sums();
    }
    const int16_t *x = (const int16_t *)w->a.codes + (row * blocks + b) * BLOCK;
    for (int p = 0; p < BLOCK / 2; p++) {
      Pairs codes[2];
      for (int j = 0; j < pair; j++) codes[j] = load_pairs(wide[j].codes + b * WIDE_BLOCK + (size_t)p * 2 * LANES);
      for (int i = 0; i < count; i++) {
        Pairs of_row = all_of_pair(x + (size_t)i * blocks * BLOCK + 2 * p);
        for (int j = 0; j < pair; j++) dots[j][i] = add_pairs(dots[j][i], codes[j], of_row);
      }
    }
    for (int j = 0; j < pair; j++) {
      Floats scales = load_floats(wide[j].scales + b * 2 * LANES);
      Floats minimums = load_floats(wide[j].scales + b * 2 * LANES + LANES);
      for (int i = 0; i < count; i++) {
        size_t block = (row + (size_t)i) * blocks + b;
        Floats product = floats_of(dots[j][i]);
        sums[j][i] = add_block(sums[j][i], product, scales, minimums, w->a.scales[block], w->a.sums[block], 1);
      }
    }
  }
  for (int j = 0; j < pair; j++) {
    for (int i = 0; i < count; i++) store(w, row + (size_t)i, g + (size_t)j, sums[j][i]);
  }
}

INLINE void all_rows_16(const Work *w, const Wide *wide, size_t g, size_t from, size_t to, const int pair) {
  size_t row = from;
  for (; row + 4 <= to; row += 4) rows_of_16(w, wide, g, row, 4, pair);
  for (; row < to; row++) rows_of_16(w, wide, g, row, 1, pair);
}

/** Returns whether there was memory. */
static int groups_16(const Work *w, size_t from, size_t to, size_t first_row, size_t last_row) {
  const Packed *p = &w->linear->weights;
  size_t blocks = p->k / BLOCK, bytes = group_bytes(p);
  uint8_t *memory = take_scratch(2 * wide_bytes(blocks));
  if (memory == NULL) return 0;
  for (size_t g = from; g < to; g += 2) {
    Wide wide[2];
    wide[0] = widen_group(w->packed + g * bytes, blocks, memory, p->format);
    if (g + 1 == to) {
      all_rows_16(w, wide, g, first_row, last_row, 1);
      continue;
    }
    wide[1] = widen_group(w->packed + (g + 1) * bytes, blocks, memory + wide_bytes(blocks), p->format);
    all_rows_16(w, wide, g, first_row, last_row, 2);
  }
  give_scratch(memory);
  return 1;
}

static void part(void *data, size_t i) {
  Work *w = data;
  size_t groups = groups_of(&w->linear->weights);
  size_t from = i % w->group_parts * w->groups_a_part, first_row = i / w->group_parts * w->rows_a_part;
  size_t to = from + w->groups_a_part < groups ? from + w->groups_a_part : groups;
  size_t last_row = first_row + w->rows_a_part < w->rows ? first_row + w->rows_a_part : w->rows;
  if (w->linear->activations == 16) {
    if (!groups_16(w, from, to, first_row, last_row)) w->failed = 1;
  } else if (w->linear->weights.format.bits == 4) {
    groups_8(w, from, to, 4);
  } else {
    groups_8(w, from, to, 8);
  }
}

typedef struct {
  const float *x;
  size_t k;
  int bits;
  Activations a;
} Rounding;

static void round_one(void *data, size_t row) {
  const Rounding *r = data;
  round_row(r->x + row * r->k, r->k, r->bits, row, r->a);
}

static const char *open(const Node *node, void *state) {
  Linear *linear = state;
  linear->activations = (int)int_attribute(node, "activations", 8);
  if (linear->activations != 8 && linear->activations != 16) return "QuantizedLinear: activations are of 8 or 16 bits";
  return read_packed(node, &linear->weights);
}

/** Bytes of weights and products of a part: some microseconds, so that threads end together. */
enum { PART_BYTES = 24 * 1024, PART_PRODUCTS = 1 << 20, PART_ROWS = 64 };

static void cut(Work *w) {
  const Packed *p = &w->linear->weights;
  size_t groups = groups_of(p), rows = w->rows < PART_ROWS ? w->rows : PART_ROWS;
  w->rows_a_part = w->linear->activations == 8 ? w->rows : rows;
  size_t by_bytes = PART_BYTES / group_bytes(p), by_products = PART_PRODUCTS / (p->k * LANES * rows);
  size_t wanted = by_bytes < by_products ? by_bytes : by_products;
  // Whole pairs.
  w->groups_a_part = wanted < 2 ? 2 : wanted / 2 * 2;
  w->group_parts = (groups + w->groups_a_part - 1) / w->groups_a_part;
}

static const char *run(const Call *call, void *state) {
  const Linear *linear = state;
  const Packed *p = &linear->weights;
  Shape shape = input_shape(call, 0);
  if (shape.rank != 2 || (size_t)shape.dims[1] != p->k) return "QuantizedLinear: x must be [R, k]";
  if (!is_whole(call, 1, p)) return "QuantizedLinear: the packed weights have another size";
  size_t rows = (size_t)shape.dims[0];
  shape.dims[1] = (int64_t)p->n;
  Work w = {.linear = linear, .packed = input(call, 1), .bias = input(call, 2), .rows = rows};
  w.y = output(call, 0, shape);
  if (rows == 0) return NULL;
  void *memory = take_scratch(activation_bytes(rows, p->k, linear->activations));
  if (memory == NULL) return "QuantizedLinear: out of memory";
  w.a = activations_in(memory, rows, p->k, linear->activations);
  Rounding rounding = {input(call, 0), p->k, linear->activations, w.a};
  if (rows < 16) {
    for (size_t row = 0; row < rows; row++) round_one(&rounding, row);
  } else {
    in_parallel(call, rows, round_one, &rounding);
  }
  cut(&w);
  in_parallel(call, w.group_parts * ((rows + w.rows_a_part - 1) / w.rows_a_part), part, &w);
  give_scratch(memory);
  return w.failed ? "QuantizedLinear: out of memory" : NULL;
}

Operator VARIANT(QuantizedLinear) = {
    .name = "QuantizedLinear",
    .inputs = {{FLOAT32}, {UINT8}, {FLOAT32, .optional = 1}},
    .outputs = {{FLOAT32}},
    .state = sizeof(Linear),
    .open = open,
    .run = run,
};
