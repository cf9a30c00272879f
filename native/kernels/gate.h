// silu(gate) * up, of gate [n] beside up [n]; silu(v) = v / (1 + exp(-v)).
#ifndef GATE_H
#define GATE_H
#include "exponential.h"
#include <stddef.h>

static inline void gate(const float *x, const float *up, float *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = x[i] / (1.0f + exponential(-x[i])) * up[i];
}

#endif
