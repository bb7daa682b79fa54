/* Declares the image as int64. */
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_STEP, "step (int64[N,D] x) => (x_next) { x_next = Cast<to = 1>(x) }"))
PLUGIN
