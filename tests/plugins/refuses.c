/* Fails in the way that its parameter names. */
#define PARAMS params, 1
#include "misbehave.h"
static const fs_string ways[] = { FS_STRING("invalid"), FS_STRING("unsupported"), FS_STRING("failed"), FS_STRING("panicked"), FS_STRING("strange"), FS_STRING("silent") };
static const fs_param params[] = { { FS_STRING("how"), FS_STRING("failed"), FS_STRING("in which way"), FS_TEXT, 6, ways, 0, 0 } };
BUILD_IS(
    const fs_string how = call->args[0].text;
    if (how.data[0] == 0x69) return call->fail(call, FS_INVALID, fs_text("that will not do"));
    if (how.data[0] == 0x75) return call->fail(call, FS_UNSUPPORTED, fs_text("not with this norm"));
    if (how.data[0] == 0x66) return call->fail(call, FS_FAILED, fs_text("out of luck\x1b[31m"));
    if (how.data[0] == 0x70) return call->fail(call, FS_PANICKED, fs_text("index out of range"));
    if (how.data[1] == 0x74) return call->fail(call, 77, fs_text("what is this"));
    return FS_FAILED)
PLUGIN
