/* Answers graphs that are not there. */
#include "misbehave.h"
BUILD_IS(out->graph_count = 2; return FS_OK)
PLUGIN
