// Connects an Operator to ONNX Runtime: the functions that the runtime calls, and those of its API that operators use.
#include "operator.h"
#include <stdlib.h>

typedef struct {
  OrtApi api;
  const Operator *op;
  void *state;
} Kernel;

#define API(api, index, type) ((type)(api)[index])

static OrtStatus status(OrtApi api, int code, const char *message) {
  return API(api, CREATE_STATUS, OrtStatus(*)(int, const char *))(code, message);
}

static int succeeded(OrtApi api, OrtStatus failure) {
  if (failure == NULL) return 1;
  API(api, RELEASE_STATUS, void (*)(OrtStatus))(failure);
  return 0;
}

static const Operator *of(const OrtCustomOp *op) { return (const Operator *)op; }

static const char *name(const OrtCustomOp *op) { return of(op)->name; }
static const char *provider(const OrtCustomOp *op) {
  return of(op)->provider ? of(op)->provider : "CPUExecutionProvider";
}
static size_t count(const Port *ports) {
  size_t found = 0;
  while (found < PORTS_MAX && ports[found].type != 0) found++;
  return found;
}
static size_t input_count(const OrtCustomOp *op) { return count(of(op)->inputs); }
static size_t output_count(const OrtCustomOp *op) { return count(of(op)->outputs); }
ElementType card_real = FLOAT16;
static int type_of(Port port) { return (int)(port.type == CARD_REAL ? card_real : port.type); }
static int input_type(const OrtCustomOp *op, size_t i) { return type_of(of(op)->inputs[i]); }
static int output_type(const OrtCustomOp *op, size_t i) { return type_of(of(op)->outputs[i]); }
static int input_characteristic(const OrtCustomOp *op, size_t i) { return of(op)->inputs[i].optional; }
static int output_characteristic(const OrtCustomOp *op, size_t i) { return of(op)->outputs[i].optional; }
static int input_memory(const OrtCustomOp *op, size_t i) { return of(op)->inputs[i].on_host ? -2 : 0; }
static int zero(const OrtCustomOp *op) { return (void)op, 0; }
static int one(const OrtCustomOp *op) { return (void)op, 1; }
static int newest(const OrtCustomOp *op) { return (void)op, INT32_MAX; }
static size_t no_pairs(int **inputs, int **outputs) { return (void)inputs, (void)outputs, 0; }
static void release_pairs(int *inputs, int *outputs) { (void)inputs, (void)outputs; }

static void destroy(void *kernel) {
  Kernel *self = kernel;
  if (self->op->close) self->op->close(self->state);
  free(self->state);
  free(self);
}

static OrtStatus create(const OrtCustomOp *op, OrtApi api, void *info, void **kernel) {
  Kernel *self = malloc(sizeof *self);
  void *state = calloc(1, of(op)->state + 1);
  if (self == NULL || state == NULL) {
    free(self);
    free(state);
    return status(api, ORT_FAIL, "out of memory");
  }
  *self = (Kernel){api, of(op), state};
  const char *wrong = of(op)->open ? of(op)->open(&(Node){api, info}, state) : NULL;
  if (wrong != NULL) {
    destroy(self);
    return status(api, ORT_INVALID_ARGUMENT, wrong);
  }
  *kernel = self;
  return NULL;
}

static OrtStatus compute(void *kernel, void *context) {
  const Kernel *self = kernel;
  const char *wrong = self->op->run(&(Call){self->api, context}, self->state);
  return wrong == NULL ? NULL : status(self->api, ORT_FAIL, wrong);
}

void complete_operator(Operator *op) {
  op->ort = (OrtCustomOp){
      .version = ORT_API_VERSION,
      .name = name,
      .provider = provider,
      .input_type = input_type,
      .input_count = input_count,
      .output_type = output_type,
      .output_count = output_count,
      .destroy = destroy,
      .input_characteristic = input_characteristic,
      .output_characteristic = output_characteristic,
      .input_memory = input_memory,
      .variadic_input_min = one,
      .variadic_input_homogeneous = zero,
      .variadic_output_min = one,
      .variadic_output_homogeneous = zero,
      .create_kernel_v2 = create,
      .compute_v2 = compute,
      .start_version = one,
      .end_version = newest,
      .may_inplace = no_pairs,
      .release_may_inplace = release_pairs,
      .aliases = op->aliases ? op->aliases : no_pairs,
      .release_aliases = release_pairs,
  };
}

int64_t int_attribute(const Node *node, const char *attribute, int64_t otherwise) {
  int64_t value = otherwise;
  OrtStatus(*get)(const void *, const char *, int64_t *) = (void *)node->api[ATTRIBUTE_INT64];
  return succeeded(node->api, get(node->info, attribute, &value)) ? value : otherwise;
}

float float_attribute(const Node *node, const char *attribute, float otherwise) {
  float value = otherwise;
  OrtStatus(*get)(const void *, const char *, float *) = (void *)node->api[ATTRIBUTE_FLOAT];
  return succeeded(node->api, get(node->info, attribute, &value)) ? value : otherwise;
}

static const void *input_value(const Call *call, size_t index) {
  OrtStatus(*get_count)(const void *, size_t *) = (void *)call->api[CONTEXT_INPUT_COUNT];
  OrtStatus(*get)(const void *, size_t, const void **) = (void *)call->api[CONTEXT_INPUT];
  size_t inputs = 0;
  const void *value = NULL;
  if (!succeeded(call->api, get_count(call->context, &inputs)) || index >= inputs) return NULL;
  return succeeded(call->api, get(call->context, index, &value)) ? value : NULL;
}

static void *elements(const Call *call, const void *value) {
  OrtStatus(*get)(const void *, void **) = (void *)call->api[GET_TENSOR_MUTABLE_DATA];
  void *data = NULL;
  if (value == NULL) return NULL;
  return succeeded(call->api, get(value, &data)) ? data : NULL;
}

const void *input(const Call *call, size_t index) { return elements(call, input_value(call, index)); }

Shape input_shape(const Call *call, size_t index) {
  OrtStatus(*get_info)(const void *, void **) = (void *)call->api[GET_TENSOR_TYPE_AND_SHAPE];
  OrtStatus(*get_rank)(const void *, size_t *) = (void *)call->api[GET_DIMENSIONS_COUNT];
  OrtStatus(*get_dims)(const void *, int64_t *, size_t) = (void *)call->api[GET_DIMENSIONS];
  void (*release)(void *) = (void (*)(void *))call->api[RELEASE_TENSOR_TYPE_AND_SHAPE];
  Shape shape = {0};
  void *info = NULL;
  const void *value = input_value(call, index);
  if (value == NULL || !succeeded(call->api, get_info(value, &info))) return shape;
  size_t rank = 0;
  if (succeeded(call->api, get_rank(info, &rank)) && rank <= DIMENSIONS_MAX &&
      succeeded(call->api, get_dims(info, shape.dims, rank))) {
    shape.rank = rank;
  }
  release(info);
  return shape;
}

void *output(const Call *call, size_t index, Shape shape) {
  OrtStatus(*get)(void *, size_t, const int64_t *, size_t, void **) = (void *)call->api[CONTEXT_OUTPUT];
  void *value = NULL;
  if (!succeeded(call->api, get(call->context, index, shape.dims, shape.rank, &value))) return NULL;
  return elements(call, value);
}

void in_parallel(const Call *call, size_t count, void (*part)(void *, size_t), void *work) {
  if (count == 1) {
    part(work, 0);
    return;
  }
  OrtStatus(*run)(const void *, void (*)(void *, size_t), size_t, size_t, void *) =
      (void *)call->api[CONTEXT_PARALLEL_FOR];
  if (count > 0) succeeded(call->api, run(call->context, part, count, 0, work));
}
