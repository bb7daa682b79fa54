/* Aborts. */
#include "misbehave.h"
BUILD_IS(abort())
PLUGIN
