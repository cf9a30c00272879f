// PagedAttention: grouped-query attention of T new tokens of B sequences over keys and values in blocks.
//
//   q, k = rotary(query), rotary(key); k and value are written to their sequence's blocks
//   out[t, h] = softmax(scale * q[t, h] . K[: visible(t), g]) . V[: visible(t), g],   g = the heads' group of h
//
// An operator a type of stored number (Stored, STORED, OPERATOR): half floats take half the memory and bandwidth, floats
// round nothing. The inputs are those of ONNX Runtime's operator of that name:
//
//   qkv          float32 [T, (heads + 2 kvHeads) * D]   packed; tokens of sequence b are [cumulative[b], cumulative[b + 1])
//   keys         Stored [blocks, kvHeads, D, block]    a block's keys lie transposed: a column a position
//   values       Stored [blocks, kvHeads, block, D]
//   cumulative   int32 [B + 1]
//   past         int32 [B]                              tokens that a sequence's blocks hold already
//   table        int32 [B, most]                        its blocks, in the order of positions
//   cos, sin     float32 [positions, D' / 2]            D' <= D: the part of a head that turns
//   qNorm, kNorm float32 [D], optional                  each head of q and k is divided by its root mean square and
//                                                       multiplied with it
//   -> out       float32 [T, heads * D]
//
// A sequence's positions are cut into splits of a fixed length. Each split has its own maximum, sum and weighted
// values, which are combined in the order of positions. So a token's sums have the same order however many tokens,
// sequences or threads there are, and however its prompt was cut. Splits may be computed apart, which keeps all threads
// busy where a single sequence decodes. Heads of a group are computed together, so that their keys and values are read
// and widened once.
#include "../operator.h"
#include "../scratch.h"
#include "exponential.h"
#include <math.h>
#include <string.h>

// Contracts a product and its sum into one rounding where the processor can; the compiler chooses alike everywhere
// here.
#ifdef __clang__
#pragma STDC FP_CONTRACT ON
#endif

#ifdef STORED_IS_HALF
typedef _Float16 Stored;
#define STORED FLOAT16
/** The nearest half float; values beyond the largest become the largest. NaN stays NaN. */
static inline Stored stored(float x) { return (Stored)(x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x); }
#else
typedef float Stored;
#define STORED FLOAT32
static inline Stored stored(float x) { return x; }
#endif

/**
 * Positions of a split, queries of a tile, and positions that are computed at once; a block is a multiple of COLUMNS.
 */
enum { SPLIT = 256, TILE = 16, COLUMNS = 32 };

typedef struct {
  int64_t heads, kv_heads, window;
  float scale, softcap, epsilon;
} Attributes;

typedef struct {
  const Attributes *attributes;
  const float *qkv, *cos, *sin, *q_norm, *k_norm;
  Stored *keys, *values;
  const int32_t *cumulative, *past, *table;
  float *out;
  size_t tokens, sequences, most, block, dim, turning;
  /** Rotated and scaled queries, [T, heads, D]. */
  float *q;
  /** The sequence of each token. */
  int32_t *sequence_of;
  size_t tiles;
  struct Tile {
    int32_t sequence, first, count;
  } *tile;
  /** Results of splits that are computed apart, [tiles, kvHeads, splits, group, 2 + D]. */
  float *partial;
  size_t splits;
} Work;

static size_t group(const Work *w) { return (size_t)(w->attributes->heads / w->attributes->kv_heads); }
static size_t width(const Work *w) {
  return (size_t)(w->attributes->heads + 2 * w->attributes->kv_heads) * w->dim;
}

/** Norms one head where the model does, rotates it to its position, and multiplies it by `factor`. */
static void rotate(const Work *w, const float *x, const float *norm, size_t position, float factor, float *y) {
  size_t dim = w->dim, half = w->turning / 2;
  float normed[dim];
  memcpy(normed, x, sizeof normed);
  if (norm != NULL) {
    float squares = 0;
    for (size_t i = 0; i < dim; i++) squares += x[i] * x[i];
    float inverse = 1.0f / sqrtf(squares / (float)dim + w->attributes->epsilon);
    for (size_t i = 0; i < dim; i++) normed[i] = x[i] * inverse * norm[i];
  }
  const float *cos = w->cos + position * half, *sin = w->sin + position * half;
  for (size_t i = 0; i < half; i++) {
    y[i] = (normed[i] * cos[i] - normed[i + half] * sin[i]) * factor;
    y[i + half] = (normed[i + half] * cos[i] + normed[i] * sin[i]) * factor;
  }
  for (size_t i = w->turning; i < dim; i++) y[i] = normed[i] * factor;
}

/** A block's part for a group of heads: keys [D, block] or values [block, D]. */
static Stored *block_of(const Work *w, Stored *pool, int32_t sequence, size_t position, size_t g) {
  int32_t block = w->table[(size_t)sequence * w->most + position / w->block];
  return pool + ((size_t)block * (size_t)w->attributes->kv_heads + g) * w->dim * w->block;
}

/** Rotates a token's query; rotates its keys and stores its keys and values. */
static void store(void *data, size_t token) {
  Work *w = data;
  size_t heads = (size_t)w->attributes->heads, kv_heads = (size_t)w->attributes->kv_heads, dim = w->dim;
  int32_t sequence = w->sequence_of[token];
  size_t position = (size_t)(w->past[sequence] + (int32_t)token - w->cumulative[sequence]);
  const float *row = w->qkv + token * width(w);
  for (size_t h = 0; h < heads; h++) {
    rotate(w, row + h * dim, w->q_norm, position, w->attributes->scale, w->q + (token * heads + h) * dim);
  }
  float turned[dim];
  for (size_t g = 0; g < kv_heads; g++) {
    rotate(w, row + (heads + g) * dim, w->k_norm, position, 1.0f, turned);
    Stored *keys = block_of(w, w->keys, sequence, position, g) + position % w->block;
    for (size_t d = 0; d < dim; d++) keys[d * w->block] = stored(turned[d]);
    const float *value = row + (heads + kv_heads + g) * dim;
    Stored *values = block_of(w, w->values, sequence, position, g) + position % w->block * dim;
    for (size_t d = 0; d < dim; d++) values[d] = stored(value[d]);
  }
}

typedef struct {
  /** Largest score, sum of exponentials, and values weighted by them. */
  float *most, *sum, *values;
} Partial;

/** Adds the result of the next split to that of all before it. */
static void combine(Partial all, Partial next, size_t dim) {
  if (*next.sum == 0) return;
  float most = *all.most > *next.most ? *all.most : *next.most;
  float old = exponential(*all.most - most), fresh = exponential(*next.most - most);
  *all.sum = *all.sum * old + *next.sum * fresh;
  for (size_t d = 0; d < dim; d++) all.values[d] = all.values[d] * old + next.values[d] * fresh;
  *all.most = most;
}

static void emit(const Work *w, size_t token, size_t head, Partial all) {
  float *out = w->out + (token * (size_t)w->attributes->heads + head) * w->dim;
  for (size_t d = 0; d < w->dim; d++) out[d] = all.values[d] / *all.sum;
}

/** The positions that a row sees, and its query. Rows of a tile are its tokens, and in each the heads of the group. */
static void row_of(const Work *w, const struct Tile *tile, size_t g, size_t row, const float **q, size_t *from,
                   size_t *to) {
  size_t heads = (size_t)w->attributes->heads, of_group = group(w);
  size_t token = (size_t)tile->first + row / of_group, head = g * of_group + row % of_group;
  *q = w->q + (token * heads + head) * w->dim;
  *to = (size_t)(w->past[tile->sequence] + (int32_t)token - w->cumulative[tile->sequence]) + 1;
  size_t window = (size_t)w->attributes->window;
  *from = w->attributes->window > 0 && *to > window ? *to - window : 0;
}

#ifdef REFERENCE
/** Attends with each row of a tile over all its positions, in plain loops. */
static void attend_tile(void *data, size_t item) {
  const Work *w = data;
  size_t kv_heads = (size_t)w->attributes->kv_heads, of_group = group(w), dim = w->dim, g = item % kv_heads;
  const struct Tile *tile = &w->tile[item / kv_heads];
  float values[dim], most, sum;
  Partial all = {&most, &sum, values};
  for (size_t row = 0; row < (size_t)tile->count * of_group; row++) {
    const float *q;
    size_t from, to;
    row_of(w, tile, g, row, &q, &from, &to);
    most = -INFINITY;
    sum = 0;
    memset(values, 0, sizeof values);
    for (size_t position = from; position < to; position++) {
      const Stored *key = block_of(w, w->keys, tile->sequence, position, g) + position % w->block;
      const Stored *value = block_of(w, w->values, tile->sequence, position, g) + position % w->block * dim;
      float score = 0, one = 1, wide[dim], cap = w->attributes->softcap;
      for (size_t d = 0; d < dim; d++) score += q[d] * (float)key[d * w->block];
      if (cap > 0) score = cap * tanhf(score / cap);
      for (size_t d = 0; d < dim; d++) wide[d] = (float)value[d];
      combine(all, (Partial){&score, &one, wide}, dim);
    }
    emit(w, (size_t)tile->first + row / of_group, g * of_group + row % of_group, all);
  }
}

/** The reference does not cut positions: it sums in their order. */
static const char *attend_all(const Call *call, Work *w) {
  in_parallel(call, w->tiles * (size_t)w->attributes->kv_heads, attend_tile, w);
  return NULL;
}
#else
/** Floats of a register in this variant. */
#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef Stored StoredLanes __attribute__((vector_size(LANES * sizeof(Stored))));

static inline Lanes widened(const Stored *from) {
  StoredLanes narrow;
  memcpy(&narrow, from, sizeof narrow);
  return __builtin_convertvector(narrow, Lanes);
}
static inline Lanes loaded(const float *from) {
  Lanes lanes;
  memcpy(&lanes, from, sizeof lanes);
  return lanes;
}
static inline void kept(float *to, Lanes lanes) { memcpy(to, &lanes, sizeof lanes); }

/**
 * Rows (one head of a query each) that read a key together, and registers for COLUMNS positions of keys or numbers of a
 * value.
 */
enum { TOGETHER = 3, REGISTERS = COLUMNS / LANES };

/**
 * scores[r][j] = q[r] . keys[:, j] of `count` rows and COLUMNS positions.
 * @param next keys that are read after these and prefetched meanwhile
 */
static inline __attribute__((always_inline)) void score_columns(const float *const *q, size_t count, const Stored *keys,
                                                                const Stored *next, size_t dim, size_t block,
                                                                float (*scores)[SPLIT], size_t at) {
  Lanes sums[TOGETHER][REGISTERS] = {{{0}}};
  for (size_t d = 0; d < dim; d++) {
    const Stored *column = keys + d * block;
    __builtin_prefetch(next + d * block);
    float factors[TOGETHER];
    for (size_t r = 0; r < count; r++) factors[r] = q[r][d];
    for (size_t i = 0; i < REGISTERS; i++) {
      Lanes wide = widened(column + i * LANES);
      for (size_t r = 0; r < count; r++) sums[r][i] += factors[r] * wide;
    }
  }
  for (size_t r = 0; r < count; r++) {
    for (size_t i = 0; i < REGISTERS; i++) kept(&scores[r][at + i * LANES], sums[r][i]);
  }
}

/** sums[r] += weights[r][j] * values[j], for `count` rows, positions below `to` and COLUMNS numbers of each value. */
static inline __attribute__((always_inline)) void weigh_columns(const float (*weights)[SPLIT], size_t count, size_t at,
                                                                size_t to, const Stored *values, const Stored *next,
                                                                size_t dim, float *const *result, size_t from) {
  Lanes sums[TOGETHER][REGISTERS];
  for (size_t r = 0; r < count; r++) {
    for (size_t i = 0; i < REGISTERS; i++) sums[r][i] = loaded(result[r] + from + i * LANES);
  }
  for (size_t j = 0; j < to; j++) {
    const Stored *value = values + j * dim + from;
    __builtin_prefetch(next + j * dim + from);
    float factors[TOGETHER];
    for (size_t r = 0; r < count; r++) factors[r] = weights[r][at + j];
    for (size_t i = 0; i < REGISTERS; i++) {
      Lanes wide = widened(value + i * LANES);
      for (size_t r = 0; r < count; r++) sums[r][i] += factors[r] * wide;
    }
  }
  for (size_t r = 0; r < count; r++) {
    for (size_t i = 0; i < REGISTERS; i++) kept(result[r] + from + i * LANES, sums[r][i]);
  }
}

static void weigh(const float (*weights)[SPLIT], size_t count, size_t at, size_t to, const Stored *values,
                  const Stored *next, size_t dim, float *const *sums) {
  size_t from = 0;
  for (; from + COLUMNS <= dim; from += COLUMNS) {
    if (count == TOGETHER) weigh_columns(weights, TOGETHER, at, to, values, next, dim, sums, from);
    else if (count == 2) weigh_columns(weights, 2, at, to, values, next, dim, sums, from);
    else weigh_columns(weights, 1, at, to, values, next, dim, sums, from);
  }
  for (size_t r = 0; r < count && from < dim; r++) {
    for (size_t j = 0; j < to; j++) {
      for (size_t d = from; d < dim; d++) sums[r][d] += weights[r][at + j] * (float)values[j * dim + d];
    }
  }
}

/**
 * Attends with up to TOGETHER rows over one split; row r sees positions [from[r], to[r]). Its sum is 0 where it sees
 * none.
 */
static void attend_split(const Work *w, int32_t sequence, size_t g, size_t split, const float *const *q, size_t count,
                         const size_t *from, const size_t *to, const Partial *result) {
  float scores[TOGETHER][SPLIT];
  float *sums[TOGETHER];
  size_t begin = split * SPLIT, end = begin, first = begin + SPLIT;
  for (size_t r = 0; r < count; r++) {
    if (to[r] > end) end = to[r];
    if (from[r] < first) first = from[r];
    sums[r] = result[r].values;
    *result[r].most = -INFINITY;
    *result[r].sum = 0;
    for (size_t d = 0; d < w->dim; d++) sums[r][d] = 0;
  }
  if (end > begin + SPLIT) end = begin + SPLIT;
  if (first < begin) first = begin;
  first -= first % COLUMNS;
  if (first >= end) return;
  const Stored *value_block = block_of(w, w->values, sequence, first, g);
  for (size_t at = first; at < end; at += COLUMNS) {
    const Stored *keys = block_of(w, w->keys, sequence, at, g) + at % w->block;
    const Stored *next = at + COLUMNS < end ? block_of(w, w->keys, sequence, at + COLUMNS, g) : value_block;
    if (count == TOGETHER) score_columns(q, TOGETHER, keys, next, w->dim, w->block, scores, at - begin);
    else if (count == 2) score_columns(q, 2, keys, next, w->dim, w->block, scores, at - begin);
    else score_columns(q, 1, keys, next, w->dim, w->block, scores, at - begin);
  }
  size_t low = first - begin, high = (end - begin + COLUMNS - 1) / COLUMNS * COLUMNS;
  for (size_t r = 0; r < count; r++) {
    float most = -INFINITY, cap = w->attributes->softcap;
    for (size_t j = low; cap > 0 && j < high; j++) {
      scores[r][j] = cap * (1.0f - 2.0f / (exponential(2.0f * scores[r][j] / cap) + 1.0f));
    }
    // Positions that a row does not see may hold anything, NaN too.
    size_t sees_from = from[r] > begin ? from[r] - begin : 0;
    size_t sees_to = to[r] > begin ? (to[r] - begin < SPLIT ? to[r] - begin : SPLIT) : 0;
    for (size_t j = low; j < high && j < sees_from; j++) scores[r][j] = -INFINITY;
    for (size_t j = sees_to > low ? sees_to : low; j < high; j++) scores[r][j] = -INFINITY;
    // A NaN score never becomes the maximum, and makes the sum NaN.
    float lanes[COLUMNS], sum = 0;
    for (size_t j = 0; j < COLUMNS; j++) lanes[j] = -INFINITY;
    for (size_t at = low; at < high; at += COLUMNS) {
      for (size_t j = 0; j < COLUMNS; j++) lanes[j] = scores[r][at + j] > lanes[j] ? scores[r][at + j] : lanes[j];
    }
    for (size_t j = 0; j < COLUMNS; j++) most = lanes[j] > most ? lanes[j] : most;
    *result[r].most = most;
    for (size_t j = 0; j < COLUMNS; j++) lanes[j] = 0;
    for (size_t at = low; at < high; at += COLUMNS) {
      for (size_t j = 0; j < COLUMNS; j++) {
        float score = scores[r][at + j], weight = exponential(score - most);
        weight = score == -INFINITY ? 0.0f : weight;
        scores[r][at + j] = weight;
        lanes[j] += weight;
      }
    }
    for (size_t j = 0; j < COLUMNS; j++) sum += lanes[j];
    *result[r].sum = sum;
  }
  for (size_t at = first; at < end;) {
    size_t stop = (at / w->block + 1) * w->block;
    if (stop > end) stop = end;
    const Stored *values = block_of(w, w->values, sequence, at, g) + at % w->block * w->dim;
    const Stored *next = stop < end ? block_of(w, w->values, sequence, stop, g) : values;
    weigh((const float(*)[SPLIT])scores, count, at - begin, stop - at, values, next, w->dim, sums);
    at = stop;
  }
}

/** Attends over all splits of a tile, one after another. */
static void attend_tile(void *data, size_t item) {
  const Work *w = data;
  size_t kv_heads = (size_t)w->attributes->kv_heads, of_group = group(w), dim = w->dim;
  const struct Tile *tile = &w->tile[item / kv_heads];
  size_t g = item % kv_heads, rows = (size_t)tile->count * of_group;
  float memory[2 * TOGETHER][2 + dim];
  for (size_t row = 0; row < rows; row += TOGETHER) {
    size_t count = rows - row < TOGETHER ? rows - row : TOGETHER, from[TOGETHER], to[TOGETHER], last = 0;
    size_t first = SIZE_MAX;
    const float *q[TOGETHER];
    Partial all[TOGETHER], next[TOGETHER];
    for (size_t r = 0; r < count; r++) {
      row_of(w, tile, g, row + r, &q[r], &from[r], &to[r]);
      if (to[r] > last) last = to[r];
      if (from[r] < first) first = from[r];
      all[r] = (Partial){memory[r], memory[r] + 1, memory[r] + 2};
      next[r] = (Partial){memory[TOGETHER + r], memory[TOGETHER + r] + 1, memory[TOGETHER + r] + 2};
      *all[r].most = -INFINITY;
      *all[r].sum = 0;
      for (size_t d = 0; d < dim; d++) all[r].values[d] = 0;
    }
    for (size_t split = first / SPLIT; split * SPLIT < last; split++) {
      attend_split(w, tile->sequence, g, split, q, count, from, to, next);
      for (size_t r = 0; r < count; r++) combine(all[r], next[r], dim);
    }
    for (size_t r = 0; r < count; r++) {
      emit(w, (size_t)tile->first + (row + r) / of_group, g * of_group + (row + r) % of_group, all[r]);
    }
  }
}

static Partial partial_of(const Work *w, size_t item, size_t split, size_t row) {
  float *at = w->partial + ((item * w->splits + split) * group(w) + row) * (2 + w->dim);
  return (Partial){at, at + 1, at + 2};
}

/** Attends over one split of a tile of one token. */
static void attend_part(void *data, size_t part) {
  const Work *w = data;
  size_t kv_heads = (size_t)w->attributes->kv_heads, of_group = group(w);
  size_t item = part / w->splits, split = part % w->splits;
  const struct Tile *tile = &w->tile[item / kv_heads];
  for (size_t row = 0; row < of_group; row += TOGETHER) {
    size_t count = of_group - row < TOGETHER ? of_group - row : TOGETHER, from[TOGETHER], to[TOGETHER];
    const float *q[TOGETHER];
    Partial result[TOGETHER];
    for (size_t r = 0; r < count; r++) {
      row_of(w, tile, item % kv_heads, row + r, &q[r], &from[r], &to[r]);
      result[r] = partial_of(w, item, split, row + r);
    }
    attend_split(w, tile->sequence, item % kv_heads, split, q, count, from, to, result);
  }
}

static void combine_parts(const Work *w) {
  size_t kv_heads = (size_t)w->attributes->kv_heads, of_group = group(w), dim = w->dim;
  float memory[2 + dim];
  Partial all = {memory, memory + 1, memory + 2};
  for (size_t item = 0; item < w->tiles * kv_heads; item++) {
    for (size_t row = 0; row < of_group; row++) {
      *all.most = -INFINITY;
      *all.sum = 0;
      for (size_t d = 0; d < dim; d++) all.values[d] = 0;
      for (size_t split = 0; split < w->splits; split++) combine(all, partial_of(w, item, split, row), dim);
      emit(w, (size_t)w->tile[item / kv_heads].first, item % kv_heads * of_group + row, all);
    }
  }
}

/** With fewer items some threads would have nothing to do. */
enum { ITEMS_ENOUGH = 16 };

static const char *attend_all(const Call *call, Work *w) {
  size_t kv_heads = (size_t)w->attributes->kv_heads;
  if (w->tiles < w->tokens || w->splits <= 1 || w->tiles * kv_heads >= ITEMS_ENOUGH) {
    in_parallel(call, w->tiles * kv_heads, attend_tile, w);
    return NULL;
  }
  size_t parts = w->tiles * kv_heads * w->splits;
  w->partial = take_scratch(parts * group(w) * (2 + w->dim) * sizeof *w->partial);
  if (w->partial == NULL) return "PagedAttention: out of memory";
  in_parallel(call, parts, attend_part, w);
  combine_parts(w);
  give_scratch(w->partial);
  return NULL;
}
#endif

/** Cuts each sequence's tokens into tiles. Returns null, or what is wrong where lengths or blocks do not fit. */
static const char *cut(Work *w, size_t blocks, size_t positions) {
  if (w->cumulative[0] != 0 || (size_t)w->cumulative[w->sequences] != w->tokens) {
    return "PagedAttention: cumulative lengths must begin at 0 and end at T";
  }
  for (size_t b = 0; b < w->sequences; b++) {
    int32_t first = w->cumulative[b], end = w->cumulative[b + 1], past = w->past[b];
    if (end < first || past < 0) return "PagedAttention: lengths must not be negative";
    size_t length = (size_t)(past + end - first);
    if (length > positions || length > w->most * w->block) return "PagedAttention: a sequence is longer than its blocks";
    for (size_t i = 0; i * w->block < length && end > first; i++) {
      int32_t block = w->table[b * w->most + i];
      if (block < 0 || (size_t)block >= blocks) return "PagedAttention: there is no such block";
    }
    for (int32_t t = first; t < end; t++) {
      w->sequence_of[t] = (int32_t)b;
      if ((t - first) % TILE == 0) {
        w->tile[w->tiles++] = (struct Tile){(int32_t)b, t, end - t < TILE ? end - t : TILE};
      }
    }
    if (end > first && (length + SPLIT - 1) / SPLIT > w->splits) w->splits = (length + SPLIT - 1) / SPLIT;
  }
  return NULL;
}

static const char *attend(const Call *call, Work *w, size_t blocks, size_t positions) {
  const char *wrong = cut(w, blocks, positions);
  if (wrong != NULL) return wrong;
  in_parallel(call, w->tokens, store, w);
  return attend_all(call, w);
}

static const char *open(const Node *node, void *state) {
  Attributes *a = state;
  a->heads = int_attribute(node, "num_heads", 0);
  a->kv_heads = int_attribute(node, "kv_num_heads", 0);
  a->window = int_attribute(node, "local_window_size", -1);
  a->softcap = float_attribute(node, "softcap", 0);
  a->scale = float_attribute(node, "scale", 0);
  a->epsilon = float_attribute(node, "epsilon", 0);
  if (a->kv_heads <= 0 || a->heads <= 0 || a->heads % a->kv_heads != 0) {
    return "PagedAttention: num_heads must be a multiple of kv_num_heads";
  }
  return NULL;
}

static const char *run(const Call *call, void *state) {
  Attributes attributes = *(const Attributes *)state;
  Shape qkv = input_shape(call, 0), keys = input_shape(call, 1), values = input_shape(call, 2);
  Shape cumulative = input_shape(call, 3), past = input_shape(call, 4), table = input_shape(call, 5);
  Shape cos = input_shape(call, 6), sin = input_shape(call, 7);
  if (keys.rank != 4 || values.rank != 4 || keys.dims[1] != attributes.kv_heads || values.dims[1] != keys.dims[1] ||
      values.dims[0] != keys.dims[0] || values.dims[2] != keys.dims[3] || values.dims[3] != keys.dims[2] ||
      keys.dims[3] <= 0 || keys.dims[3] % COLUMNS != 0) {
    return "PagedAttention: keys must be [blocks, kvHeads, D, block], values [blocks, kvHeads, block, D]";
  }
  size_t dim = (size_t)keys.dims[2];
  if (qkv.rank != 2 || qkv.dims[1] != (attributes.heads + 2 * attributes.kv_heads) * keys.dims[2]) {
    return "PagedAttention: qkv must be [T, (heads + 2 kvHeads) * D]";
  }
  if (past.rank != 1 || cumulative.rank != 1 || cumulative.dims[0] != past.dims[0] + 1 || table.rank != 2 ||
      table.dims[0] != past.dims[0]) {
    return "PagedAttention: lengths and blocks must be of the same sequences";
  }
  if (cos.rank != 2 || sin.rank != 2 || cos.dims[0] != sin.dims[0] || cos.dims[1] != sin.dims[1] ||
      2 * (size_t)cos.dims[1] > dim) {
    return "PagedAttention: cos and sin must be [positions, at most D / 2]";
  }
  if (attributes.scale == 0) attributes.scale = 1.0f / sqrtf((float)dim);
  Shape out = {2, {qkv.dims[0], attributes.heads * keys.dims[2]}};
  size_t tokens = (size_t)qkv.dims[0];
  Work w = {
      .attributes = &attributes,
      .qkv = input(call, 0),
      .keys = (Stored *)input(call, 1),
      .values = (Stored *)input(call, 2),
      .cumulative = input(call, 3),
      .past = input(call, 4),
      .table = input(call, 5),
      .cos = input(call, 6),
      .sin = input(call, 7),
      .q_norm = input(call, 8),
      .k_norm = input(call, 9),
      .out = output(call, 0, out),
      .tokens = tokens,
      .sequences = (size_t)past.dims[0],
      .most = (size_t)table.dims[1],
      .block = (size_t)keys.dims[3],
      .dim = dim,
      .turning = 2 * (size_t)cos.dims[1],
      .q = take_scratch((tokens * (size_t)attributes.heads * dim + 1) * sizeof(float)),
      .sequence_of = take_scratch((tokens + 1) * sizeof(int32_t)),
      .tile = take_scratch((tokens + 1) * sizeof(struct Tile)),
  };
  const char *wrong = "PagedAttention: out of memory";
  if (w.q != NULL && w.sequence_of != NULL && w.tile != NULL) {
    wrong = attend(call, &w, (size_t)keys.dims[0], (size_t)cos.dims[0]);
  }
  give_scratch(w.q);
  give_scratch(w.sequence_of);
  give_scratch(w.tile);
  return wrong;
}

Operator VARIANT(OPERATOR) = {
    .name = OPERATOR_NAME,
    .inputs = {{FLOAT32}, {STORED}, {STORED}, {INT32}, {INT32}, {INT32}, {FLOAT32}, {FLOAT32},
               {FLOAT32, .optional = 1}, {FLOAT32, .optional = 1}},
    .outputs = {{FLOAT32}},
    .state = sizeof(Attributes),
    .open = open,
    .run = run,
};
