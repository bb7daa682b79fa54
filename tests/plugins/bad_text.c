/* Answers a text that ends too early. */
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_STEP, "step (float[N,D] x) => (x_next) { x_next = Neg(x)"))
PLUGIN
