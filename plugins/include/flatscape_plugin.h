/* flatscape_plugin.h: the plugin interface of flatscape, 0.1. C99 to C23, C++11 and later. Needs nothing but this file.

   A plugin is a shared library that exports one symbol, flatscape_plugin(). It describes components (attacks, metrics), and for a
   component and its arguments it builds a program: a few small ONNX graphs that flatscape links to the model and its gradient and
   runs. What a graph wants it names as an input: `grad`, `logits`, `eps`, `noise_uniform`. See plugins/README.md for the names.

   versions   abi_major 0: exact match of major and minor. From 1: the same major. Structs that begin with `size` may grow at their end;
              the others never change. A new capability is a new extension id ("oracle/1"), never a new meaning.
   ownership  What is passed to a function is borrowed for that call. What flatscape_plugin() returns is static.
   threads    flatscape calls one function of a plugin at a time, from one thread. Functions of the host are called from the thread that
              was called, before the call returns; `cancelled` alone may be called from any thread.
   isolation  Plugins are loaded in a child process: a crash, an exit or a hang there is one refused component. No C++ exception and
              no Rust panic may leave a function. A plugin runs with the rights of the user. */
#ifndef FLATSCAPE_PLUGIN_H
#define FLATSCAPE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FS_ABI_MAJOR 0u
#define FS_ABI_MINOR 1u

#if defined(_WIN32)
#define FS_EXPORT __declspec(dllexport)
#else
#define FS_EXPORT __attribute__((visibility("default")))
#endif

/* What a function answers. The status says who should act; the words go to fs_call.fail. */
typedef int32_t fs_status;
enum {
    FS_OK = 0,
    FS_INVALID = 1,     /* the user's argument is wrong */
    FS_UNSUPPORTED = 2, /* the arguments are right, and this task (norm, shape, classes) is not for this component */
    FS_FAILED = 3,      /* anything else */
    FS_CANCELLED = 4,   /* stopped because `cancelled` said so */
    FS_PANICKED = 5     /* a panic or an exception was caught at the border */
};

/* UTF-8, not terminated; fixed. */
typedef struct fs_string {
    const char *data;
    size_t length;
} fs_string;
#define FS_STRING(literal) { literal, sizeof(literal) - 1 } /* to initialise a static struct */

/* Any bytes; fixed. */
typedef struct fs_bytes {
    const uint8_t *data;
    size_t length;
} fs_bytes;

/* Types of parameters and of values. */
enum {
    FS_AUTO = 0,  /* only of values: left to the component */
    FS_FLOAT = 1, /* written 0.1 or 8/255 */
    FS_INT = 2,
    FS_BOOL = 3, /* written true or false */
    FS_TEXT = 4  /* one of `choices` where there are any */
};

/* The value of an argument; the member named by `type` counts; fixed. */
typedef struct fs_value {
    int32_t type;
    int32_t boolean;
    int64_t integer;
    double number;
    fs_string text;
} fs_value;

/* A parameter; fixed. In graphs the parameter `random-start` is the input `arg_random_start`. */
typedef struct fs_param {
    fs_string name;         /* lower case with hyphens */
    fs_string default_text; /* as a user writes it; "auto" lets the component decide and the value arrives as FS_AUTO */
    fs_string help;         /* one line */
    int32_t type;
    int32_t choice_count;
    const fs_string *choices; /* for FS_TEXT; null: any text */
    double minimum, maximum;  /* inclusive; no limits where both are 0 */
} fs_param;

/* One call of the host into the plugin. */
typedef struct fs_call {
    size_t size;
    void *host;           /* the host's; leave it alone */
    const fs_value *args; /* one per declared parameter, in that order, complete and checked */
    size_t arg_count;
    /* A line for the user's log: level 0 error, 1 warning, 2 note, 3 detail. Copies. Thread of the call. */
    void (*log)(const struct fs_call *call, int32_t level, fs_string words);
    /* Says in one sentence why a status other than FS_OK follows, and returns that status. Copies. Thread of the call. */
    fs_status (*fail)(const struct fs_call *call, fs_status status, fs_string words);
    /* Whether to stop soon. Any thread, while the call lasts. */
    int32_t (*cancelled)(const struct fs_call *call);
} fs_call;

/* What the component will be used for. */
typedef struct fs_task {
    size_t size;
    uint32_t channels, height, width; /* of an image; D = channels*height*width */
    uint32_t classes;
    fs_string norm;   /* "linf", "l2", "l1", ... */
    int32_t targeted; /* 1: a class is given that has to be reached */
    int32_t reserved;
    double eps, lo, hi; /* radius and box, in pixel units. Graphs name `eps`, `lo`, `hi` instead; these are for choosing a structure */
} fs_task;

/* Slots of a program. */
enum {
    FS_OBJECTIVE = 1,
    FS_COTANGENT = 2,
    FS_INIT = 3,
    FS_STEP = 4,
    FS_EMIT = 5,
    FS_PROBE = 6,
    FS_OBSERVE = 7,
    FS_ADVERSARY = 8, /* trainers */
    FS_COST = 9,      /* trainers */
    FS_UPDATE = 10    /* optimizers */
};

/* How the bytes of a graph are to be read. */
enum {
    FS_ONNX = 1, /* a serialised ModelProto */
    FS_TEXT_GRAPH = 2 /* the textual syntax of ONNX: `step (float[N,D] x0, ...) => (float[N,D] x_next) { ... }` */
};

/* One graph of a program; fixed. */
typedef struct fs_graph {
    int32_t role;
    int32_t format;
    fs_bytes bytes;
} fs_graph;

/* What `build` answers. The host sets `size` and zeroes the rest. On failure nothing of it is read. */
typedef struct fs_program {
    size_t size;
    const fs_graph *graphs;
    size_t graph_count;
    uint32_t steps, restarts; /* of attacks; 0 is 1 where there is a `step` graph */
    uint32_t probes;          /* of metrics with a `probe` graph */
    uint32_t replays;         /* of trainers */
    void *owner;              /* the plugin's */
    /* Frees what `build` made, called once by the host after copying; null: everything is static. Thread of `build`. */
    void (*release)(struct fs_program *program);
} fs_program;

enum { FS_ATTACK = 1, FS_METRIC = 2, FS_TRAINER = 3, FS_OPTIMIZER = 4 };
enum {
    FS_BUDGET = 0, /* goal: the worst point in the ball of radius eps */
    FS_MINIMAL = 1 /* goal: the smallest perturbation that succeeds */
};
enum {
    FS_INSIDE = 0, /* iterates: the host projects every x_next to ball and box */
    FS_FREE = 1    /* iterates: only what is given out at last is checked */
};

/* One attack or one metric. */
typedef struct fs_component {
    size_t size;
    int32_t kind;
    int32_t goal, iterates; /* of attacks */
    int32_t reserved;
    fs_string id;      /* lower case with hyphens; what users type */
    fs_string summary; /* one line */
    fs_string source;  /* whose idea: paper and equation */
    const fs_param *params;
    size_t param_count;
    void *owner; /* the plugin's */
    /* Answers the program for these arguments and this task. The same answer every time. May be null if there is an extension that runs. */
    fs_status (*build)(const struct fs_component *component, const fs_call *call, const fs_task *task, fs_program *out);
    /* The table behind an extension id, static, or null; the member itself may be null. */
    const void *(*extension)(const struct fs_component *component, fs_string id);
} fs_component;

/* What flatscape_plugin() returns. */
typedef struct fs_plugin {
    size_t size;
    uint32_t abi_major, abi_minor; /* FS_ABI_MAJOR, FS_ABI_MINOR */
    fs_string id;                  /* lower case with hyphens */
    fs_string version;
    const fs_component *const *components;
    size_t component_count;
} fs_plugin;

/* The one exported symbol. Called once, first, in the thread that loaded the library. */
FS_EXPORT const fs_plugin *flatscape_plugin(void);

/* ---- extension "oracle/1": attacks whose control flow is code ------------------------------------------------------------------- */

/* A view of an array with the layout of DLTensor (DLPack). Here: device 1 (CPU), float32, row-major with strides null; fixed. */
typedef struct fs_tensor {
    void *data;
    int32_t device_type, device_id;
    int32_t rank;
    uint8_t type_code, type_bits; /* 2, 32: float32 */
    uint16_t type_lanes;          /* 1 */
    const int64_t *shape;
    const int64_t *strides;
    uint64_t byte_offset;
} fs_tensor;

enum { FS_UNIFORM = 1 /* on (-1, 1) */, FS_NORMAL = 2, FS_RADEMACHER = 3 /* -1 or 1 */ };

/* A model that can be asked, and a batch of samples. Everything in float32 and pixel units. `rows` says for every row of `x` which sample
   of the batch it belongs to (0 <= rows[r] < samples); a sample may have any number of rows. All functions: thread of the call. */
typedef struct fs_oracle {
    size_t size;
    void *host;
    size_t samples;
    const float *x0;       /* [samples, C, H, W], read-only memory */
    const int64_t *y;      /* [samples] labels */
    const int64_t *target; /* [samples] classes to reach; null unless task->targeted */
    /* logits [R, classes] at x [R, C, H, W]. One forward for every row. */
    fs_status (*logits)(const struct fs_oracle *oracle, const fs_tensor *x, const int64_t *rows, fs_tensor *logits);
    /* gradient [R, C, H, W] at x: cotangents [R, classes] times the Jacobian or, where `cotangents` is null, of the loss that is to be
       ascended, which then also goes to `loss` [R] unless that is null. One forward and one backward for every row. */
    fs_status (*gradient)(const struct fs_oracle *oracle, const fs_tensor *x, const int64_t *rows, const fs_tensor *cotangents,
                          fs_tensor *loss, fs_tensor *gradient);
    /* Random numbers [R, ...] keyed by sample, stream and shape: the same on every machine and in every batch. */
    fs_status (*noise)(const struct fs_oracle *oracle, int32_t law, uint32_t stream, const int64_t *rows, fs_tensor *out);
    /* 1 for the samples that are still unbroken, into active [samples]. */
    fs_status (*active)(const struct fs_oracle *oracle, uint8_t *active);
    /* Proposes x [R, C, H, W]: the only way out. The host checks finiteness, box, ball and success itself, and keeps the best of each sample. */
    fs_status (*offer)(const struct fs_oracle *oracle, const fs_tensor *x, const int64_t *rows);
} fs_oracle;

/* What fs_component.extension answers for "oracle/1". */
typedef struct fs_oracle_component {
    size_t size;
    /* Attacks the batch; FS_OK when it has done what it can. */
    fs_status (*run)(const fs_component *component, const fs_call *call, const fs_task *task, const fs_oracle *oracle);
} fs_oracle_component;

/* ---- small conveniences ---------------------------------------------------------------------------------------------------------- */

/* A view of a terminated string. */
static inline fs_string fs_text(const char *text) {
    fs_string view;
    view.data = text;
    view.length = 0;
    while (text[view.length]) view.length++;
    return view;
}

/* A view of floats as a tensor of a shape. */
static inline fs_tensor fs_floats(float *data, const int64_t *shape, int32_t rank) {
    fs_tensor view;
    view.data = data;
    view.device_type = 1;
    view.device_id = 0;
    view.rank = rank;
    view.type_code = 2;
    view.type_bits = 32;
    view.type_lanes = 1;
    view.shape = shape;
    view.strides = NULL;
    view.byte_offset = 0;
    return view;
}

#ifdef __cplusplus
}
#endif
#endif
