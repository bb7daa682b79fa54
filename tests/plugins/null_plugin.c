/* Returns no plugin. */
#include "flatscape_plugin.h"
FS_EXPORT const fs_plugin *flatscape_plugin(void) { return NULL; }
