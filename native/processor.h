// What the processor that runs this has, and the system saves at a change of threads.
#ifndef PROCESSOR_H
#define PROCESSOR_H

/** AVX2, FMA and F16C. */
int has_avx2(void);
/** The above, AVX-512 F, BW, DQ, VL and VNNI. */
int has_avx512vnni(void);
/** NEON's dot products of bytes. */
int has_dotprod(void);

#endif
