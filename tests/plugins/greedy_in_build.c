/* Asks for more memory than any machine has, and then does what many programs do. */
#include "misbehave.h"
BUILD_IS(for (;;) { char *volatile p = (char *)malloc((size_t)1 << 42); if (!p) abort(); })
PLUGIN
