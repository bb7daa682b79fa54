/* A metric whose table for weights/1 has no `measure`. */
#define BUILD NULL
#define KIND FS_METRIC
#define EXTENSION extension
#include "misbehave.h"
#include "ext/flatscape_weights.h"
static const fs_weights_component table = { sizeof table, NULL };
static const void *extension(const fs_component *component, fs_string id) {
    (void)component;
    return id.length == 9 && !memcmp(id.data, "weights/1", 9) ? &table : NULL;
}
PLUGIN
