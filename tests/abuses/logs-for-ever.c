/* Logs for ever.
   ends: P14 logged more than 100000 lines */
#include "abuse.h"
ABUSE(for (;;) words(a->call, "hello hello hello");)
