/* Sleeps for ever.
   ends: P10 gave no answer */
#include "abuse.h"
ABUSE((void)a; for (;;) pause();)
