/* Answers bytes that are no model. */
#include "misbehave.h"
static const fs_graph graph = { FS_STEP, FS_ONNX, { (const uint8_t *)"hello, world", 12 } };
BUILD_IS(out->graphs = &graph; out->graph_count = 1; return FS_OK)
PLUGIN
