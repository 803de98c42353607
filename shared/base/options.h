#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/*
 * A program's settings come from one table. Each row can be set by its environment variable (SOUK_HTTP_PORT) or by the flag of the
 * same name (--http-port=8080); the flag wins. --help, --options, --check-config and --version are answered from the table.
 */
enum option_type {
    OPTION_TEXT,
    OPTION_INT,
    OPTION_CHOICE,
    OPTION_ADDRESS, /* a text: a numeric address to listen on */
    OPTION_URL,     /* a text: http:// or https://, host, port, path; paths are put behind it */
};
#define OPTION_TEXT_MAX 4096 /* bytes of a text whose row names no other limit */

struct option_row {
    const char *name; /* "http-port": the flag; the variable is SOUK_HTTP_PORT. A number's unit stands last: "drain-ms" */
    enum option_type type;
    size_t offset;       /* of an int (INT) or a const char * (all others) in the settings struct */
    const char *preset;  /* the value when not set; NULL: must be set. A text may be empty only if its preset is */
    long min, max;       /* INT: allowed range. Texts: max is the most bytes, 0: OPTION_TEXT_MAX */
    const char *choices; /* CHOICE: "a|b|c" */
    const char *text;    /* one sentence for --help */
};

/* A program's own flag that prints something and exits, as --help does. */
struct option_print {
    const char *flag, *text; /* "metrics" */
    void (*print)(const void *cookie);
    const void *cookie;
};

struct options {
    const char *program; /* "souk-order" */
    const char *about;   /* what the program is, in one line for --help */
    const struct option_row *rows;
    size_t count;
    /*
     * What must hold between several settings, or of a file that one names; without the network. Says everything that is wrong by options_say and
     * returns whether nothing was. A row that was bad has its preset when this is called. May be NULL.
     */
    bool (*check)(void *cookie, void *settings);
    void *cookie;
    const char *operands;    /* what may stand behind the flags, for --help: "COMMAND [ARGUMENT…]"; NULL: nothing may */
    void (*more)(FILE *out); /* prints what --help says behind the flags; may be NULL */
    const struct option_print *print; /* one more flag; may be NULL */
};

enum options_result { OPTIONS_RUN, OPTIONS_EXIT_OK, OPTIONS_EXIT_BAD };

/*
 * Fills ${settings} from the rows, the environment and argv. Texts borrow from argv and environ. On OPTIONS_EXIT_* everything to say has been
 * printed: all that is wrong, not only the first; a bad value names the variable, the value and what is allowed. --check-config reads and checks
 * everything and exits. A variable SOUK_… that no program of Souk knows gets a warning, for it may be a slip of the pen; what Kubernetes sets for a
 * Service whose name begins with souk is neither warned about nor taken for a setting.
 */
enum options_result options_read(const struct options *options, void *settings, int argc, char **argv);

/* The index in argv of the first operand; argc if there is none. For a program that has operands, once options_read said OPTIONS_RUN. */
int options_operands(const struct options *options, int argc, char **argv);

/* One line on standard error, behind the program's name. */
void options_say(const struct options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
