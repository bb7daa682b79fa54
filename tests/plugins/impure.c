/* Answers something else every time. */
#define COMPONENT_ID FS_STRING("impure")
#include <stdio.h>
#include <time.h>
#include "misbehave.h"
static char text[256];
BUILD_IS(
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(text, sizeof text, "step_%ld (float[N,D] x0) => (x_next) { x_next = Neg(x0) }", (long)now.tv_nsec);
    return one_graph(out, FS_STEP, text))
PLUGIN
