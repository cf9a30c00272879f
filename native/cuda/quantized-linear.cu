// QuantizedLinear: y [rows, n] = x [rows, k] Wᵀ (+ bias), where W of 4 or 8 bits is read as it lies in memory.
// QuantizedEmbedding: rows of W.
//
//   w = scale * (code - zero) + minimum        each 32 inputs have a scale, and a minimum where the format has them
//
// A code less zero is a small integer and exact in 16 bits. The matrix units multiply such integers with x and sum in
// float32. The sum of a block of 32 inputs is multiplied by the block's scale and added in float32. A minimum is
// multiplied by the sum of the row's 32 inputs, which is a product with ones. So only x, before, and y are rounded.
//
// W lies in tiles of 32 outputs and 32 inputs, all inputs of 32 outputs side by side (src/graph/card-form.ts):
//
//   codes [lanes 32][16 bytes], twice at 8 bits; scales [32], minimums [32] (where there are any): half floats
//
// Each thread of a warp reads a tile's codes in one load (two at 8 bits). The thread of lane 4 g + q has 8 inputs, from
// 8 q on, of 4 outputs: column g of the j-th product is output 8 (g / 2) + 2 j + g % 2. With this order the results of
// a thread are 8 neighbouring outputs of a row.
//
// Inputs are cut into 2, 4 or 8 parts, by n and k alone. The sum of a part is a chain over its blocks. Pairs of parts
// are added, then the pairs in order. Parts may be warps of one block, turns of one warp, or blocks, of which the last
// to arrive adds what all of them left: the order of sums is the same. So a row's bits depend on nothing but the row
// and the weights.

struct QuantizedLinear {
  const Real *x;
  const unsigned char *weights;
  /** Null: none. */
  const Real *bias;
  Real *y;
  /** What blocks of the same outputs leave for the last of them. */
  float *partials;
  /** How many blocks of the same outputs have arrived; zeros between launches. */
  unsigned *counters;
  int rows, n, k;
  /** 1 where tiles have minimums, else 0. */
  int minimums;
  int parts;
  /** Warps of a block with different outputs. The block's other warps have other parts of the same outputs. */
  int columns;
  /** Pairs of parts that a block sums in turns, and blocks of the same outputs: turns * splits = parts / 2. */
  int turns, splits;
};

/** y [count, k]: rows of W by their numbers. */
struct QuantizedEmbedding {
  const long long *numbers;
  const unsigned char *weights;
  Real *y;
  int n, k, bits, minimums;
};

enum { TILE = 32, THREADS = 256, WARPS = 8, VALUES = 16 };

__device__ inline int smaller(int a, int b) { return a < b ? a : b; }

__device__ inline int tile_bytes(int bits, int minimums) { return TILE * TILE / 8 * bits + 2 * TILE * (1 + minimums); }

/** What a thread reads of a tile, and of x in the first 16 rows. */
template <int BITS> struct TileShare {
  Eight codes[BITS / 4], scales, minimums, low, high;
};

template <int BITS>
__device__ inline void load_tile(TileShare<BITS> &share, const unsigned char *tile, int minimums, const Real *low,
                                 const Real *high) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < BITS / 4; i++) share.codes[i] = load_streamed((const Real *)(tile + 512 * i + 16 * lane));
  const unsigned char *scales = tile + BITS / 4 * 512 + 16 * (lane % 4);
  share.scales = load_streamed((const Real *)scales);
  if (minimums) share.minimums = load_streamed((const Real *)(scales + 2 * TILE));
  share.low = load_cached(low), share.high = load_cached(high);
}

__device__ inline Bits word_of(const Eight &eight, int word) {
  return word == 0 ? eight.x : word == 1 ? eight.y : word == 2 ? eight.z : eight.w;
}

/** The i-th of eight half floats. */
__device__ inline float float_of_half(const Eight &halves, int i) {
  return half_to_float((unsigned short)(word_of(halves, i / 2) >> (i % 2 * 16)));
}

/**
 * Codes less 8 of a word, whose i-th pair is nibbles i and i + 4. Below the exponent of a power of two a code's bits
 * are that power plus the code. A multiplication and an addition take the power and the zero off, exactly.
 */
__device__ inline void reals_of_4(Bits (&pairs)[4], Bits word) {
#ifdef REAL_BFLOAT16
#pragma unroll
  for (int i = 0; i < 4; i++)
    pairs[i] = multiply_add((word >> 4 * i & 0x000f000f) | 0x43004300, 0x3f803f80, 0xc308c308);
#else
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const Bits half = word >> 4 * i;
    pairs[i] = multiply_add((half & 0x000f000f) | 0x64006400, 0x3c003c00, 0xe408e408);
    pairs[i + 1] = multiply_add((half & 0x00f000f0) | 0x64006400, 0x2c002c00, 0xd480d480);
  }
#endif
}

/** Codes less 128 of a word's bytes. bfloat16 holds 128 plus 7 bits; the eighth bit says what is taken off. */
__device__ inline void reals_of_8(Bits &first, Bits &second, Bits word) {
#ifdef REAL_BFLOAT16
  const Bits low = select_bytes(word, 0, 0x4140), high = select_bytes(word, 0, 0x4342);
  first = multiply_add((low & 0x007f007f) | 0x43004300, 0x3f803f80, (low & 0x00800080) ^ 0xc380c380);
  second = multiply_add((high & 0x007f007f) | 0x43004300, 0x3f803f80, (high & 0x00800080) ^ 0xc380c380);
#else
  first = multiply_add(select_bytes(word, 0x64646464, 0x4140), 0x3c003c00, 0xe480e480);
  second = multiply_add(select_bytes(word, 0x64646464, 0x4342), 0x3c003c00, 0xe480e480);
#endif
}

/** A thread's 8 inputs of its output in the j-th product. */
template <int BITS> __device__ inline void reals_of(Bits (&pairs)[4], const TileShare<BITS> &share, int j) {
  if constexpr (BITS == 4) {
    reals_of_4(pairs, word_of(share.codes[0], j));
  } else {
    reals_of_8(pairs[0], pairs[1], word_of(share.codes[j / 2], j % 2 * 2));
    reals_of_8(pairs[2], pairs[3], word_of(share.codes[j / 2], j % 2 * 2 + 1));
  }
}

#ifdef REAL_BFLOAT16
enum { ONES = 0x3f803f80 };
#else
enum { ONES = 0x3c003c00 };
#endif

/** d += [16, 32] · [32, 8], a block of inputs. */
__device__ inline void multiply_block(float (&d)[4], const Eight &low, const Eight &high, const Bits (&b)[4]) {
  multiply_reals(d, {low.x, high.x, low.y, high.y}, {b[0], b[1]});
  multiply_reals(d, {low.z, high.z, low.w, high.w}, {b[2], b[3]});
}

/** Adds to `sums` the products of the blocks of inputs [from, to). The thread's rows begin at `at` in x. */
template <int BITS, int ROW_TILES, int AHEAD>
__device__ inline void multiply_part(float (&sums)[ROW_TILES][4][4], const QuantizedLinear &job, int tile, int from,
                                     int to, const unsigned (&at)[2 * ROW_TILES]) {
  const int bytes = tile_bytes(BITS, job.minimums);
  const unsigned char *weights = job.weights + ((size_t)tile * (job.k / TILE) + from) * bytes;
  const Real *x = job.x + (size_t)from * TILE;
  TileShare<BITS> ahead[AHEAD];
#pragma unroll
  for (int i = 0; i < AHEAD; i++)
    if (from + i < to) {
      const int off = i * TILE;
      load_tile(ahead[i], weights + i * bytes, job.minimums, x + at[0] + off, x + at[1] + off);
    }
  for (int first = from; first < to; first += AHEAD) {
#pragma unroll
    for (int i = 0; i < AHEAD; i++) {
      if (first + i >= to) break;
      Bits pairs[4][4];
      float scales[8], minimums[8];
      const auto unpack = [&](int j) {
        reals_of(pairs[j], ahead[i], j);
#pragma unroll
        for (int c = 2 * j; c < 2 * j + 2; c++) {
          scales[c] = float_of_half(ahead[i].scales, c);
          if (!job.minimums) continue;
          minimums[c] = float_of_half(ahead[i].minimums, c);
          // At 4 bits the minimum that is kept is what code 0 is worth.
          if (BITS == 4) minimums[c] = fmaf(8, scales[c], minimums[c]);
        }
      };
      // With several tiles of rows a tile of weights is unpacked once. With one, late unpacking takes fewer registers.
      if (ROW_TILES > 1)
#pragma unroll
        for (int j = 0; j < 4; j++) unpack(j);
      Eight low = ahead[i].low, high = ahead[i].high;
#pragma unroll
      for (int t = 0; t < ROW_TILES; t++) {
        Eight next_low, next_high;
        if (t + 1 < ROW_TILES) {
          next_low = load_cached(x + at[2 * t + 2]);
          next_high = load_cached(x + at[2 * t + 3]);
        }
        float inputs[4] = {0, 0, 0, 0};
        if (job.minimums) multiply_block(inputs, low, high, {ONES, ONES, ONES, ONES});
#pragma unroll
        for (int j = 0; j < 4; j++) {
          if (ROW_TILES == 1) unpack(j);
          float d[4] = {0, 0, 0, 0};
          multiply_block(d, low, high, pairs[j]);
#pragma unroll
          for (int r = 0; r < 4; r++) {
            sums[t][j][r] = fmaf(scales[2 * j + r % 2], d[r], sums[t][j][r]);
            if (job.minimums) sums[t][j][r] = fmaf(minimums[2 * j + r % 2], inputs[r], sums[t][j][r]);
          }
        }
        if (t + 1 < ROW_TILES) low = next_low, high = next_high;
      }
      weights += bytes, x += TILE;
      if (first + i + AHEAD < to) {
        const int off = (AHEAD - 1) * TILE;
        load_tile(ahead[i], weights + (AHEAD - 1) * bytes, job.minimums, x + at[0] + off, x + at[1] + off);
      }
    }
  }
}

/** Stores eight neighbouring outputs of a row, as far as they exist. */
__device__ inline void store_outputs(const QuantizedLinear &job, int row, int output, float (&values)[8]) {
  if (row >= job.rows || output >= job.n) return;
  Real *y = job.y + (size_t)row * job.n + output;
#pragma unroll
  for (int i = 0; i < 8; i++)
    if (job.bias && output + i < job.n) values[i] += to_float(job.bias[output + i]);
  if (job.n % 8 == 0) {
    Bits pairs[4];
#pragma unroll
    for (int i = 0; i < 4; i++) pairs[i] = to_real(values[2 * i]) | (Bits)to_real(values[2 * i + 1]) << 16;
    *(Eight *)y = {pairs[0], pairs[1], pairs[2], pairs[3]};
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; i++)
    if (output + i < job.n) y[i] = to_real(values[i]);
}

/** What a thread computes. */
struct Place {
  int lane, warp;
  /** The number of the warp among those with the same outputs. */
  int sharer;
  /** The block's first row; the warp's tile. */
  int row, tile, split;
  bool has_tile;
};

template <int ROW_TILES> __device__ inline Place place_of(const QuantizedLinear &job) {
  const int row_blocks = (job.rows + 16 * ROW_TILES - 1) / (16 * ROW_TILES), tiles = (job.n + TILE - 1) / TILE;
  // Neighbouring blocks have other rows and the same weights.
  const int block = blockIdx.x / row_blocks, warp = threadIdx.x / 32;
  const int tile = block / job.splits * job.columns + warp % job.columns;
  Place place;
  place.lane = threadIdx.x % 32, place.warp = warp;
  place.sharer = warp / job.columns;
  place.row = (int)(blockIdx.x % row_blocks) * 16 * ROW_TILES;
  place.tile = smaller(tile, tiles - 1), place.has_tile = tile < tiles;
  place.split = block % job.splits;
  return place;
}

/** Computes the sums of a part; they are 0 where the warp has no tile. */
template <int BITS, int ROW_TILES, int AHEAD>
__device__ inline void sum_part(float (&sums)[ROW_TILES][4][4], const QuantizedLinear &job, const Place &place,
                                int part) {
  const int blocks = job.k / TILE, g = place.lane / 4, q = place.lane % 4;
  const int from = place.has_tile ? (int)((long long)part * blocks / job.parts) : 0;
  const int to = place.has_tile ? (int)((long long)(part + 1) * blocks / job.parts) : 0;
  unsigned at[2 * ROW_TILES];
  // Places behind the last row read that row; nobody reads their sums.
#pragma unroll
  for (int r = 0; r < 2 * ROW_TILES; r++)
    at[r] = (unsigned)smaller(place.row + 8 * r + g, job.rows - 1) * (unsigned)job.k + 8 * q;
#pragma unroll
  for (int t = 0; t < ROW_TILES; t++)
#pragma unroll
    for (int i = 0; i < VALUES; i++) sums[t][i / 4][i % 4] = 0;
  multiply_part<BITS, ROW_TILES, AHEAD>(sums, job, place.tile, from, to, at);
}

/** A product of at most 16 rows: each part is a warp of the same block. */
template <int BITS> __device__ inline void few_rows(const QuantizedLinear &job) {
  const Place place = place_of<1>(job);
  const int g = place.lane / 4, q = place.lane % 4;
  float sums[1][4][4];
  sum_part<BITS, 1, BITS == 4 ? 3 : 2>(sums, job, place, place.sharer);
  float *values = dynamic_shared<float>();
#pragma unroll
  for (int i = 0; i < VALUES; i++) values[(place.warp * VALUES + i) * 32 + place.lane] = sums[0][i / 4][i % 4];
  __syncthreads();
  // A thread of the first warp adds up its row g, one of the second warp its row g + 8.
  if (place.sharer >= 2 || !place.has_tile) return;
  const int half = place.sharer;
  const int next = job.columns * VALUES * 32;
  const float *parts = values + (place.warp % job.columns * VALUES + 2 * half) * 32 + place.lane;
  float outputs[8];
#pragma unroll 1
  for (int part = 0; part < job.parts; part += 2, parts += 2 * next)
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const int at = (i / 2 * 4 + i % 2) * 32;
      const float pair = parts[at] + parts[next + at];
      outputs[i] = part == 0 ? pair : outputs[i] + pair;
    }
  store_outputs(job, place.row + 8 * half + g, place.tile * TILE + 8 * q, outputs);
}

/** Adds up what the blocks of the same outputs have summed, in the last of them. Returns whether this block is it. */
template <int HALF>
__device__ inline bool add_splits(float (&totals)[HALF][4][4], const QuantizedLinear &job, const Place &place) {
  __shared__ unsigned came;
  const int tiles = (job.n + TILE - 1) / TILE, column_blocks = (tiles + job.columns - 1) / job.columns;
  const int row_blocks = gridDim.x / (column_blocks * job.splits);
  const int outputs = blockIdx.x / row_blocks / job.splits * row_blocks + blockIdx.x % row_blocks;
  const size_t each = (size_t)HALF * VALUES * 32;
  float *first = job.partials + (((size_t)outputs * job.splits) * WARPS + place.warp) * each + place.lane;
  float *own = first + place.split * WARPS * each;
#pragma unroll
  for (int t = 0; t < HALF; t++)
#pragma unroll
    for (int i = 0; i < VALUES; i++) own[(t * VALUES + i) * 32] = totals[t][i / 4][i % 4];
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    came = atomicAdd(&job.counters[outputs], 1u);
    if (came == (unsigned)job.splits - 1) job.counters[outputs] = 0;
    __threadfence();
  }
  __syncthreads();
  if (came != (unsigned)job.splits - 1) return false;
#pragma unroll
  for (int t = 0; t < HALF; t++)
#pragma unroll
    for (int i = 0; i < VALUES; i++) totals[t][i / 4][i % 4] = load_shared_by_blocks(first + (t * VALUES + i) * 32);
#pragma unroll 1
  for (int split = 1; split < job.splits; split++) {
    first += WARPS * each;
#pragma unroll
    for (int t = 0; t < HALF; t++)
#pragma unroll
      for (int i = 0; i < VALUES; i++) totals[t][i / 4][i % 4] += load_shared_by_blocks(first + (t * VALUES + i) * 32);
  }
  return true;
}

/** A product of more rows: two warps have a pair of parts each turn, and each adds the pair in half of the rows. */
template <int BITS, int ROW_TILES, int AHEAD> __device__ inline void many_rows(const QuantizedLinear &job) {
  enum { HALF = ROW_TILES / 2 };
  const Place place = place_of<ROW_TILES>(job);
  const int g = place.lane / 4, q = place.lane % 4;
  float *values = dynamic_shared<float>(), totals[HALF][4][4];
  float *mine = values + place.warp * HALF * VALUES * 32 + place.lane;
  const float *other = values + (place.warp + job.columns) % WARPS * HALF * VALUES * 32 + place.lane;
#pragma unroll 1
  for (int turn = 0; turn < job.turns; turn++) {
    float sums[ROW_TILES][4][4];
    sum_part<BITS, ROW_TILES, AHEAD>(sums, job, place, 2 * (place.split * job.turns + turn) + place.sharer);
    if (turn > 0) __syncthreads();
#pragma unroll
    for (int t = 0; t < HALF; t++)
#pragma unroll
      for (int i = 0; i < VALUES; i++)
        mine[(t * VALUES + i) * 32] = place.sharer == 0 ? sums[HALF + t][i / 4][i % 4] : sums[t][i / 4][i % 4];
    __syncthreads();
#pragma unroll
    for (int t = 0; t < HALF; t++)
#pragma unroll
      for (int i = 0; i < VALUES; i++) {
        const float own = place.sharer == 0 ? sums[t][i / 4][i % 4] : sums[HALF + t][i / 4][i % 4];
        const float pair = own + other[(t * VALUES + i) * 32];
        totals[t][i / 4][i % 4] = turn == 0 ? pair : totals[t][i / 4][i % 4] + pair;
      }
  }
  if (job.splits > 1 && !add_splits<HALF>(totals, job, place)) return;
  if (!place.has_tile) return;
#pragma unroll
  for (int t = 0; t < HALF; t++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float outputs[8];
#pragma unroll
      for (int i = 0; i < 8; i++) outputs[i] = totals[t][i / 2][2 * half + i % 2];
      store_outputs(job, place.row + 16 * (place.sharer * HALF + t) + 8 * half + g, place.tile * TILE + 8 * q, outputs);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) quantized_linear_4_16(const QuantizedLinear job) {
  few_rows<4>(job);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2) quantized_linear_8_16(const QuantizedLinear job) {
  few_rows<8>(job);
}
extern "C" __global__ void __launch_bounds__(THREADS) quantized_linear_4_32(const QuantizedLinear job) {
  many_rows<4, 2, 2>(job);
}
extern "C" __global__ void __launch_bounds__(THREADS) quantized_linear_8_32(const QuantizedLinear job) {
  many_rows<8, 2, 2>(job);
}
extern "C" __global__ void __launch_bounds__(THREADS) quantized_linear_4_64(const QuantizedLinear job) {
  many_rows<4, 4, 2>(job);
}
extern "C" __global__ void __launch_bounds__(THREADS) quantized_linear_8_64(const QuantizedLinear job) {
  many_rows<8, 4, 2>(job);
}

/** A block has a row; a thread, eight neighbouring inputs at a time. */
extern "C" __global__ void __launch_bounds__(128) quantized_embedding(const QuantizedEmbedding job) {
  const long long number = job.numbers[blockIdx.x];
  const int bytes = tile_bytes(job.bits, job.minimums), output = (int)(number % TILE);
  const int j = output % 8 / 2, g = output / 8 * 2 + output % 2;
  for (int i = threadIdx.x; i < job.k / 8; i += 128) {
    const unsigned char *tile = job.weights + ((size_t)(number / TILE) * (job.k / TILE) + i / 4) * bytes;
    const unsigned char *codes = tile + 16 * (4 * g + i % 4);
    const unsigned short *scales = (const unsigned short *)(tile + job.bits * 128);
    const float scale = half_to_float(scales[output]);
    float minimum = job.minimums ? half_to_float(scales[TILE + output]) : 0;
    if (job.bits == 4 && job.minimums) minimum = fmaf(8, scale, minimum);
    Bits pairs[4];
    if (job.bits == 4) reals_of_4(pairs, *(const Bits *)(codes + 4 * j));
    else {
      const Bits *words = (const Bits *)(codes + j / 2 * 512 + j % 2 * 8);
      reals_of_8(pairs[0], pairs[1], words[0]);
      reals_of_8(pairs[2], pairs[3], words[1]);
    }
    for (int p = 0; p < 4; p++) {
      const float low = fmaf(scale, to_float((Real)pairs[p]), minimum);
      const float high = fmaf(scale, to_float((Real)(pairs[p] >> 16)), minimum);
      pairs[p] = to_real(low) | (Bits)to_real(high) << 16;
    }
    *(Eight *)(job.y + (size_t)blockIdx.x * job.k + 8 * i) = {pairs[0], pairs[1], pairs[2], pairs[3]};
  }
}
