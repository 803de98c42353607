#ifndef AUDIT_H
#define AUDIT_H

#include "flow.h"

/*
 * The conservation check: units, money and states of the whole store, while it is in use.
 *
 *   per partition (a few at a time):  AUDIT_STOCK page by page ─▶ AUDIT_ORDERS page by page
 *        what a record can tell by itself (counters, states, amounts, indexes, duties) the functions check where the record lives
 *        what crosses shards is matched here: each line of a live order against the hold of its transaction
 *   then each pair that found no partner is looked at once more, hold first, order after it: orders never come back to life, so
 *        a line whose hold is missing while its order still lives is a violation, and a hold that nobody answers for is one
 *
 * Answers 200 {"ok", "checked": {products, orders, payments, holds}, "violations": [text …]}, or 503 when a shard does not answer.
 */
extern const struct flow_type AUDIT_FLOW;

#endif
