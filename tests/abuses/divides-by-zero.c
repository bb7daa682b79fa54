/* Divides by zero.
   ends: P08 died (SIGFPE) */
#include "abuse.h"
ABUSE((void)a; raise(SIGFPE);)
