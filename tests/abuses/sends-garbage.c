/* Sends what is no message.
   ends: P11 wrote into the connection */
#include "abuse.h"
ABUSE(say(connection(), "{]"); pause();)
