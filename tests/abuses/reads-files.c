/* Reads files of the user.
   ends: ok says /etc/passwd: Permission denied */
#include "abuse.h"
ABUSE(
    tried(a, "/etc/passwd", open("/etc/passwd", O_RDONLY));
    tried(a, "/root", open("/root", O_RDONLY | O_DIRECTORY));
    tried(a, "/home", open("/home", O_RDONLY | O_DIRECTORY));
    tried(a, "/", open("/", O_RDONLY | O_DIRECTORY));
)
