/* A trainer whose cost reads the logits and has no derivative in them. */
#define KIND FS_TRAINER
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_COST,
    "cost (float[N,C] logits) => (float[N] cost) <int64[1] a = {1}> { d = flatscape.Detach(logits)  cost = ReduceSumSquare<keepdims = 0>(d, a) }"))
PLUGIN
