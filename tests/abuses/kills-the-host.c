/* Kills the program that started it.
   ends: ok says kill: Operation not permitted */
#include "abuse.h"
ABUSE(
    tried(a, "kill", kill(getppid(), SIGKILL));
    tried(a, "stop", kill(getppid(), SIGSTOP));
    tried(a, "all", kill(-1, 0));
)
