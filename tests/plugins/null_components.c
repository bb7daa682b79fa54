/* Promises components and gives a null list. */
#include "misbehave.h"
BUILD_IS(return FS_OK)
COMPONENT;
static const fs_plugin plugin = { sizeof(fs_plugin), FS_ABI_MAJOR, FS_ABI_MINOR, FS_STRING("bad-plugin"), FS_STRING("1"), NULL, 1 };
FS_EXPORT const fs_plugin *flatscape_plugin(void) { return (void)component, &plugin; }
