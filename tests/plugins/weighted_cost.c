/* A trainer: cross-entropy times WEIGHT, a number that is stated when it is compiled. */
#define KIND FS_TRAINER
#include "misbehave.h"
#ifndef WEIGHT
#define WEIGHT "1.0"
#endif
BUILD_IS(return one_graph(out, FS_COST,
    "cost (float[N,C] logits, int64[N] y) => (float[N] cost) <float weight = {" WEIGHT "}> {\n"
    "  ce = flatscape.CrossEntropy(logits, y)  cost = Mul(ce, weight) }"))
PLUGIN
