/* Never finishes loading. */
#include "misbehave.h"
__attribute__((constructor)) static void spin(void) { for (volatile int i = 0;;) i = i; }
BUILD_IS(return FS_OK)
PLUGIN
