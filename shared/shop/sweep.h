#ifndef SWEEP_H
#define SWEEP_H

#include "flow.h"
#include "service.h"

#include "census.h"

/*
 * Finishing what others left. Every SWEEP_MS a flow per shard asks for the shard's lease (one sweeper per shard and kind, whichever worker is faster)
 * and gets what is due there; each due thing becomes a child flow. When there was as much as one flow takes, the next follows at once, up to
 * SWEEPS_IN_A_ROW. Each time it begins at another partition, so that what cannot be done in one does not keep the others waiting.
 *
 *   timer ─▶ per shard: SWEEP ─┬─ not granted ─▶ end
 *                              └─ granted: orders ─▶ duty · products, one after the other ─▶ settle · (payments ─▶ the payment worker's own)
 *                                          ─▶ PRUNE one partition ─▶ end
 */
#define SWEEP_MS 500
#define SWEEP_LEASE_MS 2000
#define SWEEPS_IN_A_ROW 8
#define SWEEP_AT_ONCE 64 /* named by one SWEEP, of each list */

struct sweep_kind {
    const char *name; /* "order", "payment": the lease's */
    struct flow *(*child)(struct flow *parent, int64_t id);
    struct flow *(*product_child)(struct flow *parent, int64_t product_id); /* NULL: none are named */
    bool prunes;
};

/* What every worker does: orders' duties and holds past their ask-after. */
extern const struct sweep_kind SWEEP_ORDERS;

/* Starts sweeping on this thread until the service drains. Freed by sweep_stop. Returns NULL (logged) if memory is short. */
struct sweeper;
struct sweeper *sweep_start(struct service_thread *thread, const struct sweep_kind *kind);
/* Whoever counts the shards whose leases this sweeper holds; freed by the caller, after sweep_stop. */
void sweep_tell(struct sweeper *sweeper, struct census *census);
void sweep_stop(struct sweeper *sweeper);

/* One sweep of one shard as a flow, for tests and simulators. */
struct flow *sweep_new(struct arena *arena, const struct world *world, const struct sweep_kind *kind, unsigned shard, struct view worker,
                       unsigned partition);

#endif
