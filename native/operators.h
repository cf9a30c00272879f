// Every operator, a line each. KERNEL: a file of kernels/, compiled once a variant of the processor. SINGLE: a file of
// this folder. Included where a list of them is wanted.
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
#undef KERNEL
#undef SINGLE
