/* Asks for ever for random numbers.
   ends: P14 asked 1 */
#include "abuse.h"
ABUSE(for (;;) if (a->oracle->noise(a->oracle, FS_NORMAL, 0, a->rows, &a->tx) != FS_OK) return;)
