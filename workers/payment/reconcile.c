#include "log.h"

#include "duty.h"
#include "functions.h"

#include "payment.h"

/*
 * What is left to do for a payment, as payment_read says: nobody waits for it, anybody may do it at any time, twice does no harm.
 *
 *   PAYMENT_READ ─┬─ reconcile ────────────────────────────────────▶ gateway: settle the operation's key ─▶ PAY_RESULT ─┐
 *                 ├─ void ──────────────▶ PAY_ACT (without a key) ─▶ gateway: void ───────────────────────▶ PAY_RESULT ─┤
 *                 ├─ reconcile_refund n ───────────────────────────▶ gateway: settle the refund's key ───▶ REFUND_RESULT ┤
 *                 ├─ refund ────────────▶ REFUND (without a key) ──▶ gateway: refund ────────────────────▶ REFUND_RESULT ┤
 *                 └─ none ───────────────────────────────────────────────────────────────────────────────────────────────┤
 *                                                                             order paid: its duty ◀────────────────────┤
 *                                                                                  end ◀── PAY_DONE ◀────────────────────┘
 * When anything fails it ends; the sweep names the payment again.
 */
enum reconcile_state { READING, BEGINNING, ASKING, RECORDING, CONFIRMING, CLOSING };

struct reconcile {
    struct flow flow;
    enum reconcile_state state;
    unsigned partition;
    int64_t payment_id, n; /* n: which refund; 0: the payment's own operation */
    struct view op, gateway_ref;
};

static void reconcile_start(struct flow *flow)
{
    struct reconcile *reconcile = (struct reconcile *)flow;
    flow_call(flow, payment_function(flow->arena, &FN_PAYMENT_READ, reconcile->partition, reconcile->payment_id), 0, 0);
}

static void close_duty(struct reconcile *reconcile)
{
    reconcile->state = CLOSING;
    flow_call(&reconcile->flow, payment_function(reconcile->flow.arena, &FN_PAY_DONE, reconcile->partition, reconcile->payment_id), 0, 0);
}

static void ask(struct reconcile *reconcile, enum gateway_op op, struct view payment_op, int64_t amount)
{
    struct flow *flow = &reconcile->flow;
    struct gateway_errand *errand = gateway_errand_new(flow->arena, op, reconcile->payment_id, payment_op);
    errand->ref = reconcile->gateway_ref;
    errand->amount = amount;
    reconcile->op = arena_copy(flow->arena, payment_op);
    reconcile->state = ASKING;
    flow_errand(flow, &errand->base);
}

/* A void or a refund that nobody asked for: without hash and fingerprint of a key. */
static void begin(struct reconcile *reconcile, bool refund)
{
    struct flow *flow = &reconcile->flow;
    struct call *call = payment_function(flow->arena, refund ? &FN_REFUND : &FN_PAY_ACT, reconcile->partition, reconcile->payment_id);
    call_arg(call, VIEW(""));
    call_arg(call, VIEW(""));
    if (!refund)
        call_arg(call, VIEW("void"));
    call_arg(call, VIEW(""));
    if (refund)
        call_arg(call, VIEW("the order ended"));
    call_arg(call, VIEW(""));
    call_arg_int(call, due_of_errand_ms(flow));
    reconcile->n = refund ? -1 : 0;
    reconcile->state = BEGINNING;
    flow_call(flow, call, 0, 0);
}

/* The places of payment_read's answer. */
enum {
    READ_NOW,
    READ_DUTY,
    READ_DUTY_N,
    READ_STATUS,
    READ_V,
    READ_ORDER_ID,
    READ_AMOUNT,
    READ_CURRENCY,
    READ_CAPTURED,
    READ_REFUNDED,
    READ_REFUNDING,
    READ_OP,
    READ_CAPTURE,
    READ_CREATED,
    READ_UPDATED,
    READ_GATEWAY_REF
};

static void got_payment(struct reconcile *reconcile, const struct reply *reply)
{
    struct arena *arena = reconcile->flow.arena;
    struct view duty = reply_text(reply, READ_DUTY);
    reconcile->gateway_ref = arena_copy(arena, reply_text(reply, READ_GATEWAY_REF));
    reconcile->n = reply_int(reply, READ_DUTY_N);
    if (view_equal(duty, VIEW("reconcile")))
        ask(reconcile, GATEWAY_SETTLE, reply_text(reply, READ_OP), 0);
    else if (view_equal(duty, VIEW("reconcile_refund")))
        ask(reconcile, GATEWAY_SETTLE, arena_printf(arena, "refund:%lld", (long long)reconcile->n), 0);
    else if (view_equal(duty, VIEW("void")) || view_equal(duty, VIEW("refund")))
        begin(reconcile, view_equal(duty, VIEW("refund")));
    else
        close_duty(reconcile);
}

/* The places of pay_act's and of refund's answer. */
enum { ACTED_AMOUNT, ACTED_CURRENCY, ACTED_V, ACTED_OP };
enum { BEGUN_N, BEGUN_AMOUNT, BEGUN_CURRENCY, BEGUN_OP };

static void got_begun(struct reconcile *reconcile, const struct reply *reply)
{
    if (reply->kind == REPLY_REFUSED) {
        close_duty(reconcile); /* somebody else has begun it, or it is not needed any more */
    } else if (reconcile->n == 0) {
        ask(reconcile, GATEWAY_VOID, reply_text(reply, ACTED_OP), 0);
    } else {
        reconcile->n = reply_int(reply, BEGUN_N);
        ask(reconcile, GATEWAY_REFUND, reply_text(reply, BEGUN_OP), reply_int(reply, BEGUN_AMOUNT));
    }
}

static void reconcile_got_errand(struct flow *flow, struct errand *base)
{
    struct reconcile *reconcile = (struct reconcile *)flow;
    const struct gateway_errand *errand = (const struct gateway_errand *)base;
    reconcile->state = RECORDING;
    if (reconcile->n)
        flow_call(flow, refund_result_call(flow, reconcile->partition, reconcile->payment_id, reconcile->n, errand), 0, 0);
    else
        flow_call(flow, pay_result_call(flow, reconcile->partition, reconcile->payment_id, reconcile->op, errand, VIEW("")), 0, 0);
}

/* The places of pay_result's answer. */
enum { RESULT_V, RESULT_STATUS, RESULT_ORDER_ID, RESULT_ORDER_STATE };

static void got_result(struct reconcile *reconcile, const struct reply *reply)
{
    struct flow *flow = &reconcile->flow;
    if (reply->kind == REPLY_REFUSED && reply->code != CODE_ALREADY)
        log_error("payment %lld: what the gateway says of %.*s was refused by its record (code %d); run `soukctl audit`",
                  (long long)reconcile->payment_id, VIEW_ARG(reconcile->op), reply->code);
    if (reply->kind == REPLY_OK && reconcile->n == 0 && view_equal(reply_text(reply, RESULT_ORDER_STATE), VIEW("paid"))) {
        reconcile->state = CONFIRMING;
        flow_spawn(flow, duty_new(flow, reply_int(reply, RESULT_ORDER_ID)), 0, 0);
        return;
    }
    close_duty(reconcile);
}

static void reconcile_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct reconcile *reconcile = (struct reconcile *)flow;
    bool answered = reply->kind == REPLY_OK || reply->kind == REPLY_REFUSED;
    if (answered && reconcile->state == READING && reply->kind == REPLY_OK)
        got_payment(reconcile, reply);
    else if (answered && reconcile->state == READING)
        close_duty(reconcile); /* there is no such payment: nothing can be due */
    else if (answered && reconcile->state == BEGINNING)
        got_begun(reconcile, reply);
    else if (answered && reconcile->state == RECORDING)
        got_result(reconcile, reply);
    else
        flow_end(flow);
}

static void reconcile_got_child(struct flow *flow, struct flow *child)
{
    close_duty((struct reconcile *)flow);
}

static const struct flow_type RECONCILE = {
    .name = "reconcile",
    .size = sizeof(struct reconcile),
    .start = reconcile_start,
    .got_reply = reconcile_got_reply,
    .got_child = reconcile_got_child,
    .got_errand = reconcile_got_errand,
};

struct flow *reconcile_new(struct flow *parent, int64_t payment_id)
{
    struct flow *flow = flow_new(parent->arena, &RECONCILE, parent->world, parent->ask);
    struct reconcile *reconcile = (struct reconcile *)flow;
    reconcile->payment_id = payment_id;
    reconcile->partition = topology_partition_of_id(parent->world->topology, payment_id);
    return flow;
}
