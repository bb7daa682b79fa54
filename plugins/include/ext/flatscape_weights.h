/* flatscape_weights.h: the extension "weights/1" of flatscape_plugin.h, for metrics that look at the loss as a
   function of the weights: landscapes, Hessians, flatness. fs_component.extension returns an
   fs_weights_component for the id "weights/1". A component may also have `build`: where that gives a program
   without graphs, `measure` does the work. All functions: thread of the call. */
#ifndef FLATSCAPE_WEIGHTS_H
#define FLATSCAPE_WEIGHTS_H

#include "flatscape_oracle.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a weight is: filters or neurons of a layer, what is added behind one, another factor or shift
   (normalisation, slopes), or a running statistic of batch normalisation, by which nothing is differentiated. */
enum { FS_KERNEL = 1, FS_BIAS = 2, FS_SCALE = 3, FS_STATISTIC = 4 };
/* Batch normalisation: the file has none, has some, or its names say that the exporter folded it into layers. */
enum { FS_BN_NONE = 0, FS_BN_PRESENT = 1, FS_BN_FOLDED = 2 };

typedef struct fs_segment { /* one weight of the file; fixed */
    fs_string name;         /* as the file has it */
    const int64_t *shape;
    int32_t rank;
    int32_t role;  /* FS_KERNEL ... */
    int32_t axis;  /* of FS_KERNEL: the axis of filters or neurons, which is that of the operator's outputs,
                      whatever the layout; -1: none, or filters are no slices along one axis (see `filter`) */
    int32_t layer; /* which operator reads it, counted in the order of the graph; a bias has the layer of its kernel */
    size_t offset, size; /* where it lies in theta */
} fs_segment;

/* A model as a function of its P weights, and the samples of a job. theta, directions and gradients are tensors
   [P] float32, in the order of `segments`, finite. Derivatives by statistics are 0. */
typedef struct fs_weights {
    size_t size;
    void *host;
    size_t parameters;     /* P */
    const float *theta;    /* [P] the weights of the file, read-only */
    const int32_t *filter; /* [P] which filter of its segment an element belongs to; -1: none */
    const fs_segment *segments;
    size_t segment_count;
    size_t samples;
    int32_t normalisation; /* FS_BN_NONE ... */
    int32_t reserved;      /* 0 */
    uint64_t seed;         /* of the run; noise is keyed by it */
    /* Mean cross-entropy over the samples at theta, and the share that is classified correctly. One compilation
       and one forward pass; both may be NaN or infinite. */
    fs_status (*loss)(const struct fs_weights *weights, const fs_tensor *theta, double *loss, double *accuracy);
    /* Gradient of the mean cross-entropy at theta; its value goes to `loss` unless that is null. */
    fs_status (*gradient)(const struct fs_weights *weights, const fs_tensor *theta, double *loss, fs_tensor *gradient);
    /* Hessian of the mean cross-entropy at theta times v. */
    fs_status (*hvp)(const struct fs_weights *weights, const fs_tensor *theta, const fs_tensor *v, fs_tensor *out);
    /* Moves the images at which all of the above is taken: `steps` of projected gradient ascent (sign, step
       length `alpha`) on the cross-entropy at theta in the linf ball of radius eps and the box, from a keyed
       uniform start, or from where the images are if `go_on` is 1. eps 0 brings them back. */
    fs_status (*attack)(const struct fs_weights *weights, const fs_tensor *theta, double eps, double alpha,
                        uint32_t steps, int32_t go_on);
    /* From now on batch normalisation has the statistics of the samples at theta, whatever theta says; if theta is
       null, those of theta again. */
    fs_status (*refresh)(const struct fs_weights *weights, const fs_tensor *theta);
    /* Random numbers [P], keyed by stream and index: the same on every machine and for every model. */
    fs_status (*noise)(const struct fs_weights *weights, int32_t law, uint32_t stream, uint32_t index, fs_tensor *out);
    /* The weights of another file of the same architecture, by name. The user must have named the file in an
       argument of the component. */
    fs_status (*other)(const struct fs_weights *weights, fs_string file, fs_tensor *theta);
    /* Gives a value: a row of results.csv. The name is a C identifier; low and high bound its 95 % interval and
       are NaN where there is none; n is over how many samples or probes it is taken. */
    fs_status (*value)(const struct fs_weights *weights, fs_string name, double value, double low, double high, uint64_t n);
    /* Gives points (x, y) of a curve, at most 100000. */
    fs_status (*curve)(const struct fs_weights *weights, fs_string name, const double *x, const double *y, size_t length);
    /* Gives z[i * columns + j] at (x[j], y[i]), at most 1048576 cells. NaN and infinities are holes, and counted. */
    fs_status (*surface)(const struct fs_weights *weights, fs_string name, const double *x, size_t columns,
                         const double *y, size_t rows, const double *z);
} fs_weights;

/* The table behind "weights/1". */
typedef struct fs_weights_component {
    size_t size;
    /* The same values for the same model, samples and seed, every time. */
    fs_status (*measure)(const fs_component *component, const fs_call *call, const fs_task *task, const fs_weights *weights);
} fs_weights_component;

#ifdef __cplusplus
}
#endif
#endif
