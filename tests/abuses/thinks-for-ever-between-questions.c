/* Answers in time every time and is never finished.
   ends: P14 took more than */
#include "abuse.h"
ABUSE(
    for (;;) {
        if (a->oracle->logits(a->oracle, &a->tx, a->rows, &a->tz) != FS_OK) return;
        usleep(500000);
    }
)
