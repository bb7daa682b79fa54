/* Neither builds nor runs. */
#define BUILD NULL
#include "misbehave.h"
PLUGIN
