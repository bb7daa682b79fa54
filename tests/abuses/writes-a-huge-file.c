/* Writes a file of many gigabytes.
   ends: P08 died (SIGXFSZ) */
#include "abuse.h"
ABUSE(
    (void)a;
    const int fd = open("huge", O_WRONLY | O_CREAT, 0600);
    if (ftruncate(fd, 1ll << 40)) return;
)
