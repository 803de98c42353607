#include <stddef.h>

#include "money.h"

#include "functions.h"
#include "outcomes.h"
#include "records.h"

#include "operation.h"

/*
 * POST /payments: the intent is stored first, with the key that the gateway will be asked by.
 *
 *   amount given: order's currency ─▶ PAY ─┬─▶ the operation (operation.h): gateway, result, answer, confirm
 *                                          ├─ decided before by this key: shown as it was
 *                                          └─ refused: 404, 409, 422
 */
struct pay {
    struct operation operation; /* first */
    bool manual;
    struct view token, currency;
};

enum { TAG_CURRENCY, TAG_PAY };

static const struct field PAY_FIELDS[] = {
    {.name = "order_id", .type = FIELD_INT, .offset = offsetof(struct pay_body, order_id), .required = true, .min = 1, .max = MONEY_MAX},
    {.name = "amount", .type = FIELD_MONEY_TEXT, .offset = offsetof(struct pay_body, amount), .given = offsetof(struct pay_body, has_amount)},
    {.name = "capture", .type = FIELD_TEXT, .offset = offsetof(struct pay_body, capture), .choices = "automatic|manual"},
    {.name = "method", .type = FIELD_ANY, .offset = offsetof(struct pay_body, method), .required = true},
};
const struct shape PAY_BODY = {
    .name = "payment", .fields = PAY_FIELDS, .count = sizeof(PAY_FIELDS) / sizeof(*PAY_FIELDS), .size = sizeof(struct pay_body)};

static const struct operation_kind PAY_KIND = {.done = "succeeded|authorized", .status = 201};

struct method_body {
    struct view token;
};
static const struct field METHOD_FIELDS[] = {
    {.name = "token", .type = FIELD_TEXT, .offset = offsetof(struct method_body, token), .required = true, .min = 1, .max = 255},
};
static const struct shape METHOD = {.name = "method", .fields = METHOD_FIELDS, .count = 1, .size = sizeof(struct method_body)};

/* Returns false after having answered 422 and ended. */
static bool method_read(struct flow *flow, const struct value *method, struct view *token)
{
    struct method_body body = {{NULL, 0}};
    struct faults faults;
    faults_init(&faults, flow->arena);
    if (!shape_read(&METHOD, method, &body, flow->arena, &faults)) {
        end_member(flow, arena_printf(flow->arena, "/method%.*s", VIEW_ARG(faults.first->pointer)).at,
                   arena_copy(flow->arena, faults.first->message).at);
        return false;
    }
    *token = body.token;
    return true;
}

static struct view pay_doc(struct arena *arena, struct view token)
{
    const struct payment_doc doc = {.schema = SCHEMA, .token = token};
    return record_store(&PAYMENT_DOC, arena, &doc);
}

static void call_pay(struct pay *pay, struct view amount)
{
    struct flow *flow = &pay->operation.flow;
    const struct pay_body *body = flow->ask->body;
    struct call *call = call_function(flow->arena, &FN_PAY, pay->operation.partition);
    call_keyf(call, "order:{%u}:%lld", pay->operation.partition, (long long)body->order_id);
    call_arg_int(call, pay->operation.partition);
    call_arg_int(call, body->order_id);
    call_arg(call, view_of(pay->operation.key.hash));
    call_arg(call, view_of(pay->operation.key.fingerprint));
    call_arg(call, amount);
    call_arg(call, pay->manual ? VIEW("authorize") : VIEW("charge"));
    call_arg(call, pay->manual ? VIEW("manual") : VIEW("automatic"));
    call_arg(call, pay_doc(flow->arena, pay->token));
    call_arg(call, flow->ask->request_id);
    call_arg_int(call, due_of_errand_ms(flow));
    flow_call(flow, call, TAG_PAY, 0);
}

static void pay_start(struct flow *flow)
{
    struct pay *pay = (struct pay *)flow;
    const struct pay_body *body = flow->ask->body;
    if (!method_read(flow, &body->method, &pay->token))
        return;
    pay->manual = view_equal(body->capture, VIEW("manual"));
    pay->operation.kind = &PAY_KIND;
    pay->operation.partition = topology_partition_of_id(flow->world->topology, body->order_id);
    pay->operation.key = txn_key(flow->arena, flow->ask, arena_printf(flow->arena, "POST /payments %lld", (long long)body->order_id));
    if (!body->has_amount) {
        call_pay(pay, VIEW(""));
        return;
    }
    struct call *call = call_command(flow->arena, "HGET", pay->operation.partition);
    call_arg(call, arena_printf(flow->arena, "order:{%u}:%lld", pay->operation.partition, (long long)body->order_id));
    call_arg(call, VIEW("currency"));
    flow_call(flow, call, TAG_CURRENCY, 0);
}

static void end_no_order(struct pay *pay)
{
    const struct pay_body *body = pay->operation.flow.ask->body;
    answer_refuse(&pay->operation.flow, &OUTCOME_NOT_FOUND, "there is no order %lld", (long long)body->order_id);
    flow_end(&pay->operation.flow);
}

static void got_currency(struct pay *pay, const struct reply *reply)
{
    struct flow *flow = &pay->operation.flow;
    const struct pay_body *body = flow->ask->body;
    int64_t amount;
    if (reply->kind != REPLY_OK) {
        end_failed(flow, reply, "reading the order");
    } else if (reply_item(reply, 0)->type == ITEM_NIL) {
        end_no_order(pay);
    } else {
        pay->currency = arena_copy(flow->arena, reply_text(reply, 0));
        int digits = money_digits(pay->currency);
        if (digits < 0)
            end_broken(flow, "the currency of order", body->order_id);
        else if (amount_read(flow, body->amount, digits, &amount))
            call_pay(pay, arena_printf(flow->arena, "%lld", (long long)amount));
    }
}

/* The places of pay's answer. */
enum { PAID_ID, PAID_AMOUNT, PAID_CURRENCY, PAID_CREATED, PAID_V, PAID_OP };

static void got_paid(struct pay *pay, const struct reply *reply)
{
    struct operation *operation = &pay->operation;
    struct arena *arena = operation->flow.arena;
    operation->payment_id = reply_int(reply, PAID_ID);
    operation->op = arena_copy(arena, reply_text(reply, PAID_OP));
    struct gateway_errand *errand = gateway_errand_new(arena, pay->manual ? GATEWAY_AUTHORIZE : GATEWAY_CHARGE, operation->payment_id, operation->op);
    errand->amount = reply_int(reply, PAID_AMOUNT);
    errand->currency = arena_copy(arena, reply_text(reply, PAID_CURRENCY));
    errand->token = pay->token;
    operation_ask(operation, errand);
}

static void answer_total_changed(struct pay *pay, int64_t total)
{
    struct flow *flow = &pay->operation.flow;
    struct writer *w = answer_problem(flow, &OUTCOME_TOTAL_CHANGED, 1, "an order is paid in whole; \"total\" is what it costs");
    WRITER_MONEY(w, "total", total, money_digits(pay->currency));
    writer_end(w);
    answer_send(flow);
}

static void answer_open(struct pay *pay, int64_t payment_id)
{
    struct flow *flow = &pay->operation.flow;
    struct writer *w =
        answer_problem(flow, &OUTCOME_PAYMENT_OPEN, 1, "payment %lld of this order is not decided; wait for it, or void it", (long long)payment_id);
    WRITER_INT(w, "payment_id", payment_id);
    writer_end(w);
    answer_send(flow);
}

static void answer_illegal(struct pay *pay, const struct reply *reply)
{
    struct flow *flow = &pay->operation.flow;
    const struct pay_body *body = flow->ask->body;
    struct view state = arena_copy(flow->arena, reply_text(reply, 0)), payment_status = arena_copy(flow->arena, reply_text(reply, 1));
    struct writer *w = answer_problem(flow, &OUTCOME_ILLEGAL_TRANSITION, 2, "order %lld cannot be paid: it is %.*s, its payment %.*s",
                                      (long long)body->order_id, VIEW_ARG(state), VIEW_ARG(payment_status));
    WRITER_TEXT(w, "state", state);
    WRITER_TEXT(w, "payment_status", payment_status);
    writer_end(w);
    answer_send(flow);
}

/* Its time is over, whether or not somebody has expired it already. */
static void answer_expired(struct flow *flow, int64_t order_id)
{
    answer_refuse(flow, &OUTCOME_ORDER_EXPIRED, "the hold of order %lld is over; place a new order", (long long)order_id);
}

static void got_refused(struct pay *pay, const struct reply *reply)
{
    struct flow *flow = &pay->operation.flow;
    const struct pay_body *body = flow->ask->body;
    switch (reply->code) {
    case CODE_REPLAY:
        pay->operation.payment_id = reply_int(reply, 0);
        operation_replay(&pay->operation, reply_int(reply, 1), body->order_id);
        return;
    case CODE_IN_FLIGHT:
        end_in_flight(flow);
        return;
    case CODE_KEY_REUSED:
        end_key_reused(flow);
        return;
    case CODE_NOT_FOUND:
        end_no_order(pay);
        return;
    case CODE_ILLEGAL:
        if (view_equal(reply_text(reply, 0), VIEW("expired")))
            answer_expired(flow, body->order_id);
        else
            answer_illegal(pay, reply);
        break;
    case CODE_PAYMENT_OPEN:
        answer_open(pay, reply_int(reply, 0));
        break;
    case CODE_EXPIRED:
        answer_expired(flow, body->order_id);
        break;
    case CODE_AMOUNT:
        if (!body->has_amount) {
            end_broken(flow, "the total of order", body->order_id); /* nothing was claimed about it */
            return;
        }
        answer_total_changed(pay, reply_int(reply, 0));
        break;
    default:
        end_broken(flow, "paying order", body->order_id);
        return;
    }
    flow_end(flow);
}

static void pay_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct pay *pay = (struct pay *)flow;
    if (pay->operation.state != OPERATION_BEGINNING)
        operation_got_reply(&pay->operation, reply);
    else if (call->tag == TAG_CURRENCY)
        got_currency(pay, reply);
    else if (reply->kind == REPLY_OK)
        got_paid(pay, reply);
    else if (reply->kind == REPLY_REFUSED)
        got_refused(pay, reply);
    else
        end_failed(flow, reply, "beginning the payment");
}

const struct flow_type PAY_FLOW = {
    .name = "pay",
    .size = sizeof(struct pay),
    .start = pay_start,
    .got_reply = pay_got_reply,
    .got_child = operation_got_child,
    .got_errand = operation_got_errand,
};
