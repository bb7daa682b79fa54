/* Metrics through weights/1 in the way that the parameter names: good, twice (gives a name twice), nan (sends weights that are not
   finite), short (a vector of another size), rank (two extents), null, value-nan, name (no identifier), interval (ends that do not
   hold the value), wide (a surface of too many cells), curve (too many points), other (a file that was not named), named (the one that
   was), steps (an attack of too many), law, writes (to the weights), crash, exit, loop, thread, stubborn (asks on although told to
   stop), free (asks for noise for ever), panics (a status without a meaning). */
#define COMPONENT_ID FS_STRING("bad-weights")
#define KIND FS_METRIC
#define PARAMS params, 2
#define EXTENSION extension
#define BUILD NULL
#include "misbehave.h"
#include "ext/flatscape_weights.h"
#include <math.h>
#include <pthread.h>

static const fs_param params[] = {
    { FS_STRING("how"), FS_STRING("good"), FS_STRING("in which way"), FS_TEXT, 0, NULL, 0, 0 },
    { FS_STRING("to"), FS_STRING("none"), FS_STRING("a file"), FS_TEXT, 0, NULL, 0, 0 },
};

struct question { const fs_weights *weights; const fs_tensor *theta; fs_status status; };
static void *ask(void *data) {
    struct question *q = (struct question *)data;
    double loss, accuracy;
    q->status = q->weights->loss(q->weights, q->theta, &loss, &accuracy);
    return NULL;
}

static fs_status measure(const fs_component *component, const fs_call *call, const fs_task *task, const fs_weights *weights) {
    const size_t p = weights->parameters;
    int64_t shape[] = { (int64_t)p, 1 };
    float *theta = (float *)malloc(4 * p), *out = (float *)malloc(4 * p);
    double loss = 0, accuracy = 0, line[] = { 0, 1, 2 };
    char how[17] = { 0 };
    fs_tensor t = fs_floats(theta, shape, 1), o = fs_floats(out, shape, 1);
    fs_status status = FS_OK;
    (void)component, (void)task;
    memcpy(how, call->args[0].text.data, call->args[0].text.length < 16 ? call->args[0].text.length : 16);
    memcpy(theta, weights->theta, 4 * p);
    if (!strcmp(how, "nan")) theta[p - 1] = (float)NAN;
    if (!strcmp(how, "short")) shape[0]--;
    if (!strcmp(how, "rank")) t.rank = 2;
    if (!strcmp(how, "null")) t.data = NULL;
    if (!strcmp(how, "writes")) ((float *)(uintptr_t)weights->theta)[0] = 0.5f;
    if (!strcmp(how, "thread")) {
        struct question q = { weights, &t, FS_OK };
        pthread_t thread;
        if (pthread_create(&thread, NULL, ask, &q) == 0) pthread_join(thread, NULL);
        return call->fail(call, FS_FAILED, fs_text(q.status == FS_INVALID ? "asked in vain" : "was answered"));
    }
    while (!strcmp(how, "stubborn")) weights->loss(weights, &t, &loss, &accuracy);
    while (!strcmp(how, "free")) weights->noise(weights, FS_NORMAL, 0, 0, &o);
    status = weights->loss(weights, &t, &loss, &accuracy);
    if (status != FS_OK) return call->fail(call, status, fs_text("no loss"));
    status = weights->gradient(weights, &t, NULL, &o);
    if (status == FS_OK) status = weights->hvp(weights, &t, &o, &o);
    if (status != FS_OK) return call->fail(call, status, fs_text("no derivative"));
    status = weights->value(weights, fs_text("first"), loss, NAN, NAN, weights->samples);
    if (!strcmp(how, "twice")) status = weights->value(weights, fs_text("first"), loss, NAN, NAN, 1);
    if (!strcmp(how, "value-nan")) status = weights->value(weights, fs_text("second"), NAN, NAN, NAN, 1);
    if (!strcmp(how, "name")) status = weights->value(weights, fs_text("=1+1"), 1, NAN, NAN, 1);
    if (!strcmp(how, "interval")) status = weights->value(weights, fs_text("second"), 1, 2, 3, 1);
    if (!strcmp(how, "wide")) status = weights->surface(weights, fs_text("s"), line, 100000, line, 100000, line);
    if (!strcmp(how, "curve")) status = weights->curve(weights, fs_text("c"), line, line, (size_t)1 << 40);
    if (!strcmp(how, "other")) status = weights->other(weights, fs_text("/etc/passwd"), &o);
    if (!strcmp(how, "named")) status = weights->other(weights, call->args[1].text, &o);
    if (!strcmp(how, "steps")) status = weights->attack(weights, &t, 0.1, 0.1, 4000000000u, 0);
    if (!strcmp(how, "law")) status = weights->noise(weights, 77, 0, 0, &o);
    if (!strcmp(how, "good")) {
        status = weights->surface(weights, fs_text("surface"), line, 3, line, 1, line);
        if (status == FS_OK) status = weights->curve(weights, fs_text("curve"), line, line, 3);
    }
    if (!strcmp(how, "crash")) *(volatile int *)NULL = 1;
    if (!strcmp(how, "exit")) exit(0);
    while (!strcmp(how, "loop")) {}
    free(theta), free(out);
    if (!strcmp(how, "panics")) return 77;
    return status == FS_OK ? FS_OK : call->fail(call, status, fs_text("it was not accepted"));
}

static const fs_weights_component table = { sizeof table, measure };
static const void *extension(const fs_component *component, fs_string id) {
    (void)component;
    return id.length == 9 && !memcmp(id.data, "weights/1", 9) ? &table : NULL;
}
PLUGIN
