/* Its step asks for something that only emit may name. */
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_STEP, "step (float[N,D] x, float[N] obs_s) => (x_next) { x_next = Neg(x) }"))
PLUGIN
