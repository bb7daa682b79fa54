/* Closes every descriptor and goes on.
   ends: P08 closed its connection */
#include "abuse.h"
ABUSE((void)a; for (int fd = 0; fd < 300; fd++) close(fd); for (;;) pause();)
