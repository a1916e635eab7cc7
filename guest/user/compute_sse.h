/* The one piece of user code built with SSE. The kernel does not save SSE state: run one such process at a time. */
#pragma once

#include <stdint.h>

/* Floating-point arithmetic that IEEE 754 defines to the last bit; the same result on every host. */
uint64_t compute_sse(uint64_t rounds);
