// GroupedLora: what the adapters of each row add to a joined linear, straight from the pools of rank pages.
//
//   y [R, out] = base * gain + sum over the row's pages p of  share_p * (x A_pᵀ) B_p,   the parts' outputs side by side
//
//   x       float32 [R, in]
//   base    float32 [R, out]          the linear's own product, whose memory y takes
//   pages   int32 [R, C]              slots of the pools; -1: none
//   shares  float32 [R, C]            how much of the page's product the row takes
//   gain    float32 [G, out]          DoRA; left out: 1
//   a_i     float16 [slots, 8, in]    for each part i of `parts` (q, k, v ...): ranks as rows
//   b_i     float16 [slots, 8, out_i] B transposed
//   gain_of int32 [R]                 the row of `gain` that a row takes
//
// A page has 8 ranks at most: they end at the first whose first value in A is no number, so a part that the adapter
// leaves alone, or a rank that only pads, is never read.
//
// Rows with the same pages are a group, which reads them once. Two sweeps share out pieces of every group: `shrink`
// makes the inner products x Aᵀ, one for each page and rank, then `expand` multiplies them with B.
//
// A row's bits depend on its own values alone: an inner product is summed along `in` in one order, an output along the
// row's pages and their ranks; a tile computes more rows or more columns at once, each in its own registers. So neither
// company nor the number of threads changes them, and no row is ever multiplied with a page that is not its own.
#include "../operator.h"
#include "lanes.h"
#include <stdlib.h>

#define INLINE static inline __attribute__((always_inline))

enum { RANKS = 8, PARTS_MAX = 3, X = 0, BASE, PAGES, SHARES, GAIN, FIRST_PART };
enum { GAIN_OF = FIRST_PART + 2 * PARTS_MAX };

typedef struct {
  const uint16_t *a, *b;
  /** Outputs, and the first of them in y. */
  size_t out, first;
} Part;

/** Rows `order[first]` and on, which have the same pages; of a piece's number at most. */
typedef struct {
  size_t first, rows;
} Group;

typedef struct {
  const float *x, *base, *gain, *shares;
  const int32_t *pages, *gain_of;
  float *y;
  size_t rows, in, out, columns, parts, slots;
  Part part[PARTS_MAX];
  /** Rows in an order in which those with the same pages are neighbours. */
  size_t *order;
  Group *groups;
  size_t group_count;
  /** Inner products, [parts, R in that order, columns * 8]. */
  float *inner;
  /** Ranks of each page, [groups, parts, columns], once `shrink` has seen it. */
  uint8_t *ranks;
  /** Blocks of columns of the widest part. */
  size_t blocks;
  /** Equal parts of a sweep, which threads take. */
  size_t splits;
} Work;

static const int32_t *pages_of(const Work *work, size_t row) { return work->pages + row * work->columns; }


static int is_number(uint16_t half) { return (half & 0x7fff) <= 0x7c00; }

/** Ranks of a page in a part: 0 where the adapter leaves the part alone. */
static size_t ranks_of(const Part *part, size_t in, int32_t page) {
  if (page < 0) return 0;
  const uint16_t *a = part->a + (size_t)page * RANKS * in;
  size_t ranks = 0;
  while (ranks < RANKS && is_number(a[ranks * in])) ranks++;
  return ranks;
}

/** `count` columns of a row to which no adapter adds. */
static void keep_product(const Work *work, size_t row, size_t column, size_t count) {
  size_t at = row * work->out + column;
  if (work->gain) {
    const float *gain = work->gain + (size_t)work->gain_of[row] * work->out + column;
    for (size_t i = 0; i < count; i++) work->y[at + i] = work->base[at + i] * gain[i];
  } else if (work->y != work->base) {
    memcpy(work->y + at, work->base + at, count * sizeof(float));
  }
}

#if defined(REFERENCE)

/** One row and one part, as the formula says it. */
static void reference(const Work *work, size_t row, const Part *part) {
  const float *x = work->x + row * work->in;
  float *y = work->y + row * work->out + part->first;
  float inner[RANKS];
  keep_product(work, row, part->first, part->out);
  for (size_t c = 0; c < work->columns; c++) {
    int32_t page = pages_of(work, row)[c];
    float share = work->shares[row * work->columns + c];
    size_t ranks = ranks_of(part, work->in, page);
    const uint16_t *a = part->a + (size_t)(ranks ? page : 0) * RANKS * work->in;
    const uint16_t *b = part->b + (size_t)(ranks ? page : 0) * RANKS * part->out;
    for (size_t j = 0; j < ranks; j++) {
      float sum = 0;
      for (size_t k = 0; k < work->in; k++) sum += x[k] * half_value(a[j * work->in + k]);
      inner[j] = share == 0 ? 0 : share * sum;
    }
    for (size_t j = 0; j < ranks; j++) {
      for (size_t n = 0; n < part->out; n++) y[n] += inner[j] * half_value(b[j * part->out + n]);
    }
  }
}

static void reference_row(void *data, size_t row) {
  const Work *work = data;
  for (size_t i = 0; i < work->parts; i++) reference(work, row, &work->part[i]);
}

static const char *compute(const Call *call, Work *work) {
  in_parallel(call, work->rows, reference_row, work);
  return NULL;
}

#else

/** Rows of a piece: as many as leave a page's conversion to floats little beside its products. */
enum { PIECE_ROWS = 16, PIECE_COLUMNS = 8 * LANES };

/** Splits of a sweep: more than threads, so that one that is late takes fewer. */
enum { SPLITS = 16 };

/** Products that one thread makes before others are awake. */
enum { ALONE = 32768 };

static float *inner_of(const Work *work, size_t part, size_t place) {
  return work->inner + (part * work->rows + place) * work->columns * RANKS;
}

static uint8_t *ranks_in(const Work *work, const Group *group, size_t part) {
  return work->ranks + ((size_t)(group - work->groups) * work->parts + part) * work->columns;
}

/** Inner products of `rows` rows and `ranks` ranks: both constants, so that all sums are registers. */
INLINE void dots(const size_t rows, const size_t ranks, const float *const *x, const uint16_t *a, size_t in,
                 float *const *inner) {
  Lanes sums[4][RANKS];
  UNROLL for (size_t r = 0; r < rows; r++) {
    UNROLL for (size_t j = 0; j < ranks; j++) sums[r][j] = lanes_of(0);
  }
  size_t k = 0;
  for (; k + LANES <= in; k += LANES) {
    Lanes values[4];
    UNROLL for (size_t r = 0; r < rows; r++) values[r] = lanes_load(x[r] + k);
    UNROLL for (size_t j = 0; j < ranks; j++) {
      Lanes weights = lanes_halves(a + j * in + k);
      UNROLL for (size_t r = 0; r < rows; r++) sums[r][j] = lanes_multiply_add(values[r], weights, sums[r][j]);
    }
  }
  if (k < in) {
    UNROLL for (size_t j = 0; j < ranks; j++) {
      Lanes weights = lanes_halves_some(a + j * in + k, in - k);
      UNROLL for (size_t r = 0; r < rows; r++) {
        sums[r][j] = lanes_multiply_add(lanes_load_some(x[r] + k, in - k), weights, sums[r][j]);
      }
    }
  }
  UNROLL for (size_t r = 0; r < rows; r++) {
    UNROLL for (size_t j = 0; j < ranks; j++) inner[r][j] = lanes_sum(sums[r][j]);
  }
}

/** All ranks of a page, `most` of them at once. */
INLINE void dots_of_page(const size_t rows, const size_t most, size_t ranks, const float *const *x, const uint16_t *a,
                         size_t in, float *const *inner) {
  float *to[4];
  for (size_t j = 0; j < ranks;) {
    size_t left = ranks - j;
    for (size_t r = 0; r < rows; r++) to[r] = inner[r] + j;
    const uint16_t *from = a + j * in;
    if (most >= 8 && left >= 8) dots(rows, 8, x, from, in, to), j += 8;
    else if (most >= 4 && left >= 4) dots(rows, 4, x, from, in, to), j += 4;
    else if (left >= 2) dots(rows, 2, x, from, in, to), j += 2;
    else dots(rows, 1, x, from, in, to), j += 1;
  }
}

/** x Aᵀ of a group's rows, one page and one part, times what each row takes of it. */
static void shrink(const Work *work, const Group *group, size_t part_index, size_t column) {
  const Part *part = &work->part[part_index];
  int32_t page = pages_of(work, work->order[group->first])[column];
  size_t ranks = ranks_of(part, work->in, page);
  ranks_in(work, group, part_index)[column] = (uint8_t)ranks;
  if (ranks == 0) return;
  const uint16_t *a = part->a + (size_t)page * RANKS * work->in;
  const float *x[PIECE_ROWS];
  float *inner[PIECE_ROWS];
  for (size_t r = 0; r < group->rows; r++) {
    x[r] = work->x + work->order[group->first + r] * work->in;
    inner[r] = inner_of(work, part_index, group->first + r) + column * RANKS;
  }
  size_t r = 0;
  for (; r + 4 <= group->rows; r += 4) dots_of_page(4, 2, ranks, x + r, a, work->in, inner + r);
  for (; r + 2 <= group->rows; r += 2) dots_of_page(2, 4, ranks, x + r, a, work->in, inner + r);
  for (; r < group->rows; r++) dots_of_page(1, 8, ranks, x + r, a, work->in, inner + r);
  for (r = 0; r < group->rows; r++) {
    float share = work->shares[work->order[group->first + r] * work->columns + column];
    // Of nothing nothing is taken, whatever the product overflows to.
    for (size_t j = 0; j < ranks; j++) inner[r][j] = share == 0 ? 0 : share * inner[r][j];
  }
}

/** `count` columns of y, at most `vectors` registers of them; `rows` and `vectors` are constants. */
INLINE void add_products(const size_t rows, const size_t vectors, const Work *work, const Group *group,
                         const size_t *order, size_t part_index, const float *const *inner, size_t column,
                         size_t count) {
  const Part *part = &work->part[part_index];
  const int32_t *pages = pages_of(work, order[0]);
  const uint8_t *ranks = ranks_in(work, group, part_index);
  const int is_whole = count >= LANES;
  Lanes sums[4][8];
  UNROLL for (size_t r = 0; r < rows; r++) {
    UNROLL for (size_t v = 0; v < vectors; v++) sums[r][v] = lanes_of(0);
  }
  for (size_t c = 0; c < work->columns; c++) {
    const uint16_t *b = part->b + (ranks[c] ? (size_t)pages[c] * RANKS * part->out + column : 0);
    for (size_t j = 0; j < ranks[c]; j++, b += part->out) {
      Lanes factors[4];
      UNROLL for (size_t r = 0; r < rows; r++) factors[r] = lanes_of(inner[r][c * RANKS + j]);
      UNROLL for (size_t v = 0; v < vectors; v++) {
        Lanes weights = is_whole ? lanes_halves(b + v * LANES) : lanes_halves_some(b, count);
        UNROLL for (size_t r = 0; r < rows; r++) sums[r][v] = lanes_multiply_add(weights, factors[r], sums[r][v]);
      }
    }
  }
  UNROLL for (size_t r = 0; r < rows; r++) {
    size_t at = order[r] * work->out + part->first + column;
    const float *gains = NULL;
    if (work->gain) gains = work->gain + (size_t)work->gain_of[order[r]] * work->out + part->first + column;
    UNROLL for (size_t v = 0; v < vectors; v++, at += LANES) {
      if (is_whole) {
        Lanes gain = gains ? lanes_load(gains + v * LANES) : lanes_of(1);
        lanes_store(work->y + at, lanes_multiply_add(lanes_load(work->base + at), gain, sums[r][v]));
      } else {
        Lanes gain = gains ? lanes_load_some(gains, count) : lanes_of(1);
        Lanes base = lanes_load_some(work->base + at, count);
        lanes_store_some(work->y + at, lanes_multiply_add(base, gain, sums[r][v]), count);
      }
    }
  }
}

/** All columns of a block, `most` registers of them at once. */
INLINE void add_block(const size_t rows, const size_t most, const Work *work, const Group *group, const size_t *order,
                      size_t part, const float *const *inner, size_t column, size_t count) {
#define STEP(vectors)                                                                                                  \
  for (; most >= (vectors) && count >= (vectors)*LANES; column += (vectors)*LANES, count -= (vectors)*LANES)           \
    add_products(rows, vectors, work, group, order, part, inner, column, (vectors)*LANES);
  STEP(8)
  STEP(4)
  STEP(2)
  STEP(1)
#undef STEP
  if (count > 0) add_products(rows, 1, work, group, order, part, inner, column, count);
}

/** The inner products of a group's rows times B, added to a block of the part's columns. */
static void expand(const Work *work, const Group *group, size_t part_index, size_t block) {
  const Part *part = &work->part[part_index];
  size_t column = block * PIECE_COLUMNS;
  if (column >= part->out) return;
  size_t count = part->out - column < PIECE_COLUMNS ? part->out - column : PIECE_COLUMNS;
  const size_t *order = work->order + group->first;
  size_t ranks = 0;
  for (size_t c = 0; c < work->columns; c++) ranks += ranks_in(work, group, part_index)[c];
  if (ranks == 0) {
    for (size_t r = 0; r < group->rows; r++) keep_product(work, order[r], part->first + column, count);
    return;
  }
  const float *inner[PIECE_ROWS];
  for (size_t r = 0; r < group->rows; r++) inner[r] = inner_of(work, part_index, group->first + r);
  size_t r = 0;
  for (; r + 4 <= group->rows; r += 4) add_block(4, 2, work, group, order + r, part_index, inner + r, column, count);
  for (; r + 2 <= group->rows; r += 2) add_block(2, 4, work, group, order + r, part_index, inner + r, column, count);
  for (; r < group->rows; r++) add_block(1, 8, work, group, order + r, part_index, inner + r, column, count);
}

/** Pieces are numbered by group, then by part, then by page or block of columns. */
typedef void Piece(const Work *, const Group *, size_t part, size_t index);

static void sweep(const Work *work, size_t split, size_t length, Piece *piece) {
  size_t pieces = work->group_count * work->parts * length;
  for (size_t i = pieces * split / work->splits; i < pieces * (split + 1) / work->splits; i++) {
    piece(work, &work->groups[i / length / work->parts], i / length % work->parts, i % length);
  }
}

static void shrink_share(void *data, size_t split) {
  const Work *work = data;
  sweep(work, split, work->columns, shrink);
}

static void expand_share(void *data, size_t split) {
  const Work *work = data;
  sweep(work, split, work->blocks, expand);
}

static int compare_pages(const Work *work, size_t row, size_t other) {
  const int32_t *a = pages_of(work, row), *b = pages_of(work, other);
  for (size_t c = 0; c < work->columns; c++) {
    if (a[c] != b[c]) return a[c] < b[c] ? -1 : 1;
  }
  return 0;
}

static int has_pages(const Work *work, size_t row) {
  for (size_t c = 0; c < work->columns; c++) {
    if (pages_of(work, row)[c] >= 0) return 1;
  }
  return 0;
}

/** Orders the rows that need anything, and groups them. Rows mostly come in order, so each is inserted from behind. */
static void group_rows(Work *work) {
  size_t count = 0;
  for (size_t row = 0; row < work->rows; row++) {
    if (!has_pages(work, row)) {
      keep_product(work, row, 0, work->out);
      continue;
    }
    size_t at = count++;
    for (; at > 0 && compare_pages(work, work->order[at - 1], row) > 0; at--) work->order[at] = work->order[at - 1];
    work->order[at] = row;
  }
  work->group_count = 0;
  for (size_t i = 0; i < count; i++) {
    Group *last = work->group_count ? &work->groups[work->group_count - 1] : NULL;
    if (last && last->rows < PIECE_ROWS && compare_pages(work, work->order[last->first], work->order[i]) == 0) {
      last->rows++;
    } else {
      work->groups[work->group_count++] = (Group){i, 1};
    }
  }
}

static const char *compute(const Call *call, Work *work) {
  // Most steps are small: their books fit on the stack.
  max_align_t local[1024];
  size_t inner = work->parts * work->rows * work->columns * RANKS * sizeof(float);
  size_t order = work->rows * sizeof(size_t), groups = work->rows * sizeof(Group);
  size_t ranks = work->rows * work->parts * work->columns;
  void *books = inner + order + groups + ranks <= sizeof local ? local : malloc(inner + order + groups + ranks);
  if (books == NULL) return "GroupedLora: out of memory";
  work->groups = books;
  work->order = (void *)((char *)books + groups);
  work->inner = (void *)((char *)books + groups + order);
  work->ranks = (void *)((char *)books + groups + order + inner);
  group_rows(work);
  for (size_t i = 0; i < work->parts; i++) {
    size_t blocks = (work->part[i].out + PIECE_COLUMNS - 1) / PIECE_COLUMNS;
    if (blocks > work->blocks) work->blocks = blocks;
  }
  size_t products = work->group_count * work->columns * RANKS * (work->in * work->parts + work->out);
  work->splits = products < ALONE ? 1 : SPLITS;
  if (work->group_count > 0) {
    in_parallel(call, work->splits, shrink_share, work);
    in_parallel(call, work->splits, expand_share, work);
  }
  if (books != local) free(books);
  return NULL;
}

#endif

/** Reads what the call brings into `work`; null, or what is wrong with it. */
static const char *read_call(const Call *call, size_t parts, Work *work) {
  Shape x = input_shape(call, X), base = input_shape(call, BASE), pages = input_shape(call, PAGES);
  Shape gain = input_shape(call, GAIN);
  if (x.rank != 2 || base.rank != 2 || base.dims[0] != x.dims[0]) return "GroupedLora: x and base must be [R, ...]";
  *work = (Work){.rows = (size_t)x.dims[0], .in = (size_t)x.dims[1], .out = (size_t)base.dims[1], .parts = parts};
  if (pages.rank != 2 || pages.dims[0] != x.dims[0]) return "GroupedLora: pages must be [R, C]";
  work->columns = (size_t)pages.dims[1];
  work->x = input(call, X);
  work->base = input(call, BASE);
  work->pages = input(call, PAGES);
  work->shares = input(call, SHARES);
  if (gain.rank > 0) {
    Shape gain_of = input_shape(call, GAIN_OF);
    if (gain.rank != 2 || gain.dims[1] != base.dims[1] || gain_of.rank != 1 || gain_of.dims[0] != base.dims[0]) {
      return "GroupedLora: gain must be [G, out], and said of each row";
    }
    work->gain = input(call, GAIN);
    work->gain_of = input(call, GAIN_OF);
    for (size_t row = 0; row < work->rows; row++) {
      if (work->gain_of[row] < 0 || work->gain_of[row] >= gain.dims[0]) return "GroupedLora: a gain that is not there";
    }
  }
  work->y = output(call, 0, base);
  return work->y == NULL ? "GroupedLora: there is no memory for y" : NULL;
}

static const char *read_parts(const Call *call, Work *work) {
  Shape shares = input_shape(call, SHARES);
  if (shares.rank != 2 || (size_t)shares.dims[0] != work->rows || (size_t)shares.dims[1] != work->columns) {
    return "GroupedLora: shares must be as pages";
  }
  size_t first = 0, slots = SIZE_MAX;
  for (size_t i = 0; i < work->parts; i++) {
    Shape a = input_shape(call, FIRST_PART + 2 * i), b = input_shape(call, FIRST_PART + 2 * i + 1);
    if (a.rank != 3 || b.rank != 3 || a.dims[1] != RANKS || b.dims[1] != RANKS || (size_t)a.dims[2] != work->in ||
        a.dims[0] != b.dims[0]) {
      return "GroupedLora: pools must be [slots, 8, in] and [slots, 8, out]";
    }
    work->part[i] = (Part){
        .a = input(call, FIRST_PART + 2 * i),
        .b = input(call, FIRST_PART + 2 * i + 1),
        .out = (size_t)b.dims[2],
        .first = first,
    };
    first += work->part[i].out;
    if ((size_t)a.dims[0] < slots) slots = (size_t)a.dims[0];
  }
  if (first != work->out) return "GroupedLora: the parts' outputs are not those of base";
  for (size_t i = 0; i < work->rows * work->columns; i++) {
    if (work->pages[i] >= 0 && (size_t)work->pages[i] >= slots) return "GroupedLora: a page that is not there";
  }
  return NULL;
}

typedef struct {
  size_t parts;
} State;

static const char *open(const Node *node, void *state) {
  int64_t parts = int_attribute(node, "parts", 0);
  if (parts < 1 || parts > PARTS_MAX) return "GroupedLora: parts must be 1 to 3";
  ((State *)state)->parts = (size_t)parts;
  return NULL;
}

static const char *run(const Call *call, void *state) {
  Work work;
  const char *wrong = read_call(call, ((State *)state)->parts, &work);
  if (wrong != NULL) return wrong;
  // No adapter in the batch touches the linear.
  if (work.columns == 0) {
    for (size_t row = 0; row < work.rows; row++) keep_product(&work, row, 0, work.out);
    return NULL;
  }
  wrong = read_parts(call, &work);
  return wrong == NULL ? compute(call, &work) : wrong;
}

/** y is base's memory; where ONNX Runtime cannot do that (base is the graph's own input), it is copied. */
static size_t y_is_base(int **inputs, int **outputs) {
  static int from[] = {BASE}, to[] = {0};
  *inputs = from;
  *outputs = to;
  return 1;
}

Operator VARIANT(GroupedLora) = {
    .name = "GroupedLora",
    .inputs = {{FLOAT32}, {FLOAT32}, {INT32}, {FLOAT32}, {FLOAT32, .optional = 1},
               {FLOAT16}, {FLOAT16}, {FLOAT16, .optional = 1}, {FLOAT16, .optional = 1},
               {FLOAT16, .optional = 1}, {FLOAT16, .optional = 1}, {INT32, .optional = 1}},
    .outputs = {{FLOAT32}},
    .aliases = y_is_base,
    .state = sizeof(State),
    .open = open,
    .run = run,
};
