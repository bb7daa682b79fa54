/* Fills the connection with questions and reads no answer.
   ends: P10 did not read */
#include "abuse.h"
ABUSE(
    const int fd = connection();
    for (int i = 0; i < 2000000; i++) say(fd, "{\"Ask\":{\"Logits\":{\"rows\":[0]}}}");
    pause();
)
