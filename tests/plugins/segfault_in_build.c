/* Writes through a null pointer. */
#include "misbehave.h"
BUILD_IS(*(volatile int *)NULL = 1; return FS_OK)
PLUGIN
