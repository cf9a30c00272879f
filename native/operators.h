// All operators, one in each line. KERNEL: a file of kernels/, compiled once for each variant of the processor. SINGLE:
// a file of this folder. Included wherever a list of operators is needed.
#ifndef SINGLE
#define SINGLE(name)
#endif
#ifndef KERNEL
#define KERNEL(name)
#endif
KERNEL(FloatLinear)
KERNEL(HalfLinear)
KERNEL(PagedAttention)
KERNEL(PagedAttentionFloat)
KERNEL(QuantizedEmbedding)
KERNEL(QuantizedLinear)
KERNEL(QuantizedLinearGrad)
KERNEL(ReadMemory)
SINGLE(GroupedLoraOnCuda)
SINGLE(GatedSiluOnCuda)
SINGLE(QuantizedLinearOnCuda)
SINGLE(QuantizedEmbeddingOnCuda)
#undef KERNEL
#undef SINGLE
