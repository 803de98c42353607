#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "verdict_internal.h"

#define P PRId64

static bool is(const char *word, const char *other)
{
    return strcmp(word, other) == 0;
}

static bool is_one_of(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (is(*list, word))
            return true;
    return false;
}

/* ---- states and versions of an order ---- */

static const char *const ENDS[] = {"fulfilled", "cancelled", "expired", NULL};
static const struct {
    const char *from, *to;
} EDGES[] = {{"reserved", "paid"}, {"reserved", "cancelled"}, {"reserved", "expired"}, {"paid", "cancelled"}, {"paid", "fulfilled"}};

static bool is_edge(const char *from, const char *to)
{
    for (size_t i = 0; i < sizeof(EDGES) / sizeof(*EDGES); i++)
        if (is(EDGES[i].from, from) && is(EDGES[i].to, to))
            return true;
    return false;
}

static void judge_states(struct verdict *verdict, const struct stored_order *order)
{
    const char *before = "reserved";
    for (size_t i = 0; i < order->version_count; i++) {
        const struct order_version *version = &order->versions[i];
        verdict_want(verdict, RULE_TERMINAL, is(before, version->state) || (!is_one_of(before, ENDS) && is_edge(before, version->state)),
                     "order %" P " went from %s to %s in version %zu", order->id, before, version->state, i + 1);
        before = version->state;
    }
    verdict_want(verdict, RULE_VERSIONS, order->v >= 1 && (size_t)order->v == order->version_count,
                 "order %" P " has version %" P " and %zu entries of history", order->id, order->v, order->version_count);
    if (order->version_count)
        verdict_want(verdict, RULE_VERSIONS,
                     is(before, order->state) && is(order->versions[order->version_count - 1].payment_status, order->payment_status),
                     "order %" P " is %s and %s, its last entry of history is not", order->id, order->state, order->payment_status);
}

static void judge_events(struct verdict *verdict, const struct stored_order *order)
{
    size_t told = 0;
    for (size_t i = 0; i < order->version_count; i++)
        told += order->versions[i].told;
    verdict_want(verdict, RULE_EVENTS, told == order->version_count && order->events == order->version_count,
                 "order %" P " has %zu versions, %u events, of which %zu agree", order->id, order->version_count, order->events, told);
}

/* ---- money ---- */

/* What the gateway did for one payment. */
struct account {
    int64_t captured, refunded;
    unsigned captures;
};

static int by_payment(const void *a, const void *b)
{
    const struct journal_entry *left = a, *right = b;
    return left->payment != right->payment ? (left->payment < right->payment ? -1 : 1) : strcmp(left->key, right->key);
}

static struct account account_of(const struct journal_entry *journal, size_t count, int64_t payment)
{
    struct account account = {0, 0, 0};
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (journal[middle].payment < payment)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < count && journal[low].payment == payment; low++) {
        bool capture = is(journal[low].op, "charge") || is(journal[low].op, "capture");
        account.captures += capture;
        account.captured += capture ? journal[low].amount : 0;
        account.refunded += is(journal[low].op, "refund") ? journal[low].amount : 0;
    }
    return account;
}

static void judge_payment(struct verdict *verdict, const struct stored_payment *payment, const struct account *account)
{
    verdict_want(verdict, RULE_REFUND, payment->captured == account->captured && payment->refunded == account->refunded,
                 "payment %" P " has %" P " captured and %" P " refunded, the gateway %" P " and %" P, payment->id, payment->captured,
                 payment->refunded, account->captured, account->refunded);
    verdict_want(verdict, RULE_CHARGE, account->captures <= 1 && (account->captures == 0 || account->captured == payment->amount),
                 "payment %" P " of %" P " was taken %u times, %" P " in all", payment->id, payment->amount, account->captures, account->captured);
    verdict_want(verdict, RULE_VERSIONS, payment->v >= 1 && (size_t)payment->v == payment->version_count,
                 "payment %" P " has version %" P " and %zu entries of history", payment->id, payment->v, payment->version_count);
    verdict_want(verdict, RULE_STUCK,
                 !is(payment->status, "processing") && !is(payment->status, "unknown") && payment->refunds_open == 0 && !payment->due,
                 "payment %" P " is %s with %u refunds that are not decided%s", payment->id, payment->status, payment->refunds_open,
                 payment->due ? ", and has a duty" : "");
}

/* Sums of the payments of one order: what the gateway took and gave back. */
struct bill {
    int64_t captured, refunded;
    unsigned captures;
};

static void judge_bill(struct verdict *verdict, const struct stored_order *order, const struct bill *bill)
{
    static const char *const WITH_MONEY[] = {"paid", "fulfilled", NULL};
    static const char *const LET_GO[] = {"cancelled", "expired", NULL};
    bool with_money = is_one_of(order->state, WITH_MONEY);
    verdict_want(verdict, RULE_CHARGE, bill->captures <= 1, "order %" P " was charged %u times", order->id, bill->captures);
    if (with_money)
        verdict_want(verdict, RULE_CHARGE, bill->captures == 1 && bill->captured == order->total,
                     "order %" P " of %" P " is %s, and %" P " was charged", order->id, order->total, order->state, bill->captured);
    if (is(order->state, "reserved"))
        verdict_want(verdict, RULE_CHARGE, bill->captures == 0, "order %" P " is reserved, and %" P " was charged", order->id, bill->captured);
    if (is_one_of(order->state, LET_GO))
        verdict_want(verdict, RULE_REFUND, bill->captured == bill->refunded, "order %" P " is %s, and %" P " was charged and %" P " given back",
                     order->id, order->state, bill->captured, bill->refunded);
    const char *status = bill->refunded == 0 ? "paid" : bill->refunded == bill->captured ? "refunded" : "partially_refunded";
    verdict_want(verdict, RULE_REFUND, bill->captures == 0 || is(order->payment_status, status),
                 "order %" P " is %s: of %" P " charged, %" P " was given back", order->id, order->payment_status, bill->captured, bill->refunded);
}

static void judge_money(struct verdict *verdict, const struct evidence *evidence)
{
    struct bill *bills = calloc(evidence->order_count + 1, sizeof(*bills));
    struct journal_entry *journal = calloc(evidence->journal_count + 1, sizeof(*journal));
    for (size_t i = 0; i < evidence->journal_count; i++)
        journal[i] = evidence->journal[i];
    qsort(journal, evidence->journal_count, sizeof(*journal), by_payment);
    for (size_t i = 0; i < evidence->journal_count; i++) {
        const struct journal_entry *entry = &journal[i];
        verdict_want(verdict, RULE_CHARGE, evidence_payment(evidence, entry->payment) != NULL, "the gateway has %s for a payment that is not there",
                     entry->key);
        verdict_want(verdict, RULE_CHARGE, i == 0 || by_payment(entry - 1, entry) != 0, "the gateway's journal has %s twice", entry->key);
    }
    for (size_t i = 0; i < evidence->payment_count; i++) {
        const struct stored_payment *payment = &evidence->payments[i];
        const struct account account = account_of(journal, evidence->journal_count, payment->id);
        const struct stored_order *order = evidence_order(evidence, payment->order);
        judge_payment(verdict, payment, &account);
        if (!verdict_want(verdict, RULE_CHARGE, order != NULL, "payment %" P " is of order %" P ", which is not there", payment->id, payment->order))
            continue;
        bills[order - evidence->orders].captured += account.captured;
        bills[order - evidence->orders].refunded += account.refunded;
        bills[order - evidence->orders].captures += account.captures;
    }
    for (size_t i = 0; i < evidence->order_count; i++)
        judge_bill(verdict, &evidence->orders[i], &bills[i]);
    free(journal);
    free(bills);
}

void judge_orders(struct verdict *verdict, const struct history *history, const struct evidence *evidence)
{
    for (size_t i = 0; i < evidence->order_count; i++) {
        const struct stored_order *order = &evidence->orders[i];
        judge_states(verdict, order);
        judge_events(verdict, order);
        verdict_want(verdict, RULE_STUCK,
                     !order->due && !is(order->payment_status, "pending") && !is(order->payment_status, "refund_due") &&
                         (!is(order->state, "reserved") || order->expires_ms + EVIDENCE_SLACK_MS > order->now_ms),
                     "order %" P " is %s and %s%s, %" P " ms before it expires", order->id, order->state, order->payment_status,
                     order->due ? ", and has a duty" : "", order->expires_ms - order->now_ms);
    }
    judge_money(verdict, evidence);
}
