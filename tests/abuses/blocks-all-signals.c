/* Blocks and ignores every signal and loops.
   ends: P10 gave no answer */
#include "abuse.h"
ABUSE(
    (void)a;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
    for (volatile int i = 0;; i++) {}
)
