/* Writes much into its scratch folder.
   ends: ok */
#include "abuse.h"
ABUSE(
    static char block[1 << 20];
    (void)a;
    const int fd = open("much", O_WRONLY | O_CREAT, 0600);
    for (int i = 0; i < 200; i++) if (write(fd, block, sizeof block) < 0) return;
)
