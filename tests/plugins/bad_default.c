/* The default of its parameter is no value of its type. */
#define PARAMS params, 1
#include "misbehave.h"
static const fs_param params[] = { { FS_STRING("steps"), FS_STRING("many"), FS_STRING("how many"), FS_INT, 0, NULL, 0, 0 } };
BUILD_IS(return FS_OK)
PLUGIN
