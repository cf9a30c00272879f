// A few floats at a time, as many as a register of this variant holds, for kernels with their own loops. Each lane is a
// sum of its own, and `lanes_sum` adds the lanes in one order, so a result depends on the values alone.
#ifndef LANES_H
#define LANES_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** The value of a 16-bit float. */
static inline float half_value(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff, bits;
  float value;
  if (rest >= 0x7c00) bits = 0x7f800000 | (rest & 0x3ff) << 13;
  else if (rest >= 0x400) bits = (rest << 13) + ((127 - 15) << 23);
  else {
    value = (float)rest * 5.9604644775390625e-8f;
    memcpy(&bits, &value, sizeof bits);
  }
  bits |= sign;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/** Unrolls a loop with a small constant count, whose values are to stay in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(REFERENCE)
// The plain variant has no registers of known width.

#elif defined(__AVX512F__)
#include <immintrin.h>
enum { LANES = 16 };
typedef __m512 Lanes;
static inline Lanes lanes_of(float value) { return _mm512_set1_ps(value); }
static inline Lanes lanes_load(const float *from) { return _mm512_loadu_ps(from); }
static inline void lanes_store(float *to, Lanes value) { _mm512_storeu_ps(to, value); }
static inline Lanes lanes_halves(const uint16_t *from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
}
static inline Lanes lanes_codes(const int8_t *from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
}
static inline Lanes lanes_multiply_add(Lanes a, Lanes b, Lanes c) { return _mm512_fmadd_ps(a, b, c); }
static inline float lanes_sum(Lanes value) {
  __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(value), 1));
  __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(value), high);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

#elif defined(__AVX2__)
#include <immintrin.h>
enum { LANES = 8 };
typedef __m256 Lanes;
static inline Lanes lanes_of(float value) { return _mm256_set1_ps(value); }
static inline Lanes lanes_load(const float *from) { return _mm256_loadu_ps(from); }
static inline void lanes_store(float *to, Lanes value) { _mm256_storeu_ps(to, value); }
static inline Lanes lanes_halves(const uint16_t *from) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
}
static inline Lanes lanes_codes(const int8_t *from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)));
}
static inline Lanes lanes_multiply_add(Lanes a, Lanes b, Lanes c) { return _mm256_fmadd_ps(a, b, c); }
static inline float lanes_sum(Lanes value) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps(value, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

#elif defined(__ARM_NEON)
#include <arm_neon.h>
enum { LANES = 4 };
typedef float32x4_t Lanes;
static inline Lanes lanes_of(float value) { return vdupq_n_f32(value); }
static inline Lanes lanes_load(const float *from) { return vld1q_f32(from); }
static inline void lanes_store(float *to, Lanes value) { vst1q_f32(to, value); }
static inline Lanes lanes_halves(const uint16_t *from) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from)));
}
static inline Lanes lanes_codes(const int8_t *from) {
  uint32_t four;
  memcpy(&four, from, sizeof four);
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(four)))));
}
static inline Lanes lanes_multiply_add(Lanes a, Lanes b, Lanes c) { return vfmaq_f32(c, a, b); }
static inline float lanes_sum(Lanes value) { return vaddvq_f32(value); }
#endif

#if !defined(REFERENCE)
/** Loads the first `count` values; the others are zeros. */
static inline Lanes lanes_load_some(const float *from, size_t count) {
  float values[LANES] = {0};
  memcpy(values, from, count * sizeof *values);
  return lanes_load(values);
}
static inline void lanes_store_some(float *to, Lanes value, size_t count) {
  float values[LANES];
  lanes_store(values, value);
  memcpy(to, values, count * sizeof *values);
}
#endif

#endif
