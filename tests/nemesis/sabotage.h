#ifndef SABOTAGE_H
#define SABOTAGE_H

#include <stdbool.h>

#include "evidence.h"
#include "history.h"
#include "verdict.h"

/*
 * Shows that the checks bite: after a run whose verdict was clean, breaks one thing in a shard, in the journal or in the history, judges again, and
 * wants the violation of the one rule that watches over it; then it mends the thing. Returns how many were not noticed, each printed.
 */
struct souk;
struct scene {
    struct souk *souk;
    struct history *history;
    const struct evidence *evidence; /* the clean one */
    const int64_t *products;
    unsigned product_count;
    const struct beginning *beginning;
};
unsigned sabotage_all(const struct scene *scene);
/* Has enough been done that there is something of every kind to break? The caller holds the history's lock. */
bool sabotage_can(const struct history *history);

#endif
