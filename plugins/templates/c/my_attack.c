/* my-attack: momentum steps along the sign of the gradient in the l-inf ball (Dong et al. 2018, arXiv:1710.06081). */
#include "flatscape_plugin.h"

/* A view of a terminated string. */
static fs_string text(const char *words) {
    fs_string view = { words, 0 };
    while (words[view.length]) view.length++;
    return view;
}

static const char init[] = "init (float[N,D] x0) => (float[N,D] x, float[N,D] state_m) { x = Identity(x0)  state_m = Sub(x0, x0) }";

static const char step[] =
    "step (float[N,D] x, float[N,D] ascent, float[N,D] state_m, float eps, float arg_decay, int64 steps)\n"
    "  => (float[N,D] x_next, float[N,D] state_m_next)\n"
    "  <int64[1] pixels = {1}, float tiny = {1e-30}> {\n"
    "  size = ReduceL1(ascent, pixels)\n"
    "  positive = Max(size, tiny)\n"
    "  direction = Div(ascent, positive)\n"
    "  kept = Mul(state_m, arg_decay)\n"
    "  state_m_next = Add(kept, direction)\n"
    "  sign = Sign(state_m_next)\n"
    "  count = Cast<to = 1>(steps)\n"
    "  alpha = Div(eps, count)\n"
    "  move = Mul(sign, alpha)\n"
    "  x_next = Add(x, move)\n"
    "}\n";

static fs_status build(const fs_component *component, const fs_call *call, const fs_task *task, fs_program *out) {
    static const fs_graph graphs[] = {
        { FS_INIT, FS_TEXT_GRAPH, { (const uint8_t *)init, sizeof init - 1 } },
        { FS_STEP, FS_TEXT_GRAPH, { (const uint8_t *)step, sizeof step - 1 } },
    };
    (void)component;
    if (task->norm.length != 4 || task->norm.data[1] != 'i') return call->fail(call, FS_UNSUPPORTED, text("it serves linf only"));
    out->graphs = graphs;
    out->graph_count = 2;
    out->steps = (uint32_t)call->args[0].integer;
    return FS_OK;
}

static const fs_param params[] = {
    { FS_STRING("steps"), FS_STRING("10"), FS_STRING("how many steps"), FS_INT, 0, NULL, 1, 100000 },
    { FS_STRING("decay"), FS_STRING("1"), FS_STRING("how much momentum is kept"), FS_FLOAT, 0, NULL, 0, 10 },
};
static const fs_component attack = {
    sizeof attack, FS_ATTACK, FS_BUDGET, FS_INSIDE, 0, FS_STRING("my-attack"), FS_STRING("momentum steps along the sign of the gradient"),
    FS_STRING("Dong et al. 2018 (arXiv:1710.06081)"), params, 2, NULL, build, NULL,
};
static const fs_component *const components[] = { &attack };
static const fs_plugin plugin = {
    sizeof plugin, FS_ABI_MAJOR, FS_ABI_MINOR, FS_STRING("my-attack-plugin"), FS_STRING("0.1.0"), components, 1,
};
FS_EXPORT const fs_plugin *flatscape_plugin(void) { return &plugin; }
