/* Was built for another minor version of the interface, which at major 0 has to match. */
#define MINOR 99
#include "misbehave.h"
BUILD_IS(return FS_OK)
PLUGIN
