// The kernel of GroupedLora on a card that is not there, beside the same sums in float64: sizes of every kind, rows
// without pages, gains, memory of its own or the base's, and that a row's bits do not depend on its company.
#include "card.hpp"
#include "../../../native/cuda/grouped-lora.cu"
#include <algorithm>
#include <cmath>
#include <map>
#include <random>

static std::mt19937 random_bits(7);
static int below(int end) { return (int)(random_bits() % (unsigned)end); }
static float real() { return (float)(int)(random_bits() % 2001 - 1000) / 1000; }

static std::vector<Real> reals(size_t count, float scale) {
  std::vector<Real> values(count);
  for (auto &value : values) value = to_real(real() * scale);
  return values;
}

struct Case {
  int rows, in, slots, most;
  std::vector<int> outs;
  bool gains, one_gain, in_place;
};

struct Step {
  Case form;
  int width = 0;
  std::vector<Real> x, base, gain;
  std::vector<std::vector<Real>> a, b;
  std::vector<int> pages;
  std::vector<float> shares;
};

/** Rows of an adapter have its pages, which are anybody's slots, in any order. */
static Step random_step(const Case &form) {
  Step step{form};
  for (int out : form.outs) step.width += out;
  const auto [rows, in, slots, most] = std::tuple(form.rows, form.in, form.slots, form.most);
  step.x = reals((size_t)rows * in, 1);
  step.base = reals((size_t)rows * step.width, 1);
  if (form.gains) step.gain = reals((size_t)(form.one_gain ? 1 : rows) * step.width, 2);
  for (int out : form.outs) {
    step.a.push_back(reals((size_t)slots * 8 * in, 0.1f));
    step.b.push_back(reals((size_t)slots * 8 * out, 0.1f));
  }
  step.pages.assign((size_t)rows * most, -1);
  step.shares.assign((size_t)rows * most, 0);
  // Distinct first slots, since that is what tells adapters apart.
  std::vector<int> first(slots);
  for (int i = 0; i < slots; i++) first[i] = i;
  std::shuffle(first.begin(), first.end(), random_bits);
  const int adapters = std::min(1 + below(rows), slots);
  std::vector<std::vector<int>> lists(adapters);
  for (int i = 0; i < adapters && most > 0; i++) {
    lists[i].push_back(first[i]);
    for (int more = below(most); more > 0; more--) lists[i].push_back(below(slots));
  }
  for (int row = 0; row < rows; row++) {
    if (most == 0 || below(4) == 0) continue;
    const auto &list = lists[below(adapters)];
    const float share = below(6) == 0 ? 0 : real();
    for (size_t page = 0; page < list.size(); page++) {
      step.pages[row * most + page] = list[page];
      step.shares[row * most + page] = share;
    }
  }
  return step;
}

/** As the host makes them: rows of one adapter together, in order, 16 at the most. */
static std::vector<GroupedLoraGroup> groups_of(const Step &step) {
  const int most = step.form.most;
  std::map<int, std::vector<int>> by_first;
  for (int row = 0; row < step.form.rows; row++) by_first[most == 0 ? -1 : step.pages[row * most]].push_back(row);
  std::vector<GroupedLoraGroup> groups;
  for (const auto &[first, rows] : by_first)
    for (size_t start = 0; start < rows.size(); start += 16) {
      GroupedLoraGroup group{};
      while (first >= 0 && group.pages < most && step.pages[rows[0] * most + group.pages] >= 0) group.pages++;
      group.rows = (int)std::min<size_t>(16, rows.size() - start);
      for (int i = 0; i < 16; i++) group.row[i] = i < group.rows ? rows[start + i] : -1;
      groups.push_back(group);
    }
  // A step that is replayed has room for more.
  for (int spare = below(3); spare > 0; spare--) groups.push_back(GroupedLoraGroup{});
  std::shuffle(groups.begin(), groups.end(), random_bits);
  return groups;
}

static std::vector<Real> run(const Step &step, int tiles) {
  const Case &form = step.form;
  const auto groups = groups_of(step);
  bool aligned = form.in % 8 == 0;
  for (int out : form.outs) aligned &= out % 8 == 0;
  GroupedLora job{};
  const int parts = (int)form.outs.size(), span = form.in > 4096 ? 1024 : 512, spans = (form.in + span - 1) / span;
  job.tiles = tiles, job.span = span;
  std::vector<float> inner((size_t)form.rows * parts * std::max(form.most, 1) * spans * RANKS, NAN);
  static std::vector<unsigned> counters(1024, 0);
  std::vector<Real> y = form.in_place ? step.base : std::vector<Real>(step.base.size(), 0x7fff);
  job.x = step.x.data(), job.base = form.in_place ? y.data() : step.base.data(), job.y = y.data();
  job.gain = form.gains ? step.gain.data() : nullptr;
  job.pages = step.pages.data(), job.shares = step.shares.data(), job.groups = groups.data();
  for (int part = 0; part < parts; part++) {
    job.a[part] = step.a[part].data(), job.b[part] = step.b[part].data(), job.out[part] = form.outs[part];
    job.blocks_of_group += (form.outs[part] + BLOCK_OUTPUTS * tiles - 1) / (BLOCK_OUTPUTS * tiles);
  }
  job.inner = inner.data(), job.counters = counters.data();
  job.parts = parts, job.in = form.in, job.width = step.width, job.most = form.most;
  job.group_count = (int)groups.size(), job.spans = spans;
  job.gain_stride = form.one_gain ? 0 : step.width;
  job.shrinks = job.group_count * form.most * parts * spans;
  card::launch(job.shrinks + job.group_count * job.blocks_of_group, THREADS,
               [&] { aligned ? grouped_lora(job) : grouped_lora_unaligned(job); });
  for (unsigned counter : counters)
    if (counter != 0) fprintf(stderr, "a counter was left at %u\n", counter), exit(1);
  return y;
}

static std::vector<double> reference(const Step &step) {
  const Case &form = step.form;
  std::vector<double> y(step.base.size());
  for (int row = 0; row < form.rows; row++) {
    size_t first = 0;
    for (size_t part = 0; part < form.outs.size(); first += form.outs[part++])
      for (int o = 0; o < form.outs[part]; o++) {
        const size_t at = first + o, place = row * (size_t)step.width + at;
        y[place] = to_float(step.base[place]);
        if (form.gains) y[place] *= to_float(step.gain[form.one_gain ? at : place]);
      }
    for (int page = 0; page < form.most; page++) {
      const int slot = step.pages[row * form.most + page];
      if (slot < 0) continue;
      first = 0;
      for (size_t part = 0; part < form.outs.size(); first += form.outs[part++])
        for (int rank = 0; rank < 8; rank++) {
          double sum = 0;
          const Real *a = &step.a[part][((size_t)slot * 8 + rank) * form.in];
          for (int k = 0; k < form.in; k++) sum += (double)to_float(step.x[(size_t)row * form.in + k]) * to_float(a[k]);
          sum *= step.shares[row * form.most + page];
          const Real *b = &step.b[part][((size_t)slot * 8 + rank) * form.outs[part]];
          for (int o = 0; o < form.outs[part]; o++) y[row * (size_t)step.width + first + o] += sum * to_float(b[o]);
        }
    }
  }
  return y;
}

static void check(const Case &form) {
  const Step step = random_step(form);
  const auto found = run(step, 1 + below(4));
  const auto expected = reference(step);
  double difference = 0, size = 0, largest = 0;
  for (size_t i = 0; i < found.size(); i++) {
    const double off = to_float(found[i]) - expected[i];
    difference += off * off, size += expected[i] * expected[i], largest = std::max(largest, std::abs(off));
    if (std::isnan(off)) largest = INFINITY;
  }
  // Rounding of the result alone: half a unit in the last of 11 bits, or of 8.
#ifdef REAL_BFLOAT16
  const double unit = 1.0 / 256;
#else
  const double unit = 1.0 / 2048;
#endif
  if (!(std::sqrt(difference) <= unit * std::sqrt(size))) {
    fprintf(stderr, "%d rows, %d inputs, %d pages, %zu parts: off by %g of %g, at most %g\n", form.rows, form.in, form.most,
            form.outs.size(), std::sqrt(difference), std::sqrt(size), largest);
    exit(1);
  }
  // Alone a row gets the very same bits.
  const int row = below(form.rows);
  Step alone = step;
  alone.form.rows = 1;
  const auto only = [&](auto &values, size_t width) {
    if (!values.empty()) values = {values.begin() + row * width, values.begin() + (row + 1) * width};
  };
  only(alone.x, form.in), only(alone.base, step.width), only(alone.pages, form.most), only(alone.shares, form.most);
  if (!form.one_gain) only(alone.gain, step.width);
  const auto again = run(alone, 1);
  if (memcmp(again.data(), &found[row * (size_t)step.width], again.size() * sizeof(Real)) != 0)
    fprintf(stderr, "row %d of %d has other bits alone\n", row, form.rows), exit(1);
}

int main() {
  int cases = 0;
  const auto each = [&](const Case &form) { check(form), cases++; };
  each({1, 8, 1, 1, {8}, false, false, false});
  each({3, 64, 4, 0, {64, 32, 32}, false, false, false});
  each({40, 576, 20, 4, {576, 192, 192}, false, false, true});
  each({2, 2056, 3, 2, {264}, true, false, false});
  each({5, 96, 40, 32, {128, 128}, false, false, true});
  each({3, 64, 9, 3, {1300, 700}, true, false, false});
  for (int i = 0; i < 60; i++) {
    const bool odd = i % 4 == 3;
    const auto size = [&](int most) { return odd ? 1 + below(8 * most) : 8 * (1 + below(most)); };
    std::vector<int> outs;
    for (int parts = 1 + below(3); parts > 0; parts--) outs.push_back(size(40));
    const bool gains = below(3) == 0;
    each({1 + below(i % 10 == 0 ? 50 : 12), size(below(8) == 0 ? 300 : 24), 1 + below(24), below(6), outs, gains, gains && below(2) == 0,
          below(2) == 0});
  }
  printf("%d cases\n", cases);
}
