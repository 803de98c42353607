#ifndef OWN_H
#define OWN_H

#include <stdint.h>

#include "flow.h"

/*
 * Is it the buyer's for whom the caller acts (struct route, own)? An order names its buyer and a payment its order, neither ever changes, so what is
 * read here holds for the flow that follows.
 *
 *   payment ─▶ HGET its order ─▶ HGET its buyer ─▶ the same: ends without an answer · another, or none: 404, in the words of the flows themselves
 *   order ──────────────────────▲
 *
 * Where a buyer's records live follows from his name, so what lives elsewhere is not his and is not asked for.
 */
extern const struct flow_type OWN_ORDER, OWN_PAYMENT; /* by the path's first {id} */

/* For own flows of this layout: the first step, and what all further ones are given to. */
struct ownership {
    struct flow flow;
    bool is_payment;
    int64_t id; /* what 404 names */
};
void own_begin_order(struct flow *flow, int64_t order_id);
void own_got_reply(struct flow *flow, struct call *call, const struct reply *reply);

/* Answers 403 and ends if ${user}, which the client named, is not the buyer for whom it acts; .at NULL: it named none. Else only ends. */
void own_end_by_user(struct flow *flow, struct view user);

#endif
