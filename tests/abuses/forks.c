/* Starts processes that stay.
   ends: ok says fork: Operation not permitted */
#include "abuse.h"
ABUSE(
    for (int i = 0; i < 3; i++) {
        const pid_t child = fork();
        if (!child) for (;;) pause();
        tried(a, "fork", child);
    }
)
