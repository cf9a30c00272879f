// The parts of ONNX Runtime's C API (onnxruntime_c_api.h) that operators use. The API is a table of function pointers
// whose order is ABI and which only grows, and so is the struct of an operator's functions, so none of its headers is
// needed.
#ifndef ORT_H
#define ORT_H
#include <stddef.h>
#include <stdint.h>

typedef void (*OrtFunction)(void);
typedef const OrtFunction *OrtApi;

/** Indices in OrtApi. */
enum {
  CREATE_STATUS = 0,
  GET_ERROR_MESSAGE = 2,
  GET_DIMENSIONS_COUNT = 61,
  GET_DIMENSIONS = 62,
  GET_TENSOR_TYPE_AND_SHAPE = 65,
  GET_TENSOR_MUTABLE_DATA = 51,
  ATTRIBUTE_FLOAT = 85,
  ATTRIBUTE_INT64 = 86,
  CONTEXT_INPUT_COUNT = 88,
  CONTEXT_INPUT = 90,
  CONTEXT_OUTPUT = 91,
  RELEASE_STATUS = 93,
  RELEASE_TENSOR_TYPE_AND_SHAPE = 99,
  RUN_WITH_BINDING = 133,
  CONTEXT_GPU_STREAM = 193,
  CONTEXT_PARALLEL_FOR = 274,
};

/** Null for success. */
typedef void *OrtStatus;
enum { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2 };

/** ONNXTensorElementDataType */
typedef enum { FLOAT32 = 1, UINT8 = 2, INT32 = 6, INT64 = 7, FLOAT16 = 10, BFLOAT16 = 16 } ElementType;

/** Version of the API that this table and this struct belong to. */
enum { ORT_API_VERSION = 24 };

typedef struct OrtCustomOp OrtCustomOp;
struct OrtCustomOp {
  uint32_t version;
  void *create_kernel;
  const char *(*name)(const OrtCustomOp *);
  const char *(*provider)(const OrtCustomOp *);
  int (*input_type)(const OrtCustomOp *, size_t);
  size_t (*input_count)(const OrtCustomOp *);
  int (*output_type)(const OrtCustomOp *, size_t);
  size_t (*output_count)(const OrtCustomOp *);
  void *compute;
  void (*destroy)(void *kernel);
  /** 0: required, 1: optional */
  int (*input_characteristic)(const OrtCustomOp *, size_t);
  int (*output_characteristic)(const OrtCustomOp *, size_t);
  /** 0: where the provider computes, -2: the processor's */
  int (*input_memory)(const OrtCustomOp *, size_t);
  int (*variadic_input_min)(const OrtCustomOp *);
  int (*variadic_input_homogeneous)(const OrtCustomOp *);
  int (*variadic_output_min)(const OrtCustomOp *);
  int (*variadic_output_homogeneous)(const OrtCustomOp *);
  OrtStatus (*create_kernel_v2)(const OrtCustomOp *, OrtApi, void *info, void **kernel);
  OrtStatus (*compute_v2)(void *kernel, void *context);
  void *infer_shapes;
  int (*start_version)(const OrtCustomOp *);
  int (*end_version)(const OrtCustomOp *);
  /** Outputs that may take an input's memory after its last use. */
  size_t (*may_inplace)(int **inputs, int **outputs);
  void (*release_may_inplace)(int *inputs, int *outputs);
  size_t (*aliases)(int **inputs, int **outputs);
  void (*release_aliases)(int *inputs, int *outputs);
};

#endif
