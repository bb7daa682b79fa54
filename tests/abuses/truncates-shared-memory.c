/* Makes every shared memory shorter while the host uses it.
   ends: ok */
#include "abuse.h"
ABUSE(
    for (int fd = 3; fd < 100; fd++) (void)!ftruncate(fd, 0);
    DIR *maps = opendir("/proc/self/map_files");
    for (struct dirent *e; maps && (e = readdir(maps));) {
        char path[300];
        snprintf(path, sizeof path, "/proc/self/map_files/%s", e->d_name);
        char target[300];
        const ssize_t length = readlink(path, target, sizeof target - 1);
        if (length > 0 && (target[length] = 0, strstr(target, "memfd"))) {
            const int fd = open(path, O_RDWR);
            if (fd >= 0) {
                tried(a, "truncate", ftruncate(fd, 0));
                tried(a, "grow", ftruncate(fd, 1 << 30));
            }
        }
    }
    if (a->oracle->logits(a->oracle, &a->tx, a->rows, &a->tz) == FS_OK) words(a->call, "answered");
)
