/* my-metric: the mean of the loss over points drawn uniformly around the image, in the norm linf. */
#include "flatscape_plugin.h"

/* x' = x0 + eps u, u uniform on (-1, 1) and drawn for every probe; no clipping to the box. */
static const char probe[] =
    "probe (float[N,D] x0, float[N,D] noise_uniform, float eps) => (float[N,D] x) { move = Mul(noise_uniform, eps)  x = Add(x0, move) }";

static const char observe[] = "observe (float[N] loss) => (float[N] obs_loss) { obs_loss = Identity(loss) }";

static const char emit[] = "emit (double[N] obs_loss_mean) => (double[N] col_my_metric) { col_my_metric = Identity(obs_loss_mean) }";

static fs_status build(const fs_component *component, const fs_call *call, const fs_task *task, fs_program *out) {
    static const fs_graph graphs[] = {
        { FS_PROBE, FS_TEXT_GRAPH, { (const uint8_t *)probe, sizeof probe - 1 } },
        { FS_OBSERVE, FS_TEXT_GRAPH, { (const uint8_t *)observe, sizeof observe - 1 } },
        { FS_EMIT, FS_TEXT_GRAPH, { (const uint8_t *)emit, sizeof emit - 1 } },
    };
    (void)component;
    (void)task;
    out->graphs = graphs;
    out->graph_count = 3;
    out->probes = (uint32_t)call->args[0].integer;
    return FS_OK;
}

static const fs_param params[] = {
    { FS_STRING("points"), FS_STRING("16"), FS_STRING("how many points"), FS_INT, 0, NULL, 1, 100000 },
};
static const fs_component metric = {
    sizeof metric, FS_METRIC, FS_BUDGET, FS_INSIDE, 0, FS_STRING("my-metric"), FS_STRING("mean loss at points drawn around the image"),
    FS_STRING(""), params, 1, NULL, build, NULL,
};
static const fs_component *const components[] = { &metric };
static const fs_plugin plugin = {
    sizeof plugin, FS_ABI_MAJOR, FS_ABI_MINOR, FS_STRING("my-metric-plugin"), FS_STRING("0.1.0"), components, 1,
};
FS_EXPORT const fs_plugin *flatscape_plugin(void) { return &plugin; }
