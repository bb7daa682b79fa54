/* Takes the id of the plugin that comes with the program. */
#define COMPONENT_ID FS_STRING("pgd")
#define PLUGIN_ID FS_STRING("standard")
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_STEP, GOOD_STEP))
PLUGIN
