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
/* Two shards' clocks differ by less than this, and so do two machines' that a shard was on (clock.DIFFER_MS). */
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
/* The question and its answer: the question itself aborts an attempt that was not placed (fence 2). */
struct call *settle_call(struct arena *arena, unsigned partition, const struct txn *txn);
struct settled settled_from(const struct reply *reply);

/* ${hold_ms}: for how long the order will be reserved. */
struct call *try_call(struct flow *flow, int64_t product_id, struct view txn, int64_t quantity, unsigned order_partition, int64_t hold_ms);

/*
 * The call that carries out a verdict on one hold: confirm, consume, release, or keep (RESERVED, until the order expires). ${ms}: of RESERVED,
 * until it expires; of the others the order's age, below 0 if it is not known (or the clock of its shard was set back since); ${order_id} 0 if none.
 */
struct call *resolve_call(struct flow *flow, int64_t product_id, struct view txn, enum verdict verdict, int64_t ms, int64_t order_id);

#endif
