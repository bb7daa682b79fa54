/* Lets an alarm end it.
   ends: P08 died (signal 14) */
#include "abuse.h"
ABUSE((void)a; alarm(1); for (;;) pause();)
