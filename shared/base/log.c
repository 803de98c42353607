#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

#include "log.h"

/* A line is one write, and up to PIPE_BUF bytes a pipe keeps a write together: lines of several threads do not mix. */
#define LINE_MAX_BYTES 4096
#define MESSAGE_MAX_BYTES 2048

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const format_names[] = {"text", "json"};

/*
 * The one place with state of the whole process: standard error is one for the whole process too, and a message must not need a
 * handle to be written. All but the level is set before there are threads; the level may change while they run.
 */
static const char *program_name = "souk";
static enum log_format line_format = LOG_TEXT;
static log_describe *describe_about;
static _Atomic int least_urgent = LOG_INFO;

static __thread const void *busy_with;

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

void log_set_format(enum log_format format)
{
    line_format = format;
}

int log_level_of(const char *text)
{
    for (int level = LOG_ERROR; level <= LOG_DEBUG; level++)
        if (strcmp(text, level_names[level]) == 0)
            return level;
    return -1;
}

int log_format_of(const char *text)
{
    for (int format = LOG_TEXT; format <= LOG_JSON; format++)
        if (strcmp(text, format_names[format]) == 0)
            return format;
    return -1;
}

void log_describe_by(log_describe *describe)
{
    describe_about = describe;
}

const void *log_about(const void *what)
{
    const void *before = busy_with;

    busy_with = what;
    return before;
}

/* ---- a line ---- */

/* What is put together; what does not fit is left out, and a part is never torn. */
struct line {
    char text[LINE_MAX_BYTES];
    size_t len, max;
};

static bool add(struct line *line, const char *text, size_t len)
{
    if (line->len + len > line->max)
        return false;
    memcpy(line->text + line->len, text, len);
    line->len += len;
    return true;
}

static bool add_text(struct line *line, const char *text)
{
    return add(line, text, strlen(text));
}

/* The length of the UTF-8 character at ${at}, of ${len} bytes; 0: it is none. */
static size_t character(const unsigned char *at, size_t len)
{
    size_t want = at[0] < 0x80 ? 1 : at[0] >= 0xc2 && at[0] < 0xe0 ? 2 : at[0] >= 0xe0 && at[0] < 0xf0 ? 3 : at[0] >= 0xf0 && at[0] < 0xf5 ? 4 : 0;

    if (want == 0 || want > len)
        return 0;
    for (size_t i = 1; i < want; i++)
        if (at[i] < 0x80 || at[i] > 0xbf)
            return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0; /* too long for what it means, a half of a pair, or beyond the last */
    return want;
}

/* What came from outside may hold anything: inside of quotes it stays one piece, and valid UTF-8. Returns whether all of it did fit. */
static bool add_quoted(struct line *line, struct view text)
{
    const unsigned char *at = (const unsigned char *)text.at;
    char escape[8];
    bool fits = add_text(line, "\"");

    for (size_t i = 0, len; fits && i < text.len; i += len) {
        len = character(at + i, text.len - i);
        if (len == 0) {
            len = 1;
            fits = add_text(line, "\xef\xbf\xbd"); /* U+FFFD */
        } else if (at[i] == '"' || at[i] == '\\') {
            snprintf(escape, sizeof(escape), "\\%c", at[i]);
            fits = add_text(line, escape);
        } else if (at[i] < 0x20 || at[i] == 0x7f) {
            snprintf(escape, sizeof(escape), "\\u%04x", at[i]);
            fits = add_text(line, escape);
        } else {
            fits = add(line, text.at + i, len);
        }
    }
    line->max += 1; /* for this there is always room */
    add_text(line, "\"");
    line->max -= 1;
    return fits;
}

/* A value that would be mistaken for several, or for none, stands in quotes. */
static bool is_plain(struct view value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.at[i] <= 0x20 || value.at[i] == '"' || value.at[i] == '=' || value.at[i] == 0x7f || (value.at[i] & 0x80))
            return false;
    return value.len > 0;
}

static bool add_field(struct line *line, const struct log_field *field)
{
    bool json = line_format == LOG_JSON;
    struct view value = {field->value.at, field->value.len < LOG_VALUE_MAX ? field->value.len : LOG_VALUE_MAX};

    if (!add_text(line, json ? ",\"" : " ") || !add_text(line, field->name) || !add_text(line, json ? "\":" : "="))
        return false;
    return (json ? field->number : is_plain(value)) ? add(line, value.at, value.len) : add_quoted(line, value);
}

static void add_fields(struct line *line, const struct log_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = line->len;

        if (fields[i].value.at && !add_field(line, &fields[i]))
            line->len = len;
    }
}

/* One event stays one line. */
static void flatten(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = ' ';
}

static void add_message(struct line *line, enum log_level level, struct view message)
{
    char head[160], time[CLOCK_RFC3339_MAX];

    clock_rfc3339(time, clock_wall_ms());
    if (line_format == LOG_JSON) {
        snprintf(head, sizeof(head), "{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%.64s\",\"message\":", time, level_names[level], program_name);
        add_text(line, head);
        add_quoted(line, message);
    } else {
        snprintf(head, sizeof(head), "%s %s %.64s ", time, level_names[level], program_name);
        add_text(line, head);
        add(line, message.at, message.len);
        flatten(line->text, line->len);
    }
}

static void write_line(enum log_level level, const struct log_field *fields, size_t count, struct view message)
{
    struct line line = {.len = 0, .max = LINE_MAX_BYTES / 4 * 3};
    struct log_field all[LOG_FIELDS_MAX];
    size_t all_count = count < LOG_FIELDS_MAX ? count : LOG_FIELDS_MAX;

    for (size_t i = 0; i < all_count; i++)
        all[i] = fields[i];
    if (busy_with && describe_about)
        all_count = describe_about(busy_with, all, all_count);
    add_message(&line, level, message);
    line.max = LINE_MAX_BYTES - 4; /* the fields have their share, however long the message is */
    add_fields(&line, all, all_count);
    line.max = LINE_MAX_BYTES;
    add_text(&line, line_format == LOG_JSON ? "}\n" : "\n");
    /* When standard error is gone there is nobody left to tell. */
    if (TEMP_FAILURE_RETRY(write(STDERR_FILENO, line.text, line.len)) < 0)
        return;
}

static void write_formatted(enum log_level level, const struct log_field *fields, size_t count, const char *format, va_list args)
    __attribute__((format(printf, 4, 0)));
static void write_formatted(enum log_level level, const struct log_field *fields, size_t count, const char *format, va_list args)
{
    char message[MESSAGE_MAX_BYTES];
    int len = vsnprintf(message, sizeof(message), format, args);

    if (len < 0)
        return;
    write_line(level, fields, count, (struct view){message, (size_t)len < sizeof(message) ? (size_t)len : sizeof(message) - 1});
}

void log_write(enum log_level level, const char *format, ...)
{
    va_list args;

    if (level > log_level())
        return;
    va_start(args, format);
    write_formatted(level, NULL, 0, format, args);
    va_end(args);
}

void log_with(enum log_level level, const struct log_field *fields, size_t count, const char *format, ...)
{
    va_list args;

    if (level > log_level())
        return;
    va_start(args, format);
    write_formatted(level, fields, count, format, args);
    va_end(args);
}

/* ---- the level, while the program runs ---- */

void log_got_signal(void *cookie, int signum)
{
    static const char *const SENTENCES[] = {"the log shows errors only, from now on", "the log shows warnings and errors, from now on",
                                            "the log shows level info and above, from now on", "the log shows everything, from now on"};
    int level = (int)log_level() + (signum == SIGUSR1 ? 1 : -1);

    level = level < LOG_ERROR ? LOG_ERROR : level > LOG_DEBUG ? LOG_DEBUG : level;
    log_set_level((enum log_level)level);
    write_line(LOG_INFO, &(struct log_field){"log_level", view_of(level_names[level]), false}, 1, view_of(SENTENCES[level]));
}
