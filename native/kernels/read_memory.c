// ReadMemory: y [1] = a checksum of the bytes x [n], which all threads read once: measures memory bandwidth for
// benchmarks.
#include "../operator.h"
#include <string.h>

enum { PART = 1 << 18, WORDS = 8 };

typedef struct {
  const uint8_t *x;
  size_t n;
  uint64_t *sums;
} Work;

static void part(void *data, size_t i) {
  const Work *w = data;
  size_t from = i * PART, to = from + PART < w->n ? from + PART : w->n;
  uint64_t sums[WORDS] = {0}, sum = 0;
  for (size_t at = from; at + sizeof sums <= to; at += sizeof sums) {
    uint64_t words[WORDS];
    memcpy(words, w->x + at, sizeof words);
    for (int j = 0; j < WORDS; j++) sums[j] ^= words[j];
  }
  for (int j = 0; j < WORDS; j++) sum ^= sums[j];
  w->sums[i] = sum;
}

static const char *run(const Call *call, void *state) {
  (void)state;
  enum { PARTS_MAX = 4096 };
  uint64_t sums[PARTS_MAX];
  Shape shape = input_shape(call, 0);
  Work w = {input(call, 0), shape.rank == 1 ? (size_t)shape.dims[0] : 0, sums};
  size_t parts = (w.n + PART - 1) / PART;
  if (parts == 0 || parts > PARTS_MAX) return "ReadMemory: x must be [n], up to a gibibyte";
  in_parallel(call, parts, part, &w);
  uint64_t sum = 0;
  for (size_t i = 0; i < parts; i++) sum ^= sums[i];
  float *y = output(call, 0, (Shape){1, {1}});
  y[0] = (float)(sum & 0xffff);
  return NULL;
}

Operator VARIANT(ReadMemory) = {
    .name = "ReadMemory",
    .inputs = {{UINT8}},
    .outputs = {{FLOAT32}},
    .run = run,
};
