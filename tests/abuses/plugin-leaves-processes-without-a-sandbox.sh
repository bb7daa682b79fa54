# Without a sandbox a plugin starts processes that leave its group; the program ends them.
# ends: 0
cat >orphans.c <<'C'
#include "abuse.h"
ABUSE(
    for (int i = 0; i < 3; i++) {
        if (fork()) continue;
        setsid();
        for (int fd = 0; fd < 50; fd++) close(fd);
        if (fork()) _exit(0);
        execlp("sleep", "sleep", "77.131", NULL);
        _exit(0);
    }
    usleep(300000);
)
C
cc -std=gnu99 -w -fPIC -shared -pthread -I"$SOURCES/plugins/include" -I"$SOURCES/tests/abuses" -o orphans.so orphans.c
flatscape audit digits-standard --data digits -n 4 --threat linf:0.1 --attack bad --plugin ./orphans.so --insecure-plugin-perms \
    --landscapes 0 --engine tract --no-sandbox --out run || exit
! grep -l 'sleep.77.131' /proc/[0-9]*/cmdline 2>/dev/null
