/* flatscape_plugin.h: the plugin interface of flatscape, 0.3. C99 to C23, C++11 and later.

   A plugin is a shared library that exports flatscape_plugin(). It describes components (attacks,
   metrics, trainers, optimizers). For a component and its arguments it builds a program: a few small ONNX graphs that
   flatscape links to the model and its gradient, and runs. A graph names what it wants as inputs:
   `grad`, `logits`, `eps`, `noise_uniform`. plugins/README.md lists the names and functions.

   versions   Major 0: major and minor match exactly. From 1: the same major. Structs that begin
              with `size` may grow at their end; the others are fixed. A new capability is a new
              extension id with a header of its own (ext/flatscape_oracle.h), never a new meaning.
   ownership  Arguments are borrowed for the call. What flatscape_plugin() returns is static.
   threads    flatscape calls one function of a plugin at a time, from one thread. A plugin calls the
              host's functions in that thread, before it returns; `cancelled` may be called anywhere.
   isolation  Plugins run in a child process without network, other programs or files but its own (see
              plugins/README.md). A crash or a hang is one refused component. No exception may leave. */
#ifndef FLATSCAPE_PLUGIN_H
#define FLATSCAPE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FS_ABI_MAJOR 0u
#define FS_ABI_MINOR 3u

#if defined(_WIN32)
#define FS_EXPORT __declspec(dllexport)
#else
#define FS_EXPORT __attribute__((visibility("default")))
#endif

/* The result of a call: who should act. The words go to fs_call.fail. */
typedef int32_t fs_status;
enum {
    FS_OK = 0,
    FS_INVALID = 1,     /* the user's argument is wrong */
    FS_UNSUPPORTED = 2, /* this component does not serve this task (norm, shape, classes) */
    FS_FAILED = 3,      /* anything else */
    FS_CANCELLED = 4,   /* stopped because `cancelled` returned 1 */
    FS_PANICKED = 5     /* a panic or an exception was caught at the border */
};

typedef struct fs_string { const char *data; size_t length; } fs_string; /* UTF-8, unterminated */
typedef struct fs_bytes { const uint8_t *data; size_t length; } fs_bytes;
#define FS_STRING(literal) { literal, sizeof(literal) - 1 } /* initialises a static struct */

/* Types of parameters and values. FS_AUTO (values only): the user left it to the component. */
enum { FS_AUTO = 0, FS_FLOAT = 1 /* 0.1, 8/255 */, FS_INT = 2, FS_BOOL = 3, FS_TEXT = 4 };

typedef struct fs_value { /* the member that `type` names holds the value; fixed */
    int32_t type;
    int32_t boolean;
    int64_t integer;
    double number;
    fs_string text;
} fs_value;

typedef struct fs_param { /* a graph reads the parameter `random-start` as `arg_random_start`; fixed */
    fs_string name;         /* lower case with hyphens */
    fs_string default_text; /* as a user writes it, or "auto" */
    fs_string help;         /* one line */
    int32_t type;
    int32_t choice_count;
    const fs_string *choices; /* of FS_TEXT; null: any text */
    double minimum, maximum;  /* inclusive; both 0: no limits */
} fs_param;

typedef struct fs_call { /* one call of the host into the plugin */
    size_t size;
    void *host;           /* the host's */
    const fs_value *args; /* one per declared parameter, in that order, complete and checked */
    size_t arg_count;
    /* Adds a line to the user's log: level 0 error, 1 warning, 2 note, 3 detail. Copies. */
    void (*log)(const struct fs_call *call, int32_t level, fs_string words);
    /* Records why a status other than FS_OK follows, in one sentence, and returns it. Copies. */
    fs_status (*fail)(const struct fs_call *call, fs_status status, fs_string words);
    int32_t (*cancelled)(const struct fs_call *call); /* 1: stop soon. Any thread, during the call */
} fs_call;

typedef struct fs_task { /* what the component will be used for */
    size_t size;
    uint32_t channels, height, width; /* of an image; D = channels * height * width */
    uint32_t classes;
    fs_string norm;      /* the threat model: "linf", "l2", "l1", "l0", "flow", "rigid", "corruption" */
    int32_t targeted;    /* 1: `target` is the class to reach */
    uint32_t parameters; /* P: values of the threat model's `z`; D where z is the image itself */
    double eps, lo, hi;  /* radius and box. Graphs read `eps`, `lo`, `hi`; these choose a structure */
} fs_task;

/* Roles of graphs. Trainers have FS_ADVERSARY, FS_COST, FS_REPLAY; optimizers FS_UPDATE; both FS_PERTURB. */
enum { FS_OBJECTIVE = 1, FS_COTANGENT = 2, FS_INIT = 3, FS_STEP = 4, FS_EMIT = 5, FS_PROBE = 6,
       FS_OBSERVE = 7, FS_ADVERSARY = 8, FS_COST = 9, FS_UPDATE = 10, FS_PERTURB = 11, FS_REPLAY = 12 };

/* Formats: a serialised ModelProto of opset 18, or ONNX text: `step (float[N,D] x0) => (x_next) {...}` */
enum { FS_ONNX = 1, FS_TEXT_GRAPH = 2 };

typedef struct fs_graph { int32_t role; int32_t format; fs_bytes bytes; } fs_graph; /* fixed */

/* Data of trainers: the images; these and an adversarial example of each, made once before the first step or
   for every batch. While a trainer attacks, batch normalisation has its running statistics or the batch's. */
enum { FS_CLEAN = 0, FS_ADVERSARIAL_ONCE = 1, FS_ADVERSARIAL_ONLINE = 2 };
enum { FS_BN_EVAL = 0, FS_BN_TRAIN = 1 };

typedef struct fs_program { /* filled in by `build`; the host sets `size` and zeroes the rest */
    size_t size;
    const fs_graph *graphs;
    size_t graph_count;
    uint32_t steps, restarts; /* of attacks; 0 means 1 */
    uint32_t probes;          /* of metrics with a `probe` graph */
    uint32_t replays;         /* of trainers with a `replay` graph: how often a batch is used in a row */
    int32_t data, bn_attack;  /* of trainers: FS_CLEAN ..., FS_BN_EVAL ... */
    fs_string attack;         /* of trainers: the inner attack as users write it, pgd:steps=10; empty: none */
    void *owner;              /* the plugin's */
    void (*release)(struct fs_program *program); /* frees it, called once; null: it is static */
} fs_program;

enum { FS_ATTACK = 1, FS_METRIC = 2, FS_TRAINER = 3, FS_OPTIMIZER = 4 };
/* Goals of attacks: the worst point in the ball, or the smallest perturbation that succeeds. */
enum { FS_BUDGET = 0, FS_MINIMAL = 1 };
/* Iterates of attacks: the host projects every x_next to ball and box, or checks the last point only. */
enum { FS_INSIDE = 0, FS_FREE = 1 };

typedef struct fs_component { /* one attack, metric, trainer or optimizer */
    size_t size;
    int32_t kind;
    int32_t goal, iterates, reserved; /* of attacks; reserved is 0 */
    fs_string id;      /* lower case with hyphens; what users type */
    fs_string summary; /* one line */
    fs_string source;  /* paper and equation */
    const fs_param *params;
    size_t param_count;
    void *owner; /* the plugin's */
    /* Builds the program, the same one every time. Null if an extension does the work. */
    fs_status (*build)(const struct fs_component *component, const fs_call *call, const fs_task *task, fs_program *out);
    /* The static table behind an extension id, or null. The member itself may be null. */
    const void *(*extension)(const struct fs_component *component, fs_string id);
} fs_component;

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

#ifdef __cplusplus
}
#endif
#endif
