// Weights of a linear as the kernels read them, w [n, k] = scale * code + minimum, in groups of 8 outputs:
//
//   groups [ceil(n / 8)] x blocks [k / 32] x { scales [8], minimums [8] (where there are any), codes (see vector.h) }
//
// Scales and minimums are half floats where those hold them exactly, and floats otherwise. Codes of 4 bits are 0 to 15
// and always have minimums; codes of 8 bits are signed. Outputs past n are zeros. All of a group's blocks lie side by
// side, so a product reads memory in order.
#ifndef PACKED_H
#define PACKED_H
#include "../operator.h"
#include "vector.h"

typedef struct {
  int bits, halves, minimums;
} Format;

typedef struct {
  size_t n, k;
  Format format;
} Packed;

INLINE size_t scale_bytes(Format f) { return f.halves ? 16 : 32; }
INLINE size_t codes_at(Format f) { return scale_bytes(f) * (f.minimums ? 2 : 1); }
INLINE size_t block_bytes(Format f) { return codes_at(f) + (size_t)f.bits * 32; }
INLINE Floats load_scales(const uint8_t *p, Format f) {
  return f.halves ? load_halves(p) : load_floats((const float *)(const void *)p);
}
/** Widens a block's codes to 16 bits (see vector.h). */
INLINE void widen_codes(const uint8_t *block, Format f, int16_t *to) {
  if (f.bits == 4) widen_4(block + codes_at(f), to);
  else widen_8(block + codes_at(f), to);
}
INLINE size_t groups_of(const Packed *p) { return (p->n + LANES - 1) / LANES; }
INLINE size_t group_bytes(const Packed *p) { return p->k / BLOCK * block_bytes(p->format); }

/** Reads a node's attributes. Returns null, or what is wrong with them. */
INLINE const char *read_packed(const Node *node, Packed *p) {
  p->n = (size_t)int_attribute(node, "n", 0);
  p->k = (size_t)int_attribute(node, "k", 0);
  int bits = (int)int_attribute(node, "bits", 0);
  p->format = (Format){bits, (int)int_attribute(node, "halves", 0), (int)int_attribute(node, "minimums", 0)};
  if (p->n == 0 || p->k == 0 || p->k % BLOCK != 0) return "weights must be [n, k], k a multiple of 32";
  if (bits != 4 && bits != 8) return "weights must be of 4 or 8 bits";
  if (bits == 4 && !p->format.minimums) return "weights of 4 bits have minimums";
  return NULL;
}

INLINE int is_whole(const Call *call, size_t index, const Packed *p) {
  Shape shape = input_shape(call, index);
  return shape.rank == 1 && (size_t)shape.dims[0] == groups_of(p) * group_bytes(p);
}

#endif
