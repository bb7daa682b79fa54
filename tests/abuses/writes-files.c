/* Writes outside its scratch folder.
   ends: ok says /tmp: Permission denied */
#include "abuse.h"
ABUSE(
    tried(a, "/tmp", open("/tmp/flatscape-abuse", O_WRONLY | O_CREAT, 0600));
    tried(a, "/dev/shm", open("/dev/shm/flatscape-abuse", O_WRONLY | O_CREAT, 0600));
    tried(a, "mkdir", mkdir("/tmp/flatscape-abuse", 0700));
    tried(a, "rename", rename("/tmp", "/tmp2"));
    tried(a, "chmod", chmod("/tmp", 0));
)
