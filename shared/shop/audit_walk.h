#ifndef AUDIT_WALK_H
#define AUDIT_WALK_H

#include "audit_feed.h"
#include "flow.h"

/*
 * The orders of a partition, their payments, and the feed. A block of orders after the other, each in steps of one round trip:
 *
 *   TIME ─▶ ┌ index ─▶ records, duties ─▶ places in indexes, payments ─▶ the payments' places ─▶ AUDIT_ORDERS, what is not sure ┐ ─▶ feed ─▶ moved
 *           └──────────────────────────────────────────── next block ◀─────────────────────────────────────────────────────────┘
 *
 * The feed is read behind the orders. It has an entry for each version, so it names those that moved meanwhile: these are asked about as well.
 */
struct walk_result {
    int64_t orders, payments, events;
    struct feed_account feed;
    struct reply failure;
    bool failed; /* for want of an answer; ${failure} says why */
};

/* The child of an audit. */
struct flow *audit_walk_new(struct flow *audit, unsigned partition);
const struct walk_result *audit_walk_result(const struct flow *child);

#endif
