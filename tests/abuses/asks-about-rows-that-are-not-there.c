/* Asks behind the interface about rows and shapes that do not exist.
   ends: ok */
#include "abuse.h"
ABUSE(
    const int fd = connection();
    say(fd, "{\"Ask\":{\"Noise\":{\"law\":1,\"stream\":0,\"rows\":[0],\"shape\":[18446744073709551615,2]}}}");
    say(fd, "{\"Ask\":{\"Logits\":{\"rows\":[-1]}}}");
    say(fd, "{\"Ask\":{\"Logits\":{\"rows\":[9223372036854775807]}}}");
    say(fd, "{\"Ask\":{\"Offer\":{\"rows\":[]}}}");
    say(fd, "{\"Ask\":{\"Gradient\":{\"rows\":[],\"cotangents\":true}}}");
    say(fd, "\"Finished\"");
    pause();
)
