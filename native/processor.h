// Instruction sets that this processor has and whose registers the system saves when it switches threads.
#ifndef PROCESSOR_H
#define PROCESSOR_H

/** AVX2, FMA and F16C. */
int has_avx2(void);
/** AVX2's set, and AVX-512 F, BW, DQ, VL and VNNI. */
int has_avx512vnni(void);
/** NEON's dot products of bytes. */
int has_dotprod(void);

#endif
