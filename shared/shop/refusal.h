#ifndef REFUSAL_H
#define REFUSAL_H

#include "flow.h"

/*
 * Refusals that stay with the request's Idempotency-Key (lua/lib/idem.lua). The function answers REFUSED, again, the id of the request that was told
 * so, and behind them the refusal as it would be without a key, its code first.
 *
 *   REFUSED 0 r-1 ILLEGAL reserved none     it is kept from now on          ─▶ the problem, which says how durable that is
 *   REFUSED 1 r-1 ILLEGAL reserved none     it was kept when r-1 was told   ─▶ the same bytes, and Idempotent-Replayed
 */

/*
 * The refusal inside ${reply}, to be read like any other, and ${flow} made ready to answer it; ${reply} itself if it is another answer. Valid as long
 * as
 * ${reply}.
 */
struct reply refusal_open(struct flow *flow, const struct reply *reply);

#endif
