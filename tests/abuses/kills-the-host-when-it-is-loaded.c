/* Kills the program that started it while it is loaded.
   ends: ok */
#include "abuse.h"
__attribute__((constructor)) static void loaded(void) { kill(getppid(), SIGKILL); }
ABUSE((void)a;)
