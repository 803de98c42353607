#ifndef AUDIT_HOLDS_H
#define AUDIT_HOLDS_H

#include "flow.h"

/*
 * A product with so many holds that reading them in one call would stop its shard: they are read page by page, and compared with the counters if the
 * stock did not change meanwhile. It is tried a few times; a product that never stands still is only looked at for its pairs.
 *
 *   AUDIT_HOLDS ─▶ … ─▶ AUDIT_HOLDS, the last page ─┬─ the same version throughout: compared ─▶ end
 *                                                   └─ another: again, at most so many times ─▶ end
 */
struct holds_audit {
    int64_t product_id, holds, live[2]; /* live: of the holds, those held and those committed */
    struct view wrong; /* what is wrong with it, empty: nothing */
    struct reply failure;
    bool failed; /* it did not answer; ${failure} says why */
};

/*
 * The child. ${take} is given the live holds of each page, as audit_stock lists them, and adds to ${live} how many are held, and how many committed.
 */
struct flow *audit_holds_new(struct flow *parent, int64_t product_id,
                             void (*take)(struct flow *parent, const struct item *list, int64_t now_ms, int64_t live[2]));
const struct holds_audit *audit_holds_result(const struct flow *child);

#endif
