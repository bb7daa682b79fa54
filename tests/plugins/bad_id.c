/* Its component has an id with capitals and an underscore. */
#define COMPONENT_ID FS_STRING("Bad_Id")
#include "misbehave.h"
BUILD_IS(return FS_OK)
PLUGIN
