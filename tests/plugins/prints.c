/* Prints megabytes to both streams, reads standard input and closes it, and is otherwise right. */
#define COMPONENT_ID FS_STRING("prints")
#include <stdio.h>
#include <unistd.h>
#include "misbehave.h"
static void chatter(void) {
    char line[64];
    for (int i = 0; i < 100000; i++) fprintf(i % 2 ? stdout : stderr, "line %d \x1b[31mof noise\n", i);
    fflush(stdout);
    while (read(0, line, sizeof line) > 0) {}
    close(0);
}
__attribute__((constructor)) static void loud(void) { chatter(); }
BUILD_IS(chatter(); return one_graph(out, FS_STEP, GOOD_STEP))
PLUGIN
