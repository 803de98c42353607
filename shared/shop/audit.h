#ifndef AUDIT_H
#define AUDIT_H

#include "flow.h"

/*
 * The conservation check: units, money and states of the whole store, while it is in use.
 *
 *   per partition (a few at a time):  its products ─▶ its orders ─▶ its feed                      (audit_stock.h, audit_walk.h)
 *        what a record can tell by itself (counters, states, amounts, indexes, duties) is read by plain commands and judged here. What does not look
 *        right is asked again of AUDIT_STOCK and AUDIT_ORDERS, which see everything at one moment: only what they find is a violation
 *        what crosses shards is matched here: each line of a live order against the hold of its transaction
 *   then each pair that found no partner is looked at once more, hold first, order after it: orders never come back to life, so
 *        a line whose hold is missing while its order still lives is a violation, and so is a hold of an order that has ended and owes nothing any
 *        more. What a sweep has still to settle, however late, is none
 *
 *   the feed is matched with the orders' histories by count and sum (audit_feed.h)
 *
 * Answers 200 {"ok", "checked": {products, orders, payments, holds, events}, "violation_count", "violations": [text …]}, or 503 when a shard does not
 * answer. Without an ask it answers nobody, and its report is for the flow that it is a child of.
 */
extern const struct flow_type AUDIT_FLOW;

/* One for ${parent}; it ends, incomplete, when ${thread}'s service drains. */
struct service_thread;
struct flow *audit_new(struct flow *parent, struct service_thread *thread);

enum audit_thing { AUDIT_PRODUCTS, AUDIT_ORDERS, AUDIT_PAYMENTS, AUDIT_HOLDS, AUDIT_EVENTS, AUDIT_THINGS };
enum audit_kind { AUDIT_UNITS, AUDIT_STATE, AUDIT_MONEY, AUDIT_INDEX, AUDIT_PAIR, AUDIT_FEED, AUDIT_KINDS };
enum audit_phase { AUDIT_HELD, AUDIT_COMMITTED, AUDIT_ENDED, AUDIT_PHASES }; /* of a hold; ended: released, restocked or consumed */
const char *audit_thing_name(enum audit_thing thing); /* "products" */
const char *audit_kind_name(enum audit_kind kind);    /* "units" */
const char *audit_phase_name(enum audit_phase phase); /* "held" */

struct audit_report {
    bool complete; /* every shard has answered */
    int64_t checked[AUDIT_THINGS], holds[AUDIT_PHASES], by_kind[AUDIT_KINDS];
    const struct view *violations; /* the first hundred */
    size_t violation_count;        /* all of them */
};
/* Of an audit that has ended; valid as long as its arena. */
const struct audit_report *audit_report_of(const struct flow *audit);

#endif
