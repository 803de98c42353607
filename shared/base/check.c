#include <stdio.h>
#include <stdlib.h>

#include "check.h"

/* Per thread, because the process stops in the thread that met the bug and only its own errand explains it. */
static __thread const char *busy_with;

void check_note(const char *text)
{
    busy_with = text;
}

void check_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "CHECK failed: %s\n  in %s, %s:%d\n  busy with: %s\n", condition, function, file, line, busy_with ? busy_with : "nothing noted");
    abort();
}
