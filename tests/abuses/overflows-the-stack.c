/* Overflows its stack.
   ends: P08 died (SIG */
#include "abuse.h"
ABUSE(volatile char block[512 << 20]; block[0] = 1; block[(512 << 20) - 1] = 2; (void)block;)
