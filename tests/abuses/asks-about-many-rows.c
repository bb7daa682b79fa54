/* Asks behind the interface about more rows than the memory holds.
   ends: ok */
#include "abuse.h"
ABUSE(
    const int fd = connection();
    static char json[100000];
    strcpy(json, "{\"Ask\":{\"Logits\":{\"rows\":[0");
    for (int i = 0; i < 40000; i++) strcat(json + 2 * i, ",0");
    strcat(json, "]}}}");
    say(fd, json);
    say(fd, "\"Finished\"");
    pause();
)
