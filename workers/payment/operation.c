#include "check.h"
#include "log.h"

#include "duty.h"
#include "functions.h"

#include "operation.h"

static void operation_move(struct operation *operation, enum operation_state to)
{
    static const unsigned from[] = {
        [OPERATION_BEGINNING] = 0,
        [OPERATION_ASKING] = 1 << OPERATION_BEGINNING,
        [OPERATION_RECORDING] = 1 << OPERATION_ASKING,
        [OPERATION_SHOWING] = 1 << OPERATION_BEGINNING | 1 << OPERATION_RECORDING,
        [OPERATION_CONFIRMING] = 1 << OPERATION_SHOWING,
    };
    CHECK(from[to] & 1U << operation->state);
    operation->state = to;
}

void operation_ask(struct operation *operation, struct gateway_errand *errand)
{
    operation_move(operation, OPERATION_ASKING);
    flow_errand(&operation->flow, &errand->base);
}

void operation_got_errand(struct flow *flow, struct errand *base)
{
    struct operation *operation = (struct operation *)flow;
    operation_move(operation, OPERATION_RECORDING);
    struct view hash = view_of(operation->key.hash);
    flow_call(flow, pay_result_call(flow, operation->partition, operation->payment_id, operation->op, (struct gateway_errand *)base, hash), 0, 0);
}

static void show(struct operation *operation, int64_t version)
{
    struct flow *flow = &operation->flow;
    operation_move(operation, OPERATION_SHOWING);
    operation->version = version;
    struct view history = arena_printf(flow->arena, "e%lld", (long long)version);
    flow_call(flow, payment_call(flow->arena, operation->partition, operation->payment_id, history.at), 0, 0);
}

void operation_replay(struct operation *operation, int64_t version, int64_t order_id)
{
    operation->replayed = true;
    operation->paid_order = order_id;
    show(operation, version);
}

/* The places of pay_result's answer. */
enum { RESULT_V, RESULT_STATUS, RESULT_ORDER_ID, RESULT_ORDER_STATE, RESULT_PAYMENT_STATUS, RESULT_AGE };

/* Money was or was not moved, and the client cannot be told: whatever kind of failure it was, the outcome is unknown. */
static void end_unknown(struct operation *operation, const char *what)
{
    answer_refuse(&operation->flow, &OUTCOME_UNKNOWN,
                  "the gateway was asked, and %s: the outcome of payment %lld will be known shortly; send the same request again with the same key",
                  what, (long long)operation->payment_id);
    flow_end(&operation->flow);
}

static void got_result(struct operation *operation, const struct reply *reply)
{
    if (reply->kind == REPLY_NOT_SENT || reply->kind == REPLY_UNKNOWN) {
        end_unknown(operation, "recording its answer failed");
    } else if (reply->kind == REPLY_OK) {
        if (view_equal(reply_text(reply, RESULT_ORDER_STATE), VIEW("paid")))
            operation->paid_order = reply_int(reply, RESULT_ORDER_ID);
        show(operation, reply_int(reply, RESULT_V));
    } else if (reply->code == CODE_ALREADY) {
        show(operation, reply_int(reply, RESULT_V)); /* the reconciler was faster */
    } else {
        log_error("payment %lld: the gateway's answer to %.*s was refused by its record (code %d)", (long long)operation->payment_id,
                  VIEW_ARG(operation->op), reply->code);
        end_unknown(operation, "its answer does not fit the payment");
    }
}

static int status_of(const struct operation *operation, struct view status)
{
    if (is_one_of(operation->kind->done, status))
        return operation->kind->status;
    return payment_under_way(status) ? 202 : 402;
}

static void answer_payment(struct operation *operation, const struct payment *payment)
{
    struct flow *flow = &operation->flow;
    int status = status_of(operation, payment->status);
    payment_write(answer_begin(flow, status), payment);
    answer_header(flow, "ETag", "\"v%lld\"", (long long)payment->version);
    if (operation->kind->status == 201)
        answer_header(flow, "Location", "/payments/%lld", (long long)payment->id);
    if (operation->replayed)
        answer_replayed(flow);
    answer_send(flow);
}

/* The client has its answer; what the order owes to the stock is done now, rather than by a sweep. */
static void confirm(struct operation *operation)
{
    operation_move(operation, OPERATION_CONFIRMING);
    if (operation->paid_order)
        flow_spawn(&operation->flow, duty_new(&operation->flow, operation->paid_order), 0, 0);
    else
        flow_end(&operation->flow);
}

static void got_record(struct operation *operation, const struct reply *reply)
{
    struct payment payment;
    struct flow *flow = &operation->flow;
    if (reply->kind != REPLY_OK) {
        answer_refuse(flow, &OUTCOME_UNKNOWN,
                      "payment %lld has its outcome, but reading it failed: %s; send the same request again with the same key",
                      (long long)operation->payment_id, reply->why);
    } else if (payment_from_reply(flow->arena, reply, operation->payment_id, &payment) != PAYMENT_FOUND ||
               !payment_as_of(&payment, operation->version, payment_more(reply))) {
        log_error("payment %lld, version %lld: the record is damaged; look at it with `soukctl get`", (long long)operation->payment_id,
                  (long long)operation->version);
        answer_refuse(flow, &OUTCOME_BROKEN, "payment %lld cannot be understood by this worker", (long long)operation->payment_id);
    } else {
        if (operation->replayed && !view_equal(payment.status, VIEW("succeeded")))
            operation->paid_order = 0;
        answer_payment(operation, &payment);
    }
    confirm(operation);
}

void operation_got_reply(struct operation *operation, const struct reply *reply)
{
    if (operation->state == OPERATION_RECORDING)
        got_result(operation, reply);
    else
        got_record(operation, reply);
}

void operation_got_child(struct flow *flow, struct flow *child)
{
    flow_end(flow);
}
