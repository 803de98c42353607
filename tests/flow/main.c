#include <signal.h>
#include <stdio.h>

#include "conversation.h"

/* conversation FILE.flow …: see README.md in this folder. */
int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: conversation FILE.flow …\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    return conversation_run((const char *const *)argv + 1, argc - 1) > 0;
}
