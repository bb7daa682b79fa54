/* Announces a message of four gigabytes.
   ends: P11 wrote into the connection */
#include "abuse.h"
ABUSE(frame(connection(), "", 0xffffffffu, 0); pause();)
