// Adapters of a linear's rows: their tables and pools, and the pieces of work that threads take (grouped_lora.c).
#ifndef GROUPED_LORA_H
#define GROUPED_LORA_H
#include "../operator.h"

enum { RANKS = 8, PARTS_MAX = 3 };

/** Values of a rank that lie together in A and in B, and elements of a page before its codes. */
enum { A_BLOCK = 32, B_BLOCK = 64, HEADER = 32 };

/** 16-bit elements of a page whose ranks have `width` values. */
static inline size_t page_elements(size_t width, size_t block, int bits) {
  size_t values = RANKS * ((width + block - 1) / block * block);
  return bits == 16 ? values : HEADER + values / 2;
}

typedef struct {
  /** [slots, page_elements(in)] and [slots, page_elements(out)]; see grouped_lora.c. */
  const uint16_t *a, *b;
  /** Outputs of the part, and the first of them in y. */
  size_t out, first;
} LoraPart;

/** Rows from `order[first]` on, at most as many as a piece takes, which all have the same pages. */
typedef struct {
  size_t first, rows;
} LoraGroup;

typedef struct {
  /** The linear's input [R, in], and its products without bias and residual [R, out]. */
  const float *x;
  float *y;
  /** [out] and [R, out], or null. */
  const float *bias, *residual;
  /** [R, C]: slots of the pools, -1 for none; and the factor with which a row takes a page's product. */
  const int32_t *pages;
  const float *shares;
  /** DoRA's gains [G, out], and the index of each row's, [R]; null where all are 1. */
  const float *gain;
  const int32_t *gain_of;
  /** `parts` is 0 where no row has an adapter. */
  size_t rows, in, out, columns, parts;
  /** Bits of a page's values: 16 or 8. */
  int bits;
  LoraPart part[PARTS_MAX];
  /**
   * Whether a row has pages or a gain, [R]: its product is stored without additions, for `expand`. Null where no row
   * has.
   */
  uint8_t *adapted;
  /** The adapted rows, ordered so that those with the same pages are neighbours. */
  size_t *order;
  LoraGroup *groups;
  size_t group_count;
  /** Inner products, [parts, R in the order of `order`, C * 8]. */
  float *inner;
  /** Ranks of each page, [groups, parts, C], set by `shrink`. */
  uint8_t *ranks;
  /** Blocks of columns of the widest part. */
  size_t blocks;
  /** Pieces of the two sweeps. */
  size_t shrinks, expands;
} Lora;

/**
 * Reads the inputs of a node from `first` on: pages, shares, gain, gain_of, and a and b for each of `parts` parts,
 * which have `outs` outputs. Returns null, or what is wrong with them. `rows`, `in`, `out` and `bits` are set before.
 */
const char *VARIANT(read_lora)(const Call *, size_t first, size_t parts, const size_t *outs, Lora *);

/** Bytes that `group_lora` needs, a multiple of 64. */
size_t VARIANT(lora_bytes)(const Lora *);

/** Finds the adapted rows and the pieces of work. */
void VARIANT(group_lora)(Lora *, void *memory);

/** Computes piece `i` of `shrinks`, in any order and beside the product. */
void VARIANT(shrink_lora)(const Lora *, size_t i);

/** Computes piece `i` of `expands`, after all shrinks and the product. */
void VARIANT(expand_lora)(void *lora, size_t i);

#endif
