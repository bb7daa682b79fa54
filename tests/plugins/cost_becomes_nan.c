/* A trainer whose cost is cross-entropy plus sqrt(6 - k): not a number from the eighth step on. */
#define KIND FS_TRAINER
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_COST,
    "cost (float[N,C] logits, int64[N] y, int64 k) => (float[N] cost) <int64 end = {6}> {\n"
    "  ce = flatscape.CrossEntropy(logits, y)  left = Sub(end, k)  number = Cast<to = 1>(left)  root = Sqrt(number)\n"
    "  cost = Add(ce, root) }"))
PLUGIN
