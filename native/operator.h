// What operators are written with: an operator declares its inputs and outputs, reads its attributes once for each node
// (`open`), and computes (`run`). operator.c does all else that ONNX Runtime wants.
#ifndef OPERATOR_H
#define OPERATOR_H
#include "ort.h"

/** A port's type that stands for the card's 16-bit floats: `card_real` at the time a session is made. */
#define CARD_REAL ((ElementType)255)
extern ElementType card_real;

/**
 * Files in kernels/ are compiled once for each variant of the processor; their external names end in the variant's
 * name.
 */
#ifdef VARIANT_NAME
#define JOIN(name, variant) name##_##variant
#define EXPAND(name, variant) JOIN(name, variant)
#define VARIANT(name) EXPAND(name, VARIANT_NAME)
#endif

typedef struct {
  ElementType type;
  /** Whether it may be left out; `input` and `output` give null then. */
  int optional;
  /** Whether it lies in the processor's memory even on a device. */
  int on_host;
} Port;

/** A node that is being made. */
typedef struct {
  OrtApi api;
  void *info;
} Node;

/** A run of a node. */
typedef struct {
  OrtApi api;
  void *context;
} Call;

enum { PORTS_MAX = 16, DIMENSIONS_MAX = 8 };

typedef struct Operator {
  /** Must be first, since ONNX Runtime is given its address. */
  OrtCustomOp ort;
  const char *name;
  /** Execution provider; null for the processor's. */
  const char *provider;
  Port inputs[PORTS_MAX], outputs[PORTS_MAX];
  /** Bytes of the state that `open` fills for a node, zeroed before. */
  size_t state;
  /** Reads attributes; null where there are none. `open` and `run` return null, or what is wrong (a constant). */
  const char *(*open)(const Node *, void *state);
  const char *(*run)(const Call *, void *state);
  /**
   * Gives outputs that take the memory of an input, which nothing else may read, and returns the number of pairs; null
   * for none.
   */
  size_t (*aliases)(int **inputs, int **outputs);
  /** Releases what the state holds; null where it holds nothing. */
  void (*close)(void *state);
} Operator;

/** Fills in the functions that ONNX Runtime calls. */
void complete_operator(Operator *);

/** An integer attribute of a node; `otherwise` where the node has none of that name. */
int64_t int_attribute(const Node *, const char *name, int64_t otherwise);
float float_attribute(const Node *, const char *name, float otherwise);

typedef struct {
  size_t rank;
  int64_t dims[DIMENSIONS_MAX];
} Shape;

/** An input's elements; null where it is left out. */
const void *input(const Call *, size_t index);
Shape input_shape(const Call *, size_t index);
/** Sets an output's shape and gives its elements; null where it is left out or has no memory. */
void *output(const Call *, size_t index, Shape);

/** Runs `part(work, i)` for all i below `count` on the session's threads, in any order. */
void in_parallel(const Call *, size_t count, void (*part)(void *work, size_t i), void *work);

#endif
