// The list of a variant's operators.
#include "../operator.h"

#define KERNEL(name) extern Operator VARIANT(name);
#include "../operators.h"

Operator *const VARIANT(kernels)[] = {
#define KERNEL(name) &VARIANT(name),
#include "../operators.h"
    NULL,
};
