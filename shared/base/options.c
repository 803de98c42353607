#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "option_names.h"
#include "view.h"

#include "options.h"

#define FLAG_MAX (OPTION_VARIABLE_MAX + 2)
#define SHOWN_MAX 96 /* bytes of a value in a message */

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
    const struct options *options;
    int argc; /* up to the first operand */
    char **argv;
};

void options_say(const struct options *options, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", options->program);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* A value as a message shows it: on one line, and not longer than somebody wants to read. */
static const char *shown(char out[SHOWN_MAX + 4], const char *value)
{
    size_t len = strlen(value);

    if (len > SHOWN_MAX)
        for (len = SHOWN_MAX; ((unsigned char)value[len] & 0xc0) == 0x80;)
            len--; /* not within a letter */
    for (size_t i = 0; i < len; i++)
        out[i] = (unsigned char)value[i] < 0x20 || value[i] == 0x7f ? '?' : value[i];
    strcpy(out + len, value[len] ? "…" : "");
    return out;
}

/* ---- flags ---- */

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
    return reader->options->print && is_flag(arg, reader->options->print->flag) && !strchr(arg, '=');
}

static const struct option_row *find_row(const struct options *options, const char *arg)
{
    for (size_t i = 0; i < options->count; i++)
        if (is_flag(arg, options->rows[i].name))
            return &options->rows[i];
    return NULL;
}

int options_operands(const struct options *options, int argc, char **argv)
{
    int at = 1;

    while (at < argc && strncmp(argv[at], "--", 2) == 0)
        at += find_row(options, argv[at]) && !strchr(argv[at], '=') ? 2 : 1;
    return at < argc ? at : argc;
}

/* Was this common flag given? Values of other flags are not mistaken for it. */
static bool has_common(const struct reader *reader, const char *name)
{
    for (int i = 1; i < reader->argc; i++) {
        if (is_flag(reader->argv[i], name) && is_common(reader, reader->argv[i]))
            return true;
        if (find_row(reader->options, reader->argv[i]) && !strchr(reader->argv[i], '='))
            i++;
    }
    return false;
}

/* The flag that ${arg} was probably meant to be; NULL if it is like none. */
static const char *nearest_flag(const struct options *options, const char *arg)
{
    size_t len = flag_len(arg), best = option_distance_max(len) + 1;
    const char *nearest = NULL;

    for (size_t i = 0; len && i < options->count + sizeof(common) / sizeof(common[0]); i++) {
        const char *name = i < options->count ? options->rows[i].name : common[i - options->count].flag;
        size_t distance = option_distance(arg + 2, len, name, strlen(name), best - 1);

        if (distance < best) {
            best = distance;
            nearest = name;
        }
    }
    return nearest;
}

static void say_unknown_flag(const struct options *options, const char *arg)
{
    const char *nearest = nearest_flag(options, arg);
    char text[SHOWN_MAX + 4];

    if (nearest && is_flag(arg, nearest))
        options_say(options, "%s: --%s takes no value", shown(text, arg), nearest);
    else if (nearest)
        options_say(options, "%s is not a flag of this program; did you mean --%s? --help lists them", shown(text, arg), nearest);
    else
        options_say(options, "%s is not a flag of this program; --help lists them", shown(text, arg));
}

/* Is every argument a flag of this program, with its value? */
static bool check_flags(const struct reader *reader)
{
    bool good = true;

    for (int i = 1; i < reader->argc; i++) {
        const char *arg = reader->argv[i];

        if (is_common(reader, arg))
            continue;
        if (!find_row(reader->options, arg)) {
            say_unknown_flag(reader->options, arg);
            good = false;
        } else if (!strchr(arg, '=')) {
            i++;
            if (i == reader->argc) {
                options_say(reader->options, "%s needs a value: %s=value", arg, arg);
                good = false;
            }
        }
    }
    return good;
}

/* The value that a flag gives to this row, the last one if there are several; NULL if none does. */
static const char *value_of_flag(const struct reader *reader, const struct option_row *row)
{
    const char *value = NULL;

    for (int i = 1; i < reader->argc; i++) {
        const struct option_row *found = find_row(reader->options, reader->argv[i]);
        const char *equals = strchr(reader->argv[i], '=');

        if (found && !equals)
            i++;
        if (found == row && i < reader->argc)
            value = equals ? equals + 1 : reader->argv[i];
    }
    return value;
}

/* ---- values ---- */

static bool parse_int(const struct option_row *row, const char *value, int *out)
{
    char *end;
    long number;

    errno = 0;
    number = strtol(value, &end, 10);
    if ((*value != '-' && !isdigit((unsigned char)*value)) || end == value || *end || errno)
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

/* A line's end in a file of variables becomes part of a value, and nobody sees it. */
static bool has_control(const char *value)
{
    for (; *value; value++)
        if ((unsigned char)*value < 0x20 || *value == 0x7f)
            return true;
    return false;
}

static size_t text_max(const struct option_row *row)
{
    return row->max ? (size_t)row->max : OPTION_TEXT_MAX;
}

static bool may_be_empty(const struct option_row *row)
{
    return row->preset && *row->preset == '\0';
}

static bool is_text(const struct option_row *row, const char *value)
{
    return (*value || may_be_empty(row)) && strlen(value) <= text_max(row) && !has_control(value);
}

static bool is_address(const char *value)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *found;

    if (getaddrinfo(value, NULL, &hints, &found) != 0)
        return false;
    freeaddrinfo(found);
    return true;
}

static bool is_url(const char *value)
{
    const char *host = strncmp(value, "http://", 7) == 0 ? value + 7 : strncmp(value, "https://", 8) == 0 ? value + 8 : "";

    return strcspn(host, "/:") > 0 && strpbrk(value, " ?#@\"<>\\") == NULL && value[strlen(value) - 1] != '/';
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
    case OPTION_ADDRESS:
        if (!is_address(value))
            return false;
        break;
    case OPTION_URL:
        if (!is_text(row, value) || !is_url(value))
            return false;
        break;
    case OPTION_TEXT:
        if (!is_text(row, value))
            return false;
        break;
    }
    memcpy(at, &value, sizeof(value));
    return true;
}

/* "5s" for SOUK_DEADLINE_MS: says that the unit is in the name. Empty for any other value. */
static const char *unit_advice(const struct option_row *row, const char *value)
{
    static const struct {
        const char *suffix, *text;
    } units[] = {
        {"-ms", ", in milliseconds and without a unit"},
        {"-s", ", in seconds and without a unit"},
        {"-mb", ", in MiB and without a unit"},
    };
    size_t digits = strspn(value, "0123456789."), len = strlen(row->name);

    for (size_t i = 0; digits && value[digits] && i < sizeof(units) / sizeof(units[0]); i++)
        if (len > strlen(units[i].suffix) && strcmp(row->name + len - strlen(units[i].suffix), units[i].suffix) == 0)
            return units[i].text;
    return "";
}

static void say_bad_text(const struct options *options, const struct option_row *row, const char *source, const char *value)
{
    char text[SHOWN_MAX + 4];

    if (*value == '\0')
        options_say(options, "%s is empty but must not be%s%s", source, row->preset ? "; leave it out for its preset, " : "",
                    row->preset ? row->preset : "");
    else if (strlen(value) > text_max(row))
        options_say(options, "%s is \"%s\", %zu bytes, but must have at most %zu", source, shown(text, value), strlen(value), text_max(row));
    else
        options_say(options, "%s is \"%s\" but must have no control characters (shown as ?); look for a line's end behind it", source,
                    shown(text, value));
}

static void say_bad_value(const struct options *options, const struct option_row *row, const char *source, const char *value)
{
    char text[SHOWN_MAX + 4];

    switch (row->type) {
    case OPTION_INT:
        options_say(options, "%s is \"%s\" but must be an integer from %ld to %ld%s", source, shown(text, value), row->min, row->max,
                    unit_advice(row, value));
        break;
    case OPTION_CHOICE:
        options_say(options, "%s is \"%s\" but must be one of %s", source, shown(text, value), row->choices);
        break;
    case OPTION_ADDRESS:
        options_say(options, "%s is \"%s\" but must be a numeric address of this machine, as 127.0.0.1 or ::1", source, shown(text, value));
        break;
    case OPTION_URL:
        if (is_text(row, value)) {
            options_say(options, "%s is \"%s\" but must be as http://127.0.0.1:8080, without a slash at its end", source, shown(text, value));
            break;
        }
        say_bad_text(options, row, source, value);
        break;
    case OPTION_TEXT:
        say_bad_text(options, row, source, value);
        break;
    }
}

static const char *value_of_variable(const char *variable)
{
    const char *value = getenv(variable);

    return value && option_variable_injected(variable, value) ? NULL : value;
}

/* One row: the flag, else the variable, else the preset, which also stands in for a bad value in what is checked afterwards. */
static bool read_row(const struct reader *reader, const struct option_row *row, void *settings)
{
    char variable[OPTION_VARIABLE_MAX], flag[FLAG_MAX];
    const char *source = flag, *value = value_of_flag(reader, row);

    option_variable(variable, row->name);
    snprintf(flag, sizeof(flag), "--%s", row->name);
    if (!value) {
        source = variable;
        value = value_of_variable(variable);
    }
    if (!value)
        value = row->preset;
    if (!value) {
        options_say(reader->options, "%s is not set and has no preset; set it or give %s=value (%s)", variable, flag, row->text);
        return false;
    }
    if (assign(row, value, settings))
        return true;
    say_bad_value(reader->options, row, source, value);
    if (row->preset)
        assign(row, row->preset, settings);
    return false;
}

static bool has_preset(const struct options *options)
{
    for (size_t i = 0; i < options->count; i++)
        if (options->rows[i].preset == NULL)
            return false;
    return true;
}

/* All rows, then what holds between them. A missing value has nothing that could stand in for it: then the rows alone are told. */
static bool read_settings(const struct reader *reader, void *settings)
{
    const struct options *options = reader->options;
    bool good = check_flags(reader), whole = true;

    for (size_t i = 0; i < options->count; i++)
        whole = read_row(reader, &options->rows[i], settings) && whole;
    if (options->check && (whole || has_preset(options)))
        good = options->check(options->cookie, settings) && good;
    return good && whole;
}

/* A misspelt variable would do nothing, and say nothing. */
static void warn_of_variables(const struct options *options)
{
    char name[OPTION_VARIABLE_MAX], nearest[OPTION_VARIABLE_MAX], text[SHOWN_MAX + 4];

    for (char **at = environ; *at; at++) {
        size_t len = strcspn(*at, "=");

        if (strncmp(*at, "SOUK_", 5) != 0 || (*at)[len] == '\0')
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)len, *at);
        if (option_variable_known(name) || option_variable_injected(name, *at + len + 1))
            continue;
        if (option_variable_nearest(nearest, name))
            options_say(options, "warning: %s is set, and no program of Souk reads it; did you mean %s?", shown(text, name), nearest);
        else
            options_say(options, "warning: %s is set, and no program of Souk reads it; --help lists what is read", shown(text, name));
    }
}

/* ---- what the tables say ---- */

/* How a flag looks in --help: "--log-level=error|warn|info|debug". Returns its width. */
static int flag_text(char *out, size_t size, const struct option_row *row)
{
    switch (row->type) {
    case OPTION_INT:
        return snprintf(out, size, "--%s=%ld..%ld", row->name, row->min, row->max);
    case OPTION_CHOICE:
        return snprintf(out, size, "--%s=%s", row->name, row->choices);
    case OPTION_ADDRESS:
        return snprintf(out, size, "--%s=ADDRESS", row->name);
    case OPTION_URL:
        return snprintf(out, size, "--%s=URL", row->name);
    case OPTION_TEXT:
        break;
    }
    return snprintf(out, size, "--%s=TEXT", row->name);
}

static void print_help(const struct options *options)
{
    char flag[256], variable[OPTION_VARIABLE_MAX];
    int flag_width = 0, variable_width = 0;

    for (size_t i = 0; i < options->count; i++) {
        int width = flag_text(flag, sizeof(flag), &options->rows[i]);
        int other = (int)strlen(option_variable(variable, options->rows[i].name));

        flag_width = width > flag_width ? width : flag_width;
        variable_width = other > variable_width ? other : variable_width;
    }
    printf("%s - %s\n\nusage: %s [FLAG…]%s%s\n\n", options->program, options->about, options->program, options->operands ? " " : "",
           options->operands ? options->operands : "");
    printf("Each setting is a flag or the environment variable beside it; the flag wins.\n\n");
    for (size_t i = 0; i < options->count; i++) {
        const struct option_row *row = &options->rows[i];
        const char *preset = row->preset ? row->preset : "must be set";

        flag_text(flag, sizeof(flag), row);
        printf("  %-*s  %-*s  %s [%s]\n", flag_width, flag, variable_width, option_variable(variable, row->name), row->text,
               *preset ? preset : "empty");
    }
    printf("\n");
    for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
        printf("  --%-*s  %s\n", flag_width - 2, common[i].flag, common[i].text);
    if (options->print)
        printf("  --%-*s  %s\n", flag_width - 2, options->print->flag, options->print->text);
    if (options->more)
        options->more(stdout);
}

static void print_settings(const struct options *options, const void *settings)
{
    char variable[OPTION_VARIABLE_MAX];

    for (size_t i = 0; i < options->count; i++) {
        const struct option_row *row = &options->rows[i];
        const void *at = (const char *)settings + row->offset;

        if (row->type == OPTION_INT)
            printf("%s=%d\n", option_variable(variable, row->name), *(const int *)at);
        else
            printf("%s=%s\n", option_variable(variable, row->name), *(const char *const *)at);
    }
}

enum options_result options_read(const struct options *options, void *settings, int argc, char **argv)
{
    const struct reader reader = {options, options->operands ? options_operands(options, argc, argv) : argc, argv};

    if (has_common(&reader, "help")) {
        print_help(options);
        return OPTIONS_EXIT_OK;
    }
    if (has_common(&reader, "version")) {
        printf("%s %s\n", options->program, SOUK_VERSION);
        return OPTIONS_EXIT_OK;
    }
    if (options->print && has_common(&reader, options->print->flag)) {
        options->print->print(options->print->cookie);
        return OPTIONS_EXIT_OK;
    }
    bool good = read_settings(&reader, settings);

    warn_of_variables(options);
    if (!good)
        return OPTIONS_EXIT_BAD;
    if (has_common(&reader, "options")) {
        print_settings(options, settings);
        return OPTIONS_EXIT_OK;
    }
    if (has_common(&reader, "check-config")) {
        printf("%s: configuration is fine\n", options->program);
        return OPTIONS_EXIT_OK;
    }
    return OPTIONS_RUN;
}
