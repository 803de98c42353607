#ifndef AUDIT_INTERNAL_H
#define AUDIT_INTERNAL_H

#include "audit.h"

/*
 * What the files of the audit share. Each partition's records are read by child flows, which hand what they find to the audit that they are children
 * of.
 *
 *   audit.c        the audit: which partitions, pairs that cross shards, what found no partner, the answer
 *   audit_stock.c  the products of a partition            (child)        audit_holds.c  one product with very many holds (child)
 *   audit_walk.c   the orders of a partition and its feed (child)        audit_feed.c   the feed counted anew            (child)
 *   audit_order.c  one order as the worker judges it                     audit_facts.c  what it goes by
 *   audit_places.c indexes read whole, and who must stand in one
 *
 * The children read by plain commands, many in one write, since a function costs the shard several times as much for each record. What one of these
 * reads at one moment and another one later need not fit. So nothing that is read so is a violation: whatever does not look right is asked again, of
 * audit_stock and audit_orders, which see everything at one moment. The other way round, what looks right is right:
 *
 *   a product  its counters and holds are one answer, and the end of its ledger names the version of the counters
 *   an order   is asked about if it, or the feed, says that it moved since the walk of its partition began; else all was read of one version
 *   a payment  the same, as far as it was compared with what was read before it; its version is read once more behind what is read behind it
 */
void audit_violation(struct flow *audit, enum audit_kind kind, struct view text);
/* What a function has found: a list of texts. */
void audit_take_violations(struct flow *audit, const struct item *list);
/*
 * A hold or mark, from its text phase|quantity|partition of its order|when|since. Returns false if it is none; txn and product_id are the caller's.
 */
struct audit_hold {
    struct view txn;
    int64_t product_id, quantity, when_ms, since_ms;
    unsigned order_partition;
    bool live, committed; /* it is held or committed; it is committed */
};
bool audit_hold_read(struct view text, struct audit_hold *hold);
/* A live one, for its pair. Texts are copied. */
void audit_take_hold(struct flow *audit, const struct audit_hold *hold, int64_t now_ms);
/* The document of an order, with ${live} also its lines for their pairs; ${settled}: it is paid and has no duty. Texts are copied. */
void audit_take_lines(struct flow *audit, int64_t order_id, struct view txn, struct view document, bool live, bool settled);
/* Is the audit to end before its time? Then its children ask for nothing more. */
bool audit_stopping(const struct flow *audit);

struct facts *audit_facts(struct flow *audit);

/* Reads an integer as int.read in lua/lib/int.lua does. Returns false if ${text} is none. */
static inline bool audit_number(struct view text, int64_t *out)
{
    long long number;

    if (!view_to_int(text, &number) || number > 9007199254740991)
        return false;
    *out = number;
    return true;
}

#endif
