#ifndef GENERATOR_H
#define GENERATOR_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "souk_fixture.h"

/* A program beside the test, which goes with it; ${out} gets what it prints. Ended by SIGTERM. Both abort the test if that cannot be done. */
pid_t beside_launch(const char *out, const char *const *command);
void beside_end(pid_t pid);

/*
 * souk-bench-load (bench/load.c has the language of its plans), which asks by many clients and counts what became of it. The caller writes the plan
 * to what generator_plan returns. ${rate}: requests a second; "0": each client asks when it has its answer. ${header}: one more of each request,
 * NULL: none.
 */
struct generator {
    pid_t pid; /* 0: it does not run */
    char plan[200], report[200];
};
FILE *generator_plan(struct generator *generator, struct souk *souk, const char *name);
void generator_start(struct generator *generator, FILE *plan, const char *rate, const char *clients, const char *header);

/* No more requests from now on. It ends when those under way are answered, after 6 s at the latest; has it? */
void generator_stop(struct generator *generator);
bool generator_ended(struct generator *generator);
/* Both, and waits for it. Then what it counted can be asked for, and how many requests were not answered with 2xx. */
void generator_end(struct generator *generator);
/* Is there a report? A generator that is told to end while it begins leaves none. */
bool generator_reported(const struct generator *generator);
long long generator_count(const struct generator *generator, const char *name);
long long generator_failures(const struct generator *generator);
/* The worst answer that was not 2xx, in a line, empty if there was none. */
void generator_worst(const struct generator *generator, char *text, size_t size);

#endif
