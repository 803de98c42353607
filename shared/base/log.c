#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

#include "log.h"

#define LINE_MAX_BYTES 2048

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/*
 * The one place with state of the whole process: standard error is one for the whole process too, and a message must not need a
 * handle to be written. The name is set before there are threads; the level may change while they run.
 */
static const char *program_name = "souk";
static _Atomic int least_urgent = LOG_INFO;

void log_start(const char *program, enum log_level level)
{
    program_name = program;
    log_set_level(level);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&least_urgent, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load_explicit(&least_urgent, memory_order_relaxed);
}

int log_level_of(const char *text)
{
    for (int level = LOG_ERROR; level <= LOG_DEBUG; level++)
        if (strcmp(text, level_names[level]) == 0)
            return level;
    return -1;
}

/* What came from outside may carry line ends; one event stays one line. */
static void flatten(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = ' ';
}

void log_write(enum log_level level, const char *format, ...)
{
    char line[LINE_MAX_BYTES], time[CLOCK_RFC3339_MAX];
    size_t len, room;
    va_list args;
    int added;

    if (level > log_level())
        return;
    clock_rfc3339(time, clock_wall_ms());
    len = (size_t)snprintf(line, sizeof(line) / 2, "%s %s %.64s ", time, level_names[level], program_name);
    room = sizeof(line) - 1 - len; /* one byte stays for the line's end */
    va_start(args, format);
    added = vsnprintf(line + len, room, format, args);
    va_end(args);
    if (added > 0) {
        added = (size_t)added < room ? added : (int)room - 1;
        flatten(line + len, (size_t)added);
        len += (size_t)added;
    }
    line[len++] = '\n';
    /* One write, so that lines of several threads do not mix. When standard error is gone there is nobody left to tell. */
    if (write(STDERR_FILENO, line, len) < 0)
        return;
}
