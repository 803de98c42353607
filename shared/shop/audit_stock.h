#ifndef AUDIT_STOCK_H
#define AUDIT_STOCK_H

#include "flow.h"

/*
 * The products of a partition and their holds, a page of products after the other, each in steps of one round trip:
 *
 *   ┌ TIME, index ─▶ how many holds ─▶ stock and holds, places in asks:{p} ─▶ AUDIT_STOCK about what is not sure ┐ ─▶ end
 *   └──────────────────────────────────────── next page ◀─────────────────────────────────────────────────────────┘
 *
 * A product with very many holds is left to audit_holds.h.
 */
struct stock_result {
    int64_t products, holds, live[2]; /* live: of the holds, those held and those committed */
    struct reply failure;
    bool failed; /* for want of an answer; ${failure} says why */
};

/* The child of an audit. */
struct flow *audit_stock_new(struct flow *audit, unsigned partition);
const struct stock_result *audit_stock_result(const struct flow *child);

#endif
