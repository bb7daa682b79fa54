/* Writes to the clean images.
   ends: P08 died (SIGSEGV) */
#include "abuse.h"
ABUSE(((float *)(uintptr_t)a->oracle->x0)[0] = 0.5f;)
