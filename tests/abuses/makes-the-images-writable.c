/* Makes the clean images writable before it writes.
   ends: ok */
#include "abuse.h"
ABUSE(
    const long page = sysconf(_SC_PAGESIZE);
    void *start = (void *)((uintptr_t)a->oracle->x0 & ~(uintptr_t)(page - 1));
    tried(a, "mprotect", mprotect(start, page, PROT_READ | PROT_WRITE));
)
