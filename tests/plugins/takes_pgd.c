/* Offers a component under an id that belongs to the plugin that comes with the program. */
#define COMPONENT_ID FS_STRING("pgd")
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_STEP, GOOD_STEP))
PLUGIN
