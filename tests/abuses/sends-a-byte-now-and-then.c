/* Sends a message so slowly that it never ends.
   ends: P10 gave no answer */
#include "abuse.h"
ABUSE(
    const int fd = connection();
    frame(fd, "", 1000000, 0);
    for (;;) { if (write(fd, " ", 1) < 0) return; usleep(20000); }
)
