#ifndef AUDIT_FEED_H
#define AUDIT_FEED_H

#include "flow.h"

/*
 * Does the feed of a partition (events:{p}) have one entry for each version of each order, and the other way round? Both sides are counted and summed
 * (audit_orders does it for the orders, this for the feed) up to a time that has passed, since both grow meanwhile. What was written in the
 * millisecond of that time may stand on either side of it, so where they differ a child flow counts once more.
 */
struct feed_account {
    int64_t upto_ms;
    uint64_t versions, version_sum; /* by the orders */
    uint64_t entries, entry_sum;    /* by the feed */
};

static inline bool feed_agrees(const struct feed_account *account)
{
    return account->versions == account->entries && account->version_sum == account->entry_sum;
}

/* A page of orders, behind (score, id), and what it says. */
struct call *feed_orders_call(struct arena *arena, unsigned partition, const struct view after[2], const struct feed_account *account);
void feed_take_orders(struct feed_account *account, const struct reply *reply);

/* A page of the feed, behind the entry ${after} (empty: from its start). Returns the last entry of the page, empty when it was the last page. */
struct call *feed_entries_call(struct arena *arena, unsigned partition, struct view after, const struct feed_account *account);
struct view feed_take_entries(struct feed_account *account, const struct reply *reply);

/* The child: counts both sides of this partition anew, at most three times. Afterwards: what it found; has it failed for want of an answer? */
struct flow *feed_check_new(struct flow *parent, unsigned partition);
const struct feed_account *feed_check_account(const struct flow *child);
const struct reply *feed_check_failed(const struct flow *child);

#endif
