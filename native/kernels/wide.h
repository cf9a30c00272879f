// Products of rows of 16 bits with a group of weights that is widened to 16 bits: 8 outputs side by side, over all
// blocks of 32 inputs. Sums of a block are of integers, and exact; the sum over blocks is one chain of fused multiplies
// and adds, the same for each row and output.
#ifndef WIDE_H
#define WIDE_H
#include "activations.h"
#include "linear.h"

/**
 * A group in 16 bits, one block after another, with its scales and minimums (zeros where there are none) as floats.
 * code
 * < 2^11, so that 32 products with activations fit 32 bits.
 */
typedef struct {
  int16_t *codes;
  float *scales;
} Wide;

enum { WIDE_BLOCK = BLOCK * LANES };
INLINE size_t wide_bytes(size_t blocks) { return blocks * (WIDE_BLOCK * sizeof(int16_t) + 2 * LANES * sizeof(float)); }
INLINE Wide wide_in(void *memory, size_t blocks) {
  return (Wide){memory, (float *)(void *)((int16_t *)memory + blocks * WIDE_BLOCK)};
}

/** Rows of a linear's y from `first` on, computed from activations a [rows, blocks * 32]. */
typedef struct {
  Activations a;
  size_t blocks, first;
  const Outputs *to;
} Product;

INLINE Floats add_block(Floats sum, Floats dots, Floats scales, Floats minimums, float x_scale, float x_sum, int has) {
  sum = multiply_add(dots, multiply(scales, all_of(x_scale)), sum);
  return has ? multiply_add(minimums, all_of(x_sum), sum) : sum;
}

/** Rows [row, row + count) of `pair` groups from g on; `count`, `pair` and `has` (minimums) are constants. */
INLINE void wide_tile(
    const Product *p, const Wide *wide, size_t g, size_t row, const int count, const int pair, const int has) {
  size_t blocks = p->blocks;
  const Outputs to = *p->to;
  Floats sums[2][4];
  for (int j = 0; j < pair; j++) {
    for (int i = 0; i < count; i++) sums[j][i] = zero_floats();
  }
  for (int i = 0; i < count; i++) prefetch_outputs(&to, p->first + row + (size_t)i, g);
  for (size_t b = 0; b < blocks; b++) {
    Sums dots[2][4];
    for (int j = 0; j < pair; j++) {
      for (int i = 0; i < count; i++) dots[j][i] = zero_sums();
    }
    const int16_t *x = (const int16_t *)p->a.codes + (row * blocks + b) * BLOCK;
    for (int at = 0; at < BLOCK / 2; at++) {
      Pairs codes[2];
      for (int j = 0; j < pair; j++) codes[j] = load_pairs(wide[j].codes + b * WIDE_BLOCK + (size_t)at * 2 * LANES);
      for (int i = 0; i < count; i++) {
        Pairs of_row = all_of_pair(x + (size_t)i * blocks * BLOCK + 2 * at);
        for (int j = 0; j < pair; j++) dots[j][i] = add_pairs(dots[j][i], codes[j], of_row);
      }
    }
    for (int j = 0; j < pair; j++) {
      Floats scales = load_floats(wide[j].scales + b * 2 * LANES);
      Floats minimums = has ? load_floats(wide[j].scales + b * 2 * LANES + LANES) : scales;
      for (int i = 0; i < count; i++) {
        size_t block = (row + (size_t)i) * blocks + b;
        Floats product = floats_of(dots[j][i]);
        sums[j][i] = add_block(sums[j][i], product, scales, minimums, p->a.scales[block], p->a.sums[block], has);
      }
    }
  }
  float *y = to.y + (p->first + row) * to.n + g * LANES;
  if (is_plain(&to, g, (size_t)pair)) {
    for (int i = 0; i < count; i++, y += to.n) {
      for (int j = 0; j < pair; j++) store_floats(y + j * LANES, sums[j][i]);
    }
    return;
  }
  for (int j = 0; j < pair; j++) {
    for (int i = 0; i < count; i++) store_outputs(&to, p->first + row + (size_t)i, g + (size_t)j, sums[j][i]);
  }
}

/** Rows [from, to) of `pair` groups from g on. */
INLINE void wide_rows(
    const Product *p, const Wide *wide, size_t g, size_t from, size_t to, const int pair, const int has) {
  size_t row = from;
  for (; row + 4 <= to; row += 4) wide_tile(p, wide, g, row, 4, pair, has);
  for (; row < to; row++) wide_tile(p, wide, g, row, 1, pair, has);
}

#endif
