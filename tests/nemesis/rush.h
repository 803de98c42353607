#ifndef RUSH_H
#define RUSH_H

#include <stdbool.h>

#include "generator.h"

#include "fleet.h"
#include "shopper.h"

/*
 * Far more clients than a worker has room for, all at once: they read, and ask for more units of a product than there are, as fast as they are
 * answered. Nothing of it can have an effect; if one had, nobody had asked for it (NOBODYS_OPERATION). One rush at a time.
 */
struct rush {
    struct generator generator;
    int worker;
    int64_t began_us;
    unsigned number; /* of rushes so far */
    bool under_way;
};

/* Must be called in the main thread, as whatever starts a process. */
void rush_begin(struct rush *rush, struct souk *souk, const struct fleet_worker *worker, const struct market *market);
/* They ask no more; those who wait still are waited for by rush_over, which puts into the history what came of it. Is it over? */
void rush_calm(struct rush *rush);
bool rush_over(struct rush *rush, struct history *history);

#endif
