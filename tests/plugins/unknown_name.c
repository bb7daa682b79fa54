/* Its graph asks for something that nobody knows. */
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_STEP, "step (float[N,D] x, float[N,D] gard) => (x_next) { x_next = Add(x, gard) }"))
PLUGIN
