/* Wants to live on when the program that started it dies.
   ends: ok says prctl: Operation not permitted */
#include "abuse.h"
ABUSE(tried(a, "prctl", prctl(PR_SET_PDEATHSIG, 0));)
