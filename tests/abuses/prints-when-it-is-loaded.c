/* Writes into the connection while it is loaded.
   ends: refused P11 wrote into the connection */
#include "abuse.h"
__attribute__((constructor)) static void loaded(void) { say(connection(), "nonsense"); }
ABUSE((void)a;)
