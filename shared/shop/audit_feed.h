#ifndef AUDIT_FEED_H
#define AUDIT_FEED_H

#include "flow.h"

/*
 * Does the feed of a partition (events:{p}) have one entry for each version of each order, and the other way round? Both sides are counted and summed
 * (the orders' versions by audit_walk or audit_orders, the entries by this) up to a time that has passed, since both grow meanwhile. What was written
 * in the millisecond of that time may stand on either side of it, so where they differ a child flow counts once more.
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

/* What is under way in a shard when its time is read is over so much later. */
#define FEED_PAUSE_MS 20

/* A version as a number: the order, the version, and what it says ("paid|paid|"); the same as order_step in lua/audit_orders.lua. */
uint64_t feed_word(struct view text);
uint64_t feed_number(int64_t order_id, int64_t version, uint64_t word);

/* Adds what audit_orders says of the versions of some orders. */
void feed_take_orders(struct feed_account *account, const struct reply *reply);

/* A command about the feed of a partition. What more it takes is to follow. */
struct call *feed_call(struct arena *arena, const char *command, unsigned partition);
/*
 * A page of the feed, behind the entry ${after} (empty: from its start) up to the id ${upto}; the last entry of such a page, empty when it was the
 * last page.
 */
struct call *feed_entries_call(struct arena *arena, unsigned partition, struct view after, struct view upto);
struct view feed_last(const struct item *list);
/* Of an entry of such a page: when it was written, 0 if its id cannot be read; what it says. */
int64_t feed_entry_ms(const struct item *entry);
struct view feed_entry_text(const struct item *entry);

/* Of what an entry says: its order, false if it names none; adds it to what is compared. */
bool feed_text_order(struct view text, int64_t *order_id);
void feed_take_text(struct feed_account *account, struct view text);

/* The child: counts both sides of this partition anew, at most three times. Afterwards: what it found; has it failed for want of an answer? */
struct flow *feed_check_new(struct flow *parent, unsigned partition);
const struct feed_account *feed_check_account(const struct flow *child);
const struct reply *feed_check_failed(const struct flow *child);

#endif
