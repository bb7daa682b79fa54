/* A trainer whose cost is not a number: the logarithm of minus the squared logits. */
#define KIND FS_TRAINER
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_COST,
    "cost (float[N,C] logits) => (float[N] cost) <int64[1] a = {1}> { s = ReduceSumSquare<keepdims = 0>(logits, a)  n = Neg(s)  cost = Log(n) }"))
PLUGIN
