/* Takes memory as a file without a name.
   ends: P14 held or P10 gave no answer */
#include "abuse.h"
ABUSE(
    const int fd = memfd_create("x", 0);
    for (size_t size = 1 << 26;; size += 1 << 26) {
        if (ftruncate(fd, size) < 0) size -= 1 << 26;
        char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED) memset(p, 1, size);
    }
)
