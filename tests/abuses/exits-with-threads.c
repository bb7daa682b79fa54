/* Exits while its threads loop.
   ends: P08 ended the process (exit code 0) */
#include "abuse.h"
static void *loop(void *p) { for (;;) (void)p; }
ABUSE(
    (void)a;
    pthread_t t;
    for (int i = 0; i < 8; i++) pthread_create(&t, NULL, loop, NULL);
    exit(0);
)
