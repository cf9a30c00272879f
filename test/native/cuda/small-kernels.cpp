// GatedSilu and the sending of rows on a card that is not there, beside the same in float64.
#include "card.hpp"
#include <cmath>
#include "../../../native/cuda/gated-silu.cu"
#include "../../../native/cuda/send-rows.cu"
#include <random>

static std::mt19937 random_bits(3);
static float real() { return (float)(int)(random_bits() % 20001 - 10000) / 1000; }

static void fail(const char *what, long long rows, long long width) {
  fprintf(stderr, "%s: %lld rows of %lld are wrong\n", what, rows, width);
  exit(1);
}

static void check_silu(long long rows, long long width) {
  std::vector<Real> x(rows * 2 * width), y(rows * width + 8, 0x7fff);
  for (auto &value : x) value = to_real(real());
  const GatedSilu job{x.data(), y.data(), rows, width};
  card::launch((unsigned)((rows * width + 2047) / 2048), 256, [&] { gated_silu(job); });
  for (long long row = 0; row < rows; row++)
    for (long long i = 0; i < width; i++) {
      const double gate = to_float(x[row * 2 * width + i]), up = to_float(x[row * 2 * width + width + i]);
      const double expected = gate / (1 + std::exp(-gate)) * up;
#ifdef REAL_BFLOAT16
      const double unit = 1.0 / 256;
#else
      const double unit = 1.0 / 2048;
#endif
      if (!(std::abs(to_float(y[row * width + i]) - expected) <= unit * std::abs(expected) + 1e-6)) fail("GatedSilu", rows, width);
    }
  for (int i = 0; i < 8; i++)
    if (y[rows * width + i] != 0x7fff) fail("GatedSilu, behind the end", rows, width);
}

static Real *aligned(std::vector<Real> &values) { return (Real *)(((uintptr_t)values.data() + 15) & ~(uintptr_t)15); }

static unsigned short half_of(float value) {
  const _Float16 half = (_Float16)value;
  unsigned short bits;
  memcpy(&bits, &half, 2);
  return bits;
}

static void check_send(long long places, long long elements, int shift) {
  // Both ways of the kernel: places where eight numbers can be stored at once, and others.
  std::vector<Real> from(places * elements + 8);
  Real *const sent = aligned(from);
  std::vector<std::vector<Real>> targets(places, std::vector<Real>(elements + 24, 0x7fff));
  std::vector<Real *> to;
  for (long long i = 0; i < places * elements; i++) sent[i] = half_of(real());
  for (auto &target : targets) to.push_back(aligned(target) + 8 + shift);
  const SendRows job{sent, to.data(), elements};
  card::launch((unsigned)(places * ((elements + 2047) / 2048)), 256, [&] { send_rows(job); });
  for (long long place = 0; place < places; place++) {
    for (long long i = 0; i < elements; i++)
      if (to[place][i] != to_real(half_to_float(sent[place * elements + i]))) fail("SendRows", places, elements);
    if (to[place][-1] != 0x7fff || to[place][elements] != 0x7fff) fail("SendRows, beside", places, elements);
  }
}

int main() {
  int cases = 0;
  for (long long rows : {1, 3, 17})
    for (long long width : {1, 7, 8, 64, 1000, 1537}) check_silu(rows, width), cases++;
  for (long long places : {1, 5})
    for (long long elements : {1, 255, 2048, 5000, 6144})
      for (int shift : {0, 1}) check_send(places, elements, shift), cases++;
  printf("%d cases\n", cases);
}
