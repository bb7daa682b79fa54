/* Sends the reply to another request.
   ends: P11 answered something else */
#include "abuse.h"
ABUSE(say(connection(), "{\"Refused\":{\"id\":\"Changed\",\"clause\":\"x\"}}"); pause();)
