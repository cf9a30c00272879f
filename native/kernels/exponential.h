// exp(x) of a float without a table or a branch, so that compilers can vectorise a loop over it.
//
//   exp(x) = 2^n * e^r,  n = round(x / ln 2),  |r| <= ln 2 / 2,  e^r by a polynomial (Cephes' expf)
//
// The relative error is below 2e-7. From -87 down the result stays the smallest normal float, from 88 up it stays large
// and finite. NaN gives NaN.
#ifndef EXPONENTIAL_H
#define EXPONENTIAL_H
#include <stdint.h>
#include <string.h>

static inline float exponential(float x) {
  float bounded = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  // Adding this leaves the nearest whole number in the low bits.
  const float shift = 12582912.0f;
  float shifted = bounded * 1.44269504f + shift;
  float n = shifted - shift;
  float r = bounded - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  float power = p * r * r + r + 1.0f;
  int32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  int32_t exponent = (int32_t)((uint32_t)(bits + 127) << 23);
  float scale;
  memcpy(&scale, &exponent, sizeof scale);
  return power * scale;
}

#endif
