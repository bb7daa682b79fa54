/* An attack that implements weights/1, which is for metrics. */
#define BUILD NULL
#define EXTENSION extension
#include "misbehave.h"
#include "ext/flatscape_weights.h"
static fs_status measure(const fs_component *component, const fs_call *call, const fs_task *task, const fs_weights *weights) {
    (void)component, (void)call, (void)task, (void)weights;
    return FS_OK;
}
static const fs_weights_component table = { sizeof table, measure };
static const void *extension(const fs_component *component, fs_string id) {
    (void)component;
    return id.length == 9 && !memcmp(id.data, "weights/1", 9) ? &table : NULL;
}
PLUGIN
