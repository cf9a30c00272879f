// The library's one function, which lists its operators for this processor. Knows the variants, and not what they
// compute.
#include "export.h"
#include "operator.h"
#include "processor.h"
#include <string.h>

typedef struct {
  const char *name;
  int (*runs_here)(void);
  Operator *const *kernels;
} Variant;

extern Operator *const kernels_scalar[];
static int always(void) { return 1; }

#if defined(__x86_64__) && !defined(SCALAR_ONLY)
extern Operator *const kernels_avx2[], *const kernels_avx512vnni[];
static const Variant variants[] = {
    {"avx512vnni", has_avx512vnni, kernels_avx512vnni},
    {"avx2", has_avx2, kernels_avx2},
    {"scalar", always, kernels_scalar},
};
#elif defined(__aarch64__) && !defined(SCALAR_ONLY)
extern Operator *const kernels_dotprod[];
static const Variant variants[] = {{"dotprod", has_dotprod, kernels_dotprod}, {"scalar", always, kernels_scalar}};
#else
static const Variant variants[] = {{"scalar", always, kernels_scalar}};
#endif

#define SINGLE(name) extern Operator name;
#include "operators.h"
static Operator *const singles[] = {
#define SINGLE(name) &name,
#include "operators.h"
    NULL,
};

/** Whether an operator is of a provider; null stands for the processor's. */
static int is_of(const Operator *op, const char *provider) {
  if (op->provider == NULL || provider == NULL) return op->provider == provider;
  return strcmp(op->provider, provider) == 0;
}

/**
 * Lists operators in the form that ONNX Runtime takes.
 * @param provider null for the processor's
 * @param name of a variant; null or empty for the fastest that runs here
 * @param chosen is set to the variant's name
 * @param operators room for `capacity` operators
 * @return their number; 0 where the variant does not run here, or `capacity` is too small
 */
EXPORT size_t lorikeet_operators(const char *provider, const char *name, const char **chosen, OrtCustomOp **operators, size_t capacity) {
  int any = name == NULL || name[0] == 0;
  for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
    const Variant *variant = &variants[v];
    if (!(any || strcmp(name, variant->name) == 0) || !variant->runs_here()) continue;
    Operator *const *lists[] = {variant->kernels, singles};
    size_t count = 0;
    for (int l = 0; l < 2; l++) {
      for (Operator *const *op = lists[l]; *op != NULL; op++) {
        if (!is_of(*op, provider)) continue;
        if (count == capacity) return 0;
        complete_operator(*op);
        operators[count++] = &(*op)->ort;
      }
    }
    *chosen = variant->name;
    return count;
  }
  return 0;
}
