/* Connects to services of this machine.
   ends: ok says local: Operation not permitted */
#include "abuse.h"
ABUSE(
    tried(a, "local", socket(AF_UNIX, SOCK_STREAM, 0));
    tried(a, "kernel", socket(AF_NETLINK, SOCK_RAW, 0));
)
