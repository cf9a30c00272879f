// GatedSilu: SiLU(gate) * up, with both side by side in a row: x [rows, 2 * width] -> y [rows, width]. A thread takes 8
// values.

struct GatedSilu {
  const Real *x;
  Real *y;
  long long rows, width;
};

extern "C" __global__ void __launch_bounds__(256) gated_silu(const GatedSilu job) {
  const long long start = ((long long)blockIdx.x * 256 + threadIdx.x) * 8, end = job.rows * job.width;
  const bool whole = job.width % 8 == 0;
  for (long long at = start; at < end && at < start + 8;) {
    const Real *gate = job.x + at / job.width * 2 * job.width + at % job.width, *up = gate + job.width;
    const int count = whole ? 8 : 1;
    Real values[8], gates[8], ups[8];
    if (whole) *(Eight *)gates = *(const Eight *)gate, *(Eight *)ups = *(const Eight *)up;
    else gates[0] = *gate, ups[0] = *up;
    for (int i = 0; i < count; i++) {
      const float value = to_float(gates[i]);
      values[i] = to_real(value / (1 + expf(-value)) * to_float(ups[i]));
    }
    if (whole) *(Eight *)(job.y + at) = *(const Eight *)values;
    else job.y[at] = values[0];
    at += count;
  }
}
