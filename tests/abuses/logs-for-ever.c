/* Logs for ever.
   ends: P14 logged more than 100000 lines or P10 gave no answer */
#include "abuse.h"
ABUSE(for (;;) words(a->call, "hello hello hello");)
