#ifndef REPORT_H
#define REPORT_H

#include <stdint.h>
#include <stdio.h>

#include "faults.h"
#include "verdict.h"

/* What a run was and what came of it, as tables: for the terminal, or in Markdown for a committed file. */
enum report_form { REPORT_TEXT, REPORT_MARKDOWN };

struct report_facts {
    uint64_t seed;
    double seconds; /* of shopping */
    int shoppers;
    size_t left_open; /* operations that were undecided when the shopping ended */
    const struct history *history;
    const struct evidence *evidence;
    const struct verdict *verdict;
    const struct faults *faults;
    const struct fleet *fleet;
};

void report_print(FILE *out, const struct report_facts *facts, enum report_form form);
/* Adds it in Markdown to the end of the file. */
void report_append(const char *path, const struct report_facts *facts);

#endif
