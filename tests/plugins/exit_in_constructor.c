/* Ends the process successfully while it is loaded. */
#include "misbehave.h"
__attribute__((constructor)) static void leave(void) { exit(0); }
BUILD_IS(return FS_OK)
PLUGIN
