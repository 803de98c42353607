#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "view.h"

/*
 * One line an event on standard error. A message says what was tried, on what, why it failed, and what to do next; fields say what it is about, for
 * machines. Safe from any thread.
 *
 *   text   2026-11-26T00:40:17.402Z warn souk-order shard shard-1 is not usable: …; trying again shard=shard-1
 *   json   {"time":"2026-11-26T00:40:17.402Z","level":"warn","program":"souk-order","message":"shard shard-1 is …","shard":"shard-1"}
 */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/* Names the program and sets the least urgent level that is written. */
void log_start(const char *program, enum log_level level);
void log_set_level(enum log_level level);
enum log_level log_level(void);
/* Before there are threads. */
void log_set_format(enum log_format format);
/* "error", "warn", "info", "debug" → level; "text", "json" → format; return -1 for any other text. */
int log_level_of(const char *text);
int log_format_of(const char *text);

/* Handler of loop_on_signal: SIGUSR1 shows more from now on, SIGUSR2 less, by one level each; says so at any level. */
void log_got_signal(void *cookie, int signum);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

/* What a line is about: shown behind its sentence. */
struct log_field {
    const char *name;  /* "request_id" */
    struct view value; /* .at NULL: the field is left out. At most LOG_VALUE_MAX bytes of it are shown */
    bool number;       /* it is one: without quotes in JSON */
};
#define LOG_FIELDS_MAX 12
#define LOG_VALUE_MAX 200

/* The same with fields of its own. */
void log_with(enum log_level level, const struct log_field *fields, size_t count, const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * What this thread is busy with, until the next call: each of its lines gets the fields that ${describe} (log_describe_by) makes of it. Borrowed;
 * NULL: nothing. Returns what it was before, for whoever puts it back. Costs a few instructions, since nothing is made of it before there is a line.
 */
const void *log_about(const void *what);
/* Fills ${fields}, which has room for LOG_FIELDS_MAX - ${count}, and returns how many there are now. Set before there are threads. */
typedef size_t log_describe(const void *what, struct log_field *fields, size_t count);
void log_describe_by(log_describe *describe);

#endif
