/* Sends a description of itself behind the interface while it is loaded.
   ends: refused P11 wrote into the connection */
#include "abuse.h"
__attribute__((constructor)) static void loaded(void) { say(connection(), "{\"Loaded\":{\"description\":{}}}"); }
ABUSE((void)a;)
