// GroupedLora on an NVIDIA card: y = base [* gain] + sum over a row's pages of share * (x Aᵀ) B.
//
//   0 x [R, in]   1 base [R, out]   2 pages int32 [R, C], -1: none   3 shares float32 [R, C]
//   4 gain [R, out] or [1, out], or left out   5 and on: A [slots, 8, in], B [slots, 8, out] of each of up to 3 parts
//   11 groups int32 [G, 20]: rows that read the same pages, see native/cuda/grouped-lora.cu
#include "cuda.h"

/** Blocks that keep a large card busy: some for each multiprocessor. */
enum { BUSY_BLOCKS = 1024 };
enum { X, BASE, PAGES, SHARES, GAIN, FIRST_A, PARTS_MAX = 3, GROUPS = FIRST_A + 2 * PARTS_MAX };
enum { RANKS = 8, TILE = 16, THREADS = 128, BLOCK_OUTPUTS = 256, TILES_MAX = 8, SHARED_BYTES_MAX = 48 << 10, ALIGNMENT = 16 };

/** In the order of `GroupedLora` in native/cuda/grouped-lora.cu. */
typedef struct {
  const void *x, *base, *gain;
  void *y;
  const void *pages, *shares, *groups, *a[PARTS_MAX], *b[PARTS_MAX];
  void *inner, *counters;
  int32_t out[PARTS_MAX], parts, in, width, most, group_count, span, spans, gain_stride, shrinks, blocks_of_group, tiles;
} Job;

/** Sizes that a node keeps. */
typedef struct {
  int parts;
  int32_t out[PARTS_MAX];
  int is_aligned;
  /** Blocks for each group where each computes 256 outputs. */
  int64_t tiles;
} Sizes;

static const char *open_lora(const Node *node, void *state) {
  Sizes *sizes = state;
  sizes->parts = (int)int_attribute(node, "parts", 0);
  return sizes->parts < 1 || sizes->parts > PARTS_MAX ? "GroupedLora has 1 to 3 parts" : NULL;
}

/** Called once for each node: the pools' shapes never change. */
static void measure(const Call *call, Sizes *sizes, int64_t in) {
  int is_aligned = in % 8 == 0;
  int64_t tiles = 0;
  for (int part = 0; part < sizes->parts; part++) {
    int64_t out = input_shape(call, FIRST_A + 2 * part + 1).dims[2];
    is_aligned = is_aligned && out % 8 == 0;
    tiles += (out + BLOCK_OUTPUTS - 1) / BLOCK_OUTPUTS;
    sizes->out[part] = (int32_t)out;
  }
  sizes->is_aligned = is_aligned;
  sizes->tiles = tiles;
}

/**
 * Gives each block more outputs where groups alone keep the card busy, so that work which every block does first is
 * done less often.
 */
static void share_out(Job *job, const Sizes *sizes) {
  const int64_t tiles = sizes->tiles * job->group_count / BUSY_BLOCKS;
  job->tiles = tiles < 1 ? 1 : tiles > TILES_MAX ? TILES_MAX : (int32_t)tiles;
  const int32_t outputs = BLOCK_OUTPUTS * job->tiles;
  for (int part = 0; part < sizes->parts; part++) job->blocks_of_group += (sizes->out[part] + outputs - 1) / outputs;
}

static const char *run_lora(const Call *call, void *state) {
  Sizes *sizes = state;
  const Shape x = input_shape(call, X), base = input_shape(call, BASE), pages = input_shape(call, PAGES);
  const Shape groups = input_shape(call, GROUPS);
  if (x.rank != 2 || base.rank != 2 || pages.rank != 2 || groups.rank != 2 || groups.dims[1] != 4 + TILE) {
    return "GroupedLora: a shape is wrong";
  }
  if (sizes->tiles == 0) measure(call, sizes, x.dims[1]);
  const int64_t rows = x.dims[0], most = pages.dims[1], group_count = groups.dims[0];
  // Depends on the number of inputs alone, since it decides a row's bits.
  const int64_t span = x.dims[1] > 4096 ? 1024 : 512, spans = (x.dims[1] + span - 1) / span;
  size_t shared = sizeof(float) * (size_t)TILE * (size_t)(most * RANKS + 4);
  if (shared < sizeof(float) * 4 * TILE * RANKS) shared = sizeof(float) * 4 * TILE * RANKS;
  if (shared > SHARED_BYTES_MAX) return "GroupedLora: a row reads more pages than a block can hold";

  Stream stream = stream_of(call);
  void *y = output(call, 0, base);
  if (rows == 0) return NULL;
  Job job = {
      .x = input(call, X),
      .base = input(call, BASE),
      .gain = input(call, GAIN),
      .y = y,
      .pages = input(call, PAGES),
      .shares = input(call, SHARES),
      .groups = input(call, GROUPS),
      .inner = workspace(stream, INNER_PRODUCTS, sizeof(float) * (size_t)(rows * sizes->parts * most * spans * RANKS)),
      .counters = workspace(stream, COUNTERS, sizeof(unsigned) * (size_t)(2 + group_count)),
      .parts = sizes->parts,
      .in = (int32_t)x.dims[1],
      .width = (int32_t)base.dims[1],
      .most = (int32_t)most,
      .group_count = (int32_t)group_count,
      .span = (int32_t)span,
      .spans = (int32_t)spans,
      .shrinks = (int32_t)(group_count * most * sizes->parts * spans),
  };
  share_out(&job, sizes);
  if (job.inner == NULL || job.counters == NULL) return "GroupedLora: no memory on the card";
  if (job.gain != NULL && input_shape(call, GAIN).dims[0] > 1) job.gain_stride = job.width;
  int is_aligned = sizes->is_aligned;
  for (int part = 0; part < job.parts; part++) {
    job.out[part] = sizes->out[part];
    job.a[part] = input(call, (size_t)(FIRST_A + 2 * part));
    job.b[part] = input(call, (size_t)(FIRST_A + 2 * part + 1));
    is_aligned = is_aligned && ((uintptr_t)job.a[part] | (uintptr_t)job.b[part]) % ALIGNMENT == 0;
  }
  is_aligned = is_aligned && ((uintptr_t)job.x | (uintptr_t)job.base | (uintptr_t)job.gain | (uintptr_t)y) % ALIGNMENT == 0;
  return launch(is_aligned ? GROUPED_LORA : GROUPED_LORA_UNALIGNED, stream,
                (unsigned)(job.shrinks + job.group_count * job.blocks_of_group), THREADS, (unsigned)shared, &job);
}

#define REAL CARD_REAL
Operator GroupedLoraOnCuda = {
    .name = "GroupedLora",
    .provider = "CUDAExecutionProvider",
    .inputs = {{REAL}, {REAL}, {INT32}, {FLOAT32}, {REAL, 1}, {REAL}, {REAL}, {REAL, 1}, {REAL, 1}, {REAL, 1}, {REAL, 1}, {INT32}},
    .outputs = {{REAL}},
    .state = sizeof(Sizes),
    .open = open_lora,
    .run = run_lora,
};
