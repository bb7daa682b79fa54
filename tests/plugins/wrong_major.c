/* Was built for another major version of the interface. */
#define MAJOR 3
#include "misbehave.h"
BUILD_IS(return FS_OK)
PLUGIN
