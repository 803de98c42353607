#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verdict_internal.h"

#define P PRId64

/* ---- what the store says each operation has done ---- */

struct effects {
    /* By the operation's number: orders, payments, and versions of orders or payments, or entries of ledgers, or imported products. */
    unsigned *placed, *paid, *moved;
    unsigned *lines; /* of an import, those that are in the catalogue: bit n is line n */
    int64_t *id;     /* of the order or payment that it made */
};

static void effects_free(struct effects *effects)
{
    free(effects->placed);
    free(effects->paid);
    free(effects->moved);
    free(effects->lines);
    free(effects->id);
}

/* Is there an operation of this number, that may have done this? An effect without one was invented. */
static bool attribute(struct verdict *verdict, const struct history *history, uint32_t number, const char *what, int64_t id)
{
    return verdict_want(verdict, RULE_ONE_EFFECT, op_at(history, number) != NULL,
                        "%s %" P " comes from no request that anybody sent (operation %" PRIu32 ")", what, id, number);
}

static void gather_orders(struct effects *effects, struct verdict *verdict, const struct history *history, const struct evidence *evidence)
{
    for (size_t i = 0; i < evidence->order_count; i++) {
        const struct stored_order *order = &evidence->orders[i];
        for (size_t n = 0; n < order->version_count; n++) {
            uint32_t number = order->versions[n].op;
            if ((number == 0 && n > 0) || !attribute(verdict, history, number, "order", order->id))
                continue;
            effects->moved[number]++;
            if (n == 0) {
                effects->placed[number]++;
                effects->id[number] = order->id;
                verdict_want(verdict, RULE_ONE_EFFECT, op_at(history, number)->kind == OP_PLACE, "order %" P " was placed by a %s", order->id,
                             op_kind_name(op_at(history, number)->kind));
            }
        }
    }
}

static void gather_payments(struct effects *effects, struct verdict *verdict, const struct history *history, const struct evidence *evidence)
{
    for (size_t i = 0; i < evidence->payment_count; i++) {
        const struct stored_payment *payment = &evidence->payments[i];
        for (size_t n = 0; n < payment->version_count; n++) {
            uint32_t number = payment->versions[n].op;
            if ((number == 0 && n > 0) || !attribute(verdict, history, number, "payment", payment->id))
                continue;
            effects->moved[number]++;
            if (n == 0) {
                effects->paid[number]++;
                effects->id[number] = payment->id;
            }
        }
    }
}

static void gather_adjustments(struct effects *effects, struct verdict *verdict, const struct history *history, const struct evidence *evidence)
{
    for (size_t i = 0; i < evidence->product_count; i++)
        for (size_t n = 0; n < evidence->products[i].move_count; n++) {
            const struct move *move = &evidence->products[i].moves[n];
            if (strcmp(move->kind, "adjust") == 0 && attribute(verdict, history, move->op, "an adjustment of product", evidence->products[i].id))
                effects->moved[move->op]++;
        }
}

static void gather_imports(struct effects *effects, struct verdict *verdict, const struct history *history, const struct evidence *evidence)
{
    for (size_t i = 0; i < evidence->imported_count; i++) {
        const struct imported *product = &evidence->imported[i];
        if (!attribute(verdict, history, product->op, "imported product", product->id))
            continue;
        const struct op *op = op_at(history, product->op);
        bool asked = op->kind == OP_IMPORT && product->line < op->units;
        if (!verdict_want(verdict, RULE_ONE_EFFECT, asked, "product %" P " is line %u of operation %" PRIu32 ", a %s, which has no such line",
                          product->id, product->line, product->op, op_kind_name(op->kind)))
            continue;
        if (!verdict_want(verdict, RULE_ONE_EFFECT, !(effects->lines[product->op] & 1u << product->line),
                          "line %u of import %" PRIu32 " is product %" P ", and another one as well", product->line, product->op, product->id))
            continue;
        verdict_want(verdict, RULE_CONSERVATION, product->on_hand == IMPORTED_UNITS, "imported product %" P " has %" P " units, not %d", product->id,
                     product->on_hand, IMPORTED_UNITS);
        effects->lines[product->op] |= 1u << product->line;
        effects->moved[product->op]++;
    }
}

/* The last change of a product's attributes is one that somebody has asked for, of this product. */
static void judge_patches(struct verdict *verdict, const struct history *history, const struct evidence *evidence)
{
    for (size_t i = 0; i < evidence->product_count; i++) {
        const struct stored_product *product = &evidence->products[i];
        const struct op *op = op_at(history, product->patched_by);
        if (product->patched_by)
            verdict_want(verdict, RULE_ONE_EFFECT, op && op->kind == OP_PATCH && op->target == product->id,
                         "product %" P " was changed by operation %" PRIu32 ", which has not asked for that", product->id, product->patched_by);
    }
}

static struct effects gather(struct verdict *verdict, const struct history *history, const struct evidence *evidence)
{
    size_t room = history->op_count + 1;
    struct effects effects = {.placed = calloc(room, sizeof(unsigned)),
                              .paid = calloc(room, sizeof(unsigned)),
                              .moved = calloc(room, sizeof(unsigned)),
                              .lines = calloc(room, sizeof(unsigned)),
                              .id = calloc(room, sizeof(int64_t))};
    gather_orders(&effects, verdict, history, evidence);
    gather_payments(&effects, verdict, history, evidence);
    gather_adjustments(&effects, verdict, history, evidence);
    gather_imports(&effects, verdict, history, evidence);
    return effects;
}

/* ---- acknowledged, refused, once ---- */

static void words_of_order(const struct order_version *version, char *words, size_t size)
{
    snprintf(words, size, "%s|%s", version->state, version->payment_status);
}

static void words_of_payment(const struct payment_version *version, char *words, size_t size)
{
    snprintf(words, size, "%s|%" P "|%" P, version->status, version->captured, version->refunded);
}

static const struct stored_product *product_of(const struct evidence *evidence, int64_t id)
{
    for (size_t i = 0; i < evidence->product_count; i++)
        if (evidence->products[i].id == id)
            return &evidence->products[i];
    return NULL;
}

/* What the store has for that version of that record; false: it has no such version. */
static bool words_at(const struct evidence *evidence, enum record_kind record, int64_t id, int64_t v, char *words, size_t size)
{
    const struct stored_order *order = record == RECORD_ORDER ? evidence_order(evidence, id) : NULL;
    const struct stored_payment *payment = record == RECORD_PAYMENT ? evidence_payment(evidence, id) : NULL;
    const struct stored_product *product = record == RECORD_STOCK ? product_of(evidence, id) : NULL;
    if (order && v >= 1 && (size_t)v <= order->version_count) {
        words_of_order(&order->versions[v - 1], words, size);
    } else if (payment && v >= 1 && (size_t)v <= payment->version_count) {
        words_of_payment(&payment->versions[v - 1], words, size);
    } else if (product && v >= 1 && (size_t)v <= product->move_count) {
        const struct move *move = &product->moves[v - 1];
        snprintf(words, size, "%" P "|%" P "|%" P, move->on_hand, move->held, move->committed);
    } else {
        return false;
    }
    return true;
}

static const char *const RECORD_NAMES[] = {"order", "payment", "stock of product"};

/* Every answer that showed a record in some version: the store has that version, with the same words. */
static void judge_sights(struct verdict *verdict, const struct history *history, const struct evidence *evidence)
{
    char words[96];
    for (size_t i = 0; i < history->sight_count; i++) {
        const struct sight *sight = &history->sights[i];
        bool there = words_at(evidence, sight->record, sight->id, sight->version, words, sizeof(words));
        verdict_want(verdict, RULE_ACKNOWLEDGED, there && content_of(words) == sight->content,
                     "operation %" PRIu32 " (%s) was shown version %" P " of %s %" P ", %s", sight->op,
                     op_at(history, sight->op) ? op_kind_name(op_at(history, sight->op)->kind) : "?", sight->version, RECORD_NAMES[sight->record],
                     sight->id, there ? "which the store has with another content" : "which the store has not");
    }
}

/* The refund that an answer named; NULL: there is none. */
static const char *refund_status(const struct evidence *evidence, const struct op *op)
{
    const struct stored_payment *payment = evidence_payment(evidence, op->target);
    return payment && op->id >= 1 && (size_t)op->id <= payment->refund_count ? payment->refunds[op->id - 1] : NULL;
}

/* What was acknowledged names its operation in the store: the record it made, or the version it made of one. */
static void judge_done(struct verdict *verdict, const struct op *op, const struct effects *effects, const struct evidence *evidence)
{
    uint32_t number = op->number;
    if (op->kind == OP_PLACE || op->kind == OP_PAY) {
        verdict_want(verdict, RULE_ACKNOWLEDGED, effects->id[number] == op->id,
                     "operation %" PRIu32 " (%s) was answered %d with id %" P ", and its record is %" P, number, op_kind_name(op->kind), op->status,
                     op->id, effects->id[number]);
    } else if (op->kind == OP_REFUND) {
        const char *status = refund_status(evidence, op);
        bool told = strcmp(op->code, "succeeded") == 0;
        verdict_want(verdict, RULE_ACKNOWLEDGED, effects->moved[number] >= 1 && status && (!told || strcmp(status, "succeeded") == 0),
                     "operation %" PRIu32 ": refund %" P " of payment %" P " was %s, and is %s", number, op->id, op->target, op->code,
                     status ? status : "not there");
    } else if (op->kind == OP_ADJUST) {
        verdict_want(verdict, RULE_ACKNOWLEDGED, effects->moved[number] == 1,
                     "operation %" PRIu32 ": the adjustment of product %" P " is in its ledger %u times", number, op->target, effects->moved[number]);
    } else if (op->kind == OP_IMPORT) {
        verdict_want(verdict, RULE_ACKNOWLEDGED, effects->moved[number] == op->units,
                     "operation %" PRIu32 ": of %" P " lines that were imported %u are in the catalogue", number, op->units, effects->moved[number]);
    }
    /* Capture, void, cancel and fulfil: the version that was shown is checked by judge_sights; another key may have done it before. */
}

/* What the gateway declined (402) is in the record, as failed; any other refusal leaves nothing. */
static void judge_refused(struct verdict *verdict, const struct op *op, const struct effects *effects, const struct evidence *evidence)
{
    uint32_t number = op->number;
    const char *status = "failed";
    if (op->status == 402 && op->kind == OP_REFUND) {
        status = refund_status(evidence, op);
    } else if (op->status == 402 && op->kind == OP_PAY) {
        const struct stored_payment *payment = evidence_payment(evidence, effects->id[number]);
        status = payment && payment->captured == 0 ? payment->status : NULL;
    }
    if (op->status == 402)
        verdict_want(verdict, RULE_REFUSED, status && strcmp(status, "failed") == 0,
                     "operation %" PRIu32 " (%s) was answered 402, and its record is %s", number, op_kind_name(op->kind),
                     status ? status : "not there, or money was taken");
    else
        verdict_want(verdict, RULE_REFUSED, effects->moved[number] == 0,
                     "operation %" PRIu32 " (%s) was refused with %d %s, and %u versions come from it", number, op_kind_name(op->kind), op->status,
                     op->code, effects->moved[number]);
}

static void judge_op(struct verdict *verdict, const struct op *op, const struct effects *effects, const struct evidence *evidence)
{
    uint32_t number = op->number;
    unsigned made = op->kind == OP_PLACE ? effects->placed[number] : op->kind == OP_PAY ? effects->paid[number] : 0;
    verdict_want(verdict, RULE_ONE_EFFECT, made <= 1, "operation %" PRIu32 " (%s) made %u records", number, op_kind_name(op->kind), made);
    verdict_want(verdict, RULE_STUCK, op->decision != UNDECIDED, "operation %" PRIu32 " (%s) is still undecided after %u attempts", number,
                 op_kind_name(op->kind), op->attempts);
    if (op->decision == DONE)
        judge_done(verdict, op, effects, evidence);
    /* "Not now" says nothing about an attempt whose answer was lost. */
    if (op->decision == KEPT_NO || op->decision == NO || (op->decision == NOT_NOW && !op->lost_sight))
        judge_refused(verdict, op, effects, evidence);
}

/* ---- linearizable ---- */

/*
 * A history of one record is linearizable if each operation can be given a moment between its sending and its answer, so that all of them, done one
 * after another at their moments, would have been answered as they were (Herlihy and Wing). Finding the moments is a search in general (Wing and
 * Gong; Lowe's and Porcupine's cut it down), record by record, since histories of different records can be judged apart (P-compositionality).
 *
 * Here the search is not needed, because every state carries its version, and the store has the versions' order, 1, 2, …, each made by one write. All
 * that is open is the moment m(v) when each version came to be, with m(1) ≤ m(2) ≤ …. What was answered bounds it:
 *
 *   a read that was sent at s and saw v:           at s it was not yet past v in every case, so s ≤ m(v+1);
 *   any answer that came at g and showed v:        m(v) ≤ g;
 *   the operation that made v was first sent at s: s ≤ m(v).
 *
 * There are such moments exactly when no lower bound of a version lies above an upper bound of the same or a later one: then m(v) = the highest
 * lower bound up to v will do, and each read of v finds a place between m(v) and m(v+1), since each of the two ends meets its bound.
 */
struct bound {
    int64_t least_us, most_us;
    uint32_t least_op, most_op;
};

static void judge_bounds(struct verdict *verdict, const struct bound *bounds, size_t count, const char *name, int64_t id)
{
    struct bound most = {.most_us = INT64_MAX};
    struct bound *later = calloc(count + 2, sizeof(*later));
    int64_t least_us = 0;
    uint32_t least_op = 0;
    for (size_t v = count; v >= 1; v--) {
        if (bounds[v].most_us < most.most_us)
            most = bounds[v];
        later[v] = most;
    }
    for (size_t v = 1; v <= count; v++) {
        if (bounds[v].least_us > least_us) {
            least_us = bounds[v].least_us;
            least_op = bounds[v].least_op;
        }
        if (!verdict_want(verdict, RULE_LINEARIZABLE, least_us <= later[v].most_us,
                          "%s %" P ": version %zu was there %" P " us before it can have been: operation %" PRIu32
                          " saw it or a later one, operation %" PRIu32 " says it was not yet",
                          name, id, v, least_us - later[v].most_us, later[v].most_op, least_op))
            break;
    }
    free(later);
}

/* The sights of one record, in bounds of its versions 1 … ${count}. */
static void bound_by_sights(struct bound *bounds, size_t count, const struct sight *sights, size_t sight_count)
{
    for (size_t i = 0; i < sight_count; i++) {
        const struct sight *sight = &sights[i];
        if (sight->version < 1 || (size_t)sight->version > count)
            continue; /* judge_sights tells that */
        struct bound *bound = &bounds[sight->version], *next = bound + 1;
        if (sight->got_us < bound->most_us) {
            bound->most_us = sight->got_us;
            bound->most_op = sight->op;
        }
        if (sight->read && (size_t)sight->version < count && sight->sent_us > next->least_us) {
            next->least_us = sight->sent_us;
            next->least_op = sight->op;
        }
    }
}

static uint32_t maker_of(const struct evidence *evidence, enum record_kind record, int64_t id, size_t v)
{
    if (record == RECORD_ORDER)
        return evidence_order(evidence, id)->versions[v - 1].op;
    return record == RECORD_PAYMENT ? evidence_payment(evidence, id)->versions[v - 1].op : product_of(evidence, id)->moves[v - 1].op;
}

static size_t versions_of(const struct evidence *evidence, enum record_kind record, int64_t id)
{
    const struct stored_order *order = record == RECORD_ORDER ? evidence_order(evidence, id) : NULL;
    const struct stored_payment *payment = record == RECORD_PAYMENT ? evidence_payment(evidence, id) : NULL;
    const struct stored_product *product = record == RECORD_STOCK ? product_of(evidence, id) : NULL;
    return order ? order->version_count : payment ? payment->version_count : product ? product->move_count : 0;
}

static void judge_record(struct verdict *verdict, const struct history *history, const struct evidence *evidence, const struct sight *sights,
                         size_t sight_count)
{
    enum record_kind record = sights[0].record;
    size_t count = versions_of(evidence, record, sights[0].id);
    struct bound *bounds = calloc(count + 2, sizeof(*bounds));
    for (size_t v = 1; v <= count; v++) {
        const struct op *maker = op_at(history, maker_of(evidence, record, sights[0].id, v));
        bounds[v] = (struct bound){.least_us = maker ? maker->first_sent_us : 0, .most_us = INT64_MAX, .least_op = maker ? maker->number : 0};
    }
    bound_by_sights(bounds, count, sights, sight_count);
    judge_bounds(verdict, bounds, count, RECORD_NAMES[record], sights[0].id);
    free(bounds);
}

static int by_record(const void *a, const void *b)
{
    const struct sight *left = a, *right = b;
    if (left->record != right->record)
        return left->record < right->record ? -1 : 1;
    return (left->id > right->id) - (left->id < right->id);
}

static void judge_linearizable(struct verdict *verdict, const struct history *history, const struct evidence *evidence)
{
    struct sight *sights = calloc(history->sight_count + 1, sizeof(*sights));
    for (size_t i = 0; i < history->sight_count; i++)
        sights[i] = history->sights[i];
    qsort(sights, history->sight_count, sizeof(*sights), by_record);
    for (size_t first = 0, next; first < history->sight_count; first = next) {
        for (next = first + 1; next < history->sight_count && by_record(&sights[first], &sights[next]) == 0;)
            next++;
        judge_record(verdict, history, evidence, &sights[first], next - first);
    }
    free(sights);
}

/* ---- what was noticed while it ran ---- */

static void judge_noticed(struct verdict *verdict, enum rule rule, uint64_t checked, uint64_t wrong, char *const *texts)
{
    for (uint64_t i = 0; i < wrong; i++)
        verdict_want(verdict, rule, false, "%s", i < MISMATCHES_MAX && texts[i] ? texts[i] : "another");
    verdict->rules[rule].checked += checked - wrong;
}

static bool was_disturbed(const struct history *history, const struct unanswered *request)
{
    for (size_t i = 0; i < history->disturbance_count; i++) {
        const struct disturbance *other = &history->disturbances[i];
        if (other->worker == request->worker && other->from_us <= request->until_us && other->until_us >= request->sent_us)
            return true;
    }
    return false;
}

/*
 * A worker answers within its deadline, which is shorter than a client's patience: 503 or 504 at worst, whatever its shards and lines do. Nor does it
 * close a connection on which a request has come.
 */
static void judge_unanswered(struct verdict *verdict, const struct history *history)
{
    for (size_t i = 0; i < history->unanswered_count; i++) {
        const struct unanswered *request = &history->unanswered[i];
        verdict_want(verdict, RULE_ANSWERS, was_disturbed(history, request),
                     "%s: worker %d ran all the time, and %s after %" P " ms (from %" P " us)", request->what, request->worker,
                     request->silence == HUNG_UP ? "hung up" : "was silent still", (request->until_us - request->sent_us) / 1000, request->sent_us);
    }
}

void judge_answers(struct verdict *verdict, const struct history *history, const struct evidence *evidence)
{
    struct effects effects = gather(verdict, history, evidence);
    for (size_t i = 0; i < history->op_count; i++)
        if (op_is_post(history->ops[i]->kind))
            judge_op(verdict, history->ops[i], &effects, evidence);
    judge_patches(verdict, history, evidence);
    judge_sights(verdict, history, evidence);
    judge_linearizable(verdict, history, evidence);
    judge_noticed(verdict, RULE_REFUSED, history->insisted, history->taken_back, history->taken_back_text);
    judge_noticed(verdict, RULE_REPLAYS, history->replays, history->mismatches, history->mismatch);
    judge_noticed(verdict, RULE_ANSWERS, history->attempts + history->bad_requests + history->rushed, history->broken, history->broken_text);
    judge_unanswered(verdict, history);
    effects_free(&effects);
}
