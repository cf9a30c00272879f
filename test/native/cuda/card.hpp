// A card that is not there: kernels as C++, a thread of a block a coroutine of its own. Blocks run one after another, in
// order; a warp's instructions wait for its 32 threads, and where threads wait that never come the program says so.
// Stands in the place of native/cuda/device.cuh.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <ucontext.h>
#include <vector>

#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(...)

typedef unsigned short Real;
typedef unsigned int Bits;
struct alignas(16) Eight {
  Bits x, y, z, w;
};
struct Index {
  unsigned x = 0;
};
inline Index threadIdx, blockIdx, gridDim;

namespace card {
enum { warp_lanes = 32, stack_bytes = 1 << 16, dynamic_bytes = 1 << 18 };
struct Barrier {
  int waiting = 0;
  long passed = 0;
};
struct Warp {
  Barrier barrier;
  Bits a[warp_lanes][4], b[warp_lanes][2];
};
inline std::vector<ucontext_t> fibers;
inline std::vector<std::vector<char>> stacks;
inline std::vector<bool> ended;
inline std::vector<Warp> warps;
inline Barrier block_barrier;
inline ucontext_t scheduler;
inline unsigned current;
inline long progress;
inline std::function<void()> kernel;
alignas(16) inline unsigned char dynamic[dynamic_bytes];

inline void yield() { swapcontext(&fibers[current], &scheduler); }

inline void wait(Barrier &barrier, int count) {
  const long mine = barrier.passed;
  progress++;
  if (++barrier.waiting == count) {
    barrier.waiting = 0;
    barrier.passed++;
    return;
  }
  while (barrier.passed == mine) yield();
}

inline void enter() {
  kernel();
  ended[current] = true;
  progress++;
  swapcontext(&fibers[current], &scheduler);
}

/** Every block of a launch. */
inline void launch(unsigned blocks, unsigned threads, std::function<void()> body) {
  kernel = body;
  gridDim.x = blocks;
  stacks.resize(threads, std::vector<char>(stack_bytes));
  for (unsigned block = 0; block < blocks; block++) {
    blockIdx.x = block;
    fibers.assign(threads, {});
    ended.assign(threads, false);
    warps.assign(threads / warp_lanes, {});
    block_barrier = {};
    // Shared memory holds no promise.
    memset(dynamic, 0xff, sizeof dynamic);
    for (unsigned i = 0; i < threads; i++) {
      getcontext(&fibers[i]);
      fibers[i].uc_stack.ss_sp = stacks[i].data();
      fibers[i].uc_stack.ss_size = stack_bytes;
      makecontext(&fibers[i], enter, 0);
    }
    for (unsigned left = threads; left > 0;) {
      const long before = progress;
      left = 0;
      for (unsigned i = 0; i < threads; i++) {
        if (ended[i]) continue;
        current = i;
        threadIdx.x = i;
        swapcontext(&scheduler, &fibers[i]);
        left += !ended[i];
      }
      if (progress != before || left == 0) continue;
      fprintf(stderr, "block %u: %u threads wait for others that never come\n", block, left);
      exit(1);
    }
  }
}

inline float half_to_float(Real value) {
  const Bits sign = (Bits)(value & 0x8000) << 16, exponent = value >> 10 & 31, mantissa = value & 1023;
  float result;
  if (exponent == 0) result = mantissa * 0x1p-24f;
  else {
    const Bits bits = exponent == 31 ? 0x7f800000 | mantissa << 13 : (exponent + 112) << 23 | mantissa << 13;
    memcpy(&result, &bits, 4);
  }
  Bits bits;
  memcpy(&bits, &result, 4);
  bits |= sign;
  memcpy(&result, &bits, 4);
  return result;
}
} // namespace card
using card::half_to_float;

inline Bits bits_of(float value) {
  Bits bits;
  memcpy(&bits, &value, 4);
  return bits;
}
inline float float_of(Bits bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
inline float to_float(Real value) {
#ifdef REAL_BFLOAT16
  return float_of((Bits)value << 16);
#else
  return card::half_to_float(value);
#endif
}
inline Real to_real(float value) {
#ifdef REAL_BFLOAT16
  const Bits bits = bits_of(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
#else
  const _Float16 half = (_Float16)value;
  Real bits;
  memcpy(&bits, &half, 2);
  return bits;
#endif
}
/** To the nearest, ties away from zero. */
inline Bits to_tf32(float value) {
  const Bits bits = bits_of(value);
  return (bits & 0x7f800000) == 0x7f800000 ? bits : (bits + 0x1000) & ~0x1fffu;
}

/** Rounded to a float first, which makes no difference where the result is a 16-bit number. */
inline Bits multiply_add(Bits a, Bits b, Bits c) {
  Bits result = 0;
  for (int shift : {0, 16}) {
    const auto of = [&](Bits pair) { return to_float((Real)(pair >> shift)); };
    result |= (Bits)to_real(std::fma(of(a), of(b), of(c))) << shift;
  }
  return result;
}
inline Bits select_bytes(Bits low, Bits high, Bits which) {
  const uint64_t bytes = (uint64_t)high << 32 | low;
  Bits result = 0;
  for (int i = 0; i < 4; i++) result |= (Bits)(bytes >> (which >> 4 * i & 7) * 8 & 255) << 8 * i;
  return result;
}

inline void __syncthreads() { card::wait(card::block_barrier, (int)card::fibers.size()); }
inline void __threadfence() {}
inline void pause() { card::yield(); }
inline unsigned atomicAdd(unsigned *at, unsigned value) {
  const unsigned before = *at;
  *at += value;
  card::progress++;
  return before;
}
inline Eight load_streamed(const Real *from) { return *(const Eight *)from; }
inline Eight load_cached(const Real *from) { return *(const Eight *)from; }
inline float load_shared_by_blocks(const float *from) { return *from; }
inline unsigned load_acquired(const unsigned *from) { return *(volatile const unsigned *)from; }
template <typename T> inline T *dynamic_shared() { return (T *)card::dynamic; }

namespace card {
/** d += a · b where every lane of the warp holds its part; `value` gives element (i, k) or (k, j) of an operand. */
template <typename A, typename B>
inline void multiply(float (&d)[4], const Bits (&a)[4], const Bits (&b)[2], int inner, A of_a, B of_b) {
  const unsigned lane = threadIdx.x % warp_lanes;
  Warp &warp = warps[threadIdx.x / warp_lanes];
  memcpy(warp.a[lane], a, sizeof a);
  memcpy(warp.b[lane], b, sizeof b);
  wait(warp.barrier, warp_lanes);
  for (int i = 0; i < 4; i++) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < inner; k++) d[i] += of_a(warp, row, k) * of_b(warp, k, column);
  }
  wait(warp.barrier, warp_lanes);
}
} // namespace card

inline void multiply_reals(float (&d)[4], const Bits (&a)[4], const Bits (&b)[2]) {
  const auto pick = [](Bits pair, int k) { return to_float((Real)(pair >> (k % 2 * 16))); };
  card::multiply(
      d, a, b, 16,
      [&](const card::Warp &w, int row, int k) { return pick(w.a[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], k); },
      [&](const card::Warp &w, int k, int column) { return pick(w.b[column * 4 + k % 8 / 2][k / 8], k); });
}

inline void multiply_tf32(float (&d)[4], const Bits (&a)[4], const Bits (&b)[2]) {
  const auto cut = [](Bits bits) { return float_of(bits & ~0x1fffu); };
  card::multiply(
      d, a, b, 8, [&](const card::Warp &w, int row, int k) { return cut(w.a[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2]); },
      [&](const card::Warp &w, int k, int column) { return cut(w.b[column * 4 + k % 4][k / 4]); });
}
