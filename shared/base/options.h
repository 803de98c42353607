#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A program's settings come from one table. Each row can be set by its environment variable (SOUK_HTTP_PORT) or by the flag of the
 * same name (--http-port=8080); the flag wins. --help, --options and --version are answered from the table.
 */
enum option_type { OPTION_TEXT, OPTION_INT, OPTION_CHOICE };

struct option_row {
    const char *name; /* "http-port": the flag; the variable is SOUK_HTTP_PORT */
    enum option_type type;
    size_t offset;       /* of a const char * (TEXT, CHOICE) or an int (INT) in the settings struct */
    const char *preset;  /* the value when not set; NULL: must be set */
    long min, max;       /* INT: allowed range */
    const char *choices; /* CHOICE: "a|b|c" */
    const char *text;    /* one sentence for --help */
};

/* A program's own flag that prints something and exits, as --help does. */
struct option_print {
    const char *flag, *text; /* "metrics" */
    void (*print)(const void *cookie);
    const void *cookie;
};

enum options_result { OPTIONS_RUN, OPTIONS_EXIT_OK, OPTIONS_EXIT_BAD };

/*
 * Fills ${settings} from the ${count} rows, the environment and argv. Texts borrow from argv and environ. On OPTIONS_EXIT_* everything
 * to say has been printed; a bad value names the variable, the value and what is allowed. --check-config reads everything and exits. ${print}: NULL, or
 * one more flag.
 */
enum options_result options_read(const struct option_row *rows, size_t count, const struct option_print *print, void *settings, const char *program, int argc,
                                 char **argv);

#endif
