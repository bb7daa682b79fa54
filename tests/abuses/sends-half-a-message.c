/* Sends half a message and falls silent.
   ends: P10 gave no answer */
#include "abuse.h"
ABUSE(frame(connection(), "{\"Ask\":", 16, 0); pause();)
