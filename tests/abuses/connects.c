/* Connects to the network.
   ends: ok says TCP: Operation not permitted */
#include "abuse.h"
ABUSE(
    tried(a, "TCP", socket(AF_INET, SOCK_STREAM, 0));
    tried(a, "UDP", socket(AF_INET6, SOCK_DGRAM, 0));
    tried(a, "raw", socket(AF_PACKET, SOCK_RAW, 0));
)
