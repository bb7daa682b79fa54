/* Sends a message with a gigabyte behind it.
   ends: P11 wrote into the connection */
#include "abuse.h"
ABUSE(
    const int fd = connection();
    static char block[1 << 20];
    frame(fd, "{\"Ask\":\"Active\"}", 16, 1u << 30);
    for (int i = 0; i < 1024; i++) if (write(fd, block, sizeof block) < 0) return;
)
