// A linear (see linear.h) with W packed as [ceil(n / 8), k, 8], 8 outputs side by side, of floats or half floats: one
// operator for each type of stored weight (STORED_IS_HALF, OPERATOR). All sums are of floats.
//
// The sum over k is made of stretches of 64, each from zero, in the order of k: the same for each row and output,
// whatever else is computed. So a row's bits depend on nothing but the row and the weights.
#include "linear.h"

#ifdef STORED_IS_HALF
typedef uint16_t Stored;
#define STORED UINT8
INLINE Floats load_stored(const Stored *p) { return load_halves(p); }
#else
typedef float Stored;
#define STORED FLOAT32
INLINE Floats load_stored(const Stored *p) { return load_floats(p); }
#endif

enum { STRETCH = 64 };

typedef struct {
  Linear linear;
  const Stored *w;
  size_t groups_a_part, group_parts, rows_a_part;
  /** Parts of the product; the pieces of `shrink_lora` are numbered behind them. */
  size_t parts;
} Work;

/** Rows [row, row + count) of `width` groups from g on; `count` and `width` are constants. */
INLINE void tile(const Work *w, size_t g, size_t row, const int count, const int width) {
  const float *of_rows = w->linear.x;
  const Outputs to = w->linear.to;
  size_t k = w->linear.node.k;
  Floats sums[8];
  for (int i = 0; i < count * width; i++) sums[i] = zero_floats();
  for (size_t from = 0; from < k; from += STRETCH) {
    size_t to = from + STRETCH < k ? from + STRETCH : k;
    Floats parts[8];
    for (int i = 0; i < count * width; i++) parts[i] = zero_floats();
    for (size_t at = from; at < to; at++) {
      for (int j = 0; j < width; j++) {
        Floats weights = load_stored(w->w + ((g + (size_t)j) * k + at) * LANES);
        for (int i = 0; i < count; i++) {
          Floats x = all_of(of_rows[(row + (size_t)i) * k + at]);
          parts[j * count + i] = multiply_add(weights, x, parts[j * count + i]);
        }
      }
    }
    for (int i = 0; i < count * width; i++) sums[i] = add(sums[i], parts[i]);
  }
  for (int j = 0; j < width; j++) {
    for (int i = 0; i < count; i++) store_outputs(&to, row + (size_t)i, g + (size_t)j, sums[j * count + i]);
  }
}

/** Computes part `i`. Few rows take several groups at once, since a single chain of sums would wait for itself. */
static void part(void *data, size_t i) {
  const Work *w = data;
  if (i >= w->parts) {
    VARIANT(shrink_lora)(&w->linear.lora, i - w->parts);
    return;
  }
  size_t groups = (w->linear.node.n + LANES - 1) / LANES, rows = w->linear.rows;
  size_t from = i % w->group_parts * w->groups_a_part, first_row = i / w->group_parts * w->rows_a_part;
  size_t to = from + w->groups_a_part < groups ? from + w->groups_a_part : groups;
  size_t last_row = first_row + w->rows_a_part < rows ? first_row + w->rows_a_part : rows;
  for (size_t g = from; g < to; g += 4) {
    size_t width = to - g < 4 ? to - g : 4, row = first_row;
    for (; row + 8 <= last_row; row += 8) {
      for (size_t j = 0; j < width; j++) tile(w, g + j, row, 8, 1);
    }
    for (; row + 2 <= last_row; row += 2) {
      if (width == 4) tile(w, g, row, 2, 4);
      else for (size_t j = 0; j < width; j++) tile(w, g + j, row, 2, 1);
    }
    if (row == last_row) continue;
    if (width == 4) tile(w, g, row, 1, 4);
    else for (size_t j = 0; j < width; j++) tile(w, g + j, row, 1, 1);
  }
}

static const char *open(const Node *node, void *state) { return read_linear_node(node, state); }

enum { PART_PRODUCTS = 1 << 19, PART_ROWS = 64 };

static void prepare(void *data, size_t row) { prepare_row(&((const Work *)data)->linear, row); }

static const char *run(const Call *call, void *state) {
  const LinearNode *node = state;
  Work w = {.w = input(call, WEIGHTS)};
  Linear *l = &w.linear;
  const char *wrong = read_linear(call, node, l);
  if (wrong != NULL) return wrong;
  size_t groups = (node->n + LANES - 1) / LANES, rows = l->rows, some = rows < PART_ROWS ? rows : PART_ROWS;
  Shape packed = input_shape(call, WEIGHTS);
  size_t bytes = STORED == UINT8 ? 1 : sizeof(Stored);
  for (size_t i = 0; i < packed.rank; i++) bytes *= (size_t)packed.dims[i];
  if (bytes != groups * node->k * LANES * sizeof(Stored)) return "the packed weights have another size";
  if (rows == 0) return NULL;
  void *memory = take_scratch(linear_bytes(l));
  if (memory == NULL) return "out of memory";
  place_linear(l, memory);
  if (is_prepared(l)) prepare_rows(call, l, prepare, &w);
  size_t wanted = PART_PRODUCTS / (node->k * LANES * some);
  w.groups_a_part = wanted < 4 ? 4 : wanted / 4 * 4;
  w.group_parts = (groups + w.groups_a_part - 1) / w.groups_a_part;
  w.rows_a_part = some;
  w.parts = w.group_parts * ((rows + some - 1) / some);
  in_parallel(call, w.parts + l->lora.shrinks, part, &w);
  in_parallel(call, l->lora.expands, VARIANT(expand_lora), &l->lora);
  give_scratch(memory);
  return NULL;
}

Operator VARIANT(OPERATOR) = {
    .name = OPERATOR_NAME,
    .inputs = {LINEAR_INPUTS(STORED)},
    .outputs = {{FLOAT32}},
    .state = sizeof(LinearNode),
    .open = open,
    .run = run,
};
