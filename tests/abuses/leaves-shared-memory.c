/* Leaves shared memory behind.
   ends: ok says shmget: Operation not permitted */
#include "abuse.h"
ABUSE(
    tried(a, "shmget", shmget(IPC_PRIVATE, 1 << 20, IPC_CREAT | 0600));
    tried(a, "shm_open", open("/dev/shm/flatscape-abuse-shm", O_CREAT | O_RDWR, 0600));
)
