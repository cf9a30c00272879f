// Asks the processor itself on x86, and the system on ARM, where a program may not ask the processor.
#include "processor.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

static int bit(uint32_t word, int at) { return (word >> at) & 1; }

/** XCR0: the registers that the system saves. */
static uint32_t saved_registers(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

int has_avx2(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid_count(1, 0, &a, &b, &c, &d)) return 0;
  int fma = bit(c, 12), osxsave = bit(c, 27), avx = bit(c, 28), f16c = bit(c, 29);
  if (!(fma && osxsave && avx && f16c) || (saved_registers() & 0x06) != 0x06) return 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && bit(b, 5);
}

int has_avx512vnni(void) {
  uint32_t a, b, c, d;
  if (!has_avx2() || (saved_registers() & 0xe6) != 0xe6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  int f = bit(b, 16), dq = bit(b, 17), bw = bit(b, 30), vl = bit(b, 31), vnni = bit(c, 11);
  return f && dq && bw && vl && vnni;
}

int has_dotprod(void) { return 0; }

#elif defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
int has_dotprod(void) { return (getauxval(AT_HWCAP) >> 20) & 1; }
#else
/** Every Mac with an ARM processor has dot products. */
int has_dotprod(void) { return 1; }
#endif
int has_avx2(void) { return 0; }
int has_avx512vnni(void) { return 0; }

#else
int has_avx2(void) { return 0; }
int has_avx512vnni(void) { return 0; }
int has_dotprod(void) { return 0; }
#endif
