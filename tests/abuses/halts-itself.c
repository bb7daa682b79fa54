/* Halts itself.
   ends: P08 was halted by a signal */
#include "abuse.h"
ABUSE((void)a; raise(SIGSTOP); pause();)
