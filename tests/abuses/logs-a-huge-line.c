/* Logs one line of 64 MB.
   ends: ok */
#include "abuse.h"
ABUSE(
    char *text = malloc(64 << 20);
    memset(text, 'x', (64 << 20) - 1);
    text[(64 << 20) - 1] = 0;
    words(a->call, text);
)
