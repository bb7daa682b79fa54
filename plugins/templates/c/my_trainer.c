/* my-trainer: cross-entropy plus eps times the l1 norm of its gradient in the image, which is the loss after the worst
   small step in linf, to first order (Simon-Gabriel et al. 2019, arXiv:1802.01421). */
#include "flatscape_plugin.h"

/* CE(f(x), y) + strength eps |grad CE|; the host takes the mean and differentiates it by the parameters. */
static const char cost[] =
    "cost (float[N,C] logits, int64[N] y, float[N,D] grad, float eps, float arg_strength) => (float[N] cost, float[N] log_norm)\n"
    "  <int64[1] pixels = {1}> {\n"
    "  ce = flatscape.CrossEntropy(logits, y)\n"
    "  log_norm = ReduceL1<keepdims = 0>(grad, pixels)\n"
    "  weight = Mul(eps, arg_strength)\n"
    "  penalty = Mul(log_norm, weight)\n"
    "  cost = Add(ce, penalty)\n"
    "}\n";

static fs_status build(const fs_component *component, const fs_call *call, const fs_task *task, fs_program *out) {
    static const fs_graph graphs[] = { { FS_COST, FS_TEXT_GRAPH, { (const uint8_t *)cost, sizeof cost - 1 } } };
    (void)component;
    (void)call;
    (void)task;
    out->graphs = graphs;
    out->graph_count = 1;
    return FS_OK;
}

static const fs_param params[] = {
    { FS_STRING("strength"), FS_STRING("1"), FS_STRING("weight of the norm, in units of eps"), FS_FLOAT, 0, NULL, 0, 1e6 },
};
static const fs_component trainer = {
    sizeof trainer, FS_TRAINER, FS_BUDGET, FS_INSIDE, 0, FS_STRING("my-trainer"),
    FS_STRING("cross-entropy plus the l1 norm of its gradient in the image"),
    FS_STRING("Simon-Gabriel et al. 2019 (arXiv:1802.01421), proposition 3"), params, 1, NULL, build, NULL,
};
static const fs_component *const components[] = { &trainer };
static const fs_plugin plugin = {
    sizeof plugin, FS_ABI_MAJOR, FS_ABI_MINOR, FS_STRING("my-trainer-plugin"), FS_STRING("0.1.0"), components, 1,
};
FS_EXPORT const fs_plugin *flatscape_plugin(void) { return &plugin; }
