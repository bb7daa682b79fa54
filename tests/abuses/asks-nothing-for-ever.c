/* Asks for ever about no rows.
   ends: P10 gave no answer */
#include "abuse.h"
ABUSE(
    static const int64_t none[2] = { 0, 4 }, no_scores[2] = { 0, 3 };
    a->tx.shape = none;
    a->tz.shape = no_scores;
    for (;;) if (a->oracle->logits(a->oracle, &a->tx, a->rows, &a->tz) != FS_OK) return;
)
