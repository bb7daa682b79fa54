/* A metric through reduce/1 in the way that its parameter names: good (the mean of its column, the column doubled, a curve of three
   points), name (no identifier), twice (one name two times), interval (the wrong way round), many (taken over more samples than
   there are), null (a column that is null), long (a curve that is too long), endless (values without end), writes (to the rows),
   crash, loop, exit, fails, impure (another answer every time), thread (gives from another thread). */
#define COMPONENT_ID FS_STRING("bad-reduction")
#define KIND FS_METRIC
#define PARAMS params, 1
#define EXTENSION extension
#include "misbehave.h"
#include "ext/flatscape_reduce.h"
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const fs_param params[] = { { FS_STRING("how"), FS_STRING("good"), FS_STRING("in which way"), FS_TEXT, 0, NULL, 0, 0 } };

static const double NONE = 0.0 / 0.0;
static void *give(void *data) {
    const fs_reduction *all = (const fs_reduction *)data;
    return all->value(all, fs_text("from_a_thread"), 1, NONE, NONE, 1) == FS_OK ? data : NULL;
}

static fs_status reduce(const fs_component *component, const fs_call *call, const fs_task *task, const fs_reduction *all) {
    static double x[100001], y[100001];
    char how[17] = { 0 };
    double sum = 0, *twice = (double *)malloc(8 * all->samples + 8);
    fs_status status = FS_OK;
    (void)component, (void)task;
    memcpy(how, call->args[0].text.data, call->args[0].text.length < 16 ? call->args[0].text.length : 15);
    if (all->row_count != 1 || all->rows[0].width != 1) return call->fail(call, FS_FAILED, fs_text("the rows are not those of the program"));
    for (size_t i = 0; i < all->samples; i++) sum += all->rows[0].data[i], twice[i] = 2 * all->rows[0].data[i];
    if (!strcmp(how, "name")) return all->value(all, fs_text("No Name!"), 1, NONE, NONE, 1);
    if (!strcmp(how, "twice")) all->value(all, fs_text("bad_middle"), 1, NONE, NONE, 1);
    if (!strcmp(how, "interval")) return all->value(all, fs_text("bad_middle"), 1, 2, 0, 1);
    if (!strcmp(how, "many")) return all->value(all, fs_text("bad_middle"), 1, NONE, NONE, all->samples + 1);
    if (!strcmp(how, "null")) status = all->column(all, fs_text("doubled"), NULL);
    if (!strcmp(how, "long")) status = all->curve(all, fs_text("line"), x, y, 100001);
    if (status != FS_OK) return call->fail(call, FS_FAILED, fs_text("was refused what cannot be"));
    for (int i = 0; !strcmp(how, "endless") && status == FS_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "value_%d", i);
        status = all->value(all, fs_text(name), i, NONE, NONE, 1);
    }
    if (!strcmp(how, "writes")) ((double *)(uintptr_t)all->rows[0].data)[0] = 1e9;
    if (!strcmp(how, "crash")) *(volatile int *)NULL = 1;
    if (!strcmp(how, "exit")) exit(0);
    while (!strcmp(how, "loop")) sleep(1);
    if (!strcmp(how, "fails")) return call->fail(call, FS_FAILED, fs_text("not today"));
    if (!strcmp(how, "impure")) sum = (double)getpid() + (double)clock();
    if (!strcmp(how, "thread")) {
        pthread_t thread;
        void *answered = NULL;
        if (pthread_create(&thread, NULL, give, (void *)(uintptr_t)all) == 0) pthread_join(thread, &answered);
        return call->fail(call, FS_FAILED, fs_text(answered ? "was heard" : "gave in vain"));
    }
    all->value(all, fs_text("bad_middle"), sum / (double)all->samples, NONE, NONE, all->samples);
    all->column(all, fs_text("doubled"), twice);
    x[1] = 1, x[2] = 2;
    all->curve(all, fs_text("line"), x, x, 3);
    free(twice);
    return FS_OK;
}

static const fs_reduce_component table = { sizeof(fs_reduce_component), reduce };
static const void *extension(const fs_component *component, fs_string id) {
    (void)component;
    return id.length == 8 && !memcmp(id.data, "reduce/1", 8) ? &table : NULL;
}
BUILD_IS(return one_graph(out, FS_EMIT, "emit (float[N] loss) => (col_bad) { col_bad = Identity(loss) }"))
PLUGIN
