// Attention: out [R, heads * d] = softmax(q Kᵀ / sqrt d) V over keys and values that it keeps in place, causal, with
// rotary positions. R = B * T: T new tokens of each of B sequences.
//
//   qkv [R, (heads + 2 * kvHeads) * d]     q, k, v of the new tokens side by side
//   keys, values [B, kvHeads, positions, d]  the new tokens' are written there, k with its position; all else is read
//   last [B] int32                         tokens of each sequence after this run, less one
//   cos, sin [positions, d / 2]            of the halves of a head, not of neighbours
//   qNorm, kNorm [d], optional             each head of q and k is divided by its root mean square and multiplied
//
// For a token and head: scores of all positions so far, their exponentials less the largest, and the sum of the values
// in the order of positions. So the bits do not depend on how many tokens or sequences a run has.
//
// Heads that share keys and values read them together, up to three at a time.
#include "../operator.h"
#include "../scratch.h"
#include "exponential.h"
#include "vector.h"

typedef struct {
  size_t heads, kv_heads, d;
  float epsilon;
} Form;

typedef struct {
  const Form *form;
  const float *qkv, *cos, *sin, *q_norm, *k_norm;
  const int32_t *last;
  float *keys, *values, *out;
  /** New tokens of a sequence, and room for tokens. */
  size_t tokens, positions;
  size_t heads_a_part, parts_a_group;
  int failed;
} Work;

enum { HEADS_MAX = 3, HEAD_MAX = 256 };

/** One head with its position in it. */
static void rotate(const Work *w, const float *x, const float *norm, size_t position, float *to) {
  size_t d = w->form->d, half = d / 2;
  float scaled[HEAD_MAX];
  memcpy(scaled, x, d * sizeof(float));
  if (norm != NULL) {
    float squares = 0;
    for (size_t i = 0; i < d; i++) squares += x[i] * x[i];
    float inverse = 1.0f / __builtin_sqrtf(squares / (float)d + w->form->epsilon);
    for (size_t i = 0; i < d; i++) scaled[i] = x[i] * inverse * norm[i];
  }
  const float *cos = w->cos + position * half, *sin = w->sin + position * half;
  for (size_t i = 0; i < half; i++) {
    to[i] = scaled[i] * cos[i] - scaled[i + half] * sin[i];
    to[i + half] = scaled[i + half] * cos[i] + scaled[i] * sin[i];
  }
}

/** Position of new token `row`, a number below R. */
INLINE size_t position_of(const Work *w, size_t row) {
  return (size_t)w->last[row / w->tokens] + 1 - w->tokens + row % w->tokens;
}

INLINE const float *row_of(const Work *w, size_t row) {
  return w->qkv + row * (w->form->heads + 2 * w->form->kv_heads) * w->form->d;
}

static void keep(void *data, size_t row) {
  const Work *w = data;
  const Form *form = w->form;
  size_t position = position_of(w, row), d = form->d;
  const float *k = row_of(w, row) + form->heads * d, *v = k + form->kv_heads * d;
  for (size_t head = 0; head < form->kv_heads; head++) {
    size_t at = ((row / w->tokens * form->kv_heads + head) * w->positions + position) * d;
    rotate(w, k + head * d, w->k_norm, position, w->keys + at);
    memcpy(w->values + at, v + head * d, d * sizeof(float));
  }
}

/** scores [count][stride] of `length` positions; those up to the next multiple of 4 are written, too. */
INLINE void scores_of(
    const float *q, const float *keys, size_t d, size_t length, const int count, float *scores, size_t stride) {
  for (size_t p = 0; p < length; p += 4) {
    Floats sums[HEADS_MAX][4];
    const float *k[4];
    for (size_t i = 0; i < 4; i++) k[i] = keys + (p + i < length ? p + i : p) * d;
    for (int h = 0; h < count; h++) {
      for (int i = 0; i < 4; i++) sums[h][i] = zero_floats();
    }
    for (size_t at = 0; at < d; at += LANES) {
      for (int i = 0; i < 4; i++) {
        Floats key = load_floats(k[i] + at);
        for (int h = 0; h < count; h++) sums[h][i] = multiply_add(load_floats(q + (size_t)h * d + at), key, sums[h][i]);
      }
    }
    for (int h = 0; h < count; h++) sums_of_4(sums[h], scores + (size_t)h * stride + p);
  }
}

/** In place; returns one over their sum. Up to the next multiple of 8 they become zeros. */
static float softmax(float *scores, size_t length) {
  float largest = scores[0];
  for (size_t p = 1; p < length; p++) largest = scores[p] > largest ? scores[p] : largest;
  for (size_t p = 0; p < length; p++) scores[p] = exponential(scores[p] - largest);
  Floats sums = zero_floats();
  for (size_t p = length; p % LANES != 0; p++) scores[p] = 0;
  for (size_t p = 0; p < length; p += LANES) sums = add(sums, load_floats(scores + p));
  float lanes[LANES], sum = 0;
  store_floats(lanes, sums);
  for (int i = 0; i < LANES; i++) sum += lanes[i];
  return 1.0f / sum;
}

/** out [count][d], columns [at, at + width * 8) */
INLINE void values_of(
    const float *weights, size_t stride, const float *values, size_t d, size_t length, const int count,
    const int width, const float *inverse, float *out) {
  Floats sums[HEADS_MAX][4];
  for (int h = 0; h < count; h++) {
    for (int j = 0; j < width; j++) sums[h][j] = zero_floats();
  }
  for (size_t p = 0; p < length; p++) {
    Floats row[4];
    for (int j = 0; j < width; j++) row[j] = load_floats(values + p * d + (size_t)j * LANES);
    for (int h = 0; h < count; h++) {
      Floats weight = all_of(weights[(size_t)h * stride + p]);
      for (int j = 0; j < width; j++) sums[h][j] = multiply_add(weight, row[j], sums[h][j]);
    }
  }
  for (int h = 0; h < count; h++) {
    for (int j = 0; j < width; j++) {
      store_floats(out + (size_t)h * d + (size_t)j * LANES, multiply(sums[h][j], all_of(inverse[h])));
    }
  }
}

INLINE void attend_heads(
    const float *q, const float *keys, const float *values, size_t d, size_t length, const int count, float *scores,
    float *out) {
  size_t stride = (length + LANES - 1) / LANES * LANES;
  scores_of(q, keys, d, length, count, scores, stride);
  float inverse[HEADS_MAX];
  for (int h = 0; h < count; h++) inverse[h] = softmax(scores + (size_t)h * stride, length);
  size_t at = 0;
  for (; at + 4 * LANES <= d; at += 4 * LANES) {
    values_of(scores, stride, values + at, d, length, count, 4, inverse, out + at);
  }
  for (; at < d; at += LANES) values_of(scores, stride, values + at, d, length, count, 1, inverse, out + at);
}

/** Some heads of one token: those of a group that shares keys and values, or fewer. */
static void attend(void *data, size_t i) {
  Work *w = data;
  const Form *form = w->form;
  size_t d = form->d, group = form->heads / form->kv_heads;
  size_t piece = i % w->parts_a_group, kv_head = i / w->parts_a_group % form->kv_heads;
  size_t row = i / w->parts_a_group / form->kv_heads, position = position_of(w, row), length = position + 1;
  size_t first = kv_head * group + piece * w->heads_a_part;
  size_t count = group - piece * w->heads_a_part < w->heads_a_part ? group - piece * w->heads_a_part : w->heads_a_part;
  float *scores = take_scratch(HEADS_MAX * (length + LANES) * sizeof(float));
  if (scores == NULL) {
    w->failed = 1;
    return;
  }
  float q[HEADS_MAX * HEAD_MAX];
  float scale = 1.0f / __builtin_sqrtf((float)d);
  for (size_t h = 0; h < count; h++) {
    rotate(w, row_of(w, row) + (first + h) * d, w->q_norm, position, q + h * d);
    for (size_t j = 0; j < d; j++) q[h * d + j] *= scale;
  }
  size_t at = (row / w->tokens * form->kv_heads + kv_head) * w->positions * d;
  const float *keys = w->keys + at, *values = w->values + at;
  float *out = w->out + (row * form->heads + first) * d;
  if (count == 3) attend_heads(q, keys, values, d, length, 3, scores, out);
  else if (count == 2) attend_heads(q, keys, values, d, length, 2, scores, out);
  else attend_heads(q, keys, values, d, length, 1, scores, out);
  give_scratch(scores);
}

static const char *open(const Node *node, void *state) {
  Form *form = state;
  form->heads = (size_t)int_attribute(node, "heads", 0);
  form->kv_heads = (size_t)int_attribute(node, "kv_heads", 0);
  form->d = (size_t)int_attribute(node, "head_size", 0);
  form->epsilon = float_attribute(node, "epsilon", 0);
  if (form->kv_heads == 0 || form->heads % form->kv_heads != 0) return "Attention: heads must be a multiple of kv_heads";
  if (form->d == 0 || form->d % LANES != 0 || form->d > HEAD_MAX) {
    return "Attention: head_size must be a multiple of 8 up to 256";
  }
  return NULL;
}

static const char *run(const Call *call, void *state) {
  const Form *form = state;
  Shape qkv = input_shape(call, 0), keys = input_shape(call, 1), last = input_shape(call, 3);
  size_t rows = (size_t)qkv.dims[0], width = (form->heads + 2 * form->kv_heads) * form->d;
  if (qkv.rank != 2 || (size_t)qkv.dims[1] != width) return "Attention: qkv must be [R, (heads + 2 kv_heads) head_size]";
  if (keys.rank != 4 || (size_t)keys.dims[1] != form->kv_heads || (size_t)keys.dims[3] != form->d) {
    return "Attention: keys must be [B, kv_heads, positions, head_size]";
  }
  size_t sequences = (size_t)keys.dims[0];
  if (sequences == 0 || (size_t)last.dims[0] != sequences || rows % sequences != 0) {
    return "Attention: rows must be as many for each sequence";
  }
  Work w = {.form = form, .qkv = input(call, 0), .cos = input(call, 4), .sin = input(call, 5)};
  w.keys = (float *)input(call, 1);
  w.values = (float *)input(call, 2);
  w.last = input(call, 3);
  w.q_norm = input(call, 6);
  w.k_norm = input(call, 7);
  w.tokens = rows / sequences;
  w.positions = (size_t)keys.dims[2];
  w.out = output(call, 0, (Shape){2, {qkv.dims[0], (int64_t)(form->heads * form->d)}});
  for (size_t i = 0; i < sequences; i++) {
    if (w.last[i] < 0 || (size_t)w.last[i] + 1 < w.tokens || (size_t)w.last[i] >= w.positions) {
      return "Attention: a position is past the room for keys and values";
    }
  }
  size_t group = form->heads / form->kv_heads, most = group < HEADS_MAX ? group : HEADS_MAX;
  // Few tokens: the heads of a group go to different threads.
  w.heads_a_part = rows * form->kv_heads < 8 ? 1 : most;
  w.parts_a_group = (group + w.heads_a_part - 1) / w.heads_a_part;
  in_parallel(call, rows, keep, &w);
  in_parallel(call, rows * form->kv_heads * w.parts_a_group, attend, &w);
  return w.failed ? "Attention: out of memory" : NULL;
}

Operator VARIANT(Attention) = {
    .name = "Attention",
    .inputs = {{FLOAT32}, {FLOAT32}, {FLOAT32}, {INT32}, {FLOAT32}, {FLOAT32},
               {FLOAT32, .optional = 1}, {FLOAT32, .optional = 1}},
    .outputs = {{FLOAT32}},
    .state = sizeof(Form),
    .open = open,
    .run = run,
};
