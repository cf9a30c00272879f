// What an operator is written with: it declares its inputs and outputs, reads its attributes once a node (`open`), and
// computes (`run`). Everything that ONNX Runtime wants beside that is in operator.c.
#ifndef OPERATOR_H
#define OPERATOR_H
#include "ort.h"

/** Files in kernels/ are compiled once a variant of the processor; their external names end in the variant's. */
#ifdef VARIANT_NAME
#define JOIN(name, variant) name##_##variant
#define EXPAND(name, variant) JOIN(name, variant)
#define VARIANT(name) EXPAND(name, VARIANT_NAME)
#endif

typedef struct {
  ElementType type;
  /** May be left out; `input` and `output` are null then. */
  int optional;
  /** On a device: lies in the processor's memory all the same. */
  int on_host;
} Port;

/** While a node is made. */
typedef struct {
  OrtApi api;
  void *info;
} Node;

/** While a node runs. */
typedef struct {
  OrtApi api;
  void *context;
} Call;

enum { PORTS_MAX = 16, DIMENSIONS_MAX = 8 };

typedef struct Operator {
  /** First, since ONNX Runtime knows an operator by it. */
  OrtCustomOp ort;
  const char *name;
  /** Null: the processor. */
  const char *provider;
  Port inputs[PORTS_MAX], outputs[PORTS_MAX];
  /** Bytes of what `open` fills for a node, zeroed before. */
  size_t state;
  /** Null where there is nothing to read. Both return null, or what is wrong (a constant). */
  const char *(*open)(const Node *, void *state);
  const char *(*run)(const Call *, void *state);
  /** Outputs that take an input's memory, which nobody else may read; null: none. Returns how many pairs there are. */
  size_t (*aliases)(int **inputs, int **outputs);
  /** Of what the state holds; null where it holds nothing. */
  void (*close)(void *state);
} Operator;

/** Fills in what ONNX Runtime calls. */
void complete_operator(Operator *);

/** An integer of a node; `otherwise` where it has none of that name. */
int64_t int_attribute(const Node *, const char *name, int64_t otherwise);
float float_attribute(const Node *, const char *name, float otherwise);

typedef struct {
  size_t rank;
  int64_t dims[DIMENSIONS_MAX];
} Shape;

/** An input's elements; null where it is left out. */
const void *input(const Call *, size_t index);
Shape input_shape(const Call *, size_t index);
/** An output's elements, once its shape is said; null where it is left out or has no memory. */
void *output(const Call *, size_t index, Shape);

/** Runs `part(work, i)` for all i below `count` on the session's threads, in any order. */
void in_parallel(const Call *, size_t count, void (*part)(void *work, size_t i), void *work);

#endif
