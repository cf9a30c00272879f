// cuBLASLt without a card: it has no product to offer, and cuBLAS is taken in its place.
#include "log.h"
#include <stdlib.h>

enum { NOT_SUPPORTED = 15 };
#define HANDLE(name) \
  int name(void **made) { return *made = malloc(1), 0; }
HANDLE(cublasLtCreate)
HANDLE(cublasLtMatmulDescCreate)
HANDLE(cublasLtMatmulPreferenceCreate)
HANDLE(cublasLtMatrixLayoutCreate)
HANDLE(cublasLtMatrixTransformDescCreate)
NOTHING(cublasLtDestroy)
NOTHING(cublasLtMatmulDescDestroy)
NOTHING(cublasLtMatmulDescSetAttribute)
NOTHING(cublasLtMatmulPreferenceDestroy)
NOTHING(cublasLtMatmulPreferenceSetAttribute)
NOTHING(cublasLtMatrixLayoutDestroy)
NOTHING(cublasLtMatrixLayoutSetAttribute)
NOTHING(cublasLtMatrixTransformDescDestroy)
NOTHING(cublasLtMatmulAlgoConfigSetAttribute)
NOTHING(cublasLtMatmulAlgoInit)
int cublasLtMatmulAlgoGetHeuristic(void) { return NOT_SUPPORTED; }
int cublasLtMatmul(void) { return rehearsal_log("launch cublasLtMatmul\n"), 0; }
int cublasLtMatrixTransform(void) { return rehearsal_log("launch cublasLtMatrixTransform\n"), 0; }
