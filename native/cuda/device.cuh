// What kernels use of the card beside plain C++: 16-bit numbers, matrix units, loads with cache hints. Compiled before
// each kernel at the start, for the present card (compute capability 8.0 or newer). Without a card, a file of the tests
// takes its place. With REAL_BFLOAT16, 16-bit numbers are bfloat16, otherwise float16.

typedef unsigned short Real;
typedef unsigned int Bits;

/** Eight 16-bit numbers; the first is the low half of x. */
struct __align__(16) Eight {
  Bits x, y, z, w;
};

__device__ inline float to_float(Real value) {
#ifdef REAL_BFLOAT16
  return __uint_as_float((Bits)value << 16);
#else
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value));
  return result;
#endif
}

/** The value of a half float, whichever type `Real` is. */
__device__ inline float half_to_float(unsigned short half) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(half));
  return result;
}

/** Rounds to the nearest, ties to even. */
__device__ inline Real to_real(float value) {
  Real result;
#ifdef REAL_BFLOAT16
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result) : "f"(value));
#else
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result) : "f"(value));
#endif
  return result;
}

/** A float with 10 bits of mantissa, as its bits; exact for values that were 16-bit numbers. */
__device__ inline Bits to_tf32(float value) {
  Bits result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(value));
  return result;
}

__device__ inline Bits bits_of(float value) { return __float_as_uint(value); }
__device__ inline float float_of(Bits bits) { return __uint_as_float(bits); }

/**
 * d [16, 8] += a [16, 16] · b [16, 8] of 16-bit numbers, by a warp. With lane = 4 * g + q, a thread holds
 *   a[0], a[2]: row g, columns 2q, 2q + 1 and 8 more;   a[1], a[3]: row g + 8     b[0], b[1]: the same rows of column g
 *   d[0], d[1]: row g, columns 2q, 2q + 1;              d[2], d[3]: row g + 8
 */
__device__ inline void multiply_reals(float (&d)[4], const Bits (&a)[4], const Bits (&b)[2]) {
#ifdef REAL_BFLOAT16
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
#else
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
#endif
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/**
 * d [16, 8] += a [16, 8] · b [8, 8] of tf32. A thread holds a[0], a[2]: row g, columns q and q + 4; a[1], a[3]: row g + 8;
 * b[0], b[1]: rows q and q + 4 of column g; d as above.
 */
__device__ inline void multiply_tf32(float (&d)[4], const Bits (&a)[4], const Bits (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/** a * b + c of two pairs of 16-bit numbers, rounded once. */
__device__ inline Bits multiply_add(Bits a, Bits b, Bits c) {
  Bits result;
#ifdef REAL_BFLOAT16
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
#else
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
#endif
  return result;
}

/** Four bytes out of `low`'s (0 to 3) and `high`'s (4 to 7), by the four lowest hexadecimal digits of `which`. */
__device__ inline Bits select_bytes(Bits low, Bits high, Bits which) { return __byte_perm(low, high, which); }

/** Loads data that are read once, without displacing others from the first-level cache. */
__device__ inline Eight load_streamed(const Real *from) {
  Eight value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from));
  return value;
}

/** Loads data that other warps read too. The load is issued where it is written, however late its value is used. */
__device__ inline Eight load_cached(const Real *from) {
  Eight value;
  asm volatile("ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from));
  return value;
}

/** Loads what other blocks of the same launch wrote. */
__device__ inline float load_shared_by_blocks(const float *from) {
  float value;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(value) : "l"(from) : "memory");
  return value;
}

__device__ inline unsigned load_acquired(const unsigned *from) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}

/** Called while this block waits for the work of another. */
__device__ inline void pause() { __nanosleep(40); }

template <typename T> __device__ inline T *dynamic_shared() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return (T *)bytes;
}
