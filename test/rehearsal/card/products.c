// cuBLAS without a card: a product is named and not computed.
#include "log.h"
#include <stdlib.h>

/** A handle is where its stream is kept. */
int cublasCreate_v2(void ***handle) { return rehearsal_log("make cublas\n"), *handle = calloc(1, sizeof(void *)), 0; }
int cublasDestroy_v2(void *handle) { return free(handle), 0; }
int cublasGetMathMode(void *handle, int *mode) { return (void)handle, *mode = 0, 0; }
const char *cublasGetStatusName(int status) { return (void)status, "a status"; }
const char *cublasGetStatusString(int status) { return cublasGetStatusName(status); }
NOTHING(cublasSetMathMode)
int cublasSetStream_v2(void **handle, void *stream) { return *handle = stream, 0; }

#define PRODUCT(name) \
  int name(void **handle) { return rehearsal_launch(#name, *handle), 0; }
PRODUCT(cublasGemmEx)
PRODUCT(cublasGemmBatchedEx)
PRODUCT(cublasGemmStridedBatchedEx)
PRODUCT(cublasSgemm_v2)
PRODUCT(cublasSgemmBatched)
PRODUCT(cublasSgemmStridedBatched)
PRODUCT(cublasDgemm_v2)
PRODUCT(cublasDgemmBatched)
PRODUCT(cublasDgemmStridedBatched)
PRODUCT(cublasSgeam)
PRODUCT(cublasDgeam)
PRODUCT(cublasScopy_v2)
PRODUCT(cublasDcopy_v2)
PRODUCT(cublasSscal_v2)
PRODUCT(cublasSgetrfBatched)
PRODUCT(cublasDgetrfBatched)
PRODUCT(cublasSgetriBatched)
PRODUCT(cublasDgetriBatched)
