/* Its step gives something that a step may not give. */
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_STEP, "step (float[N,D] x) => (x_new) { x_new = Neg(x) }"))
PLUGIN
