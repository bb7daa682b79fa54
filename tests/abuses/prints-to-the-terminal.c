/* Prints and logs sequences that steer a terminal.
   ends: ok */
#include "abuse.h"
ABUSE(
    printf("\033[31mRED\033]0;title\007\n");
    fflush(stdout);
    words(a->call, "\033[2J\033]0;title\007");
)
