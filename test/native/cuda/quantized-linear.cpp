// QuantizedLinear and QuantizedEmbedding without a card, beside the same sums in float64: sizes that are multiples of
// nothing, every way of cutting a product into blocks, and that a row's bits do not depend on its company.
//
//   program                                   random cases
//   program FILE n k bits minimums            prints all rows of the packed weights in FILE, as floats
#include "card.hpp"
#include "../../../native/cuda/quantized-linear.cu"
#include "../../../native/quantized_linear_cuts.h"
#include <algorithm>
#include <random>

static std::mt19937 random_bits(5);
static int below(int end) { return (int)(random_bits() % (unsigned)end); }
static float real() { return (float)(int)(random_bits() % 2001 - 1000) / 1000; }

static unsigned short half_of(float value) {
  const _Float16 half = (_Float16)value;
  unsigned short bits;
  memcpy(&bits, &half, 2);
  return bits;
}

/** In memory of whole 16 bytes, as a card's. */
struct Bytes {
  std::vector<Eight> memory;
  unsigned char *data() { return (unsigned char *)memory.data(); }
};

struct Weights {
  int n, k, bits;
  bool minimums;
  Bytes packed;
  /** [n, k], what they stand for. */
  std::vector<double> values;
};

static Weights random_weights(int n, int k, int bits, bool minimums) {
  Weights w{n, k, bits, minimums, {}, std::vector<double>((size_t)n * k)};
  const int blocks = k / 32, tiles = (n + 31) / 32, bytes = tile_bytes(bits, minimums);
  w.packed.memory.resize((size_t)tiles * blocks * bytes / 16);
  for (int row = 0; row < n; row++)
    for (int block = 0; block < blocks; block++) {
      unsigned char *tile = w.packed.data() + ((size_t)(row / 32) * blocks + block) * bytes;
      const int output = row % 32, j = output % 8 / 2, g = output / 8 * 2 + output % 2;
      const unsigned short scale = half_of(real() / 16), minimum = half_of(real());
      unsigned short *halves = (unsigned short *)(tile + 128 * bits);
      halves[output] = scale;
      if (minimums) halves[32 + output] = minimum;
      for (int i = 0; i < 32; i++) {
        const int code = below(1 << bits), lane = 4 * g + i / 8, in_lane = i % 8;
        if (bits == 4) tile[16 * lane + 4 * j + in_lane % 2 * 2 + in_lane / 4] |= code << in_lane / 2 % 2 * 4;
        else tile[j / 2 * 512 + 16 * lane + j % 2 * 8 + in_lane] = code;
        // At 4 bits a minimum is what code 0 is worth.
        const double off = minimums ? half_to_float(minimum) + (bits == 4 ? 8.0 * half_to_float(scale) : 0) : 0;
        const int zero = bits == 4 ? 8 : 128;
        w.values[(size_t)row * k + block * 32 + i] = (double)half_to_float(scale) * (code - zero) + off;
      }
    }
  return w;
}

static void launch(const QuantizedLinear &job, int bits, const LinearCuts &cuts) {
  const bool is_4 = bits == 4;
  card::launch(cuts.blocks, THREADS, [&] {
    if (cuts.row_tiles == 1) is_4 ? quantized_linear_4_16(job) : quantized_linear_8_16(job);
    else if (cuts.row_tiles == 2) is_4 ? quantized_linear_4_32(job) : quantized_linear_8_32(job);
    else is_4 ? quantized_linear_4_64(job) : quantized_linear_8_64(job);
  });
}

static std::vector<Real> multiply(Weights &w, const std::vector<Real> &x, const std::vector<Real> &bias,
                                  const LinearCuts &cuts) {
  const int rows = (int)(x.size() / w.k);
  static std::vector<unsigned> counters(4096, 0);
  std::vector<float> partials(cuts.partial_bytes / 4, NAN);
  Bytes in{std::vector<Eight>(x.size() / 8)};
  memcpy(in.data(), x.data(), x.size() * sizeof(Real));
  const Eight untouched{0x7fff7fff, 0x7fff7fff, 0x7fff7fff, 0x7fff7fff};
  Bytes out{std::vector<Eight>((rows * (size_t)w.n + 7) / 8 + 1, untouched)};
  QuantizedLinear job{};
  job.x = (const Real *)in.data(), job.weights = w.packed.data(), job.bias = bias.empty() ? nullptr : bias.data();
  job.y = (Real *)out.data(), job.partials = partials.data(), job.counters = counters.data();
  job.rows = rows, job.n = w.n, job.k = w.k, job.minimums = w.minimums;
  job.parts = cuts.parts, job.columns = cuts.columns, job.turns = cuts.turns, job.splits = cuts.splits;
  launch(job, w.bits, cuts);
  for (unsigned counter : counters)
    if (counter != 0) fprintf(stderr, "a counter was left at %u\n", counter), exit(1);
  const std::vector<Real> y(job.y, job.y + rows * (size_t)w.n);
  for (int i = 0; i < 8; i++)
    if (job.y[y.size() + i] != 0x7fff) fprintf(stderr, "written behind the end\n"), exit(1);
  return y;
}

/** Other cuts of the same parts: what a larger or a smaller number of rows would have. */
static std::vector<LinearCuts> other_cuts(int rows, int n, int k) {
  std::vector<LinearCuts> found;
  for (int tiles : {2, 4}) {
    LinearCuts cuts = cut_linear(16 * tiles, n, k);
    const unsigned blocks = (unsigned)(cut_ceil(cut_ceil(n, 32), cuts.columns) * cut_ceil(rows, 16 * tiles));
    cuts.turns = cuts.parts / 2, cuts.splits = 1, cuts.blocks = blocks, cuts.partial_bytes = 0;
    found.push_back(cuts);
    cuts.splits = cuts.turns, cuts.turns = 1, cuts.blocks = blocks * cuts.splits;
    cuts.partial_bytes = (size_t)cuts.blocks * cuts.shared_bytes;
    found.push_back(cuts);
  }
  return found;
}

#ifdef REAL_BFLOAT16
static const double unit = 1.0 / 256;
#else
static const double unit = 1.0 / 2048;
#endif

/** The second half of the inputs takes off what the first half adds: what is left is the rounding of floats. */
static void cancel(Weights &w, std::vector<Real> &x) {
  const int blocks = w.k / 32, half = blocks / 2, bytes = tile_bytes(w.bits, w.minimums);
  const auto tile_at = [&](int tile, int block) { return w.packed.data() + ((size_t)tile * blocks + block) * bytes; };
  for (auto &value : x) value = to_real(300 * real());
  for (size_t row = 0; row < x.size() / w.k; row++)
    memcpy(&x[(row * blocks + half) * 32], &x[row * w.k], half * 32 * sizeof(Real));
  for (int tile = 0; tile < (w.n + 31) / 32; tile++)
    for (int block = 0; block < blocks; block++) {
      if (block >= half) memcpy(tile_at(tile, block), tile_at(tile, block - half), bytes);
      unsigned short *halves = (unsigned short *)(tile_at(tile, block) + 128 * w.bits);
      for (int i = 0; i < 32 * (1 + w.minimums); i++) {
        if (block >= half) halves[i] ^= 0x8000;
        if (block >= 2 * half) halves[i] = 0;
      }
    }
  for (int row = 0; row < w.n; row++)
    for (int i = half * 32; i < w.k; i++) {
      double &value = w.values[(size_t)row * w.k + i];
      value = i < half * 64 ? -w.values[(size_t)row * w.k + i - half * 32] : 0;
    }
}

static void check(int rows, int n, int k, int bits, bool minimums, bool has_bias, bool cancels) {
  Weights w = random_weights(n, k, bits, minimums);
  std::vector<Real> x((size_t)rows * k), bias(has_bias ? n : 0);
  for (auto &value : x) value = to_real(real());
  for (auto &value : bias) value = to_real(3 * real());
  if (cancels) cancel(w, x);
  const auto y = multiply(w, x, bias, cut_linear(rows, n, k));
  for (int row = 0; row < rows; row++)
    for (int o = 0; o < n; o++) {
      double sum = has_bias ? to_float(bias[o]) : 0, size = std::abs(sum);
      for (int i = 0; i < k; i++) {
        const double product = (double)to_float(x[(size_t)row * k + i]) * w.values[(size_t)o * k + i];
        sum += product, size += std::abs(product);
      }
      // The result's rounding, and that of float sums.
      const double off = std::abs(to_float(y[(size_t)row * n + o]) - sum);
      if (!(off <= unit * std::abs(sum) + 2e-6 * size + 1e-7)) {
        fprintf(stderr, "%d rows, [%d, %d], %d bits%s: row %d, output %d is off by %g of %g\n", rows, n, k, bits,
                minimums ? " with minimums" : "", row, o, off, sum);
        exit(1);
      }
    }
  const auto same = [&](const std::vector<Real> &one, const Real *other, const char *what) {
    if (memcmp(one.data(), other, one.size() * sizeof(Real)) == 0) return;
    fprintf(stderr, "%d rows, [%d, %d], %d bits: other bits %s\n", rows, n, k, bits, what);
    exit(1);
  };
  const std::vector<LinearCuts> others = other_cuts(rows, n, k);
  same(multiply(w, x, bias, others[below((int)others.size())]), y.data(), "cut otherwise");
  const int row = below(rows);
  const std::vector<Real> alone(x.begin() + (size_t)row * k, x.begin() + (size_t)(row + 1) * k);
  same(multiply(w, alone, bias, cut_linear(1, n, k)), &y[(size_t)row * n], "alone");
}

static std::vector<Real> rows_of(Weights &w, const std::vector<long long> &numbers) {
  Bytes out{std::vector<Eight>(numbers.size() * w.k / 8)};
  const QuantizedEmbedding job{numbers.data(), w.packed.data(), (Real *)out.data(), w.n, w.k, w.bits, w.minimums};
  card::launch((unsigned)numbers.size(), 128, [&] { quantized_embedding(job); });
  return {job.y, job.y + numbers.size() * w.k};
}

static void check_rows(int n, int k, int bits, bool minimums) {
  Weights w = random_weights(n, k, bits, minimums);
  std::vector<long long> numbers(9);
  for (auto &number : numbers) number = below(n);
  const auto y = rows_of(w, numbers);
  for (size_t i = 0; i < y.size(); i++) {
    const double expected = w.values[numbers[i / k] * k + i % k];
    if (std::abs(to_float(y[i]) - expected) <= unit * std::abs(expected) + 1e-6) continue;
    fprintf(stderr, "row of [%d, %d], %d bits: %g is not %g\n", n, k, bits, to_float(y[i]), expected);
    exit(1);
  }
}

static int print_rows(char **arguments) {
  Weights w{atoi(arguments[1]), atoi(arguments[2]), atoi(arguments[3]), atoi(arguments[4]) != 0, {}, {}};
  FILE *file = fopen(arguments[0], "rb");
  const size_t bytes = (size_t)(w.n + 31) / 32 * (w.k / 32) * tile_bytes(w.bits, w.minimums);
  w.packed.memory.resize(bytes / 16);
  if (file == nullptr || fread(w.packed.data(), 1, bytes, file) != bytes || fgetc(file) != EOF) return 1;
  std::vector<long long> numbers(w.n);
  for (int i = 0; i < w.n; i++) numbers[i] = i;
  for (Real value : rows_of(w, numbers)) printf("%.9g\n", to_float(value));
  return 0;
}

int main(int count, char **arguments) {
  if (count == 6) return print_rows(arguments + 1);
  int cases = 0;
  const auto each = [&](int rows, int n, int k, int bits, bool minimums, bool bias) {
    for (bool cancels : {false, true}) check(rows, n, k, bits, minimums, bias && !cancels, cancels), cases++;
  };
  for (int bits : {4, 8})
    for (bool minimums : {false, true}) {
      each(1, 1, 32, bits, minimums, false);
      each(3, 40, 64, bits, minimums, true);
      each(17, 136, 96, bits, minimums, false);
      // Eight parts, of unequal lengths.
      each(minimums ? 16 : 40, 33, 1056, bits, minimums, true);
      for (auto [n, k] : {std::pair{5, 64}, {71, 32}, {200, 160}}) check_rows(n, k, bits, minimums), cases++;
    }
  each(130, 40, 544, 4, true, false);
  for (int i = 0; i < 8; i++) {
    const int rows = 1 + below(i % 4 == 0 ? 70 : 20);
    const int n = 1 + below(rows > 20 ? 40 : 200), k = 32 * (1 + below(rows > 20 ? 8 : 20));
    each(rows, n, k, below(2) ? 4 : 8, below(2), below(2));
  }
  printf("%d cases\n", cases);
}
