/* Says that its table is smaller than the interface needs. */
#include "misbehave.h"
BUILD_IS(return FS_OK)
COMPONENT;
static const fs_component *const components[] = { &component };
static const fs_plugin plugin = { 24, FS_ABI_MAJOR, FS_ABI_MINOR, FS_STRING("bad-plugin"), FS_STRING("1"), components, 1 };
FS_EXPORT const fs_plugin *flatscape_plugin(void) { return &plugin; }
