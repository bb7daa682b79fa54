/* A metric whose column is not a number. */
#define COMPONENT_ID FS_STRING("nan-metric")
#define KIND FS_METRIC
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_EMIT,
    "emit (float[N] loss) => (col_nan) { zero = Sub(loss, loss)  col_nan = Div(zero, zero) }"))
PLUGIN
