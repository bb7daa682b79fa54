/* Its component has a null id. */
#define COMPONENT_ID { NULL, 4 }
#include "misbehave.h"
BUILD_IS(return FS_OK)
PLUGIN
