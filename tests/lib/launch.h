#ifndef LAUNCH_H
#define LAUNCH_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Programs that a test starts. All that they get is made before the fork: a child of a process that has threads may only do what takes no lock
 * (fork(2), signal-safety(7)), since a thread that holds one is not in it. Under the address sanitizer, whose allocator does not heed forks, it would
 * wait forever.
 */

/* An environment: at first a copy of this process's. Freed by environment_free. */
struct environment {
    char **rows; /* "NAME=value", ended by NULL */
    size_t count;
};
void environment_copy(struct environment *environment);
/* In the place of what is there under the name. Both texts are copied. */
void environment_set(struct environment *environment, const char *name, const char *value);
/* The same with "NAME=value". */
void environment_put(struct environment *environment, const char *row);
void environment_free(struct environment *environment);

struct launch {
    const char *const *command;            /* the program, looked for in PATH if its name has no slash, and its arguments, ended by NULL */
    const char *directory;                 /* that it begins in; NULL: this one */
    const char *output;                    /* the file that gets both of its outputs, looked for from there; it is made if there is none */
    bool anew;                             /* what was in it goes */
    const struct environment *environment; /* NULL: that of this process */
};

/*
 * Starts it; it is killed when the thread that starts it ends. Returns its pid, or -1 with errno if there can be no process. One that cannot become
 * the program says so in its output, and ends with 127.
 */
pid_t launch(const struct launch *what);

#endif
