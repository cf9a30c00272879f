// PagedAttention over keys and values in floats (paged_attention.h).
#define OPERATOR PagedAttentionFloat
#define OPERATOR_NAME "PagedAttentionFloat"
#include "paged_attention.h"
