/* Recurses until the stack ends. */
#include "misbehave.h"
static int deeper(volatile int *n) { volatile int here[256] = { *n + 1 }; return deeper((volatile int *)here) + here[1]; }
BUILD_IS(volatile int zero = 0; return deeper(&zero))
PLUGIN
