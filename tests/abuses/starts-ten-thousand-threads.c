/* Starts ten thousand threads.
   ends: ok or P10 gave no answer */
#include "abuse.h"
static void *rest(void *p) { (void)p; pause(); return NULL; }
ABUSE(
    (void)a;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 1 << 16);
    pthread_t t;
    for (int i = 0; i < 10000; i++) if (pthread_create(&t, &attr, rest, NULL)) return;
)
