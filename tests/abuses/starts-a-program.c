/* Starts a shell.
   ends: ok says program: Operation not permitted */
#include "abuse.h"
ABUSE(
    char *const words_of_it[] = { "/bin/sh", "-c", "sleep 60", NULL };
    tried(a, "program", execv("/bin/sh", words_of_it));
    tried(a, "system", system("true") == 0 ? 0 : -1);
)
