// What adapters add to the rows of a linear, computed on the pools of rank pages in place (see linear.h for the linear).
//
//   y [R, out] = y * gain + sum over the row's pages p of  share_p * (x A_pᵀ) B_p  + bias + residual
//
// for the rows that have pages or a gain; all others are finished with their product. Parts (q, k, v ...) lie side by
// side in y.
//
// A page has up to 8 ranks. Its values lie in the order of reading: 32 of each rank in A, and 64 in B, side by side.
//
//   16 bits  half floats [width / block, 8, block]
//    8 bits  half floats [8], the scales, and 24 spare ones; codes of a byte [width / block, 8, block]. A value is
//            scale * code. The scales of A and B are multiplied into x Aᵀ.
//
// Ranks end before the first one whose first value in A, or whose scale, is no number: a part that the adapter leaves
// alone, or a rank that only pads, is never read. A last block is filled up with zeros.
//
// Rows with the same pages form a group, which reads them once. Two sweeps share out pieces of every group: `shrink`
// computes the inner products x Aᵀ, one for each page and rank, beside the product itself; then `expand` multiplies
// them with B.
//
// A row's bits depend on its own values alone. An inner product is summed along `in` in one order, an output along the
// row's pages and their ranks; a tile computes more rows or columns at once, each in its own registers. So neither
// other rows nor the number of threads changes them, and no row is ever multiplied with a page that is not its own.
#include "grouped_lora.h"
#include "lanes.h"

#define INLINE static inline __attribute__((always_inline))

static const int32_t *pages_of(const Lora *lora, size_t row) { return lora->pages + row * lora->columns; }

static int is_number(uint16_t half) { return (half & 0x7fff) <= 0x7c00; }

static const uint16_t *a_page(const Lora *lora, const LoraPart *part, int32_t page) {
  return part->a + (size_t)page * page_elements(lora->in, A_BLOCK, lora->bits);
}
static const uint16_t *b_page(const Lora *lora, const LoraPart *part, int32_t page) {
  return part->b + (size_t)page * page_elements(part->out, B_BLOCK, lora->bits);
}

/** Ranks of a page in a part; 0 where the adapter leaves the part alone. */
static size_t ranks_of(const Lora *lora, const LoraPart *part, int32_t page) {
  if (page < 0) return 0;
  const uint16_t *first = a_page(lora, part, page);
  size_t ranks = 0;
  while (ranks < RANKS && is_number(first[ranks * (lora->bits == 16 ? A_BLOCK : 1)])) ranks++;
  return ranks;
}

/** The factor of a rank's inner product: A's scale times B's, or 1 at 16 bits. */
static float scale_of(const Lora *lora, const LoraPart *part, int32_t page, size_t rank) {
  if (lora->bits == 16) return 1;
  return half_value(a_page(lora, part, page)[rank]) * half_value(b_page(lora, part, page)[rank]);
}

/** Where a rank's value `at` lies behind a page's header; `block` is a constant. */
INLINE size_t place_of(const size_t block, size_t rank, size_t at) {
  return (at / block * RANKS + rank) * block + at % block;
}

static const float *gains_of(const Lora *lora, size_t row) {
  return lora->gain ? lora->gain + (size_t)lora->gain_of[row] * lora->out : NULL;
}

/** Adds bias and residual to `count` columns of a row, after all that adapters add. */
static void finish(const Lora *lora, size_t row, size_t column, size_t count) {
  float *y = lora->y + row * lora->out + column;
  for (size_t i = 0; lora->bias && i < count; i++) y[i] += lora->bias[column + i];
  const float *residual = lora->residual ? lora->residual + row * lora->out + column : NULL;
  for (size_t i = 0; residual && i < count; i++) y[i] += residual[i];
}

#if defined(REFERENCE)

/** A page's value, or its code. */
static float value_of(const uint16_t *page, int bits, size_t place) {
  return bits == 16 ? half_value(page[place]) : (float)((const int8_t *)(page + HEADER))[place];
}

/** One row and one part, written as in the formula. */
static void reference(const Lora *lora, size_t row, const LoraPart *part) {
  const float *x = lora->x + row * lora->in, *gains = gains_of(lora, row);
  float *y = lora->y + row * lora->out + part->first;
  float inner[RANKS];
  for (size_t n = 0; gains && n < part->out; n++) y[n] *= gains[part->first + n];
  for (size_t c = 0; c < lora->columns; c++) {
    int32_t page = pages_of(lora, row)[c];
    float share = lora->shares[row * lora->columns + c];
    size_t ranks = ranks_of(lora, part, page);
    if (ranks == 0) continue;
    const uint16_t *a = a_page(lora, part, page), *b = b_page(lora, part, page);
    for (size_t j = 0; j < ranks; j++) {
      float sum = 0;
      for (size_t k = 0; k < lora->in; k++) sum += x[k] * value_of(a, lora->bits, place_of(A_BLOCK, j, k));
      inner[j] = share == 0 ? 0 : share * (scale_of(lora, part, page, j) * sum);
    }
    for (size_t j = 0; j < ranks; j++) {
      for (size_t n = 0; n < part->out; n++) y[n] += inner[j] * value_of(b, lora->bits, place_of(B_BLOCK, j, n));
    }
  }
  finish(lora, row, part->first, part->out);
}

size_t VARIANT(lora_bytes)(const Lora *lora) { return (lora->rows + 63) / 64 * 64; }

void VARIANT(group_lora)(Lora *lora, void *memory) {
  (void)memory;
  lora->expands = lora->parts == 0 ? 0 : lora->rows;
  if (lora->expands == 0) return;
  lora->adapted = memory;
  memset(lora->adapted, 1, lora->rows);
}

void VARIANT(shrink_lora)(const Lora *lora, size_t i) { (void)lora, (void)i; }

void VARIANT(expand_lora)(void *data, size_t row) {
  const Lora *lora = data;
  for (size_t i = 0; i < lora->parts; i++) reference(lora, row, &lora->part[i]);
}

#else

/** Rows and columns of a piece: so many rows that converting a page to floats takes little beside its products. */
enum { PIECE_ROWS = 16, PIECE_COLUMNS = B_BLOCK };

/** Splits of a sweep: more than threads, so that a late thread takes fewer. */
enum { SPLITS = 16 };

/** Products that one thread computes alone, in less time than others need to wake. */
enum { ALONE = 32768 };

static float *inner_of(const Lora *lora, size_t part, size_t place) {
  return lora->inner + (part * lora->rows + place) * lora->columns * RANKS;
}

static uint8_t *ranks_in(const Lora *lora, const LoraGroup *group, size_t part) {
  return lora->ranks + ((size_t)(group - lora->groups) * lora->parts + part) * lora->columns;
}

/** Values of a page from a place on, or their codes; `bits` is a constant. */
INLINE Lanes values_of(const int bits, const uint16_t *page, size_t place) {
  return bits == 16 ? lanes_halves(page + place) : lanes_codes((const int8_t *)(page + HEADER) + place);
}

/** Inner products of `rows` rows and `ranks` ranks; both are constants, so that all sums are in registers. */
INLINE void dots(const int bits, const size_t rows, const size_t ranks, const float *const *x, const uint16_t *a,
                 size_t rank, size_t in, float *const *inner) {
  Lanes sums[4][RANKS];
  UNROLL for (size_t r = 0; r < rows; r++) {
    UNROLL for (size_t j = 0; j < ranks; j++) sums[r][j] = lanes_of(0);
  }
  for (size_t k = 0; k < in; k += LANES) {
    Lanes values[4];
    size_t count = in - k < LANES ? in - k : LANES, place = place_of(A_BLOCK, rank, k);
    UNROLL for (size_t r = 0; r < rows; r++) {
      values[r] = count == LANES ? lanes_load(x[r] + k) : lanes_load_some(x[r] + k, count);
    }
    UNROLL for (size_t j = 0; j < ranks; j++) {
      Lanes weights = values_of(bits, a, place + j * A_BLOCK);
      UNROLL for (size_t r = 0; r < rows; r++) sums[r][j] = lanes_multiply_add(values[r], weights, sums[r][j]);
    }
  }
  UNROLL for (size_t r = 0; r < rows; r++) {
    UNROLL for (size_t j = 0; j < ranks; j++) inner[r][j] = lanes_sum(sums[r][j]);
  }
}

/** Inner products of all ranks of a page, `most` of them at once. */
INLINE void dots_of_page(const int bits, const size_t rows, const size_t most, size_t ranks, const float *const *x,
                         const uint16_t *a, size_t in, float *const *inner) {
  float *to[4];
  for (size_t j = 0; j < ranks;) {
    size_t left = ranks - j;
    for (size_t r = 0; r < rows; r++) to[r] = inner[r] + j;
    if (most >= 8 && left >= 8) dots(bits, rows, 8, x, a, j, in, to), j += 8;
    else if (most >= 4 && left >= 4) dots(bits, rows, 4, x, a, j, in, to), j += 4;
    else if (left >= 2) dots(bits, rows, 2, x, a, j, in, to), j += 2;
    else dots(bits, rows, 1, x, a, j, in, to), j += 1;
  }
}

/** Computes x Aᵀ of a group's rows for one page and one part, times each row's share of it. */
INLINE void shrink_as(const int bits, const Lora *lora, const LoraGroup *group, size_t part_index, size_t column) {
  const LoraPart *part = &lora->part[part_index];
  int32_t page = pages_of(lora, lora->order[group->first])[column];
  size_t ranks = ranks_of(lora, part, page);
  ranks_in(lora, group, part_index)[column] = (uint8_t)ranks;
  if (ranks == 0) return;
  const uint16_t *a = a_page(lora, part, page);
  const float *x[PIECE_ROWS];
  float *inner[PIECE_ROWS];
  for (size_t r = 0; r < group->rows; r++) {
    x[r] = lora->x + lora->order[group->first + r] * lora->in;
    inner[r] = inner_of(lora, part_index, group->first + r) + column * RANKS;
  }
  size_t r = 0;
  for (; r + 4 <= group->rows; r += 4) dots_of_page(bits, 4, 2, ranks, x + r, a, lora->in, inner + r);
  for (; r + 2 <= group->rows; r += 2) dots_of_page(bits, 2, 4, ranks, x + r, a, lora->in, inner + r);
  for (; r < group->rows; r++) dots_of_page(bits, 1, 8, ranks, x + r, a, lora->in, inner + r);
  for (r = 0; r < group->rows; r++) {
    float share = lora->shares[lora->order[group->first + r] * lora->columns + column];
    // A share of 0 takes nothing, even where the product overflows.
    for (size_t j = 0; j < ranks; j++) {
      inner[r][j] = share == 0 ? 0 : share * (scale_of(lora, part, page, j) * inner[r][j]);
    }
  }
}

static void shrink(const Lora *lora, const LoraGroup *group, size_t part, size_t column) {
  if (lora->bits == 16) shrink_as(16, lora, group, part, column);
  else shrink_as(8, lora, group, part, column);
}

/**
 * Adds the products with B to `count` columns of y, at most `vectors` registers of them; `rows` and `vectors` are
 * constants.
 */
INLINE void add_products(const int bits, const size_t rows, const size_t vectors, const Lora *lora,
                         const LoraGroup *group, const size_t *order, size_t part_index, const float *const *inner,
                         size_t column, size_t count) {
  const LoraPart *part = &lora->part[part_index];
  const int32_t *pages = pages_of(lora, order[0]);
  const uint8_t *ranks = ranks_in(lora, group, part_index);
  const int is_whole = count >= LANES;
  Lanes sums[4][8];
  UNROLL for (size_t r = 0; r < rows; r++) {
    UNROLL for (size_t v = 0; v < vectors; v++) sums[r][v] = lanes_of(0);
  }
  for (size_t c = 0; c < lora->columns; c++) {
    if (ranks[c] == 0) continue;
    const uint16_t *b = b_page(lora, part, pages[c]);
    for (size_t j = 0; j < ranks[c]; j++) {
      size_t place = place_of(B_BLOCK, j, column);
      Lanes factors[4];
      UNROLL for (size_t r = 0; r < rows; r++) factors[r] = lanes_of(inner[r][c * RANKS + j]);
      UNROLL for (size_t v = 0; v < vectors; v++) {
        Lanes weights = values_of(bits, b, place + v * LANES);
        UNROLL for (size_t r = 0; r < rows; r++) sums[r][v] = lanes_multiply_add(weights, factors[r], sums[r][v]);
      }
    }
  }
  UNROLL for (size_t r = 0; r < rows; r++) {
    float *y = lora->y + order[r] * lora->out + part->first + column;
    const float *gains = gains_of(lora, order[r]);
    if (gains) gains += part->first + column;
    UNROLL for (size_t v = 0; v < vectors; v++) {
      if (is_whole) {
        Lanes gain = gains ? lanes_load(gains + v * LANES) : lanes_of(1);
        lanes_store(y + v * LANES, lanes_multiply_add(lanes_load(y + v * LANES), gain, sums[r][v]));
      } else {
        Lanes gain = gains ? lanes_load_some(gains, count) : lanes_of(1);
        lanes_store_some(y, lanes_multiply_add(lanes_load_some(y, count), gain, sums[r][v]), count);
      }
    }
    finish(lora, order[r], part->first + column, count);
  }
}

/**
 * All columns of a block, `most` registers of them at once; left-over columns, of which real sizes have none, by single
 * registers.
 */
INLINE void add_block(const int bits, const size_t rows, const size_t most, const Lora *lora, const LoraGroup *group,
                      const size_t *order, size_t part, const float *const *inner, size_t column, size_t count) {
  const size_t vectors = most < B_BLOCK / LANES ? most : B_BLOCK / LANES;
  for (; count >= vectors * LANES; column += vectors * LANES, count -= vectors * LANES) {
    add_products(bits, rows, vectors, lora, group, order, part, inner, column, vectors * LANES);
  }
  while (count > 0) {
    size_t some = count < LANES ? count : LANES;
    add_products(bits, rows, 1, lora, group, order, part, inner, column, some);
    column += some;
    count -= some;
  }
}

/** Finishes `count` columns of a row to which no page adds. */
static void finish_product(const Lora *lora, size_t row, size_t column, size_t count) {
  const float *gains = gains_of(lora, row);
  float *y = lora->y + row * lora->out + column;
  for (size_t i = 0; gains && i < count; i++) y[i] *= gains[column + i];
  finish(lora, row, column, count);
}

/** Multiplies the inner products of a group's rows with B, and adds them to a block of the part's columns. */
INLINE void expand_as(const int bits, const Lora *lora, const LoraGroup *group, size_t part_index, size_t block) {
  const LoraPart *part = &lora->part[part_index];
  size_t column = block * PIECE_COLUMNS;
  if (column >= part->out) return;
  size_t count = part->out - column < PIECE_COLUMNS ? part->out - column : PIECE_COLUMNS;
  const size_t *order = lora->order + group->first;
  size_t ranks = 0;
  for (size_t c = 0; c < lora->columns; c++) ranks += ranks_in(lora, group, part_index)[c];
  if (ranks == 0) {
    for (size_t r = 0; r < group->rows; r++) finish_product(lora, order[r], part->first + column, count);
    return;
  }
  const float *inner[PIECE_ROWS];
  for (size_t r = 0; r < group->rows; r++) inner[r] = inner_of(lora, part_index, group->first + r);
  size_t r = 0;
#define ADD(rows, most) add_block(bits, rows, most, lora, group, order + r, part_index, inner + r, column, count)
  for (; r + 4 <= group->rows; r += 4) ADD(4, 2);
  for (; r + 2 <= group->rows; r += 2) ADD(2, 4);
  for (; r < group->rows; r++) ADD(1, 8);
#undef ADD
}

static void expand(const Lora *lora, const LoraGroup *group, size_t part, size_t block) {
  if (lora->bits == 16) expand_as(16, lora, group, part, block);
  else expand_as(8, lora, group, part, block);
}

/** Computes one piece. Pieces are numbered by group, then by part, then by page or block of columns. */
typedef void Piece(const Lora *, const LoraGroup *, size_t part, size_t index);

static void sweep(const Lora *lora, size_t split, size_t splits, size_t length, Piece *piece) {
  size_t pieces = lora->group_count * lora->parts * length;
  for (size_t i = pieces * split / splits; i < pieces * (split + 1) / splits; i++) {
    piece(lora, &lora->groups[i / length / lora->parts], i / length % lora->parts, i % length);
  }
}

void VARIANT(shrink_lora)(const Lora *lora, size_t i) { sweep(lora, i, lora->shrinks, lora->columns, shrink); }

void VARIANT(expand_lora)(void *data, size_t i) {
  const Lora *lora = data;
  sweep(lora, i, lora->expands, lora->blocks, expand);
}

static int compare_pages(const Lora *lora, size_t row, size_t other) {
  const int32_t *a = pages_of(lora, row), *b = pages_of(lora, other);
  for (size_t c = 0; c < lora->columns; c++) {
    if (a[c] != b[c]) return a[c] < b[c] ? -1 : 1;
  }
  return 0;
}

static int has_pages(const Lora *lora, size_t row) {
  for (size_t c = 0; c < lora->columns; c++) {
    if (pages_of(lora, row)[c] >= 0) return 1;
  }
  return 0;
}

/**
 * Orders the rows with pages or a gain, and groups them. Rows mostly come in order, so each is inserted from the end.
 */
static void group_rows(Lora *lora) {
  size_t count = 0;
  for (size_t row = 0; row < lora->rows; row++) {
    lora->adapted[row] = lora->gain != NULL || has_pages(lora, row);
    if (!lora->adapted[row]) continue;
    size_t at = count++;
    for (; at > 0 && compare_pages(lora, lora->order[at - 1], row) > 0; at--) lora->order[at] = lora->order[at - 1];
    lora->order[at] = row;
  }
  lora->group_count = 0;
  for (size_t i = 0; i < count; i++) {
    LoraGroup *last = lora->group_count ? &lora->groups[lora->group_count - 1] : NULL;
    if (last && last->rows < PIECE_ROWS && compare_pages(lora, lora->order[last->first], lora->order[i]) == 0) {
      last->rows++;
    } else {
      lora->groups[lora->group_count++] = (LoraGroup){i, 1};
    }
  }
}

/** Bytes of each list, in the order of alignment. */
typedef struct {
  size_t groups, order, inner, ranks, adapted;
} Books;

static Books books_of(const Lora *lora) {
  size_t pages = lora->parts * lora->rows * lora->columns;
  return (Books){lora->rows * sizeof(LoraGroup), lora->rows * sizeof(size_t), pages * RANKS * sizeof(float), pages,
                 lora->rows};
}

size_t VARIANT(lora_bytes)(const Lora *lora) {
  if (lora->parts == 0) return 0;
  Books b = books_of(lora);
  return (b.groups + b.order + b.inner + b.ranks + b.adapted + 63) / 64 * 64;
}

void VARIANT(group_lora)(Lora *lora, void *memory) {
  if (lora->parts == 0) return;
  Books b = books_of(lora);
  uint8_t *at = memory;
  lora->groups = (void *)at;
  lora->order = (void *)(at += b.groups);
  lora->inner = (void *)(at += b.order);
  lora->ranks = at += b.inner;
  lora->adapted = at + b.ranks;
  group_rows(lora);
  if (lora->group_count == 0) {
    lora->adapted = NULL;
    return;
  }
  for (size_t i = 0; i < lora->parts; i++) {
    size_t blocks = (lora->part[i].out + PIECE_COLUMNS - 1) / PIECE_COLUMNS;
    if (blocks > lora->blocks) lora->blocks = blocks;
  }
  size_t products = lora->group_count * lora->columns * RANKS * (lora->in * lora->parts + lora->out);
  lora->expands = products < ALONE ? 1 : SPLITS;
  lora->shrinks = lora->columns == 0 ? 0 : lora->expands;
}

#endif

const char *VARIANT(read_lora)(const Call *call, size_t first, size_t parts, const size_t *outs, Lora *lora) {
  enum { PAGES = 0, SHARES, GAIN, GAIN_OF, FIRST_PART };
  Shape pages = input_shape(call, first + PAGES);
  if (pages.rank == 0) return NULL;
  if (pages.rank != 2 || (size_t)pages.dims[0] != lora->rows) return "pages must be [R, C]";
  lora->columns = (size_t)pages.dims[1];
  Shape gain = input_shape(call, first + GAIN);
  if (lora->columns == 0 && gain.rank == 0) return NULL;
  Shape shares = input_shape(call, first + SHARES);
  if (shares.rank != 2 || (size_t)shares.dims[0] != lora->rows || (size_t)shares.dims[1] != lora->columns) {
    return "shares must be as pages";
  }
  lora->parts = parts;
  lora->pages = input(call, first + PAGES);
  lora->shares = input(call, first + SHARES);
  if (gain.rank > 0) {
    Shape gain_of = input_shape(call, first + GAIN_OF);
    if (gain.rank != 2 || (size_t)gain.dims[1] != lora->out || gain_of.rank != 1 ||
        (size_t)gain_of.dims[0] != lora->rows) {
      return "gain must be [G, n], and said of each row";
    }
    lora->gain = input(call, first + GAIN);
    lora->gain_of = input(call, first + GAIN_OF);
    for (size_t row = 0; row < lora->rows; row++) {
      if (lora->gain_of[row] < 0 || lora->gain_of[row] >= gain.dims[0]) return "a gain that is not there";
    }
  }
  size_t outputs = 0, slots = SIZE_MAX;
  for (size_t i = 0; i < parts; i++) {
    size_t of_a = first + FIRST_PART + 2 * i, of_b = of_a + 1;
    Shape a = input_shape(call, of_a), b = input_shape(call, of_b);
    if (a.rank != 2 || b.rank != 2 || a.dims[0] != b.dims[0] ||
        (size_t)a.dims[1] != page_elements(lora->in, A_BLOCK, lora->bits) ||
        (size_t)b.dims[1] != page_elements(outs[i], B_BLOCK, lora->bits)) {
      return "pools must be of pages of 8 ranks of k, and of a part's outputs";
    }
    lora->part[i] = (LoraPart){input(call, of_a), input(call, of_b), outs[i], outputs};
    outputs += outs[i];
    if ((size_t)a.dims[0] < slots) slots = (size_t)a.dims[0];
  }
  if (outputs != lora->out) return "the parts' outputs are not the linear's";
  for (size_t i = 0; i < lora->rows * lora->columns; i++) {
    if (lora->pages[i] >= 0 && (size_t)lora->pages[i] >= slots) return "a page that is not there";
  }
  return NULL;
}
