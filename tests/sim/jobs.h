#ifndef JOBS_H
#define JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "fleet.h"
#include "lua_host.h"

/*
 * Many seeds in several processes, one range of them:
 *
 *   parent ─ begins the processes, adds up what they report, says it
 *   each process takes the next seed of the range, runs it, reports it, until there is enough or it is told to stop (SIGTERM or SIGINT to the parent)
 *
 * Seeds are taken in their order and each that was taken is finished; so what a run has done is one range without gaps, whenever it was stopped.
 */
struct totals { /* all of it is uint64_t */
    uint64_t seeds, placed, refused, paid, requests, replayed, simulated_s;
    struct fleet_counts counts;
};

struct seed_report {
    uint64_t seed;
    struct totals totals;
    char wrong[512]; /* empty: no violation */
};

struct jobs {
    unsigned processes;
    uint64_t first, seeds, orders; /* seeds, orders: when there is enough, whichever comes first; 0: no limit */
    const char *library, *progress; /* files; NULL: the built one, none */
    bool quiet;
    void (*run)(struct fleet *fleets[FLEET_SHARDS_MAX], struct lua_library *library, uint64_t seed, struct seed_report *report);
};

/* Returns the exit status: 0 if no seed was violated and no process ended by itself. */
int jobs_run(const struct jobs *jobs);

#endif
