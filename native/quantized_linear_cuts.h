// How a launch of native/cuda/quantized-linear.cu cuts a product into blocks. Tests include this file, too.
#ifndef QUANTIZED_LINEAR_CUTS_H
#define QUANTIZED_LINEAR_CUTS_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
  /** Tiles of 16 rows of a block, 1, 2 or 4: this chooses the kernel. */
  int row_tiles;
  int32_t parts, columns, turns, splits;
  unsigned blocks, shared_bytes;
  /** Sizes of the workspaces; 0 where blocks share no outputs. */
  size_t partial_bytes, counters;
} LinearCuts;

enum {
  CUT_TILE = 32,
  CUT_WARPS = 8,
  /** Warps that keep a card busy: 8 on each of some 128 multiprocessors. */
  CUT_BUSY_WARPS = 1024,
  CUT_BUSY_BLOCKS = 128,
  CUT_PARTS_MAX = 8,
  /** Bytes of a warp's sums of 16 rows. */
  CUT_SUM_BYTES = 16 * CUT_TILE * 4,
  CUT_PARTIAL_BYTES_MAX = 16 << 20,
};

static inline int64_t cut_ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }

/** Parts of a product's inputs. They decide a row's bits, and so depend on n and k alone. */
static inline int32_t cut_parts(int64_t n, int64_t k) {
  int32_t parts = 2;
  const int64_t tiles = cut_ceil(n, CUT_TILE);
  while (parts < CUT_PARTS_MAX && tiles * parts < CUT_BUSY_WARPS && k / CUT_TILE >= 8 * parts) parts *= 2;
  return parts;
}

static inline LinearCuts cut_linear(int64_t rows, int64_t n, int64_t k) {
  LinearCuts cuts = {0};
  const int64_t tiles = cut_ceil(n, CUT_TILE);
  cuts.row_tiles = rows <= 16 ? 1 : rows <= 32 ? 2 : 4;
  cuts.parts = cut_parts(n, k);
  cuts.turns = cuts.splits = 1;
  if (cuts.row_tiles == 1) {
    // All parts are warps of a block, so that blocks exchange nothing.
    cuts.columns = CUT_WARPS / cuts.parts;
    cuts.shared_bytes = CUT_WARPS * CUT_SUM_BYTES;
    cuts.blocks = (unsigned)cut_ceil(tiles, cuts.columns);
    return cuts;
  }
  // Wide blocks read x less often.
  cuts.columns = CUT_WARPS / 2;
  cuts.shared_bytes = (unsigned)(CUT_WARPS * CUT_SUM_BYTES * cuts.row_tiles / 2);
  const int64_t blocks = cut_ceil(tiles, cuts.columns) * cut_ceil(rows, 16 * cuts.row_tiles);
  const int32_t pairs = cuts.parts / 2;
  const size_t partial_bytes = (size_t)(blocks * pairs) * cuts.shared_bytes;
  if (pairs == 1 || blocks >= CUT_BUSY_BLOCKS || partial_bytes > CUT_PARTIAL_BYTES_MAX) {
    cuts.turns = pairs;
    cuts.blocks = (unsigned)blocks;
    return cuts;
  }
  cuts.splits = pairs;
  cuts.blocks = (unsigned)(blocks * pairs);
  cuts.partial_bytes = partial_bytes;
  cuts.counters = (size_t)blocks;
  return cuts;
}

#endif
