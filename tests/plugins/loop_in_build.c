/* Never answers. */
#include "misbehave.h"
BUILD_IS(for (volatile int i = 0;;) i = i; return FS_OK)
PLUGIN
