#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "launch.h"

static void *must(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "launch: no memory\n");
        abort();
    }
    return memory;
}

void environment_copy(struct environment *environment)
{
    size_t count = 0;

    while (environ[count])
        count++;
    environment->rows = must(calloc(count + 1, sizeof(*environment->rows)));
    for (environment->count = 0; environment->count < count; environment->count++)
        environment->rows[environment->count] = must(strdup(environ[environment->count]));
}

void environment_put(struct environment *environment, const char *row)
{
    size_t at = 0, name = strcspn(row, "=");

    while (at < environment->count && (strncmp(environment->rows[at], row, name) != 0 || environment->rows[at][name] != '='))
        at++;
    if (at == environment->count) {
        environment->rows = must(realloc(environment->rows, (++environment->count + 1) * sizeof(*environment->rows)));
        environment->rows[environment->count] = NULL;
    } else {
        free(environment->rows[at]);
    }
    environment->rows[at] = must(strdup(row));
}

void environment_set(struct environment *environment, const char *name, const char *value)
{
    char *row;

    if (asprintf(&row, "%s=%s", name, value) < 0)
        must(NULL);
    environment_put(environment, row);
    free(row);
}

void environment_free(struct environment *environment)
{
    for (size_t i = 0; i < environment->count; i++)
        free(environment->rows[i]);
    free(environment->rows);
}

/* In the child. */
static void say(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));

    (void)written;
}

static void become(const struct launch *what, pid_t parent)
{
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (what->anew ? O_TRUNC : O_APPEND), output;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || (what->directory && chdir(what->directory) != 0))
        _exit(126);
    output = open(what->output, flags, 0600);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execvpe(what->command[0], (char *const *)(uintptr_t)what->command, what->environment ? what->environment->rows : environ);
    say("cannot run ");
    say(what->command[0]);
    say(": build or install it first\n");
    _exit(127);
}

pid_t launch(const struct launch *what)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0)
        become(what, parent);
    return pid;
}
