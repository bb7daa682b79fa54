/* A trainer whose cost has one number per sample and class. */
#define KIND FS_TRAINER
#include "misbehave.h"
BUILD_IS(return one_graph(out, FS_COST,
    "cost (float[N,C] logits) => (float[N,C] cost) { cost = Mul(logits, logits) }"))
PLUGIN
