/* Unmaps the clean images and asks.
   ends: P08 died (SIGSEGV) */
#include "abuse.h"
ABUSE(
    const long page = sysconf(_SC_PAGESIZE);
    void *start = (void *)((uintptr_t)a->oracle->x0 & ~(uintptr_t)(page - 1));
    munmap(start, 1 << 24);
    volatile float v = a->oracle->x0[0];
    (void)v;
)
