// FloatLinear: a linear of floats (float_linear.h).
#define OPERATOR FloatLinear
#define OPERATOR_NAME "FloatLinear"
#include "float_linear.h"
