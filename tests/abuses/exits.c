/* Exits in the middle.
   ends: P08 ended the process (exit code 7) */
#include "abuse.h"
ABUSE((void)a; _exit(7);)
