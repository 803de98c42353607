#ifndef SCRATCH_DIR_H
#define SCRATCH_DIR_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Where tests keep what they need while they run: $TMPDIR, which tests/run sets, or /tmp. */
static inline const char *scratch_home(void)
{
    const char *tmp = getenv("TMPDIR");

    return tmp ? tmp : "/tmp";
}

/* A new directory there; ${dir} gets its path. Whoever makes it removes it. Returns false, with errno, if it cannot be made. */
static inline bool scratch_dir(char *dir, size_t size, const char *name)
{
    int len = snprintf(dir, size, "%s/%s-XXXXXX", scratch_home(), name);

    return len > 0 && (size_t)len < size && mkdtemp(dir) != NULL;
}

#endif
