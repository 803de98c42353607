#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

#include "option_names.h"

#define PREFIX "SOUK_"
/* What begins so is for scripts: deploy/local, bench, tests/crash. */
static const char *const SCRIPTS[] = {"SOUK_LOCAL_", "SOUK_BENCH_", "SOUK_CRASH_"};

const char *option_variable(char out[OPTION_VARIABLE_MAX], const char *name)
{
    size_t len = (size_t)snprintf(out, OPTION_VARIABLE_MAX, PREFIX "%s", name);
    CHECK(len < OPTION_VARIABLE_MAX);
    for (char *at = out; *at; at++)
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    return out;
}

bool option_variable_known(const char *variable)
{
    char known[OPTION_VARIABLE_MAX];
    for (size_t i = 0; i < sizeof(SCRIPTS) / sizeof(*SCRIPTS); i++)
        if (strncmp(variable, SCRIPTS[i], strlen(SCRIPTS[i])) == 0)
            return true;
    for (const char *const *name = OPTION_NAMES; *name; name++)
        if (strcmp(variable, option_variable(known, *name)) == 0)
            return true;
    return false;
}

/* ---- Kubernetes ---- */

static bool begins_with_one_of(const char *text, const char *const *words, const char **rest)
{
    for (; *words; words++)
        if (strncmp(text, *words, strlen(*words)) == 0) {
            *rest = text + strlen(*words);
            return true;
        }
    return false;
}

/* "80_TCP", "80_TCP_ADDR": what follows PORT_. */
static bool is_port_detail(const char *text)
{
    static const char *const protocols[] = {"_TCP", "_UDP", "_SCTP", NULL};
    size_t digits = strspn(text, "0123456789");
    const char *rest;
    if (digits == 0 || !begins_with_one_of(text + digits, protocols, &rest))
        return false;
    return *rest == '\0' || strcmp(rest, "_PROTO") == 0 || strcmp(rest, "_PORT") == 0 || strcmp(rest, "_ADDR") == 0;
}

static bool is_link(const char *value)
{
    static const char *const schemes[] = {"tcp://", "udp://", "sctp://", NULL};
    const char *rest;
    return begins_with_one_of(value, schemes, &rest);
}

bool option_variable_injected(const char *variable, const char *value)
{
    for (const char *at = strchr(variable, '_'); at; at = strchr(at + 1, '_')) {
        if (strcmp(at, "_SERVICE_HOST") == 0 || strcmp(at, "_SERVICE_PORT") == 0 || strncmp(at, "_SERVICE_PORT_", 14) == 0)
            return true;
        if ((strcmp(at, "_PORT") == 0 && is_link(value)) || (strncmp(at, "_PORT_", 6) == 0 && is_port_detail(at + 6)))
            return true;
    }
    return false;
}

/* ---- what was meant ---- */

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Levenshtein's distance, one row of the matrix at a time. */
size_t option_distance(const char *a, size_t a_len, const char *b, size_t b_len, size_t most)
{
    size_t row[OPTION_VARIABLE_MAX];
    if (a_len > b_len + most || b_len > a_len + most || b_len >= OPTION_VARIABLE_MAX)
        return most + 1;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_len] > most ? most + 1 : row[b_len];
}

size_t option_distance_max(size_t len)
{
    return len < 6 ? 1 : len / 4 + 1;
}

const char *option_variable_nearest(char out[OPTION_VARIABLE_MAX], const char *variable)
{
    const char *nearest = NULL, *name = variable + strlen(PREFIX);
    size_t best = option_distance_max(strlen(name)) + 1;
    for (const char *const *at = OPTION_NAMES; *at; at++) {
        option_variable(out, *at);
        const char *known = out + strlen(PREFIX);
        size_t distance = option_distance(name, strlen(name), known, strlen(known), best - 1);
        if (distance < best) {
            best = distance;
            nearest = *at;
        }
    }
    return nearest ? option_variable(out, nearest) : NULL;
}
