/* Asks on after it was told that no more questions are answered.
   ends: P14 asked on after it was told to stop */
#include "abuse.h"
ABUSE(for (;;) (void)a->oracle->logits(a->oracle, &a->tx, a->rows, &a->tz);)
