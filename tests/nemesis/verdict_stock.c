#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "verdict_internal.h"

#define P PRId64

static bool is(const char *word, const char *other)
{
    return strcmp(word, other) == 0;
}

/* ---- the ledger of one product: each entry follows from the one before it ---- */

static const struct {
    const char *kind;
    int on_hand, held, committed;
} EFFECTS[] = {
    {"create", 1, 0, 0},   {"adjust", 1, 0, 0},   {"hold", 0, 1, 0},      {"commit", 0, -1, 1},
    {"release", 0, -1, 0}, {"restock", 0, 0, -1}, {"consume", -1, -1, 0}, {"consume", -1, 0, -1},
};

static bool follows(const struct move *before, const struct move *move)
{
    for (size_t i = 0; i < sizeof(EFFECTS) / sizeof(*EFFECTS); i++)
        if (is(EFFECTS[i].kind, move->kind) && move->on_hand == before->on_hand + EFFECTS[i].on_hand * move->quantity &&
            move->held == before->held + EFFECTS[i].held * move->quantity &&
            move->committed == before->committed + EFFECTS[i].committed * move->quantity)
            return true;
    return false;
}

static void judge_ledger(struct verdict *verdict, const struct stored_product *product, const struct beginning *beginning)
{
    struct move before = {.v = 0};
    for (size_t i = 0; i < product->move_count; i++) {
        const struct move *move = &product->moves[i];
        verdict_want(verdict, RULE_VERSIONS, move->v == before.v + 1, "product %" P ": version %" P " of the ledger follows %" P, product->id,
                     move->v, before.v);
        verdict_want(verdict, RULE_CONSERVATION, follows(&before, move),
                     "product %" P " version %" P " (%s of %" P "): %" P " on hand, %" P " held, %" P " committed do not follow from %" P ", %" P
                     ", %" P,
                     product->id, move->v, move->kind, move->quantity, move->on_hand, move->held, move->committed, before.on_hand, before.held,
                     before.committed);
        verdict_want(verdict, RULE_OVERSELL, move->held >= 0 && move->committed >= 0 && move->on_hand >= move->held + move->committed,
                     "product %" P " version %" P ": %" P " on hand, but %" P " held and %" P " committed", product->id, move->v, move->on_hand,
                     move->held, move->committed);
        before = *move;
    }
    verdict_want(verdict, RULE_CONSERVATION,
                 product->move_count > 0 && is(product->moves[0].kind, "create") && product->moves[0].quantity == beginning->units,
                 "product %" P ": its ledger does not begin with %" P " units", product->id, beginning->units);
    verdict_want(
        verdict, RULE_CONSERVATION,
        product->on_hand == before.on_hand && product->held == before.held && product->committed == before.committed && product->v == before.v,
        "product %" P ": its counters %" P ", %" P ", %" P " (version %" P ") are not those of its ledger's end %" P ", %" P ", %" P " (%" P ")",
        product->id, product->on_hand, product->held, product->committed, product->v, before.on_hand, before.held, before.committed, before.v);
}

/* ---- what became of each transaction at each product ---- */

struct share {
    uint64_t txn;
    const struct stored_product *product;
    int64_t v, quantity;
    const char *kind;  /* of the last move */
    const char *phase; /* where that leaves it */
};

struct shares {
    struct share *list;
    size_t count;
};

static int by_txn(const void *a, const void *b)
{
    const struct share *left = a, *right = b;
    if (left->txn != right->txn)
        return left->txn < right->txn ? -1 : 1;
    if (left->product != right->product)
        return left->product < right->product ? -1 : 1;
    return (left->v > right->v) - (left->v < right->v);
}

/* Which move may come after which, and what it makes of the units. Each hold is resolved once. */
static const struct {
    const char *before, *kind, *phase;
} STEPS[] = {
    {"", "hold", "held"},
    {"held", "commit", "committed"},
    {"held", "release", "released"},
    {"held", "consume", "consumed"},
    {"committed", "restock", "released"},
    {"committed", "consume", "consumed"},
    {"released", "hold", "held"},
    {"consumed", "hold", "held again"},
    {"held again", "release", "consumed"},
};

static const char *step(const char *before, const char *kind)
{
    for (size_t i = 0; i < sizeof(STEPS) / sizeof(*STEPS); i++)
        if (is(STEPS[i].before, before) && is(STEPS[i].kind, kind))
            return STEPS[i].phase;
    return NULL;
}

/* Every move of a transaction, then one share for each transaction and product, in the order of transactions. */
static struct shares gather(struct verdict *verdict, const struct evidence *evidence)
{
    struct shares shares = {NULL, 0};
    size_t room = 1, out = 0;
    for (size_t i = 0; i < evidence->product_count; i++)
        room += evidence->products[i].move_count;
    shares.list = calloc(room, sizeof(*shares.list));
    for (size_t i = 0; i < evidence->product_count; i++)
        for (size_t n = 0; n < evidence->products[i].move_count; n++) {
            const struct move *move = &evidence->products[i].moves[n];
            if (move->txn)
                shares.list[shares.count++] = (struct share){move->txn, &evidence->products[i], move->v, move->quantity, move->kind, ""};
        }
    qsort(shares.list, shares.count, sizeof(*shares.list), by_txn);
    for (size_t i = 0; i < shares.count; i++) {
        struct share share = shares.list[i];
        bool first = out == 0 || shares.list[out - 1].txn != share.txn || shares.list[out - 1].product != share.product;
        const char *before = first ? "" : shares.list[out - 1].phase;
        share.phase = step(before, share.kind);
        verdict_want(verdict, RULE_ALL_OR_NOTHING, share.phase && (first || share.quantity == shares.list[out - 1].quantity),
                     "product %" P " version %" P ": %s of %" P " of a transaction that was \"%s\" there", share.product->id, share.v, share.kind,
                     share.quantity, before);
        share.phase = share.phase ? share.phase : "?";
        out += first;
        shares.list[out - 1] = share;
    }
    shares.count = out;
    return shares;
}

static struct share *shares_of(const struct shares *shares, uint64_t txn, size_t *count)
{
    size_t low = 0, high = shares->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (shares->list[middle].txn < txn)
            low = middle + 1;
        else
            high = middle;
    }
    for (*count = 0; low + *count < shares->count && shares->list[low + *count].txn == txn;)
        ++*count;
    return &shares->list[low];
}

/* ---- orders against the ledgers ---- */

static const char *phase_of_state(const char *state)
{
    return is(state, "reserved") ? "held" : is(state, "paid") ? "committed" : is(state, "fulfilled") ? "consumed" : "released";
}

static const struct share *share_at(const struct share *shares, size_t count, int64_t product)
{
    for (size_t i = 0; i < count; i++)
        if (shares[i].product->id == product)
            return &shares[i];
    return NULL;
}

/* What the buyer asked for is what his transaction did at each product, all of it as his order's state says. Marks the shares as an order's. */
static void judge_order(struct verdict *verdict, const struct op *op, const struct stored_order *order, const struct shares *shares)
{
    size_t count;
    struct share *mine = shares_of(shares, order->txn, &count);
    const char *phase = phase_of_state(order->state);
    verdict_want(verdict, RULE_ALL_OR_NOTHING, count == op->line_count, "order %" P " has %u lines, and %zu products in the ledgers", order->id,
                 op->line_count, count);
    for (unsigned i = 0; i < op->line_count; i++) {
        const struct share *share = share_at(mine, count, op->lines[i].product);
        verdict_want(verdict, RULE_ALL_OR_NOTHING, share && share->quantity == op->lines[i].quantity && is(share->phase, phase),
                     "order %" P " is %s: its %d units of product %" P " must be %s, and are %s (%" P ")", order->id, order->state,
                     op->lines[i].quantity, op->lines[i].product, phase, share ? share->phase : "not there", share ? share->quantity : 0);
    }
    for (size_t i = 0; i < count; i++)
        mine[i].kind = "";
}

static void judge_orphans(struct verdict *verdict, const struct shares *shares)
{
    for (size_t i = 0; i < shares->count; i++)
        if (shares->list[i].kind[0])
            verdict_want(verdict, RULE_ALL_OR_NOTHING, is(shares->list[i].phase, "released"),
                         "product %" P " version %" P ": %" P " units are %s for a transaction without an order", shares->list[i].product->id,
                         shares->list[i].v, shares->list[i].quantity, shares->list[i].phase);
}

/* ---- the sums: what came in, what went out, what is kept for whom ---- */

struct sums {
    int64_t on_hand, held, committed;
};

static void add_order(struct sums *sums, const struct evidence *evidence, const struct op *op, const struct stored_order *order)
{
    for (unsigned i = 0; i < op->line_count; i++)
        for (size_t n = 0; n < evidence->product_count; n++) {
            if (evidence->products[n].id != op->lines[i].product)
                continue;
            sums[n].held += is(order->state, "reserved") ? op->lines[i].quantity : 0;
            sums[n].committed += is(order->state, "paid") ? op->lines[i].quantity : 0;
            sums[n].on_hand -= is(order->state, "fulfilled") ? op->lines[i].quantity : 0;
        }
}

static void add_adjustments(struct sums *sums, const struct history *history, const struct evidence *evidence)
{
    for (size_t i = 0; i < history->op_count; i++) {
        const struct op *op = history->ops[i];
        for (size_t n = 0; n < evidence->product_count; n++)
            if (op->kind == OP_ADJUST && op->decision == DONE && evidence->products[n].id == op->target)
                sums[n].on_hand += op->units;
    }
}

static void judge_sums(struct verdict *verdict, const struct evidence *evidence, const struct sums *sums)
{
    for (size_t n = 0; n < evidence->product_count; n++) {
        const struct stored_product *product = &evidence->products[n];
        int64_t held = 0, committed = 0;
        for (size_t i = 0; i < product->hold_count; i++)
            *(is(product->holds[i].phase, "held") ? &held : &committed) += product->holds[i].quantity;
        verdict_want(verdict, RULE_CONSERVATION, product->held == held && product->committed == committed,
                     "product %" P ": %" P " held and %" P " committed, but its holds come to %" P " and %" P, product->id, product->held,
                     product->committed, held, committed);
        verdict_want(verdict, RULE_CONSERVATION,
                     product->on_hand == sums[n].on_hand && product->held == sums[n].held && product->committed == sums[n].committed,
                     "product %" P ": by orders and adjustments there must be %" P " on hand, %" P " held, %" P " committed; there are %" P ", %" P
                     ", %" P,
                     product->id, sums[n].on_hand, sums[n].held, sums[n].committed, product->on_hand, product->held, product->committed);
        verdict_want(verdict, RULE_OVERSELL, product->on_hand >= product->held + product->committed, "product %" P ": more is promised than there is",
                     product->id);
    }
}

void judge_stock(struct verdict *verdict, const struct history *history, const struct evidence *evidence, const struct beginning *beginning)
{
    struct sums *sums = calloc(evidence->product_count + 1, sizeof(*sums));
    struct shares shares = gather(verdict, evidence);
    for (size_t n = 0; n < evidence->product_count; n++) {
        judge_ledger(verdict, &evidence->products[n], beginning);
        sums[n].on_hand = beginning->units;
    }
    add_adjustments(sums, history, evidence);
    for (size_t i = 0; i < evidence->order_count; i++) {
        const struct stored_order *order = &evidence->orders[i];
        const struct op *op = order->version_count ? op_at(history, order->versions[0].op) : NULL;
        int64_t total = 0;
        if (op == NULL || op->kind != OP_PLACE)
            continue; /* judge_answers tells that */
        for (unsigned n = 0; n < op->line_count; n++)
            total += op->lines[n].quantity * beginning->price;
        verdict_want(verdict, RULE_ALL_OR_NOTHING, total == order->total, "order %" P " costs %" P ", its lines %" P, order->id, order->total, total);
        judge_order(verdict, op, order, &shares);
        add_order(sums, evidence, op, order);
    }
    judge_orphans(verdict, &shares);
    judge_sums(verdict, evidence, sums);
    free(shares.list);
    free(sums);
}
