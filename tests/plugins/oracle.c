/* Attacks through oracle/1 in the way that its parameter names: fgsm (as it should be), far, nan, lie (offers the image
   itself), writes (to the clean images), rows (a sample that is not there), shape, crash, loop, exit, stubborn (asks on although
   told to stop), thread (asks from another thread). */
#define COMPONENT_ID FS_STRING("bad-oracle")
#define PARAMS params, 1
#define EXTENSION extension
#define BUILD NULL
#include "misbehave.h"
#include <pthread.h>
#include <stdio.h>

static const fs_param params[] = { { FS_STRING("how"), FS_STRING("fgsm"), FS_STRING("in which way"), FS_TEXT, 0, NULL, 0, 0 } };

struct question { const fs_oracle *oracle; fs_tensor *x; const int64_t *rows; fs_tensor *out; fs_status status; };
static void *ask(void *data) {
    struct question *q = (struct question *)data;
    q->status = q->oracle->logits(q->oracle, q->x, q->rows, q->out);
    return NULL;
}

static fs_status run(const fs_component *component, const fs_call *call, const fs_task *task, const fs_oracle *oracle) {
    const size_t d = (size_t)task->channels * task->height * task->width, n = oracle->samples;
    const int64_t shape[] = { (int64_t)n, (int64_t)d }, classes[] = { (int64_t)n, task->classes };
    float *x = (float *)malloc(4 * n * d), *g = (float *)malloc(4 * n * d), *z = (float *)malloc(4 * n * task->classes);
    int64_t *rows = (int64_t *)calloc(n, 8);
    char how[16] = { 0 };
    fs_tensor tx = fs_floats(x, shape, 2), tg = fs_floats(g, shape, 2), tz = fs_floats(z, classes, 2);
    fs_status status = FS_OK;
    (void)component;
    memcpy(how, call->args[0].text.data, call->args[0].text.length < 15 ? call->args[0].text.length : 15);
    for (size_t i = 0; i < n; i++) rows[i] = (int64_t)i;
    memcpy(x, oracle->x0, 4 * n * d);
    status = oracle->gradient(oracle, &tx, rows, NULL, NULL, &tg);
    if (status != FS_OK) return call->fail(call, status, fs_text("no gradient"));
    for (size_t i = 0; i < n * d; i++) {
        const float sign = (float)((g[i] > 0) - (g[i] < 0));
        x[i] = oracle->x0[i] + (float)task->eps * sign;
        if (!strcmp(how, "far")) x[i] = oracle->x0[i] + 10 * (float)task->eps * sign;
        if (!strcmp(how, "nan")) x[i] = (float)strtod("nan", NULL);
        if (!strcmp(how, "lie")) x[i] = oracle->x0[i];
    }
    if (!strcmp(how, "writes")) ((float *)(uintptr_t)oracle->x0)[0] = 0.5f;
    if (!strcmp(how, "rows")) rows[0] = (int64_t)n;
    if (!strcmp(how, "shape")) tx.rank = 77;
    if (!strcmp(how, "thread")) {
        struct question q = { oracle, &tx, rows, &tz, FS_OK };
        pthread_t thread;
        if (pthread_create(&thread, NULL, ask, &q) == 0) pthread_join(thread, NULL);
        return call->fail(call, FS_FAILED, fs_text(q.status == FS_INVALID ? "asked in vain" : "was answered"));
    }
    while (!strcmp(how, "stubborn")) {
        if (oracle->logits(oracle, &tx, rows, &tz) != FS_OK) return call->fail(call, FS_CANCELLED, fs_text("no more answers"));
    }
    status = oracle->offer(oracle, &tx, rows);
    if (status != FS_OK) return call->fail(call, status, fs_text("the offer was not accepted"));
    if (!strcmp(how, "crash")) *(volatile int *)NULL = 1;
    if (!strcmp(how, "exit")) exit(0);
    while (!strcmp(how, "loop")) {}
    free(x), free(g), free(z), free(rows);
    return FS_OK;
}

static const fs_oracle_component table = { sizeof table, run };
static const void *extension(const fs_component *component, fs_string id) {
    (void)component;
    return id.length == 8 && !memcmp(id.data, "oracle/1", 8) ? &table : NULL;
}
PLUGIN
