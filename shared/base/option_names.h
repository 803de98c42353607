#ifndef OPTION_NAMES_H
#define OPTION_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The names of settings: of all programs of Souk, since one file of variables may serve all of them, and what stands in an environment beside them.
 */

#define OPTION_VARIABLE_MAX 64

/* All of them, ended by NULL: made by option_names.sh from the option tables of all programs. */
extern const char *const OPTION_NAMES[];

/* "http-port" → SOUK_HTTP_PORT. Returns ${out}. */
const char *option_variable(char out[OPTION_VARIABLE_MAX], const char *name);

/* Is ${variable} a setting of some program of Souk, or one of those that the scripts in deploy/local, bench and tests read? */
bool option_variable_known(const char *variable);

/*
 * Did Kubernetes, and no operator, set ${variable} to ${value}? It gives each container variables about every Service: for one called souk-http they
 * are SOUK_HTTP_SERVICE_HOST, SOUK_HTTP_SERVICE_PORT, SOUK_HTTP_PORT (tcp://10.0.0.1:80), SOUK_HTTP_PORT_80_TCP and more. What a pod's manifest sets
 * wins over these, so a value of that form was not set by anybody who means us.
 */
bool option_variable_injected(const char *variable, const char *value);

/* The setting of Souk that ${variable} was probably meant to be, written to ${out}; NULL if it is like none. */
const char *option_variable_nearest(char out[OPTION_VARIABLE_MAX], const char *variable);

/* How many letters must be changed, added or left out to make one of the other; more than ${most} is ${most} + 1. */
size_t option_distance(const char *a, size_t a_len, const char *b, size_t b_len, size_t most);
/* At how many changed letters a word of this length is another word. */
size_t option_distance_max(size_t len);

#endif
