/* Draws random numbers that cannot be repeated. */
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_STEP, "step (float[N,D] x) => (x_next) { r = RandomUniformLike(x)  x_next = Add(x, r) }"))
PLUGIN
