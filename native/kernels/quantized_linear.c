// QuantizedLinear: y [R, n] = x [R, k] Wᵀ (+ bias [n]), W packed (see packed.h), activations rounded to 8 or 16 bits a
// block of 32 (see activations.h): the first `coarse` rows to 8 (left out: none), the others to 16.
//
//   y = sum over blocks of  scale * xScale * (codes · xCodes)  +  minimum * xSum
//
// The products in brackets are of integers, and exact; the sum over blocks is one chain of fused multiplies and adds,
// the same for each row and output. So a row's bits depend on nothing but the row and the weights.
//
// 8 bits: all is read once from memory, and each block serves up to eight rows while it is in registers.
// 16 bits: a pair of groups is widened to 16 bits in the first-level cache, and four rows at a time go over it.
#include "../scratch.h"
#include "packed.h"
#include "wide.h"

enum { X = 0, PACKED, COARSE, BIAS };

typedef struct {
  const Packed *weights;
  const uint8_t *packed;
  /** The first rows, and those behind them. */
  Product of_8, of_16;
  size_t coarse, fine;
  /** Groups of a part, and rows of 16 bits of a part. */
  size_t groups_a_part, group_parts, rows_a_part;
  int failed;
} Work;

/** Rows [row, row + count) of group g; `count` and `bits` are constants. */
INLINE void rows_of_8(const Work *w, size_t g, size_t row, const int count, const int bits) {
  const Packed *p = w->weights;
  const Format f = p->format;
  size_t blocks = p->k / BLOCK, bytes = block_bytes(f);
  const uint8_t *at = w->packed + g * blocks * bytes;
  const Activations *a = &w->of_8.a;
  Floats sums[8];
  for (int i = 0; i < count; i++) sums[i] = zero_floats();
  for (size_t b = 0; b < blocks; b++, at += bytes) {
    for (size_t line = 0; line < bytes; line += 64) prefetch(at + 6 * 160 + line);
    Codes codes = bits == 4 ? codes_4(at + codes_at(f)) : codes_8(at + codes_at(f));
    Floats scales = load_scales(at, f);
    Floats minimums = f.minimums ? load_scales(at + scale_bytes(f), f) : scales;
    for (int i = 0; i < count; i++) {
      size_t block = (row + (size_t)i) * blocks + b;
      const int8_t *x = (const int8_t *)a->codes + block * BLOCK;
      Floats dots = bits == 4 ? dots_4x8(&codes, x) : dots_8x8(&codes, x);
      sums[i] = add_block(sums[i], dots, scales, minimums, a->scales[block], a->sums[block], f.minimums);
    }
  }
  for (int i = 0; i < count; i++) store_group(&w->of_8, row + (size_t)i, g, sums[i]);
}

INLINE void groups_8(const Work *w, size_t from, size_t to, const int bits) {
  for (size_t g = from; g < to; g++) {
    size_t row = 0;
    for (; row + 8 <= w->coarse; row += 8) rows_of_8(w, g, row, 8, bits);
    if (row + 4 <= w->coarse) rows_of_8(w, g, row, 4, bits), row += 4;
    if (row + 2 <= w->coarse) rows_of_8(w, g, row, 2, bits), row += 2;
    if (row < w->coarse) rows_of_8(w, g, row, 1, bits);
  }
}

static Wide widen_group(const uint8_t *at, size_t blocks, void *memory, const Format f) {
  Wide wide = wide_in(memory, blocks);
  for (size_t b = 0; b < blocks; b++, at += block_bytes(f)) {
    widen_codes(at, f, wide.codes + b * WIDE_BLOCK);
    store_floats(wide.scales + b * 2 * LANES, load_scales(at, f));
    Floats minimums = f.minimums ? load_scales(at + scale_bytes(f), f) : zero_floats();
    store_floats(wide.scales + b * 2 * LANES + LANES, minimums);
  }
  return wide;
}

/** Returns whether there was memory. */
static int groups_16(const Work *w, size_t from, size_t to, size_t first_row, size_t last_row) {
  const Packed *p = w->weights;
  size_t blocks = p->k / BLOCK, bytes = group_bytes(p);
  uint8_t *memory = take_scratch(2 * wide_bytes(blocks));
  if (memory == NULL) return 0;
  for (size_t g = from; g < to; g += 2) {
    Wide wide[2];
    wide[0] = widen_group(w->packed + g * bytes, blocks, memory, p->format);
    if (g + 1 == to) {
      wide_rows(&w->of_16, wide, g, first_row, last_row, 1, 1);
      continue;
    }
    wide[1] = widen_group(w->packed + (g + 1) * bytes, blocks, memory + wide_bytes(blocks), p->format);
    wide_rows(&w->of_16, wide, g, first_row, last_row, 2, 1);
  }
  give_scratch(memory);
  return 1;
}

/** Groups of all rows of 8 bits, in the first parts, and of some rows of 16. */
static void part(void *data, size_t i) {
  Work *w = data;
  size_t groups = groups_of(w->weights), sweep = i / w->group_parts;
  size_t from = i % w->group_parts * w->groups_a_part, first_row = sweep * w->rows_a_part;
  size_t to = from + w->groups_a_part < groups ? from + w->groups_a_part : groups;
  size_t last_row = first_row + w->rows_a_part < w->fine ? first_row + w->rows_a_part : w->fine;
  if (sweep == 0) {
    if (w->weights->format.bits == 4) groups_8(w, from, to, 4);
    else groups_8(w, from, to, 8);
  }
  if (first_row < last_row && !groups_16(w, from, to, first_row, last_row)) w->failed = 1;
}

static const char *open(const Node *node, void *state) { return read_packed(node, state); }

/** Bytes of weights and products of a part: some microseconds, so that threads end together. */
enum { PART_BYTES = 24 * 1024, PART_PRODUCTS = 1 << 20, PART_ROWS = 64 };

static size_t at_most(size_t a, size_t b) { return a < b ? a : b; }

/** Returns the number of parts. */
static size_t cut(Work *w) {
  const Packed *p = w->weights;
  w->rows_a_part = at_most(w->fine, PART_ROWS);
  size_t rows = at_most(w->coarse + w->fine, PART_ROWS);
  size_t wanted = at_most(PART_BYTES / group_bytes(p), PART_PRODUCTS / (p->k * LANES * rows));
  // Whole pairs.
  w->groups_a_part = wanted < 2 ? 2 : wanted / 2 * 2;
  w->group_parts = (groups_of(p) + w->groups_a_part - 1) / w->groups_a_part;
  return w->group_parts * (w->fine == 0 ? 1 : (w->fine + PART_ROWS - 1) / PART_ROWS);
}

static void round_rows(const Call *call, size_t rows, Rounding *rounding) {
  if (rows < 16) {
    for (size_t row = 0; row < rows; row++) round_part(rounding, row);
  } else {
    in_parallel(call, rows, round_part, rounding);
  }
}

static const char *run(const Call *call, void *state) {
  const Packed *p = state;
  Shape shape = input_shape(call, X), coarse = input_shape(call, COARSE);
  if (shape.rank != 2 || (size_t)shape.dims[1] != p->k) return "QuantizedLinear: x must be [R, k]";
  if (!is_whole(call, PACKED, p)) return "QuantizedLinear: the packed weights have another size";
  const int32_t *said = input(call, COARSE);
  if (said != NULL && (coarse.rank != 1 || coarse.dims[0] != 1)) return "QuantizedLinear: coarse must be [1]";
  int64_t rows = shape.dims[0], of_8 = said == NULL ? 0 : *said;
  if (of_8 < 0 || of_8 > rows) return "QuantizedLinear: more rows are coarse than there are";
  shape.dims[1] = (int64_t)p->n;
  Work w = {.weights = p, .packed = input(call, PACKED), .coarse = (size_t)of_8, .fine = (size_t)(rows - of_8)};
  w.of_8 = (Product){.blocks = p->k / BLOCK, .n = p->n, .bias = input(call, BIAS), .y = output(call, 0, shape)};
  if (rows == 0) return NULL;
  size_t bytes = activation_bytes(w.coarse, p->k, 8);
  uint8_t *memory = take_scratch(bytes + activation_bytes(w.fine, p->k, 16));
  if (memory == NULL) return "QuantizedLinear: out of memory";
  w.of_16 = w.of_8;
  w.of_16.y += w.coarse * p->n;
  w.of_8.a = activations_in(memory, w.coarse, p->k, 8);
  w.of_16.a = activations_in(memory + bytes, w.fine, p->k, 16);
  const float *x = input(call, X);
  round_rows(call, w.coarse, &(Rounding){x, p->k, 8, w.of_8.a});
  round_rows(call, w.fine, &(Rounding){x + w.coarse * p->k, p->k, 16, w.of_16.a});
  in_parallel(call, cut(&w), part, &w);
  give_scratch(memory);
  return w.failed ? "QuantizedLinear: out of memory" : NULL;
}

Operator VARIANT(QuantizedLinear) = {
    .name = "QuantizedLinear",
    .inputs = {{FLOAT32}, {UINT8}, {INT32, .optional = 1}, {FLOAT32, .optional = 1}},
    .outputs = {{FLOAT32}},
    .state = sizeof(Packed),
    .open = open,
    .run = run,
};
