/* Sends random bytes.
   ends: P11 wrote into the connection */
#include "abuse.h"
ABUSE(
    static char block[4096];
    memset(block, 0xee, sizeof block);
    if (write(connection(), block, sizeof block) < 0) return;
    pause();
)
