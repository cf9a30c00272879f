// Compares all operators over random odd sizes, each variant that runs here with the plain C one, without ONNX Runtime.
// A few functions stand in for its table and hand out buffers of exactly their size, so that a compiler's sanitizers
// see every wrong access, and an emulator needs nothing but this program.
//
// Exits with 0 where all agree, and prints what does not.
#include "../operator.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t lorikeet_operators(
    const char *provider, const char *name, const char **chosen, OrtCustomOp **operators, size_t capacity);

// --- a stand-in for the runtime ---

enum { OPERANDS_MAX = 16, NAMES_MAX = 16 };
typedef struct {
  void *data;
  size_t rank;
  int64_t dims[4];
} Value;
typedef struct {
  const char *names[NAMES_MAX];
  int64_t ints[NAMES_MAX];
} Attributes;
typedef struct {
  Value inputs[OPERANDS_MAX];
  size_t count;
  Value out;
} Context;

static size_t size_of(const Value *v) {
  size_t size = 1;
  for (size_t i = 0; i < v->rank; i++) size *= (size_t)v->dims[i];
  return size;
}
static OrtStatus make_status(int code, const char *message) { return (void)code, (OrtStatus)message; }
static OrtStatus get_rank(const Value *v, size_t *rank) { return *rank = v->rank, NULL; }
static OrtStatus get_dims(const Value *v, int64_t *dims, size_t rank) {
  return memcpy(dims, v->dims, rank * sizeof *dims), NULL;
}
static OrtStatus get_info(const Value *v, const Value **info) { return *info = v, NULL; }
static OrtStatus get_data(const Value *v, void **data) { return *data = v->data, NULL; }
static OrtStatus get_int(const Attributes *a, const char *name, int64_t *value) {
  for (int i = 0; i < NAMES_MAX && a->names[i] != NULL; i++) {
    if (strcmp(a->names[i], name) == 0) return *value = a->ints[i], NULL;
  }
  return (OrtStatus) "no such attribute";
}
static OrtStatus get_float(const Attributes *a, const char *name, float *value) {
  (void)a;
  if (strcmp(name, "epsilon") != 0) return (OrtStatus) "no such attribute";
  return *value = 1e-5f, NULL;
}
static OrtStatus get_count(const Context *c, size_t *count) { return *count = c->count, NULL; }
static OrtStatus get_input(const Context *c, size_t i, const Value **value) {
  return *value = c->inputs[i].data == NULL ? NULL : &c->inputs[i], NULL;
}
static OrtStatus get_output(Context *c, size_t i, const int64_t *dims, size_t rank, Value **value) {
  (void)i;
  c->out.rank = rank;
  memcpy(c->out.dims, dims, rank * sizeof *dims);
  c->out.data = malloc(size_of(&c->out) * sizeof(float) + 1);
  return *value = &c->out, NULL;
}
static OrtStatus run_parts(const Context *c, void (*part)(void *, size_t), size_t count, size_t batch, void *work) {
  (void)c, (void)batch;
  // Backwards, since no order is promised.
  for (size_t i = count; i-- > 0;) part(work, i);
  return NULL;
}
static void nothing(void *value) { (void)value; }

static OrtFunction table[CONTEXT_PARALLEL_FOR + 1];

static void fill_table(void) {
  table[CREATE_STATUS] = (OrtFunction)make_status;
  table[GET_DIMENSIONS_COUNT] = (OrtFunction)get_rank;
  table[GET_DIMENSIONS] = (OrtFunction)get_dims;
  table[GET_TENSOR_TYPE_AND_SHAPE] = (OrtFunction)get_info;
  table[GET_TENSOR_MUTABLE_DATA] = (OrtFunction)get_data;
  table[ATTRIBUTE_FLOAT] = (OrtFunction)get_float;
  table[ATTRIBUTE_INT64] = (OrtFunction)get_int;
  table[CONTEXT_INPUT_COUNT] = (OrtFunction)get_count;
  table[CONTEXT_INPUT] = (OrtFunction)get_input;
  table[CONTEXT_OUTPUT] = (OrtFunction)get_output;
  table[RELEASE_STATUS] = (OrtFunction)nothing;
  table[RELEASE_TENSOR_TYPE_AND_SHAPE] = (OrtFunction)nothing;
  table[CONTEXT_PARALLEL_FOR] = (OrtFunction)run_parts;
}

// --- random values ---

static uint32_t state = 1;
static uint32_t next(void) { return state = state * 1664525u + 1013904223u, state >> 8; }
static size_t below(size_t n) { return next() % n; }
static float real(void) { return (float)(next() & 0xffff) / 32768.0f - 1.0f; }

static Value floats(size_t a, size_t b, size_t c, size_t d) {
  Value v = {NULL, 0, {0}};
  size_t dims[] = {a, b, c, d};
  while (v.rank < 4 && dims[v.rank] != 0) v.dims[v.rank] = (int64_t)dims[v.rank], v.rank++;
  float *data = malloc(size_of(&v) * sizeof(float));
  for (size_t i = 0; i < size_of(&v); i++) data[i] = real();
  v.data = data;
  return v;
}
static Value copy(const Value *v, size_t bytes) {
  Value other = *v;
  other.data = malloc(bytes);
  memcpy(other.data, v->data, bytes);
  return other;
}

// --- running ---

enum { OPERATORS_MAX = 64 };
typedef struct {
  const char *name;
  OrtCustomOp *operators[OPERATORS_MAX];
  size_t count;
} Variant;

static int failures = 0;

static Value run_on(Variant *variant, const char *name, const Attributes *attributes, Context *context) {
  for (size_t i = 0; i < variant->count; i++) {
    const OrtCustomOp *op = variant->operators[i];
    if (strcmp(op->name(op), name) != 0) continue;
    void *kernel = NULL;
    OrtStatus failed = op->create_kernel_v2(op, table, (void *)attributes, &kernel);
    if (failed == NULL) failed = op->compute_v2(kernel, context);
    if (failed != NULL) printf("%s on %s: %s\n", name, variant->name, (const char *)failed), failures++;
    if (kernel != NULL) op->destroy(kernel);
    return context->out;
  }
  printf("no operator %s\n", name);
  failures++;
  return (Value){0};
}

static void compare(const char *name, const Variant *variant, Value a, Value b, float tolerance) {
  const float *x = a.data, *y = b.data;
  size_t size = a.data && b.data ? size_of(&a) : 0;
  for (size_t i = 0; i < size; i++) {
    if (!(fabsf(x[i] - y[i]) <= tolerance * (1 + fabsf(y[i])))) {
      printf("%s on %s: %g is not %g at %zu of %zu\n", name, variant->name, x[i], y[i], i, size);
      failures++;
      break;
    }
  }
}

static void both(Variant *variant, Variant *plain, const char *name, const Attributes *a, Context *c, float tolerance) {
  Value fast = run_on(variant, name, a, c), slow = run_on(plain, name, a, c);
  compare(name, variant, fast, slow, tolerance);
  free(fast.data);
  free(slow.data);
  for (size_t i = 0; i < c->count; i++) free(c->inputs[i].data);
}

static Value whole(size_t a, size_t b) {
  Value v = {NULL, b ? 2 : 1, {(int64_t)a, (int64_t)b}};
  v.data = malloc(size_of(&v) * sizeof(int32_t));
  return v;
}

/** Half floats with absolute values of 1/16 to 1/8. */
static Value halves(size_t a, size_t b, size_t c) {
  Value v = {NULL, 3, {(int64_t)a, (int64_t)b, (int64_t)c}};
  uint16_t *data = v.data = malloc(size_of(&v) * sizeof(uint16_t));
  for (size_t i = 0; i < size_of(&v); i++) data[i] = (uint16_t)(0x2c00 + (next() & 0x83ff));
  return v;
}

enum { X, WEIGHTS, COARSE, BIAS, NORM, RESIDUAL, PAGES, SHARES, GAIN, GAIN_OF, POOLS, RANKS = 8, PARTS = 3 };

static void name_attribute(Attributes *attributes, const char *name, size_t value) {
  int i = 0;
  while (attributes->names[i] != NULL) i++;
  attributes->names[i] = name;
  attributes->ints[i] = (int64_t)value;
}

/** Pages of ranks of `width` values, in blocks: half floats, or scales of 1/4096 to 1/2048 with any codes. */
static Value pool(size_t slots, size_t width, size_t block, size_t bits) {
  enum { HEADER = 32 };
  size_t values = RANKS * ((width + block - 1) / block * block);
  Value v = halves(slots, 1, bits == 16 ? values : HEADER + values / 2);
  v.rank = 2;
  v.dims[1] = v.dims[2];
  for (size_t i = 0; bits == 8 && i < size_of(&v); i++) {
    size_t at = i % (size_t)v.dims[1];
    ((uint16_t *)v.data)[i] = (uint16_t)(at < HEADER ? 0x0c00 + (next() & 0x3ff) : next());
  }
  return v;
}

/** Adds adapters: rows on any pages, several on the same ones; pages of fewer ranks than eight, and of none. */
static void adapt(Context *context, Attributes *attributes, size_t rows, size_t n, size_t k) {
  enum { A_BLOCK = 32, B_BLOCK = 64 };
  size_t bits = below(2) ? 8 : 16;
  size_t parts = 1 + below(n < PARTS ? n : PARTS), slots = 1 + below(6), columns = below(5), gains = 1 + below(3);
  const char *names[PARTS] = {"out0", "out1", "out2"};
  name_attribute(attributes, "adapter_bits", bits);
  for (size_t i = 0, left = n; i < parts; i++) {
    size_t out = i + 1 == parts ? left : 1 + below(left - (parts - i - 1));
    left -= out;
    name_attribute(attributes, names[i], out);
    Value a = pool(slots, k, A_BLOCK, bits);
    for (size_t slot = 0; slot < slots; slot++) {
      size_t ranks = below(RANKS + 1);
      if (ranks < RANKS) ((uint16_t *)a.data)[slot * (size_t)a.dims[1] + ranks * (bits == 16 ? A_BLOCK : 1)] = 0x7e00;
    }
    context->inputs[POOLS + 2 * i] = a;
    context->inputs[POOLS + 2 * i + 1] = pool(slots, out, B_BLOCK, bits);
  }
  Value pages = {malloc(rows * columns * sizeof(int32_t) + 1), 2, {(int64_t)rows, (int64_t)columns}};
  Value shares = {malloc(rows * columns * sizeof(float) + 1), 2, {(int64_t)rows, (int64_t)columns}};
  int32_t *list = pages.data;
  for (size_t i = 0; i < rows * columns; i++) {
    int as_before = i >= columns && i % columns > 0 && below(2);
    list[i] = as_before ? list[i - columns] : (int32_t)below(slots + 1) - 1;
    ((float *)shares.data)[i] = below(5) ? real() : 0;
  }
  context->inputs[PAGES] = pages;
  context->inputs[SHARES] = shares;
  if (below(2)) return;
  context->inputs[GAIN] = floats(gains, n, 0, 0);
  context->inputs[GAIN_OF] = whole(rows, 0);
  for (size_t i = 0; i < rows; i++) ((int32_t *)context->inputs[GAIN_OF].data)[i] = (int32_t)below(gains);
}

/** Inputs of a linear: x, and any of what may stand around a product. */
static Context around(Attributes *attributes, size_t rows, size_t n, size_t k) {
  Context context = {{{0}}, OPERANDS_MAX, {0}};
  size_t gated = below(3) == 0;
  context.inputs[X] = floats(rows, gated ? 2 * k : k, 0, 0);
  if (gated) name_attribute(attributes, "gated", 1);
  else if (below(2)) context.inputs[NORM] = floats(k, 0, 0, 0);
  if (below(2)) context.inputs[BIAS] = floats(n, 0, 0, 0);
  if (below(2)) context.inputs[RESIDUAL] = floats(rows, n, 0, 0);
  if (below(2)) adapt(&context, attributes, rows, n, k);
  return context;
}

static void quantized(Variant *variant, Variant *plain) {
  size_t rows = 1 + below(20), n = 1 + below(80), k = 32 * (1 + below(9));
  int bits = below(2) ? 4 : 8, halves = (int)below(2), minimums = bits == 4 ? 1 : (int)below(2);
  size_t scales = (halves ? 16 : 32), block = scales * (size_t)(1 + minimums) + (size_t)bits * 32;
  Value packed = {NULL, 1, {(int64_t)((n + 7) / 8 * (k / 32) * block)}};
  uint8_t *data = packed.data = malloc((size_t)packed.dims[0]);
  for (size_t i = 0; i < (size_t)packed.dims[0]; i++) data[i] = (uint8_t)next();
  for (size_t b = 0; b < (size_t)packed.dims[0]; b += block) {
    for (size_t i = 0; i < 8 * (size_t)(1 + minimums); i++) {
      float scale = real() / 16;
      uint16_t half = (uint16_t)(0x2000 + (next() & 0x83ff));
      if (halves) memcpy(data + b + 2 * i, &half, 2);
      else memcpy(data + b + 4 * i, &scale, 4);
    }
  }
  Attributes attributes = {{"n", "k", "bits", "halves", "minimums"},
                           {(int64_t)n, (int64_t)k, bits, halves, minimums}};
  if (below(3) == 0) {
    Value tokens = {NULL, 1, {(int64_t)rows}};
    int64_t *ids = tokens.data = malloc(rows * sizeof *ids);
    for (size_t i = 0; i < rows; i++) ids[i] = (int64_t)below(n);
    both(variant, plain, "QuantizedEmbedding", &attributes, &(Context){{tokens, packed}, 2, {0}}, 1e-6f);
    return;
  }
  if (below(3) == 0) {
    both(variant, plain, "QuantizedLinearGrad", &attributes, &(Context){{floats(rows, n, 0, 0), packed}, 2, {0}}, 2e-4f);
    return;
  }
  Context context = around(&attributes, rows, n, k);
  context.inputs[WEIGHTS] = packed;
  context.inputs[COARSE] = whole(1, 0);
  *(int32_t *)context.inputs[COARSE].data = (int32_t)(below(3) ? below(2) * rows : below(rows + 1));
  // A value after a norm or a gate may lie between two codes; its last bit then decides a step of 8 bits.
  int is_plain = context.inputs[NORM].data == NULL && (size_t)context.inputs[X].dims[1] == k;
  both(variant, plain, "QuantizedLinear", &attributes, &context, is_plain ? 2e-4f : 3e-2f);
}

static void of_floats(Variant *variant, Variant *plain) {
  size_t rows = 1 + below(20), n = 1 + below(60), k = 1 + below(200);
  Attributes attributes = {{"n", "k"}, {(int64_t)n, (int64_t)k}};
  Context context = around(&attributes, rows, n, k);
  if (below(2)) {
    context.inputs[WEIGHTS] = floats((n + 7) / 8, k, 8, 0);
    both(variant, plain, "FloatLinear", &attributes, &context, 1e-4f);
    return;
  }
  context.inputs[WEIGHTS] = halves((n + 7) / 8, k, 8);
  // The shape counts bytes.
  context.inputs[WEIGHTS].dims[2] *= 2;
  both(variant, plain, "HalfLinear", &attributes, &context, 1e-4f);
}

/**
 * Runs twice over the same keys and values, which the operator writes to; sequences of unlike lengths, blocks out of
 * order.
 */
static void attention(Variant *variant, Variant *plain) {
  enum { BLOCK = 32 };
  size_t kv_heads = 1 + below(3), heads = kv_heads * (1 + below(5)), d = 8 * (1 + below(9)), most = 1 + below(10);
  size_t sequences = 1 + below(3), blocks = sequences * most, positions = most * BLOCK, tokens = 0;
  Attributes attributes = {{"num_heads", "kv_num_heads"}, {(int64_t)heads, (int64_t)kv_heads}};
  Value cumulative = whole(sequences + 1, 0), past = whole(sequences, 0), blocks_of = whole(sequences, most);
  int32_t *ends = cumulative.data, *pasts = past.data, *list = blocks_of.data;
  ends[0] = 0;
  for (size_t i = 0; i < sequences; i++) {
    size_t added = 1 + below(below(2) ? 3 : 40), longest = positions - (added < positions ? added : positions);
    if (added > positions) added = positions;
    pasts[i] = (int32_t)below(longest + 1);
    ends[i + 1] = (int32_t)(tokens += added);
    for (size_t j = 0; j < most; j++) list[i * most + j] = (int32_t)(blocks - 1 - (i * most + j));
  }
  Context one = {{floats(tokens, (heads + 2 * kv_heads) * d, 0, 0), floats(blocks, kv_heads, d, BLOCK),
                  floats(blocks, kv_heads, BLOCK, d), cumulative, past, blocks_of, floats(positions, d / 2, 0, 0),
                  floats(positions, d / 2, 0, 0)}, 8, {0}};
  if (below(2)) {
    one.inputs[one.count++] = floats(d, 0, 0, 0);
    one.inputs[one.count++] = floats(d, 0, 0, 0);
  }
  Context other = one;
  for (size_t i = 1; i < 3; i++) other.inputs[i] = copy(&one.inputs[i], size_of(&one.inputs[i]) * sizeof(float));
  const char *name = "PagedAttentionFloat";
  Value fast = run_on(variant, name, &attributes, &one), slow = run_on(plain, name, &attributes, &other);
  compare(name, variant, fast, slow, 1e-3f);
  for (size_t i = 1; i < 3; i++) compare("the pool of PagedAttention", variant, one.inputs[i], other.inputs[i], 1e-4f);
  for (size_t i = 0; i < one.count; i++) free(one.inputs[i].data);
  for (size_t i = 1; i < 3; i++) free(other.inputs[i].data);
  free(fast.data);
  free(slow.data);
}

int main(void) {
  fill_table();
  const char *names[] = {"scalar", "avx2", "avx512vnni", "dotprod"};
  int ran = 0;
  for (size_t v = 0; v < sizeof names / sizeof *names; v++) {
    Variant variant = {NULL, {0}, 0}, plain = {NULL, {0}, 0};
    plain.count = lorikeet_operators(NULL, "scalar", &plain.name, plain.operators, OPERATORS_MAX);
    variant.count = lorikeet_operators(NULL, names[v], &variant.name, variant.operators, OPERATORS_MAX);
    if (variant.count == 0) continue;
    state = 1;
    for (int i = 0; i < 100; i++) {
      quantized(&variant, &plain);
      of_floats(&variant, &plain);
      attention(&variant, &plain);
    }
    printf("%s: %s\n", variant.name, failures == 0 ? "as plain C" : "FAILED");
    ran++;
  }
  return failures == 0 && ran > 0 ? 0 : 1;
}
