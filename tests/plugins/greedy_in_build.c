/* Takes memory until there is none, and then does what many programs do. */
#include "misbehave.h"
BUILD_IS(for (;;) { char *p = (char *)malloc((size_t)1 << 30); if (!p) abort(); p[0] = 1; })
PLUGIN
