/* Asks from many threads at once.
   ends: ok */
#include "abuse.h"
static void *ask(void *p) {
    const struct abuse *a = p;
    float z[64];
    const int64_t shape[2] = { 1, 3 };
    fs_tensor tz = fs_floats(z, shape, 2);
    for (int i = 0; i < 1000; i++) (void)a->oracle->logits(a->oracle, &a->tx, a->rows, &tz);
    return NULL;
}
ABUSE(
    pthread_t t[8];
    for (int i = 0; i < 8; i++) pthread_create(&t[i], NULL, ask, a);
    for (int i = 0; i < 8; i++) pthread_join(t[i], NULL);
)
