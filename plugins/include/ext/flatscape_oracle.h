/* flatscape_oracle.h: the extension "oracle/1" of flatscape_plugin.h, for attacks whose control flow is
   code. fs_component.extension returns an fs_oracle_component for the id "oracle/1". All functions:
   thread of the call. */
#ifndef FLATSCAPE_ORACLE_H
#define FLATSCAPE_ORACLE_H

#include "../flatscape_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A view of an array with the layout of DLTensor (DLPack), in host memory, row-major; fixed. */
typedef struct fs_tensor {
    void *data;
    int32_t device_type, device_id; /* 1, 0: CPU */
    int32_t rank;
    uint8_t type_code, type_bits; /* 2, 32: float32 */
    uint16_t type_lanes;          /* 1 */
    const int64_t *shape;
    const int64_t *strides; /* null: row-major */
    uint64_t byte_offset;
} fs_tensor;

enum { FS_UNIFORM = 1 /* on (-1, 1) */, FS_NORMAL = 2, FS_RADEMACHER = 3 /* -1 or 1 */ };

/* A model that can be asked, and a batch of samples, in float32 and pixel units. `rows[r]` is the sample
   of row r of `x` (0 <= rows[r] < samples); a sample may have any number of rows. */
typedef struct fs_oracle {
    size_t size;
    void *host;
    size_t samples;
    const float *x0;       /* [samples, C, H, W], read-only memory */
    const int64_t *y;      /* [samples] labels */
    const int64_t *target; /* [samples] classes to reach; null unless task->targeted */
    /* logits [R, classes] at x [R, C, H, W]. One forward pass for every row. */
    fs_status (*logits)(const struct fs_oracle *oracle, const fs_tensor *x, const int64_t *rows, fs_tensor *logits);
    /* gradient [R, C, H, W] at x: of cotangents [R, classes] times the logits or, if `cotangents` is null,
       of the loss to ascend, which also goes to `loss` [R] unless that is null. One forward and one
       backward pass for every row. */
    fs_status (*gradient)(const struct fs_oracle *oracle, const fs_tensor *x, const int64_t *rows,
                          const fs_tensor *cotangents, fs_tensor *loss, fs_tensor *gradient);
    /* Random numbers [R, ...] keyed by sample, stream and shape: the same on every machine and in every batch.
       At most 65536 per row, or as many as an image has pixels if those are more. */
    fs_status (*noise)(const struct fs_oracle *oracle, int32_t law, uint32_t stream, const int64_t *rows, fs_tensor *out);
    /* active [samples]: 1 for the samples that are still unbroken. */
    fs_status (*active)(const struct fs_oracle *oracle, uint8_t *active);
    /* Proposes x [R, C, H, W]: the only way out. The host checks finiteness, box, ball and success itself
       and keeps the best point of each sample. */
    fs_status (*offer)(const struct fs_oracle *oracle, const fs_tensor *x, const int64_t *rows);
} fs_oracle;

/* The table behind "oracle/1". */
typedef struct fs_oracle_component {
    size_t size;
    /* Attacks the batch; FS_OK when it has done what it can. */
    fs_status (*run)(const fs_component *component, const fs_call *call, const fs_task *task, const fs_oracle *oracle);
} fs_oracle_component;

#ifdef __cplusplus
}
#endif
#endif
