/* Takes and touches memory until there is none.
   ends: P14 held or P10 gave no answer */
#include "abuse.h"
ABUSE(for (;;) { char *p = malloc(16 << 20); if (p) memset(p, 1, 16 << 20); })
