/* What the abuses of plugins share: an attack "bad" through oracle/1 that does what a file says, and the connection to the host
   behind the back of the interface. */
#define _GNU_SOURCE
#define EXTENSION extension
#ifndef BUILD
#define BUILD NULL
#endif
#include "../plugins/misbehave.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

struct abuse {
    const fs_call *call;
    const fs_task *task;
    const fs_oracle *oracle;
    size_t n, d;          /* samples, pixels */
    float *x, *z;         /* n rows of pixels, n rows of scores */
    int64_t *rows;        /* 0 to n - 1 */
    fs_tensor tx, tz;     /* views of x and z */
};

static inline void words(const fs_call *call, const char *text) { call->log(call, 2, fs_text(text)); }

/* Says what a call that should not succeed gave. */
static inline void tried(const struct abuse *a, const char *what, long result) {
    char line[256];
    snprintf(line, sizeof line, "%s: %s", what, result < 0 ? strerror(errno) : "SUCCEEDED");
    words(a->call, line);
}

/* The socket that leads to the host. */
static inline int connection(void) {
    for (int fd = 3; fd < 200; fd++) {
        char path[64], target[256];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        const ssize_t length = readlink(path, target, sizeof target - 1);
        if (length > 0) {
            target[length] = 0;
            if (strstr(target, "socket:")) return fd;
        }
    }
    return -1;
}

/* A frame that says this, with an announcement of bytes that do not follow. */
static inline void frame(int fd, const char *json, uint32_t length, uint64_t bytes) {
    static char whole[1 << 17];
    const size_t written = strlen(json);
    memcpy(whole, &length, 4), memcpy(whole + 4, &bytes, 8), memcpy(whole + 12, json, written);
    if (write(fd, whole, 12 + written) < 0) return;
}
static inline void say(int fd, const char *json) { frame(fd, json, (uint32_t)strlen(json), 0); }

static void abuse(struct abuse *a);

static fs_status run(const fs_component *component, const fs_call *call, const fs_task *task, const fs_oracle *oracle) {
    struct abuse a = { call, task, oracle, oracle->samples, (size_t)task->channels * task->height * task->width };
    static int64_t images[2], scores[2];
    (void)component;
    a.x = malloc(4 * a.n * a.d), a.z = malloc(4 * a.n * task->classes), a.rows = malloc(8 * a.n);
    for (size_t i = 0; i < a.n; i++) a.rows[i] = (int64_t)i;
    memcpy(a.x, oracle->x0, 4 * a.n * a.d);
    images[0] = scores[0] = (int64_t)a.n, images[1] = (int64_t)a.d, scores[1] = task->classes;
    a.tx = fs_floats(a.x, images, 2), a.tz = fs_floats(a.z, scores, 2);
    abuse(&a);
    return FS_OK;
}

static const fs_oracle_component table = { sizeof table, run };
static const void *extension(const fs_component *component, fs_string id) {
    (void)component;
    return id.length == 8 && !memcmp(id.data, "oracle/1", 8) ? &table : NULL;
}

#define ABUSE(...)                                                                                                                 \
    static void abuse(struct abuse *a) { __VA_ARGS__ }                                                                             \
    PLUGIN
