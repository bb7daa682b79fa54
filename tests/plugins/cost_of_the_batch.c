/* A trainer whose cost is one number for the whole batch. */
#define KIND FS_TRAINER
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_COST,
    "cost (float[N,C] logits, int64[N] y) => (float[1] cost) <int64[1] a = {0}> {\n"
    "  ce = flatscape.CrossEntropy(logits, y)  cost = ReduceMean<keepdims = 1>(ce, a) }"))
PLUGIN
