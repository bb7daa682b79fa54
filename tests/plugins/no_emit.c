/* A metric that gives no column. */
#define KIND FS_METRIC
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_INIT, "init (float[N,D] x0) => (state_s) { state_s = Neg(x0) }"))
PLUGIN
