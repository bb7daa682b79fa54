/* Starts a process that leaves its group and its parent.
   ends: ok says fork: Operation not permitted */
#include "abuse.h"
ABUSE(
    const pid_t child = fork();
    if (!child) { setsid(); if (!fork()) for (;;) pause(); _exit(0); }
    tried(a, "fork", child);
)
