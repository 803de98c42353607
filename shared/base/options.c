#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "view.h"

#include "options.h"

#define NAME_MAX_BYTES 64

/* The flags that every program has; they take no value. */
static const struct {
    const char *flag, *text;
} common[] = {
    {"help", "print this list and exit"},
    {"version", "print the version and exit"},
    {"options", "print the settings in effect, as environment variables, and exit"},
    {"check-config", "check the settings and exit"},
};

/* What is read, and from where: the arguments that all functions here need. */
struct reader {
    const struct option_row *rows;
    size_t count;
    const struct option_print *print;
    const char *program;
    int argc;
    char **argv;
};

/* http-port → SOUK_HTTP_PORT */
static const char *variable_of(char out[NAME_MAX_BYTES], const char *name)
{
    size_t len = (size_t)snprintf(out, NAME_MAX_BYTES, "SOUK_%s", name);

    CHECK(len < NAME_MAX_BYTES);
    for (char *at = out; *at; at++)
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    return out;
}

/* The length of the flag's name in "--name" or "--name=value"; 0 if ${arg} is no flag. */
static size_t flag_len(const char *arg)
{
    return strncmp(arg, "--", 2) == 0 ? strcspn(arg + 2, "=") : 0;
}

static bool is_flag(const char *arg, const char *name)
{
    return flag_len(arg) == strlen(name) && strncmp(arg + 2, name, flag_len(arg)) == 0;
}

static bool is_common(const struct reader *reader, const char *arg)
{
    for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
        if (is_flag(arg, common[i].flag) && !strchr(arg, '='))
            return true;
    return reader->print && is_flag(arg, reader->print->flag) && !strchr(arg, '=');
}

static const struct option_row *find_row(const struct reader *reader, const char *arg)
{
    for (size_t i = 0; i < reader->count; i++)
        if (is_flag(arg, reader->rows[i].name))
            return &reader->rows[i];
    return NULL;
}

/* Was this common flag given? Values of other flags are not mistaken for it. */
static bool has_common(const struct reader *reader, const char *name)
{
    for (int i = 1; i < reader->argc; i++) {
        if (is_flag(reader->argv[i], name) && is_common(reader, reader->argv[i]))
            return true;
        if (find_row(reader, reader->argv[i]) && !strchr(reader->argv[i], '='))
            i++;
    }
    return false;
}

/* Is every argument a flag of this program, with its value? */
static bool check_flags(const struct reader *reader)
{
    for (int i = 1; i < reader->argc; i++) {
        const char *arg = reader->argv[i];

        if (is_common(reader, arg))
            continue;
        if (!find_row(reader, arg)) {
            fprintf(stderr, "%s: %s is not a flag of this program; --help lists them\n", reader->program, arg);
            return false;
        }
        if (!strchr(arg, '=')) {
            i++;
            if (i == reader->argc) {
                fprintf(stderr, "%s: %s needs a value: %s=value\n", reader->program, arg, arg);
                return false;
            }
        }
    }
    return true;
}

/* The value that a flag gives to this row, the last one if there are several; NULL if none does. */
static const char *value_of_flag(const struct reader *reader, const struct option_row *row)
{
    const char *value = NULL;

    for (int i = 1; i < reader->argc; i++) {
        const struct option_row *found = find_row(reader, reader->argv[i]);
        const char *equals = strchr(reader->argv[i], '=');

        if (found && !equals)
            i++;
        if (found == row)
            value = equals ? equals + 1 : reader->argv[i];
    }
    return value;
}

static bool parse_int(const struct option_row *row, const char *value, int *out)
{
    char *end;
    long number;

    errno = 0;
    number = strtol(value, &end, 10);
    if (isspace((unsigned char)*value) || end == value || *end || errno)
        return false;
    if (number < row->min || number > row->max || number < INT_MIN || number > INT_MAX)
        return false;
    *out = (int)number;
    return true;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t len = strlen(value);

    for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (strcspn(at, "|") == len && strncmp(at, value, len) == 0)
            return true;
    return false;
}

/* Puts ${value} where the row says. Returns false if it is not allowed. */
static bool assign(const struct option_row *row, const char *value, void *settings)
{
    void *at = (char *)settings + row->offset;

    switch (row->type) {
    case OPTION_INT:
        return parse_int(row, value, at);
    case OPTION_CHOICE:
        if (!is_choice(row->choices, value))
            return false;
        break;
    case OPTION_TEXT:
        break;
    }
    memcpy(at, &value, sizeof(value));
    return true;
}

static void say_bad_value(const struct reader *reader, const struct option_row *row, const char *source, const char *value)
{
    if (row->type == OPTION_INT)
        fprintf(stderr, "%s: %s is \"%s\" but must be an integer from %ld to %ld\n", reader->program, source, value, row->min, row->max);
    else
        fprintf(stderr, "%s: %s is \"%s\" but must be one of %s\n", reader->program, source, value, row->choices);
}

/* One row: the flag, else the variable, else the preset. */
static bool read_row(const struct reader *reader, const struct option_row *row, void *settings)
{
    char variable[NAME_MAX_BYTES], flag[NAME_MAX_BYTES + 2];
    const char *source = flag, *value = value_of_flag(reader, row);

    variable_of(variable, row->name);
    snprintf(flag, sizeof(flag), "--%s", row->name);
    if (!value) {
        source = variable;
        value = getenv(variable);
    }
    if (!value)
        value = row->preset;
    if (!value) {
        fprintf(stderr, "%s: %s is not set and has no preset; set it or give %s=value (%s)\n", reader->program, variable, flag, row->text);
        return false;
    }
    if (!assign(row, value, settings)) {
        say_bad_value(reader, row, source, value);
        return false;
    }
    return true;
}

/* How a flag looks in --help: "--log-level=error|warn|info|debug". Returns its width. */
static int flag_text(char *out, size_t size, const struct option_row *row)
{
    switch (row->type) {
    case OPTION_INT:
        return snprintf(out, size, "--%s=%ld..%ld", row->name, row->min, row->max);
    case OPTION_CHOICE:
        return snprintf(out, size, "--%s=%s", row->name, row->choices);
    case OPTION_TEXT:
        break;
    }
    return snprintf(out, size, "--%s=TEXT", row->name);
}

static void print_help(const struct reader *reader)
{
    char flag[256], variable[NAME_MAX_BYTES];
    int flag_width = 0, variable_width = 0;

    for (size_t i = 0; i < reader->count; i++) {
        int width = flag_text(flag, sizeof(flag), &reader->rows[i]);
        int other = (int)strlen(variable_of(variable, reader->rows[i].name));

        flag_width = width > flag_width ? width : flag_width;
        variable_width = other > variable_width ? other : variable_width;
    }
    printf("%s: each setting is a flag or the environment variable beside it; the flag wins.\n\n", reader->program);
    for (size_t i = 0; i < reader->count; i++) {
        const struct option_row *row = &reader->rows[i];
        const char *preset = row->preset ? row->preset : "must be set";

        flag_text(flag, sizeof(flag), row);
        printf("  %-*s  %-*s  %s [%s]\n", flag_width, flag, variable_width, variable_of(variable, row->name), row->text, *preset ? preset : "empty");
    }
    printf("\n");
    for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
        printf("  --%-*s  %s\n", flag_width - 2, common[i].flag, common[i].text);
    if (reader->print)
        printf("  --%-*s  %s\n", flag_width - 2, reader->print->flag, reader->print->text);
}

static void print_settings(const struct reader *reader, const void *settings)
{
    char variable[NAME_MAX_BYTES];

    for (size_t i = 0; i < reader->count; i++) {
        const struct option_row *row = &reader->rows[i];
        const void *at = (const char *)settings + row->offset;

        if (row->type == OPTION_INT)
            printf("%s=%d\n", variable_of(variable, row->name), *(const int *)at);
        else
            printf("%s=%s\n", variable_of(variable, row->name), *(const char *const *)at);
    }
}

enum options_result options_read(const struct option_row *rows, size_t count, const struct option_print *print, void *settings, const char *program, int argc,
                                 char **argv)
{
    const struct reader reader = {rows, count, print, program, argc, argv};
    bool good = true;

    if (has_common(&reader, "help")) {
        print_help(&reader);
        return OPTIONS_EXIT_OK;
    }
    if (has_common(&reader, "version")) {
        printf("%s %s\n", program, SOUK_VERSION);
        return OPTIONS_EXIT_OK;
    }
    if (print && has_common(&reader, print->flag)) {
        print->print(print->cookie);
        return OPTIONS_EXIT_OK;
    }
    if (!check_flags(&reader))
        return OPTIONS_EXIT_BAD;
    for (size_t i = 0; i < count; i++)
        good = read_row(&reader, &rows[i], settings) && good;
    if (!good)
        return OPTIONS_EXIT_BAD;
    if (has_common(&reader, "options")) {
        print_settings(&reader, settings);
        return OPTIONS_EXIT_OK;
    }
    if (has_common(&reader, "check-config")) {
        printf("%s: configuration is fine\n", program);
        return OPTIONS_EXIT_OK;
    }
    return OPTIONS_RUN;
}
