// GroupedLora: y = base [* gain] + sum over a row's pages of share * (x Aᵀ) B, all parts of a joined linear in one
// launch.
//
//   x [rows, in], base, y [rows, width], a [slots, 8, in], b [slots, 8, out]: 16-bit; sums and inner products: float32
//
// Rows come in groups of up to 16 that read the same pages, so that a page is read once for each group. Blocks take
// tickets:
//
//   first   shrink   (group, page, part, span of inputs) -> inner [row, part, page, span, 8]
//   then    expand   (group, part, 256 outputs)          waits for its group's shrinks, sums spans, multiplies with B
//
// A block waits only for lower tickets, whose blocks are running or done, so every order of blocks ends. The last block
// to leave zeroes the counters for the next launch. B's first pages are loaded before the wait.
//
// A row's bits depend on nothing but the row: spans are cut by `in` alone and summed in order, the row's place in a
// group is a row of the matrix units' operand, and rows of other adapters are in other groups.

struct GroupedLoraGroup {
  /** Pages that each of its rows reads. */
  int pages;
  int rows;
  int unused[2];
  int row[16];
};

/** In the order of `Job` in native/grouped_lora_cuda.c. */
struct GroupedLora {
  const Real *x, *base, *gain;
  Real *y;
  const int *pages;
  const float *shares;
  const GroupedLoraGroup *groups;
  const Real *a[3], *b[3];
  float *inner;
  /** Tickets taken, blocks that left, then shrinks done for each group. */
  unsigned *counters;
  int out[3], parts, in, width;
  /** Pages of the row with the most. */
  int most;
  int group_count;
  /** Inputs of a span, and spans of all inputs. */
  int span, spans;
  /** Elements from one row's gains to the next one's; 0 where all rows have the same gains. */
  int gain_stride;
  int shrinks, blocks_of_group;
  /** A block's outputs divided by 256: only so many that the card's multiprocessors stay busy. */
  int tiles;
};

enum { RANKS = 8, TILE = 16, THREADS = 128, WARPS = 4, WARP_OUTPUTS = 64, BLOCK_OUTPUTS = 256, AHEAD = 2 };

__device__ inline int smaller(int a, int b) { return a < b ? a : b; }

/** Eight elements from `from` on, of which `count` exist; the others are 0. */
template <bool ALIGNED, bool STREAMED = false> __device__ inline Eight load_eight(const Real *from, int count) {
  Eight value = {0, 0, 0, 0};
  if constexpr (ALIGNED) return count <= 0 ? value : STREAMED ? load_streamed(from) : *(const Eight *)from;
  Real each[8] = {};
  for (int i = 0; i < smaller(count, 8); i++) each[i] = from[i];
  value.x = each[0] | (Bits)each[1] << 16;
  value.y = each[2] | (Bits)each[3] << 16;
  value.z = each[4] | (Bits)each[5] << 16;
  value.w = each[6] | (Bits)each[7] << 16;
  return value;
}

__device__ inline Bits pair_of(const Eight &eight, int pair) {
  return pair == 0 ? eight.x : pair == 1 ? eight.y : pair == 2 ? eight.z : eight.w;
}

__device__ inline float element_of(const Eight &eight, int i) {
  return to_float((Real)(pair_of(eight, i / 2) >> (i % 2 * 16)));
}

template <bool ALIGNED> __device__ void shrink(const GroupedLora &job, int ticket) {
  const int span = ticket % job.spans, part = ticket / job.spans % job.parts;
  const int entry = ticket / (job.spans * job.parts), page = entry % job.most;
  const GroupedLoraGroup &group = job.groups[entry / job.most];
  if (page >= group.pages) return;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, q = lane % 4;
  const int slot = job.pages[group.row[0] * job.most + page];
  const Real *a = job.a[part] + ((size_t)slot * RANKS + g) * job.in;
  const bool has_low = g < group.rows, has_high = g + 8 < group.rows;
  const Real *x_low = job.x + (has_low ? (size_t)group.row[g] * job.in : 0);
  const Real *x_high = job.x + (has_high ? (size_t)group.row[g + 8] * job.in : 0);
  const int end = smaller((span + 1) * job.span, job.in);
  const int row = threadIdx.x / RANKS, rank = threadIdx.x % RANKS;
  const float share = row < group.rows ? job.shares[group.row[row] * job.most + page] : 0;
  float sums[4] = {0, 0, 0, 0};
  // A thread takes 8 of every 32 inputs: which of them meet in one step of the matrix units makes no difference.
#pragma unroll 4
  for (int k = span * job.span + warp * 32; k < end; k += WARPS * 32) {
    const int at = k + q * 8, left = end - at;
    const Eight ranks = load_eight<ALIGNED, true>(a + at, left);
    const Eight low = load_eight<ALIGNED>(x_low + at, has_low ? left : 0);
    const Eight high = load_eight<ALIGNED>(x_high + at, has_high ? left : 0);
    multiply_reals(sums, {low.x, high.x, low.y, high.y}, {ranks.x, ranks.y});
    multiply_reals(sums, {low.z, high.z, low.w, high.w}, {ranks.z, ranks.w});
  }
  float *by_warp = dynamic_shared<float>();
  for (int i = 0; i < 4; i++) by_warp[(warp * TILE + g + i / 2 * 8) * RANKS + 2 * q + i % 2] = sums[i];
  __syncthreads();
  if (row < group.rows) {
    float sum = 0;
    for (int from = 0; from < WARPS; from++) sum += by_warp[(from * TILE + row) * RANKS + rank];
    const size_t place = ((size_t)group.row[row] * job.parts + part) * job.most + page;
    job.inner[(place * job.spans + span) * RANKS + rank] = share * sum;
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(&job.counters[2 + entry / job.most], 1u);
}

/** Gathers share * inner products of a group's rows, [TILE, stride], in shared memory. */
__device__ inline void gather_inner(const GroupedLora &job, const GroupedLoraGroup &group, int part, float *inner, int stride) {
  const int ranks = group.pages * RANKS;
  for (int i = threadIdx.x; i < TILE * ranks; i += THREADS) {
    const int at = i / ranks, column = i % ranks;
    float sum = 0;
    if (at < group.rows) {
      const size_t place = ((size_t)group.row[at] * job.parts + part) * job.most + column / RANKS;
      const float *from = job.inner + place * job.spans * RANKS + column % RANKS;
      // All loads come first, so that they wait for memory together; then the sums, in order.
      for (int first = 0; first < job.spans; first += 8) {
        float each[8];
#pragma unroll
        for (int j = 0; j < 8; j++) each[j] = first + j < job.spans ? load_shared_by_blocks(from + (first + j) * RANKS) : 0;
#pragma unroll
        for (int j = 0; j < 8; j++) sum += each[j];
      }
    }
    inner[at * stride + column] = sum;
  }
}

/** Computes y for 8 outputs of one row. */
template <bool ALIGNED>
__device__ inline void finish(const GroupedLora &job, int row, size_t output, const Eight &base, const float (&added)[8], int count) {
  const size_t at = (size_t)row * job.width + output;
  float values[8];
  for (int i = 0; i < 8; i++) values[i] = element_of(base, i);
  if (job.gain) {
    const Eight gain = load_eight<ALIGNED>(job.gain + (size_t)row * job.gain_stride + output, count);
    for (int i = 0; i < 8; i++) values[i] *= element_of(gain, i);
  }
  Bits pairs[4];
  for (int i = 0; i < 4; i++)
    pairs[i] = to_real(values[2 * i] + added[2 * i]) | (Bits)to_real(values[2 * i + 1] + added[2 * i + 1]) << 16;
  if (ALIGNED) *(Eight *)(job.y + at) = {pairs[0], pairs[1], pairs[2], pairs[3]};
  else
    for (int i = 0; i < smaller(count, 8); i++) job.y[at + i] = (Real)(pairs[i / 2] >> (i % 2 * 16));
}

/** Blocks of each group that compute a part. */
__device__ inline int blocks_of(const GroupedLora &job, int part) {
  const int outputs = BLOCK_OUTPUTS * job.tiles;
  return (job.out[part] + outputs - 1) / outputs;
}

template <bool ALIGNED> __device__ void expand(const GroupedLora &job, int ticket) {
  const GroupedLoraGroup &group = job.groups[ticket / job.blocks_of_group];
  const bool changes = group.pages > 0 || job.gain || job.y != job.base;
  if (group.rows == 0 || !changes) return;
  int block = ticket % job.blocks_of_group, part = 0, first = 0;
  for (; block >= blocks_of(job, part); part++) {
    block -= blocks_of(job, part);
    first += job.out[part];
  }
  const int out = job.out[part], pages = group.pages;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, q = lane % 4;
  const int start = block * job.tiles * BLOCK_OUTPUTS + warp * WARP_OUTPUTS;
  const int *slots = job.pages + group.row[0] * job.most;

  // Loads ahead: ranks q and q + 4 of a page, 8 outputs each; page after page, tile after tile.
  int next_page = 0, next_column = start;
  const int end = smaller(out, start + job.tiles * BLOCK_OUTPUTS);
  const auto load_next = [&](Eight &low, Eight &high) {
    const int left = next_page < pages ? smaller(out, end) - next_column - g * 8 : 0;
    const int slot = next_page < pages ? slots[next_page] : 0;
    const Real *b = job.b[part] + ((size_t)slot * RANKS + q) * out + next_column + g * 8;
    low = load_eight<ALIGNED, true>(b, left);
    high = load_eight<ALIGNED, true>(b + (size_t)4 * out, left);
    if (++next_page >= pages) next_page = 0, next_column += BLOCK_OUTPUTS;
  };
  Eight low[AHEAD], high[AHEAD];
#pragma unroll
  for (int i = 0; i < AHEAD; i++) load_next(low[i], high[i]);

  const int stride = job.most * RANKS + 4;
  float *inner = dynamic_shared<float>();
  if (pages > 0) {
    if (threadIdx.x == 0) {
      const unsigned wanted = pages * job.parts * job.spans;
      while (load_acquired(&job.counters[2 + ticket / job.blocks_of_group]) < wanted) pause();
    }
    __syncthreads();
    gather_inner(job, group, part, inner, stride);
    __syncthreads();
  }

  const bool has_row[2] = {g < group.rows, g + 8 < group.rows};
  int turn = 0;
  for (int column = start; column < end; column += BLOCK_OUTPUTS) {
    // Column g of the j-th product is output 8 g + j, so a thread has 16 neighbouring outputs of two rows.
    const int output = column + q * 16;
    Eight base[2][2];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const Real *from = job.base + (size_t)(has_row[i / 2] ? group.row[g + i / 2 * 8] : 0) * job.width + first + output + i % 2 * 8;
      base[i / 2][i % 2] = load_eight<ALIGNED>(from, has_row[i / 2] ? out - output - i % 2 * 8 : 0);
    }
    float sums[8][4] = {};
    for (int page = 0; page < pages; page++) {
      const float *at = inner + g * stride + page * RANKS + q;
      const float values[4] = {at[0], at[8 * stride], at[4], at[8 * stride + 4]};
      // Two parts of 10 bits each keep all of an inner product that matters.
      Bits whole[4], rest[4];
#pragma unroll
      for (int v = 0; v < 4; v++) {
        whole[v] = to_tf32(values[v]);
        rest[v] = to_tf32(values[v] - float_of(whole[v]));
      }
#pragma unroll
      for (int i = 0; i < AHEAD; i++) {
        // The buffer is known at compile time: a variable index would put the buffers into slow local memory.
        if (turn != i) continue;
#pragma unroll
        for (int j = 0; j < 8; j++) {
          const Bits b[2] = {bits_of(element_of(low[i], j)), bits_of(element_of(high[i], j))};
          multiply_tf32(sums[j], whole, b);
          multiply_tf32(sums[j], rest, b);
        }
        load_next(low[i], high[i]);
      }
      turn = turn + 1 == AHEAD ? 0 : turn + 1;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (!has_row[i / 2] || output + i % 2 * 8 >= out) continue;
      float added[8];
#pragma unroll
      for (int j = 0; j < 8; j++) added[j] = sums[j][i / 2 * 2 + i % 2];
      finish<ALIGNED>(job, group.row[g + i / 2 * 8], (size_t)first + output + i % 2 * 8, base[i / 2][i % 2], added,
                      out - output - i % 2 * 8);
    }
  }
}

template <bool ALIGNED> __device__ inline void grouped_lora_block(const GroupedLora &job) {
  __shared__ unsigned ticket, left;
  if (threadIdx.x == 0) ticket = atomicAdd(&job.counters[0], 1u);
  __syncthreads();
  if (ticket < (unsigned)job.shrinks) shrink<ALIGNED>(job, ticket);
  else expand<ALIGNED>(job, ticket - job.shrinks);
  __syncthreads();
  if (threadIdx.x == 0) left = atomicAdd(&job.counters[1], 1u);
  __syncthreads();
  if (left != gridDim.x - 1) return;
  for (int i = threadIdx.x; i < 2 + job.group_count; i += THREADS) job.counters[i] = 0;
}

/** For `in` and `out` that are multiples of 8, with all memory at multiples of 16 bytes. */
extern "C" __global__ void __launch_bounds__(THREADS, 4) grouped_lora(const GroupedLora job) {
  grouped_lora_block<true>(job);
}

extern "C" __global__ void __launch_bounds__(THREADS) grouped_lora_unaligned(const GroupedLora job) {
  grouped_lora_block<false>(job);
}
