/* Loops for ever.
   ends: P10 gave no answer */
#include "abuse.h"
ABUSE((void)a; for (volatile int i = 0;; i++) {})
