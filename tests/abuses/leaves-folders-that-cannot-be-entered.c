/* Leaves deep folders, links to elsewhere and names that are no text.
   ends: ok */
#include "abuse.h"
ABUSE(
    (void)a;
    for (int i = 0; i < 200; i++) {
        char name[32];
        snprintf(name, sizeof name, "deep%d", i);
        if (mkdir(name, 0700) || chdir(name)) break;
    }
    if (symlink("/", "root")) return;
    const int fd = open("\xff\n\x1b[31m", O_CREAT | O_WRONLY, 0);
    if (fd >= 0) close(fd);
)
