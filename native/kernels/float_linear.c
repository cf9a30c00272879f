// FloatLinear: y [R, n] = x [R, k] Wᵀ (+ bias [n]), W packed as float32 [ceil(n / 8), k, 8]: 8 outputs side by side.
//
// The sum over k goes in stretches of 64, each from zero, in the order of k: the same for each row and output, whatever
// else is computed. So a row's bits depend on nothing but the row and the weights.
#include "../operator.h"
#include "vector.h"

enum { STRETCH = 64 };

typedef struct {
  size_t n, k;
} Linear;

typedef struct {
  Linear linear;
  const float *x, *w, *bias;
  float *y;
  size_t rows, groups_a_part, group_parts, rows_a_part;
} Work;

INLINE void store(const Work *w, size_t row, size_t g, Floats sum) {
  size_t n = w->linear.n, from = g * LANES;
  float values[LANES], *y = w->y + row * n + from;
  store_floats(values, sum);
  for (size_t i = 0; i < LANES && from + i < n; i++) y[i] = w->bias ? values[i] + w->bias[from + i] : values[i];
}

/** Rows [row, row + count) of `width` groups from g on, both constants. */
INLINE void tile(const Work *w, size_t g, size_t row, const int count, const int width) {
  size_t k = w->linear.k;
  Floats sums[8];
  for (int i = 0; i < count * width; i++) sums[i] = zero_floats();
  for (size_t from = 0; from < k; from += STRETCH) {
    size_t to = from + STRETCH < k ? from + STRETCH : k;
    Floats parts[8];
    for (int i = 0; i < count * width; i++) parts[i] = zero_floats();
    for (size_t at = from; at < to; at++) {
      for (int j = 0; j < width; j++) {
        Floats weights = load_floats(w->w + ((g + (size_t)j) * k + at) * LANES);
        for (int i = 0; i < count; i++) {
          Floats x = all_of(w->x[(row + (size_t)i) * k + at]);
          parts[j * count + i] = multiply_add(weights, x, parts[j * count + i]);
        }
      }
    }
    for (int i = 0; i < count * width; i++) sums[i] = add(sums[i], parts[i]);
  }
  for (int j = 0; j < width; j++) {
    for (int i = 0; i < count; i++) store(w, row + (size_t)i, g + (size_t)j, sums[j * count + i]);
  }
}

/** Few rows take several groups at once: one chain of sums waits for itself. */
static void part(void *data, size_t i) {
  const Work *w = data;
  size_t groups = (w->linear.n + LANES - 1) / LANES;
  size_t from = i % w->group_parts * w->groups_a_part, first_row = i / w->group_parts * w->rows_a_part;
  size_t to = from + w->groups_a_part < groups ? from + w->groups_a_part : groups;
  size_t last_row = first_row + w->rows_a_part < w->rows ? first_row + w->rows_a_part : w->rows;
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

static const char *open(const Node *node, void *state) {
  Linear *linear = state;
  *linear = (Linear){(size_t)int_attribute(node, "n", 0), (size_t)int_attribute(node, "k", 0)};
  return linear->n == 0 || linear->k == 0 ? "FloatLinear: weights must be [n, k]" : NULL;
}

enum { PART_PRODUCTS = 1 << 19, PART_ROWS = 64 };

static const char *run(const Call *call, void *state) {
  const Linear *linear = state;
  size_t groups = (linear->n + LANES - 1) / LANES;
  Shape shape = input_shape(call, 0), packed = input_shape(call, 1);
  if (shape.rank != 2 || (size_t)shape.dims[1] != linear->k) return "FloatLinear: x must be [R, k]";
  if (packed.rank != 3 || (size_t)(packed.dims[0] * packed.dims[1] * packed.dims[2]) != groups * linear->k * LANES) {
    return "FloatLinear: the packed weights have another size";
  }
  size_t rows = (size_t)shape.dims[0], some = rows < PART_ROWS ? rows : PART_ROWS;
  shape.dims[1] = (int64_t)linear->n;
  Work w = {.linear = *linear, .x = input(call, 0), .w = input(call, 1), .bias = input(call, 2), .rows = rows};
  w.y = output(call, 0, shape);
  if (rows == 0) return NULL;
  size_t wanted = PART_PRODUCTS / (linear->k * LANES * some);
  w.groups_a_part = wanted < 4 ? 4 : wanted / 4 * 4;
  w.group_parts = (groups + w.groups_a_part - 1) / w.groups_a_part;
  w.rows_a_part = some;
  in_parallel(call, w.group_parts * ((rows + some - 1) / some), part, &w);
  return NULL;
}

Operator VARIANT(FloatLinear) = {
    .name = "FloatLinear",
    .inputs = {{FLOAT32}, {FLOAT32}, {FLOAT32, .optional = 1}},
    .outputs = {{FLOAT32}},
    .state = sizeof(Linear),
    .open = open,
    .run = run,
};
