// Rows of floats rounded to 8 or 16 bits, with a scale for each block of 32: x = scale * code,
// code
// <= 127 or 32767.
//
// Beside the codes stands scale * (sum of the codes), with which a product takes the weights' minimums: so an
// activation's rounding error counts times the whole weight instead of its code alone. A row's codes depend on nothing
// but the row.
#ifndef ACTIVATIONS_H
#define ACTIVATIONS_H
#include "vector.h"

typedef struct {
  /** int8 or int16 [rows, k]; 16-bit codes are in pairs (see vector.h). */
  void *codes;
  /** [rows, k / 32] */
  float *scales, *sums;
} Activations;

/** Bytes for `rows` rows, a multiple of 64. */
INLINE size_t activation_bytes(size_t rows, size_t k, int bits) {
  return (rows * k * (size_t)bits / 8 + rows * (k / BLOCK) * 8 + 63 + 64) / 64 * 64;
}

INLINE Activations activations_in(void *memory, size_t rows, size_t k, int bits) {
  uint8_t *floats = (uint8_t *)memory + (rows * k * (size_t)bits / 8 + 63) / 64 * 64;
  float *scales = (float *)(void *)floats;
  return (Activations){memory, scales, scales + rows * (k / BLOCK)};
}

/**
 * The value of one code; `inverse` turns floats into codes. A block that holds an infinity or a NaN gets a NaN as its
 * scale and zeros as codes, so that all products of its row are NaN.
 */
INLINE float rounding_scale(const float *x, float most, float *inverse) {
  uint32_t largest = 0;
  for (int i = 0; i < BLOCK; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  float size;
  memcpy(&size, &largest, sizeof size);
  int is_number = largest < 0x7f800000;
  *inverse = is_number && size > 1e-30f ? most / size : 0;
  return is_number ? size / most : size - size;
}

/**
 * The nearest whole number of v, ties to even, for
 * v
 * < 2^22: the low bits of the sum.
 */
INLINE int32_t nearest(float v) {
  float shifted = v + 12582912.0f;
  int32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  return bits - 0x4b400000;
}

/** Rounds row `row` of x, k floats. */
INLINE void round_row(const float *x, size_t k, int bits, size_t row, Activations a) {
  size_t blocks = k / BLOCK;
  for (size_t b = 0; b < blocks; b++) {
    const float *from = x + b * BLOCK;
    float inverse, scale = rounding_scale(from, bits == 8 ? 127.0f : 32767.0f, &inverse);
    int32_t codes[BLOCK], sum = 0;
    if (scale == scale) {
      for (int i = 0; i < BLOCK; i++) codes[i] = nearest(from[i] * inverse);
    } else {
      for (int i = 0; i < BLOCK; i++) codes[i] = 0;
    }
    for (int i = 0; i < BLOCK; i++) sum += codes[i];
    size_t at = row * blocks + b;
    a.scales[at] = scale;
    a.sums[at] = scale * (float)sum;
    if (bits == 8) {
      int8_t *to = (int8_t *)a.codes + at * BLOCK;
      for (int i = 0; i < BLOCK; i++) to[i] = (int8_t)codes[i];
    } else {
      int16_t *to = (int16_t *)a.codes + at * BLOCK;
      for (int i = 0; i < BLOCK; i += 4) {
        to[i] = (int16_t)codes[i], to[i + 1] = (int16_t)codes[i + 2];
        to[i + 2] = (int16_t)codes[i + 1], to[i + 3] = (int16_t)codes[i + 3];
      }
    }
  }
}

#endif
