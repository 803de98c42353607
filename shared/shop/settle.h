#ifndef SETTLE_H
#define SETTLE_H

#include "hold.h"

/*
 * Settles the holds of one product that are past their ask-after. Of one step of the look, all whose orders are on one shard are in one SETTLE, and
 * all that are kept in one KEEP (HOLDS_AT_ONCE at most):
 *
 *   LOOK ─▶ named T … ─▶ SETTLE at the order's partition ─┬─ reserved, time left ─▶ KEEP until then
 *    ▲                                                    ├─ reserved, time over ─▶ EXPIRE the order ─▶ RELEASE
 *    │                                                    └─ anything else        ─▶ CONFIRM, CONSUME or RELEASE
 *    └──────────────── cursor not at its end ◀─────────────────────────────────────────────┘
 *
 * A child flow: a buyer's TRY that was short spawns it, and so does the sweep, with the product's id as the key by which they join each other: when a
 * product is sold out, hundreds of buyers find at once that its holds may be asked about. Holds whose order cannot be asked now stay as they are.
 */
struct flow *settle_new(struct flow *parent, int64_t product_id);

/* After it ended: could every hold that was due be asked about? */
bool settle_complete(const struct flow *flow);

#endif
