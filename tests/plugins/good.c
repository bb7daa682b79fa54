/* Does everything right: FGSM as text. */
#define COMPONENT_ID FS_STRING("good")
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_STEP, GOOD_STEP))
PLUGIN
