/* Ends well and leaves threads that touch what was lent to it.
   ends: ok */
#include "abuse.h"
static void *touch(void *oracle) { for (;;) { uint8_t flags[64]; ((const fs_oracle *)oracle)->active((const fs_oracle *)oracle, flags); } }
ABUSE(pthread_t t; pthread_create(&t, NULL, touch, (void *)a->oracle);)
