/* Types a command into the terminal of the user.
   ends: ok says terminal:  */
#include "abuse.h"
ABUSE(
    const int fd = open("/dev/tty", O_RDWR);
    tried(a, "terminal", fd);
    char c = 'x';
    tried(a, "typing", ioctl(0, TIOCSTI, &c));
)
