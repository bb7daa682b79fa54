/* Prints a gigabyte to both outputs.
   ends: ok or P10 gave no answer */
#include "abuse.h"
ABUSE(
    static char block[1 << 20];
    memset(block, 'A', sizeof block);
    for (int i = 0; i < 512; i++) if (write(1, block, sizeof block) < 0 || write(2, block, sizeof block) < 0) return;
)
