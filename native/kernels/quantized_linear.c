// QuantizedLinear: a linear (see linear.h) with W packed (see packed.h) and x' rounded in blocks of 32 (see
// activations.h): the first `coarse` rows to 8 bits (left out: none), the others to 16.
//
//   x' Wᵀ = sum over blocks of  scale * xScale * (codes · xCodes)  +  minimum * xSum
//
// The products in brackets are of integers, and exact; the sum over blocks is one chain of fused multiplies and adds,
// the same for each row and output. So a row's bits depend on nothing but the row and the weights.
//
// 8 bits: all is read once from memory, and each block serves up to eight rows while it is in registers.
// 16 bits: a pair of groups is widened to 16 bits in the first-level cache, and four rows at a time go over it.
#include "packed.h"
#include "wide.h"

/** Attributes of a node; `packed` describes its weights. */
typedef struct {
  LinearNode linear;
  Packed packed;
} State;

typedef struct {
  Linear linear;
  const Packed *weights;
  const uint8_t *packed;
  /** The first rows, which have 8 bits, and those behind them, which have 16. */
  Product of_8, of_16;
  size_t coarse, fine;
  /** Groups of a part, and 16-bit rows of a part. */
  size_t groups_a_part, group_parts, rows_a_part;
  /** Parts of the product; the pieces of `shrink_lora` are numbered behind them. */
  size_t parts;
  int failed;
} Work;

/** Rows [row, row + count) of group g; `count` and `bits` are constants. */
INLINE void rows_of_8(const Work *w, size_t g, size_t row, const int count, const int bits) {
  const Packed *p = w->weights;
  const Format f = p->format;
  size_t blocks = p->k / BLOCK, bytes = block_bytes(f);
  const uint8_t *at = w->packed + g * blocks * bytes;
  const Activations *a = &w->of_8.a;
  const Outputs to = w->linear.to;
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
  for (int i = 0; i < count; i++) store_outputs(&to, row + (size_t)i, g, sums[i]);
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

/** Returns 0 where there was no memory. */
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

/**
 * Computes part `i`: groups of all 8-bit rows, in the first parts, and of some 16-bit rows; or a piece of the adapters.
 */
static void part(void *data, size_t i) {
  Work *w = data;
  if (i >= w->parts) {
    VARIANT(shrink_lora)(&w->linear.lora, i - w->parts);
    return;
  }
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

static const char *open(const Node *node, void *data) {
  State *state = data;
  const char *wrong = read_linear_node(node, &state->linear);
  return wrong != NULL ? wrong : read_packed(node, &state->packed);
}

/** Bytes of weights, and products, of a part: some microseconds of work, so that threads end together. */
enum { PART_BYTES = 24 * 1024, PART_PRODUCTS = 1 << 20, PART_ROWS = 64 };

static size_t at_most(size_t a, size_t b) { return a < b ? a : b; }

/** Sets the sizes of parts; returns their number. */
static size_t cut(Work *w) {
  const Packed *p = w->weights;
  w->rows_a_part = at_most(w->fine, PART_ROWS);
  size_t rows = at_most(w->coarse + w->fine, PART_ROWS);
  size_t wanted = at_most(PART_BYTES / group_bytes(p), PART_PRODUCTS / (p->k * LANES * rows));
  // Whole pairs of groups.
  w->groups_a_part = wanted < 2 ? 2 : wanted / 2 * 2;
  w->group_parts = (groups_of(p) + w->groups_a_part - 1) / w->groups_a_part;
  return w->group_parts * (w->fine == 0 ? 1 : (w->fine + PART_ROWS - 1) / PART_ROWS);
}

/** Prepares a row and rounds it to codes. */
static void prepare(void *data, size_t row) {
  Work *w = data;
  const float *x = prepare_row(&w->linear, row);
  size_t k = w->weights->k;
  if (row < w->coarse) round_row(x, k, 8, row, w->of_8.a);
  else round_row(x, k, 16, row - w->coarse, w->of_16.a);
}

static const char *run(const Call *call, void *data) {
  const State *state = data;
  const Packed *p = &state->packed;
  Work w = {.weights = p, .packed = input(call, WEIGHTS)};
  Linear *l = &w.linear;
  const char *wrong = read_linear(call, &state->linear, l);
  if (wrong != NULL) return wrong;
  if (!is_whole(call, WEIGHTS, p)) return "the packed weights have another size";
  Shape coarse = input_shape(call, COARSE);
  const int32_t *said = input(call, COARSE);
  if (said != NULL && (coarse.rank != 1 || coarse.dims[0] != 1)) return "coarse must be [1]";
  if (said != NULL && (*said < 0 || (size_t)*said > l->rows)) return "more rows are coarse than there are";
  w.coarse = said == NULL ? 0 : (size_t)*said;
  w.fine = l->rows - w.coarse;
  if (l->rows == 0) return NULL;
  size_t of_8 = activation_bytes(w.coarse, p->k, 8), of_16 = activation_bytes(w.fine, p->k, 16);
  uint8_t *memory = take_scratch(of_8 + of_16 + linear_bytes(l));
  if (memory == NULL) return "out of memory";
  size_t blocks = p->k / BLOCK;
  w.of_8 = (Product){activations_in(memory, w.coarse, p->k, 8), blocks, 0, &l->to};
  w.of_16 = (Product){activations_in(memory + of_8, w.fine, p->k, 16), blocks, w.coarse, &l->to};
  place_linear(l, memory + of_8 + of_16);
  prepare_rows(call, l, prepare, &w);
  w.parts = cut(&w);
  in_parallel(call, w.parts + l->lora.shrinks, part, &w);
  in_parallel(call, l->lora.expands, VARIANT(expand_lora), &l->lora);
  give_scratch(memory);
  return w.failed ? "out of memory" : NULL;
}

Operator VARIANT(QuantizedLinear) = {
    .name = "QuantizedLinear",
    .inputs = {LINEAR_INPUTS(UINT8)},
    .outputs = {{FLOAT32}},
    .state = sizeof(State),
    .open = open,
    .run = run,
};
