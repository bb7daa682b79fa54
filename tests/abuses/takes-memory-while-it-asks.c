/* Takes memory little by little and asks all the time.
   ends: P14 held or P10 gave no answer */
#include "abuse.h"
ABUSE(
    for (;;) {
        char *p = malloc(1 << 20);
        if (p) memset(p, 1, 1 << 20);
        if (a->oracle->logits(a->oracle, &a->tx, a->rows, &a->tz) != FS_OK) return;
    }
)
