/* Offers a component that another plugin offers, too. */
#define COMPONENT_ID FS_STRING("good")
#define PLUGIN_ID FS_STRING("other")
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_STEP, GOOD_STEP))
PLUGIN
