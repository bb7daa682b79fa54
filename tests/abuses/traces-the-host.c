/* Looks into the memory of the program that started it.
   ends: ok says ptrace: Operation not permitted */
#include "abuse.h"
ABUSE(
    tried(a, "ptrace", ptrace(PTRACE_ATTACH, getppid(), 0, 0));
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", getppid());
    tried(a, "memory", open(path, O_RDWR));
    snprintf(path, sizeof path, "/proc/%d/environ", getppid());
    tried(a, "environment", open(path, O_RDONLY));
    snprintf(path, sizeof path, "/proc/%d/fd/1", getppid());
    tried(a, "descriptor", open(path, O_RDWR));
)
