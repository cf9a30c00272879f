// PagedAttention over keys and values in half floats (paged_attention.h).
#define STORED_IS_HALF
#define OPERATOR PagedAttention
#define OPERATOR_NAME "PagedAttention"
#include "paged_attention.h"
