/* What it gives out is not a number. */
#define COMPONENT_ID FS_STRING("nan-attack")
#define ITERATES FS_FREE
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_EMIT,
    "emit (float[N,D] x0) => (x_adv) { zero = Sub(x0, x0)  nan = Div(zero, zero)  x_adv = Add(x0, nan) }"))
PLUGIN
