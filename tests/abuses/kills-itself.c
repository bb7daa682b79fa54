/* Kills itself.
   ends: P08 died (SIGKILL) */
#include "abuse.h"
ABUSE((void)a; raise(SIGKILL);)
