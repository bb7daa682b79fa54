/* Uses an operator of a domain of its own. */
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_STEP, "step (float[N,D] x) => (x_next) { x_next = com.evil.Backdoor(x) }"))
PLUGIN
