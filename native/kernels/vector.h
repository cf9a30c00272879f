// Eight outputs of a product side by side, and the integer products that they are made of, in the instructions that a
// file is compiled for: AVX2, AVX-512 VNNI (in registers of 256 bits), NEON with dot products, or plain C, which is the
// reference for the others.
//
// A block is 32 inputs of 8 outputs. Its codes lie as 32-byte vectors, each with 4 inputs of every output:
//   4 bits   4 vectors; byte 4 * output + i of vector c has input 4c + i in its low half, 16 + 4c + i in its high one
//   8 bits   8 vectors; byte 4 * output + i of vector j has input 4j + i, signed
// Activations of 8 bits lie in their own order, those of 16 bits in pairs: 4j, 4j + 2, 4j + 1, 4j + 3.
#ifndef VECTOR_H
#define VECTOR_H
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
enum { LANES = 8, BLOCK = 32 };

#if defined(__AVX2__) && !defined(REFERENCE)
#include <immintrin.h>

typedef __m256 Floats;
INLINE Floats zero_floats(void) { return _mm256_setzero_ps(); }
INLINE Floats load_floats(const float *p) { return _mm256_loadu_ps(p); }
INLINE Floats load_halves(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128(p)); }
INLINE void store_floats(float *p, Floats v) { _mm256_storeu_ps(p, v); }
INLINE Floats all_of(float v) { return _mm256_set1_ps(v); }
INLINE Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
INLINE Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
INLINE Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
INLINE void prefetch(const void *p) { _mm_prefetch(p, _MM_HINT_T0); }

/** The sums of four vectors' elements, each in the same order. */
INLINE void sums_of_4(const Floats *v, float *to) {
  __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
  _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1)));
}

INLINE __m256i all_of_word(const void *p) {
  int32_t word;
  memcpy(&word, p, sizeof word);
  return _mm256_set1_epi32(word);
}

/** A block's codes as bytes, shared by all rows. */
typedef struct {
  __m256i v[8];
} Codes;

INLINE Codes codes_4(const uint8_t *p) {
  const __m256i low = _mm256_set1_epi8(15);
  Codes w;
  for (int c = 0; c < 4; c++) {
    __m256i v = _mm256_loadu_si256((const __m256i *)(p + 32 * c));
    w.v[c] = _mm256_and_si256(v, low);
    w.v[c + 4] = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
  }
  return w;
}

INLINE Codes codes_8(const uint8_t *p) {
  Codes w;
  for (int j = 0; j < 8; j++) w.v[j] = _mm256_loadu_si256((const __m256i *)(p + 32 * j));
  return w;
}

/** Codes of 4 bits (0 to 15) times activations of 8 bits. */
INLINE Floats dots_4x8(const Codes *w, const int8_t *x) {
#if defined(__AVX512VNNI__)
  __m256i s = _mm256_setzero_si256(), t = s;
  for (int j = 0; j < 8; j += 2) {
    s = _mm256_dpbusd_epi32(s, w->v[j], all_of_word(x + 4 * j));
    t = _mm256_dpbusd_epi32(t, w->v[j + 1], all_of_word(x + 4 * j + 4));
  }
  return _mm256_cvtepi32_ps(_mm256_add_epi32(s, t));
#else
  // 15 * 127 * 2 * 8 is below 2^15, so the sums of all eight vectors fit 16 bits.
  __m256i s = _mm256_maddubs_epi16(w->v[0], all_of_word(x));
  for (int j = 1; j < 8; j++) s = _mm256_add_epi16(s, _mm256_maddubs_epi16(w->v[j], all_of_word(x + 4 * j)));
  return _mm256_cvtepi32_ps(_mm256_madd_epi16(s, _mm256_set1_epi16(1)));
#endif
}

/** Codes of 8 bits (-128 to 127) times activations of 8 bits (-127 to 127). */
INLINE Floats dots_8x8(const Codes *w, const int8_t *x) {
  __m256i s = _mm256_setzero_si256();
  for (int j = 0; j < 8; j++) {
    __m256i size = _mm256_abs_epi8(w->v[j]), signedX = _mm256_sign_epi8(all_of_word(x + 4 * j), w->v[j]);
#if defined(__AVX512VNNI__)
    s = _mm256_dpbusd_epi32(s, size, signedX);
#else
    s = _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(size, signedX), _mm256_set1_epi16(1)));
#endif
  }
  return _mm256_cvtepi32_ps(s);
}

/** A block's codes in 16 bits: 16 vectors, each with a pair of inputs of every output, in the order of activations. */
INLINE void widen_4(const uint8_t *p, int16_t *w) {
  const __m256i low = _mm256_set1_epi16(15);
  for (int c = 0; c < 4; c++) {
    __m256i v = _mm256_loadu_si256((const __m256i *)(p + 32 * c));
    __m256i *first = (__m256i *)(w + 32 * c), *second = (__m256i *)(w + 32 * (c + 4));
    _mm256_storeu_si256(first, _mm256_and_si256(v, low));
    _mm256_storeu_si256(second, _mm256_and_si256(_mm256_srli_epi16(v, 4), low));
    _mm256_storeu_si256(first + 1, _mm256_and_si256(_mm256_srli_epi16(v, 8), low));
    _mm256_storeu_si256(second + 1, _mm256_srli_epi16(v, 12));
  }
}

INLINE void widen_8(const uint8_t *p, int16_t *w) {
  for (int j = 0; j < 8; j++) {
    __m256i v = _mm256_loadu_si256((const __m256i *)(p + 32 * j));
    _mm256_storeu_si256((__m256i *)(w + 32 * j), _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8));
    _mm256_storeu_si256((__m256i *)(w + 32 * j + 16), _mm256_srai_epi16(v, 8));
  }
}

/** Sums of eight outputs. */
typedef __m256i Sums;
INLINE Sums zero_sums(void) { return _mm256_setzero_si256(); }
typedef __m256i Pairs;
INLINE Pairs load_pairs(const int16_t *w) { return _mm256_loadu_si256((const __m256i *)w); }
INLINE Pairs all_of_pair(const int16_t *x) { return all_of_word(x); }
INLINE Sums add_pairs(Sums s, Pairs w, Pairs x) {
#if defined(__AVX512VNNI__)
  return _mm256_dpwssd_epi32(s, w, x);
#else
  return _mm256_add_epi32(s, _mm256_madd_epi16(w, x));
#endif
}
INLINE Floats floats_of(Sums s) { return _mm256_cvtepi32_ps(s); }
/** The first and the second number of every pair. */
INLINE void split_pairs(Pairs p, Floats *first, Floats *second) {
  *first = _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(p, 16), 16));
  *second = _mm256_cvtepi32_ps(_mm256_srai_epi32(p, 16));
}

#elif defined(__ARM_FEATURE_DOTPROD) && !defined(REFERENCE)
#include <arm_neon.h>

typedef struct {
  float32x4_t a, b;
} Floats;
INLINE Floats zero_floats(void) { return (Floats){vdupq_n_f32(0), vdupq_n_f32(0)}; }
INLINE Floats load_floats(const float *p) { return (Floats){vld1q_f32(p), vld1q_f32(p + 4)}; }
INLINE Floats load_halves(const void *p) {
  const uint16_t *h = p;
  return (Floats){vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h))), vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h + 4)))};
}
INLINE void store_floats(float *p, Floats v) { vst1q_f32(p, v.a), vst1q_f32(p + 4, v.b); }
INLINE Floats all_of(float v) { return (Floats){vdupq_n_f32(v), vdupq_n_f32(v)}; }
INLINE Floats add(Floats x, Floats y) { return (Floats){vaddq_f32(x.a, y.a), vaddq_f32(x.b, y.b)}; }
INLINE Floats multiply(Floats x, Floats y) { return (Floats){vmulq_f32(x.a, y.a), vmulq_f32(x.b, y.b)}; }
INLINE Floats multiply_add(Floats x, Floats y, Floats z) {
  return (Floats){vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b)};
}
INLINE void prefetch(const void *p) { __builtin_prefetch(p); }

INLINE void sums_of_4(const Floats *v, float *to) {
  for (int i = 0; i < 4; i++) to[i] = vaddvq_f32(vaddq_f32(v[i].a, v[i].b));
}

typedef struct {
  int8x16_t v[16];
} Codes;

INLINE Codes codes_4(const uint8_t *p) {
  Codes w;
  for (int c = 0; c < 8; c++) {
    uint8x16_t v = vld1q_u8(p + 16 * c);
    w.v[c] = vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15)));
    w.v[c + 8] = vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
  }
  return w;
}

INLINE Codes codes_8(const uint8_t *p) {
  Codes w;
  for (int j = 0; j < 16; j++) w.v[j] = vld1q_s8((const int8_t *)p + 16 * j);
  return w;
}

INLINE Floats dots_8x8(const Codes *w, const int8_t *x) {
  int32x4_t a = vdupq_n_s32(0), b = a;
  for (int j = 0; j < 8; j++) {
    int32_t word;
    memcpy(&word, x + 4 * j, sizeof word);
    int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(word));
    a = vdotq_s32(a, w->v[2 * j], four);
    b = vdotq_s32(b, w->v[2 * j + 1], four);
  }
  return (Floats){vcvtq_f32_s32(a), vcvtq_f32_s32(b)};
}
INLINE Floats dots_4x8(const Codes *w, const int8_t *x) { return dots_8x8(w, x); }

INLINE void widen_4(const uint8_t *p, int16_t *w) {
  const uint16x8_t low = vdupq_n_u16(15);
  for (int c = 0; c < 4; c++) {
    for (int half = 0; half < 2; half++) {
      uint16x8_t v = vreinterpretq_u16_u8(vld1q_u8(p + 32 * c + 16 * half));
      int16_t *first = w + 32 * c + 8 * half, *second = w + 32 * (c + 4) + 8 * half;
      vst1q_s16(first, vreinterpretq_s16_u16(vandq_u16(v, low)));
      vst1q_s16(second, vreinterpretq_s16_u16(vandq_u16(vshrq_n_u16(v, 4), low)));
      vst1q_s16(first + 16, vreinterpretq_s16_u16(vandq_u16(vshrq_n_u16(v, 8), low)));
      vst1q_s16(second + 16, vreinterpretq_s16_u16(vshrq_n_u16(v, 12)));
    }
  }
}

INLINE void widen_8(const uint8_t *p, int16_t *w) {
  for (int j = 0; j < 16; j++) {
    int16x8_t v = vreinterpretq_s16_u8(vld1q_u8(p + 16 * j));
    int16_t *to = w + 32 * (j / 2) + 8 * (j % 2);
    vst1q_s16(to, vshrq_n_s16(vshlq_n_s16(v, 8), 8));
    vst1q_s16(to + 16, vshrq_n_s16(v, 8));
  }
}

/** Sums of outputs 0 and 1, 2 and 3, ...: two for each output, which are added at the end. */
typedef struct {
  int32x4_t v[4];
} Sums;
INLINE Sums zero_sums(void) {
  int32x4_t z = vdupq_n_s32(0);
  return (Sums){{z, z, z, z}};
}
typedef struct {
  int16x8_t a, b;
} Pairs;
INLINE Pairs load_pairs(const int16_t *w) { return (Pairs){vld1q_s16(w), vld1q_s16(w + 8)}; }
INLINE Pairs all_of_pair(const int16_t *x) {
  int32_t word;
  memcpy(&word, x, sizeof word);
  int16x8_t v = vreinterpretq_s16_s32(vdupq_n_s32(word));
  return (Pairs){v, v};
}
INLINE Sums add_pairs(Sums s, Pairs w, Pairs x) {
  s.v[0] = vmlal_s16(s.v[0], vget_low_s16(w.a), vget_low_s16(x.a));
  s.v[1] = vmlal_high_s16(s.v[1], w.a, x.a);
  s.v[2] = vmlal_s16(s.v[2], vget_low_s16(w.b), vget_low_s16(x.b));
  s.v[3] = vmlal_high_s16(s.v[3], w.b, x.b);
  return s;
}
INLINE Floats floats_of(Sums s) {
  return (Floats){vcvtq_f32_s32(vpaddq_s32(s.v[0], s.v[1])), vcvtq_f32_s32(vpaddq_s32(s.v[2], s.v[3]))};
}
INLINE void split_pairs(Pairs p, Floats *first, Floats *second) {
  int32x4_t a = vreinterpretq_s32_s16(p.a), b = vreinterpretq_s32_s16(p.b);
  *first = (Floats){vcvtq_f32_s32(vshrq_n_s32(vshlq_n_s32(a, 16), 16)), vcvtq_f32_s32(vshrq_n_s32(vshlq_n_s32(b, 16), 16))};
  *second = (Floats){vcvtq_f32_s32(vshrq_n_s32(a, 16)), vcvtq_f32_s32(vshrq_n_s32(b, 16))};
}

#else
typedef struct {
  float v[LANES];
} Floats;
#define EACH(i) for (int i = 0; i < LANES; i++)

INLINE float half_to_float(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023, bits;
  if (exponent == 0) {
    float small = (float)fraction * 5.9604644775390625e-8f;
    return sign ? -small : small;
  }
  bits = sign | (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | fraction << 13;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

INLINE Floats all_of(float v) {
  Floats r;
  EACH(i) r.v[i] = v;
  return r;
}
INLINE Floats zero_floats(void) { return all_of(0); }
INLINE Floats load_floats(const float *p) {
  Floats r;
  memcpy(r.v, p, sizeof r.v);
  return r;
}
INLINE Floats load_halves(const void *p) {
  uint16_t h[LANES];
  memcpy(h, p, sizeof h);
  Floats r;
  EACH(i) r.v[i] = half_to_float(h[i]);
  return r;
}
INLINE void store_floats(float *p, Floats v) { memcpy(p, v.v, sizeof v.v); }
INLINE Floats add(Floats a, Floats b) {
  EACH(i) a.v[i] += b.v[i];
  return a;
}
INLINE Floats multiply(Floats a, Floats b) {
  EACH(i) a.v[i] *= b.v[i];
  return a;
}
INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
  EACH(i) c.v[i] += a.v[i] * b.v[i];
  return c;
}
INLINE void prefetch(const void *p) { (void)p; }
INLINE void sums_of_4(const Floats *v, float *to) {
  for (int i = 0; i < 4; i++) {
    to[i] = 0;
    EACH(lane) to[i] += v[i].v[lane];
  }
}

typedef struct {
  int8_t v[8][32];
} Codes;
INLINE Codes codes_4(const uint8_t *p) {
  Codes w;
  for (int i = 0; i < 128; i++) {
    w.v[i / 32][i % 32] = p[i] & 15;
    w.v[i / 32 + 4][i % 32] = p[i] >> 4;
  }
  return w;
}
INLINE Codes codes_8(const uint8_t *p) {
  Codes w;
  memcpy(w.v, p, sizeof w.v);
  return w;
}
INLINE Floats dots_8x8(const Codes *w, const int8_t *x) {
  Floats r;
  EACH(lane) {
    int32_t sum = 0;
    for (int k = 0; k < BLOCK; k++) sum += w->v[k / 4][4 * lane + k % 4] * x[k];
    r.v[lane] = (float)sum;
  }
  return r;
}
INLINE Floats dots_4x8(const Codes *w, const int8_t *x) { return dots_8x8(w, x); }

INLINE void widen(const Codes *w, int16_t *to) {
  for (int k = 0; k < BLOCK; k++) {
    int place = k / 4 * 32 + (k & 1) * 16 + (k >> 1 & 1);
    EACH(lane) to[place + 2 * lane] = w->v[k / 4][4 * lane + k % 4];
  }
}
INLINE void widen_4(const uint8_t *p, int16_t *w) {
  Codes codes = codes_4(p);
  widen(&codes, w);
}
INLINE void widen_8(const uint8_t *p, int16_t *w) {
  Codes codes = codes_8(p);
  widen(&codes, w);
}

typedef struct {
  int32_t v[LANES];
} Sums;
INLINE Sums zero_sums(void) { return (Sums){{0}}; }
typedef struct {
  int16_t v[2 * LANES];
} Pairs;
INLINE Pairs load_pairs(const int16_t *w) {
  Pairs p;
  memcpy(p.v, w, sizeof p.v);
  return p;
}
INLINE Pairs all_of_pair(const int16_t *x) {
  Pairs p;
  EACH(i) p.v[2 * i] = x[0], p.v[2 * i + 1] = x[1];
  return p;
}
INLINE Sums add_pairs(Sums s, Pairs w, Pairs x) {
  EACH(i) s.v[i] += w.v[2 * i] * x.v[2 * i] + w.v[2 * i + 1] * x.v[2 * i + 1];
  return s;
}
INLINE Floats floats_of(Sums s) {
  Floats r;
  EACH(i) r.v[i] = (float)s.v[i];
  return r;
}
INLINE void split_pairs(Pairs p, Floats *first, Floats *second) {
  EACH(i) first->v[i] = p.v[2 * i], second->v[i] = p.v[2 * i + 1];
}
#endif

#endif
