/* flatscape_reduce.h: the extension "reduce/1" of flatscape_plugin.h, for metrics that say something about all
   samples together: histograms, fits, class means, eigenvalues. The component's program computes `col_*` and
   `vec_*` of every sample as usual; then flatscape calls `reduce` once with the rows of all samples, in the order
   of the data set, and takes values, columns and curves. fs_component.extension returns an fs_reduce_component
   for the id "reduce/1". All functions: thread of the call. */
#ifndef FLATSCAPE_REDUCE_H
#define FLATSCAPE_REDUCE_H

#include "../flatscape_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An output of the program for every sample: `col_q` (width 1) or `vec_q`; fixed. */
typedef struct fs_rows {
    fs_string name;
    size_t width;
    const double *data; /* [samples, width], row-major */
} fs_rows;

/* The samples of a run under one threat model, read-only. */
typedef struct fs_reduction {
    size_t size;
    void *host;
    size_t samples;
    const int64_t *id;         /* [samples] positions in the data set, ascending */
    const int64_t *y;          /* [samples] labels */
    const int64_t *prediction; /* [samples] classes of the clean images; -1 where scores are undefined */
    const fs_rows *rows;
    size_t row_count;
    size_t features;          /* F; 0: the model has no linear last layer */
    const float *head_weight; /* [classes, F] or null */
    const float *head_bias;   /* [classes] or null */
    /* Gives a value of the whole data set: a row of results.csv. The name is a C identifier; low and high bound
       its 95 % interval and are NaN where there is none; n is how many samples it is taken over. */
    fs_status (*value)(const struct fs_reduction *reduction, fs_string name, double value, double low, double high,
                       uint64_t n);
    /* Gives a value of every sample [samples], NaN where there is none: a column of samples.csv. */
    fs_status (*column)(const struct fs_reduction *reduction, fs_string name, const double *values);
    /* Gives points (x, y) of a curve, at most 100000: lines of curves.csv. */
    fs_status (*curve)(const struct fs_reduction *reduction, fs_string name, const double *x, const double *y,
                       size_t length);
} fs_reduction;

/* The table behind "reduce/1". */
typedef struct fs_reduce_component {
    size_t size;
    /* The same answer for the same rows, every time. */
    fs_status (*reduce)(const fs_component *component, const fs_call *call, const fs_task *task,
                        const fs_reduction *reduction);
} fs_reduce_component;

#ifdef __cplusplus
}
#endif
#endif
