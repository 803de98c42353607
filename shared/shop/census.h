#ifndef CENSUS_H
#define CENSUS_H

#include <stdbool.h>

#include "metric.h"

#include "flow.h"
#include "service.h"

/*
 * How many orders and payments there are in which state, and what is owed since when, for /metrics. A shard is counted by the worker that holds its
 * lease of the sweep of orders, and by no other, so that one worker of all shows a shard's numbers; who loses the lease forgets them.
 *
 *   got the lease ─▶ is it time? ─▶ CENSUS of some partitions ─▶ of the next ones ─▶ … ─▶ figures
 */
#define CENSUS_STATES 5
#define CENSUS_PAYMENT_STATUSES 7
#define CENSUS_PAYMENTS 9
#define CENSUS_DUTIES 3 /* of orders, of payments, looks at holds */

/* Nothing but uint64_t: see figures_publish. A shard that is not this worker's to count is all 0. */
struct census_figures {
    struct census_shard {
        uint64_t at_ms; /* when it was counted, by our clock; 0: not */
        uint64_t products, refund_due, orders[CENSUS_STATES][CENSUS_PAYMENT_STATUSES], payments[CENSUS_PAYMENTS];
        struct census_duties {
            uint64_t listed, due, older[3], oldest_ms; /* older than 10 s, 1 min, 10 min */
        } duties[CENSUS_DUTIES];
    } shards[SHARDS_MAX];
};

/* On this thread; ${period_s} 0: nothing is counted. Returns NULL (logged) if memory is short. No flow of it may run when it is freed. */
struct census;
struct census *census_new(struct service_thread *thread, int period_s);
void census_free(struct census *census);

/* This worker holds the lease of that shard, or does not. */
void census_lease(struct census *census, unsigned shard, bool held);

const struct census_figures *census_figures(const struct census *census);
extern const struct metric_row CENSUS_METRICS[];

#endif
