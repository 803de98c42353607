#ifndef HOLD_H
#define HOLD_H

#include <stdint.h>

#include "flow.h"
#include "txn.h"

/*
 * What every flow does to a hold: take it, and bring it to where its order says. One product's hold of one transaction is named by (product, T).
 */

/*
 * How long a new hold stands before anybody may ask what became of its order, or up to 1 s less (lua/try.lua). A hold that is for a shorter time may
 * be asked about when that is over.
 */
#define HOLD_ASK_MS 10000
/* For how long a hold that ended is remembered by its mark (holds.MARK_KEPT_MS); after that there is nothing of its name. */
#define HOLD_MARK_KEPT_MS 600000
/* Two shards' clocks move by less than this against each other, and differ by less; so do two machines' that a shard was on (clock.DIFFER_MS). */
#define CLOCKS_DIFFER_MS 300000

/* What the order's partition says of a transaction (function `settle`), and an order's state read as the same thing. */
enum verdict { VERDICT_RESERVED, VERDICT_PAID, VERDICT_FULFILLED, VERDICT_CANCELLED, VERDICT_EXPIRED, VERDICT_ABORTED, VERDICT_BROKEN };
enum verdict verdict_of(struct view text);

struct settled {
    enum verdict verdict;
    int64_t ms;       /* RESERVED: until it expires; ABORTED: highest aborted attempt; else age of the order */
    bool decided;     /* the key is placed (by whichever attempt) or refused */
    int64_t order_id; /* 0: none */
};
/* A transaction, and the partition where its order is, or would be. */
struct order_txn {
    unsigned partition;
    struct txn txn;
};
/* One call may be about so many: a shard does nothing else meanwhile. */
#define HOLDS_AT_ONCE 64
/*
 * The question and its answer: the question itself aborts each attempt that was not placed (fence 2). All their partitions are of one shard. The n-th
 * is of ${txns}[n].
 */
struct call *settle_call(struct arena *arena, const struct order_txn *txns, unsigned count);
struct settled settled_from(const struct reply *reply, unsigned n);

/* ${hold_ms}: for how long the order will be reserved. */
struct call *try_call(struct flow *flow, int64_t product_id, struct view txn, int64_t quantity, unsigned order_partition, int64_t hold_ms);

/*
 * The call that carries out a verdict other than RESERVED on one hold: confirm, consume or release. ${age_ms}: how long ago the order was placed,
 * below 0 if that is not known (or the clock of its shard was set back since); ${order_id} 0 if none.
 */
struct call *resolve_call(struct flow *flow, int64_t product_id, struct view txn, enum verdict verdict, int64_t age_ms, int64_t order_id);

/* The call that carries out RESERVED, and what it keeps: at least one hold, until its order expires, at most HOLDS_AT_ONCE. */
struct call *keep_call(struct flow *flow, int64_t product_id);
void keep_add(struct call *call, struct view txn, int64_t left_ms);

#endif
