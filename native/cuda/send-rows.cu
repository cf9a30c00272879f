// Writes rows of half floats [places, elements], which came from the processor, to places in the card's memory.

struct SendRows {
  const unsigned short *from;
  /** Address of each place's first element. */
  Real *const *to;
  long long elements;
};

__device__ inline Real real_of_half(unsigned short half) {
#ifdef REAL_BFLOAT16
  return to_real(half_to_float(half));
#else
  return half;
#endif
}

extern "C" __global__ void __launch_bounds__(256) send_rows(const SendRows job) {
  const long long blocks = (job.elements + 2047) / 2048, place = blockIdx.x / blocks;
  const long long first = blockIdx.x % blocks * 2048;
  const unsigned short *from = job.from + place * job.elements;
  Real *to = job.to[place];
  if (((unsigned long long)from | (unsigned long long)to) % 16 == 0 && first + 2048 <= job.elements) {
    // A thread takes eight elements at once.
    const unsigned short *read = from + first + 8 * threadIdx.x;
    Eight value = *(const Eight *)read;
#ifdef REAL_BFLOAT16
    Bits *pairs[] = {&value.x, &value.y, &value.z, &value.w};
    for (Bits *pair : pairs) *pair = (Bits)real_of_half(*pair & 0xffff) | (Bits)real_of_half(*pair >> 16) << 16;
#endif
    *(Eight *)(to + first + 8 * threadIdx.x) = value;
    return;
  }
  for (long long at = first + threadIdx.x; at < first + 2048 && at < job.elements; at += 256) to[at] = real_of_half(from[at]);
}
