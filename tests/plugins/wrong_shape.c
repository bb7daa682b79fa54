/* Declares logits for another number of classes. */
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_STEP, "step (float[N,D] x, float[N,77] logits) => (x_next) { x_next = Neg(x) }"))
PLUGIN
