// What came from the processor as float32, [places, elements], to as many places of the card's memory as 16-bit numbers.

struct SendRows {
  const float *from;
  /** Of each place's first element. */
  Real *const *to;
  long long elements;
};

extern "C" __global__ void __launch_bounds__(256) send_rows(const SendRows job) {
  const long long blocks = (job.elements + 2047) / 2048, place = blockIdx.x / blocks;
  const long long first = blockIdx.x % blocks * 2048;
  const float *from = job.from + place * job.elements;
  Real *to = job.to[place];
  for (long long at = first + threadIdx.x; at < first + 2048 && at < job.elements; at += 256) to[at] = to_real(from[at]);
}
