/* The id of its component is not UTF-8. */
#define COMPONENT_ID FS_STRING("b\xff\xfe")
#include "misbehave.h"
BUILD_IS(return FS_OK)
PLUGIN
