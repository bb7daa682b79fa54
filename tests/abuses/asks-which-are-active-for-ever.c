/* Asks for ever which samples are active, which costs nothing.
   ends: P14 asked 1 */
#include "abuse.h"
ABUSE(
    uint8_t *flags = malloc(a->n);
    for (;;) if (a->oracle->active(a->oracle, flags) != FS_OK) return;
)
