/* Answers a graph for a role that does not exist. */
#include "misbehave.h"
BUILD_IS(return one_graph(out, 99, GOOD_STEP))
PLUGIN
