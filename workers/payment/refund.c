#include <stddef.h>

#include "check.h"
#include "log.h"

#include "functions.h"
#include "outcomes.h"
#include "records.h"
#include "refusal.h"

#include "payment.h"

/*
 * POST /payments/{id}/refunds: the payment (currency, gateway's name) ─▶ REFUND ─▶ gateway ─▶ REFUND_RESULT ─▶ the refund's record ─▶ answer
 *                                                                        └ decided before by this key ────────▶
 * GET /payments/{id}/refunds: the payment ─▶ its refunds' records ─▶ answer
 */
enum refund_state { LOADING, BEGINNING, ASKING, RECORDING, SHOWING };

struct refunding {
    struct flow flow;
    enum refund_state state;
    unsigned partition;
    int64_t payment_id, n;
    struct payment payment;
    struct view status; /* of the refund, as the answer shows it */
    bool replayed;
};

static const struct field REFUND_FIELDS[] = {
    {.name = "amount", .type = FIELD_MONEY_TEXT, .offset = offsetof(struct refund_body, amount), .given = offsetof(struct refund_body, has_amount)},
    {.name = "reason", .type = FIELD_TEXT, .offset = offsetof(struct refund_body, reason), .min = 0, .max = 255},
};
const struct shape REFUND_BODY = {.name = "refund", .fields = REFUND_FIELDS, .count = 2, .size = sizeof(struct refund_body)};

/* ---- one refund's record ---- */

struct refund {
    int64_t number, amount, created_ms;
    struct view status, reason;
};

/* refundN: "status|amount|created|op|ikey|updated|reason". Texts are borrowed. Returns false if it is damaged. */
static bool refund_parse(struct view text, int64_t number, struct refund *refund)
{
    enum { STATUS, AMOUNT, CREATED, OP, IKEY, UPDATED, REASON, PARTS };
    struct view parts[PARTS];
    long long amount, created;
    if (split_bars(text, parts, PARTS) != PARTS || !view_to_int(parts[AMOUNT], &amount) || !view_to_int(parts[CREATED], &created))
        return false;
    *refund = (struct refund){.number = number, .amount = amount, .created_ms = created, .status = parts[STATUS], .reason = parts[REASON]};
    return true;
}

static void refund_write(struct writer *w, const struct refund *refund, const struct payment *payment)
{
    writer_map(w, 8);
    WRITER_INT(w, "number", refund->number);
    WRITER_INT(w, "payment_id", payment->id);
    WRITER_INT(w, "order_id", payment->order_id);
    WRITER_MONEY(w, "amount", refund->amount, payment->digits);
    WRITER_TEXT(w, "currency", payment->currency);
    WRITER_TEXT(w, "status", refund->status);
    WRITER_TEXT(w, "reason", refund->reason);
    WRITER_TIME(w, "created_at", refund->created_ms);
    writer_end(w);
}

/* ---- what both begin with ---- */

static void load(struct flow *flow)
{
    struct refunding *refunding = (struct refunding *)flow;
    refunding->payment_id = flow->ask->ids[0];
    refunding->partition = topology_partition_of_id(flow->world->topology, refunding->payment_id);
    flow_call(flow, payment_call(flow->arena, refunding->partition, refunding->payment_id, NULL), 0, 0);
}

/* Returns false after having answered and ended. */
static bool got_payment(struct refunding *refunding, const struct reply *reply)
{
    struct flow *flow = &refunding->flow;
    enum payment_found found = PAYMENT_ABSENT;
    if (reply->kind != REPLY_OK) {
        end_failed(flow, reply, "reading the payment");
        return false;
    }
    found = payment_from_reply(flow->arena, reply, refunding->payment_id, &refunding->payment);
    if (found == PAYMENT_ABSENT)
        end_no_payment(flow, refunding->payment_id);
    else if (found == PAYMENT_DAMAGED)
        end_broken(flow, "payment", refunding->payment_id);
    return found == PAYMENT_FOUND;
}

/* ---- POST ---- */

static void call_refund(struct refunding *refunding)
{
    struct flow *flow = &refunding->flow;
    const struct refund_body *body = flow->ask->body;
    struct txn_key key = txn_key(flow->arena, flow->ask, arena_printf(flow->arena, "POST /payments/%lld/refunds", (long long)refunding->payment_id));
    int64_t amount;
    bool has_amount = body && body->has_amount;
    if (has_amount && !amount_read(flow, body->amount, refunding->payment.digits, &amount))
        return;
    struct call *call = payment_function(flow->arena, &FN_REFUND, refunding->partition, refunding->payment_id);
    call_arg(call, view_of(key.hash));
    call_arg(call, view_of(key.fingerprint));
    if (has_amount)
        call_arg_int(call, amount);
    else
        call_arg(call, VIEW(""));
    call_arg(call, body && body->reason.at ? body->reason : VIEW(""));
    call_arg(call, flow->ask->request_id);
    call_arg_int(call, due_of_errand_ms(flow));
    refunding->state = BEGINNING;
    flow_call(flow, call, 0, 0);
}

/* The places of refund's answer. */
enum { BEGUN_N, BEGUN_AMOUNT, BEGUN_CURRENCY, BEGUN_OP, BEGUN_CREATED };

static void got_begun(struct refunding *refunding, const struct reply *reply)
{
    struct flow *flow = &refunding->flow;
    struct gateway_errand *errand = gateway_errand_new(flow->arena, GATEWAY_REFUND, refunding->payment_id, reply_text(reply, BEGUN_OP));
    errand->amount = reply_int(reply, BEGUN_AMOUNT);
    errand->ref = refunding->payment.gateway_ref;
    refunding->n = reply_int(reply, BEGUN_N);
    refunding->state = ASKING;
    flow_errand(flow, &errand->base);
}

static void refund_got_errand(struct flow *flow, struct errand *base)
{
    struct refunding *refunding = (struct refunding *)flow;
    CHECK(refunding->state == ASKING);
    refunding->state = RECORDING;
    flow_call(flow, refund_result_call(flow, refunding->partition, refunding->payment_id, refunding->n, (struct gateway_errand *)base), 0, 0);
}

static void show(struct refunding *refunding, struct view status)
{
    struct flow *flow = &refunding->flow;
    refunding->state = SHOWING;
    refunding->status = arena_copy(flow->arena, status);
    struct view field = arena_printf(flow->arena, "refund%lld", (long long)refunding->n);
    flow_call(flow, payment_call(flow->arena, refunding->partition, refunding->payment_id, field.at), 0, 0);
}

static void answer_above(struct refunding *refunding, int64_t refundable)
{
    struct flow *flow = &refunding->flow;
    struct writer *w =
        answer_problem(flow, &OUTCOME_UNPROCESSABLE, 1, "this amount cannot be refunded; \"refundable\" is what is left of the payment");
    WRITER_MONEY(w, "refundable", refundable, refunding->payment.digits);
    writer_end(w);
    answer_send(flow);
}

static void answer_illegal(struct refunding *refunding, struct view status)
{
    struct flow *flow = &refunding->flow;
    struct view copy = arena_copy(flow->arena, status);
    struct writer *w = answer_problem(flow, &OUTCOME_ILLEGAL_TRANSITION, 1, "payment %lld cannot be refunded: it is %.*s",
                                      (long long)refunding->payment_id, VIEW_ARG(copy));
    WRITER_TEXT(w, "payment_status", copy);
    writer_end(w);
    answer_send(flow);
}

static void got_refused(struct refunding *refunding, const struct reply *answer)
{
    struct flow *flow = &refunding->flow;
    struct reply refusal = refusal_open(flow, answer);
    const struct reply *reply = &refusal;
    switch (reply->code) {
    case CODE_REPLAY:
        refunding->n = reply_int(reply, 0);
        refunding->replayed = true;
        show(refunding, reply_text(reply, 1));
        return;
    case CODE_IN_FLIGHT:
        end_in_flight(flow);
        return;
    case CODE_KEY_REUSED:
        end_key_reused(flow);
        return;
    case CODE_NOT_FOUND:
        end_no_payment(flow, refunding->payment_id);
        return;
    case CODE_ILLEGAL:
        answer_illegal(refunding, reply_text(reply, 0));
        break;
    case CODE_AMOUNT:
        answer_above(refunding, reply_int(reply, 0));
        break;
    default:
        end_broken(flow, "refunding payment", refunding->payment_id);
        return;
    }
    flow_end(flow);
}

/* The places of refund_result's answer. */
enum { RESULT_V, RESULT_STATUS, RESULT_PAYMENT_STATUS, RESULT_REFUND_STATUS };

static void got_result(struct refunding *refunding, const struct reply *reply)
{
    struct flow *flow = &refunding->flow;
    if (reply->kind == REPLY_OK) {
        show(refunding, reply_text(reply, RESULT_REFUND_STATUS));
    } else if (reply->kind == REPLY_REFUSED && reply->code == CODE_ALREADY) {
        show(refunding, reply_text(reply, 0)); /* the reconciler was faster */
    } else {
        answer_refuse(flow, &OUTCOME_UNKNOWN,
                      "the gateway was asked, and recording its answer failed: the outcome of refund %lld will be known shortly; send the same "
                      "request again with the same key",
                      (long long)refunding->n);
        flow_end(flow);
    }
}

static int status_of(struct view status)
{
    return view_equal(status, VIEW("succeeded")) ? 201 : view_equal(status, VIEW("failed")) ? 402 : 202;
}

static void got_record(struct refunding *refunding, const struct reply *reply)
{
    struct flow *flow = &refunding->flow;
    struct refund refund;
    if (reply->kind != REPLY_OK) {
        answer_refuse(flow, &OUTCOME_UNKNOWN, "refund %lld has its outcome, but reading it failed: %s; send the same request again with the same key",
                      (long long)refunding->n, reply->why);
    } else if (!refund_parse(payment_more(reply), refunding->n, &refund)) {
        end_broken(flow, "a refund of payment", refunding->payment_id);
        return;
    } else {
        refund.status = refunding->status;
        refund_write(answer_begin(flow, status_of(refund.status)), &refund, &refunding->payment);
        answer_header(flow, "Location", "/payments/%lld/refunds", (long long)refunding->payment_id);
        if (refunding->replayed)
            answer_replayed(flow);
        answer_send(flow);
    }
    flow_end(flow);
}

static void refund_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct refunding *refunding = (struct refunding *)flow;
    switch (refunding->state) {
    case LOADING:
        if (got_payment(refunding, reply))
            call_refund(refunding);
        break;
    case BEGINNING:
        if (reply->kind == REPLY_OK)
            got_begun(refunding, reply);
        else if (reply->kind == REPLY_REFUSED)
            got_refused(refunding, reply);
        else
            end_failed(flow, reply, "beginning the refund");
        break;
    case ASKING:
        CHECK(!"no call is under way");
        break;
    case RECORDING:
        got_result(refunding, reply);
        break;
    case SHOWING:
        got_record(refunding, reply);
    }
}

const struct flow_type REFUND_FLOW = {
    .name = "refund", .size = sizeof(struct refunding), .start = load, .got_reply = refund_got_reply, .got_errand = refund_got_errand};

/* ---- GET ---- */

static void answer_list(struct refunding *refunding, const struct reply *reply)
{
    struct flow *flow = &refunding->flow;
    size_t count = (size_t)refunding->payment.refunds;
    struct refund *refunds = ARENA_ARRAY(flow->arena, struct refund, count + 1);
    for (size_t i = 0; i < count; i++)
        if (!refund_parse(reply_text(reply, i), (int64_t)i + 1, &refunds[i])) {
            end_broken(flow, "a refund of payment", refunding->payment_id);
            return;
        }
    struct writer *w = answer_begin(flow, 200);
    writer_list(w, count);
    for (size_t i = 0; i < count; i++)
        refund_write(w, &refunds[i], &refunding->payment);
    writer_end(w);
    answer_send(flow);
    flow_end(flow);
}

static void call_refunds(struct refunding *refunding)
{
    struct flow *flow = &refunding->flow;
    struct call *call = call_command(flow->arena, "HMGET", refunding->partition);
    call_arg(call, arena_printf(flow->arena, "payment:{%u}:%lld", refunding->partition, (long long)refunding->payment_id));
    for (int64_t n = 1; n <= refunding->payment.refunds; n++)
        call_arg(call, arena_printf(flow->arena, "refund%lld", (long long)n));
    refunding->state = SHOWING;
    flow_call(flow, call, 0, 0);
}

static void list_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct refunding *refunding = (struct refunding *)flow;
    if (refunding->state == SHOWING && reply->kind != REPLY_OK) {
        end_failed(flow, reply, "reading the refunds");
    } else if (refunding->state == SHOWING) {
        answer_list(refunding, reply);
    } else if (got_payment(refunding, reply)) {
        if (refunding->payment.refunds > 0)
            call_refunds(refunding);
        else
            answer_list(refunding, reply);
    }
}

const struct flow_type REFUND_LIST_FLOW = {.name = "list refunds", .size = sizeof(struct refunding), .start = load, .got_reply = list_got_reply};
