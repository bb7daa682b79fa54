/* Starts a process while it is loaded.
   ends: ok */
#include "abuse.h"
__attribute__((constructor)) static void loaded(void) { if (!fork()) for (;;) pause(); }
ABUSE((void)a;)
