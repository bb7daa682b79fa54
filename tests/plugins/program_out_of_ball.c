/* Its iterates are free and what it gives out is ten times too far away, and outside of the box. */
#define COMPONENT_ID FS_STRING("too-far")
#define ITERATES FS_FREE
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_EMIT,
    "emit (float[N,D] x0, float eps) => (x_adv) <float ten = {10}> { far = Mul(eps, ten)  x_adv = Add(x0, far) }"))
PLUGIN
