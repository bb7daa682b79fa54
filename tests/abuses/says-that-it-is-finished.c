/* Says that it is finished while it goes on.
   ends: ok */
#include "abuse.h"
ABUSE(say(connection(), "\"Finished\""); pause();)
