/* Says what a worker can see: its working directory and what lies in it, its open descriptors, its environment. */
#define COMPONENT_ID FS_STRING("surroundings")
#define _GNU_SOURCE
#include "misbehave.h"
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>
extern char **environ;
static void look(const fs_call *call) {
    char line[9000], target[4096];
    struct dirent *entry;
    DIR *here = opendir(".");
    if (getcwd(target, sizeof target)) {
        snprintf(line, sizeof line, "cwd %s", target);
        call->log(call, 2, fs_text(line));
    }
    while (here && (entry = readdir(here))) {
        snprintf(line, sizeof line, "entry %s", entry->d_name);
        call->log(call, 2, fs_text(line));
    }
    if (here) closedir(here);
    for (int k = 0; k < 256; k++) {
        snprintf(line, sizeof line, "/proc/self/fd/%d", k);
        const ssize_t length = readlink(line, target, sizeof target - 1);
        if (length < 0) continue;
        target[length] = 0;
        snprintf(line, sizeof line, "fd %d %s", k, target);
        call->log(call, 2, fs_text(line));
    }
    for (char **variable = environ; *variable; variable++) {
        snprintf(line, sizeof line, "env %s", *variable);
        call->log(call, 2, fs_text(line));
    }
}
BUILD_IS(look(call); return one_graph(out, FS_STEP, GOOD_STEP))
PLUGIN
