/* Ends the process successfully instead of answering. */
#include "misbehave.h"
BUILD_IS(exit(0))
PLUGIN
