// HalfLinear: a linear of half floats, whose weights come as bytes (float_linear.h).
#define STORED_IS_HALF
#define OPERATOR HalfLinear
#define OPERATOR_NAME "HalfLinear"
#include "float_linear.h"
