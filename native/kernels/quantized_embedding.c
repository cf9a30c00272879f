// QuantizedEmbedding: y [R, k] = rows `tokens` int64 [R] of W [n, k], packed (see packed.h), as floats.
//
// A tied head and the embedding share one memory. A token past n is an error.
#include "packed.h"

/** Input i (0 to 31) of output `lane` in a block's codes. */
INLINE int code_of(const uint8_t *codes, int bits, size_t lane, int i) {
  if (bits == 8) return (int8_t)codes[i / 4 * 32 + (int)lane * 4 + i % 4];
  uint8_t byte = codes[i % 16 / 4 * 32 + (int)lane * 4 + i % 4];
  return i < 16 ? byte & 15 : byte >> 4;
}

static void read_row(const Packed *p, const uint8_t *packed, size_t row, float *y) {
  const Format f = p->format;
  const uint8_t *at = packed + row / LANES * group_bytes(p);
  size_t lane = row % LANES;
  for (size_t b = 0; b < p->k / BLOCK; b++, at += block_bytes(f), y += BLOCK) {
    float scales[LANES], minimums[LANES] = {0};
    store_floats(scales, load_scales(at, f));
    if (f.minimums) store_floats(minimums, load_scales(at + scale_bytes(f), f));
    for (int i = 0; i < BLOCK; i++) {
      y[i] = scales[lane] * (float)code_of(at + codes_at(f), f.bits, lane, i) + minimums[lane];
    }
  }
}

static const char *open(const Node *node, void *state) { return read_packed(node, state); }

static const char *run(const Call *call, void *state) {
  const Packed *p = state;
  Shape shape = input_shape(call, 0);
  if (shape.rank != 1) return "QuantizedEmbedding: tokens must be [R]";
  if (!is_whole(call, 1, p)) return "QuantizedEmbedding: the packed weights have another size";
  size_t rows = (size_t)shape.dims[0];
  const int64_t *tokens = input(call, 0);
  float *y = output(call, 0, (Shape){2, {shape.dims[0], (int64_t)p->k}});
  for (size_t i = 0; i < rows; i++) {
    if (tokens[i] < 0 || (uint64_t)tokens[i] >= p->n) return "QuantizedEmbedding: there is no such token";
    read_row(p, input(call, 1), (size_t)tokens[i], y + i * p->k);
  }
  return NULL;
}

Operator VARIANT(QuantizedEmbedding) = {
    .name = "QuantizedEmbedding",
    .inputs = {{INT64}, {UINT8}},
    .outputs = {{FLOAT32}},
    .state = sizeof(Packed),
    .open = open,
    .run = run,
};
