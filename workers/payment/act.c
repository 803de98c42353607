#include <stddef.h>

#include "functions.h"
#include "outcomes.h"
#include "refusal.h"

#include "operation.h"

/*
 * POST /payments/{id}/capture and /void: what is authorized is taken or let go.
 *
 *   the payment (its currency, the gateway's name of it) ─▶ PAY_ACT ─┬─▶ the operation (operation.h)
 *                                                                    ├─ decided before by this key: shown as it was
 *                                                                    └─ refused: 404, 409, 422
 */
struct act {
    struct operation operation; /* first */
    const char *verb;           /* "capture" or "void" */
    struct payment payment;     /* as it was before */
};

enum { TAG_READ, TAG_ACT };

static const struct field ACT_FIELDS[] = {
    {.name = "amount", .type = FIELD_MONEY_TEXT, .offset = offsetof(struct act_body, amount), .given = offsetof(struct act_body, has_amount)},
};
const struct shape ACT_BODY = {.name = "capture", .fields = ACT_FIELDS, .count = 1, .size = sizeof(struct act_body)};

static const struct operation_kind CAPTURE_KIND = {.done = "succeeded", .status = 200};
static const struct operation_kind VOID_KIND = {.done = "voided|expired", .status = 200};

static void act_init(struct act *act, const char *verb, const struct operation_kind *kind)
{
    struct operation *operation = &act->operation;
    struct flow *flow = &operation->flow;
    int64_t id = flow->ask->ids[0];
    act->verb = verb;
    operation->kind = kind;
    operation->payment_id = id;
    operation->partition = topology_partition_of_id(flow->world->topology, id);
    operation->key = txn_key(flow->arena, flow->ask, arena_printf(flow->arena, "POST /payments/%lld/%s", (long long)id, verb));
    flow_call(flow, payment_call(flow->arena, operation->partition, id, NULL), TAG_READ, 0);
}

static void capture_start(struct flow *flow)
{
    act_init((struct act *)flow, "capture", &CAPTURE_KIND);
}

static void void_start(struct flow *flow)
{
    act_init((struct act *)flow, "void", &VOID_KIND);
}

static void call_act(struct act *act, struct view amount)
{
    struct operation *operation = &act->operation;
    struct flow *flow = &operation->flow;
    struct call *call = payment_function(flow->arena, &FN_PAY_ACT, operation->partition, operation->payment_id);
    call_arg(call, view_of(operation->key.hash));
    call_arg(call, view_of(operation->key.fingerprint));
    call_arg(call, view_of(act->verb));
    call_arg(call, amount);
    call_arg(call, flow->ask->request_id);
    call_arg_int(call, due_of_errand_ms(flow));
    flow_call(flow, call, TAG_ACT, 0);
}

static void got_payment(struct act *act, const struct reply *reply)
{
    struct operation *operation = &act->operation;
    struct flow *flow = &operation->flow;
    const struct act_body *body = flow->ask->body;
    int64_t amount;
    if (reply->kind != REPLY_OK) {
        end_failed(flow, reply, "reading the payment");
        return;
    }
    switch (payment_from_reply(flow->arena, reply, operation->payment_id, &act->payment)) {
    case PAYMENT_ABSENT:
        end_no_payment(flow, operation->payment_id);
        break;
    case PAYMENT_DAMAGED:
        end_broken(flow, "payment", operation->payment_id);
        break;
    case PAYMENT_FOUND:
        if (body == NULL || !body->has_amount)
            call_act(act, VIEW(""));
        else if (amount_read(flow, body->amount, act->payment.digits, &amount))
            call_act(act, arena_printf(flow->arena, "%lld", (long long)amount));
    }
}

/* The places of pay_act's answer. */
enum { ACTED_AMOUNT, ACTED_CURRENCY, ACTED_V, ACTED_OP, ACTED_DOC };

/*
 * The gateway's name of the charge was read before the intent was stored. If it was not there yet, the authorization came in between; then the
 * gateway is asked what became of this operation (nothing, so it is closed), and the client may try again.
 */
static void got_acted(struct act *act, const struct reply *reply)
{
    struct operation *operation = &act->operation;
    struct arena *arena = operation->flow.arena;
    enum gateway_op op = act->payment.gateway_ref.len == 0 ? GATEWAY_SETTLE : operation->kind == &CAPTURE_KIND ? GATEWAY_CAPTURE : GATEWAY_VOID;
    operation->op = arena_copy(arena, reply_text(reply, ACTED_OP));
    struct gateway_errand *errand = gateway_errand_new(arena, op, operation->payment_id, operation->op);
    errand->amount = reply_int(reply, ACTED_AMOUNT);
    errand->ref = act->payment.gateway_ref;
    operation_ask(operation, errand);
}

static void end_illegal(struct act *act, const struct reply *reply)
{
    struct flow *flow = &act->operation.flow;
    struct view status = arena_copy(flow->arena, reply_text(reply, 0));
    struct writer *w = answer_problem(flow, &OUTCOME_ILLEGAL_TRANSITION, 1, "%s is not possible: payment %lld is %.*s, its order %.*s", act->verb,
                                      (long long)act->operation.payment_id, VIEW_ARG(status), VIEW_ARG(reply_text(reply, 1)));
    WRITER_TEXT(w, "payment_status", status);
    writer_end(w);
    answer_send(flow);
    flow_end(flow);
}

static void got_refused(struct act *act, const struct reply *answer)
{
    struct flow *flow = &act->operation.flow;
    struct reply refusal = refusal_open(flow, answer);
    const struct reply *reply = &refusal;
    switch (reply->code) {
    case CODE_REPLAY:
        operation_replay(&act->operation, reply_int(reply, 0), act->payment.order_id);
        break;
    case CODE_IN_FLIGHT:
        end_in_flight(flow);
        break;
    case CODE_KEY_REUSED:
        end_key_reused(flow);
        break;
    case CODE_NOT_FOUND:
        end_no_payment(flow, act->operation.payment_id);
        break;
    case CODE_ILLEGAL:
        end_illegal(act, reply);
        break;
    case CODE_AMOUNT:
        end_member(flow, "/amount", "must be the whole authorized amount, or be left out");
        break;
    default:
        end_broken(flow, "changing payment", act->operation.payment_id);
    }
}

static void act_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct act *act = (struct act *)flow;
    if (act->operation.state != OPERATION_BEGINNING)
        operation_got_reply(&act->operation, reply);
    else if (call->tag == TAG_READ)
        got_payment(act, reply);
    else if (reply->kind == REPLY_OK)
        got_acted(act, reply);
    else if (reply->kind == REPLY_REFUSED)
        got_refused(act, reply);
    else
        end_failed(flow, reply, "changing the payment");
}

const struct flow_type CAPTURE_FLOW = {
    .name = "capture",
    .size = sizeof(struct act),
    .start = capture_start,
    .got_reply = act_got_reply,
    .got_child = operation_got_child,
    .got_errand = operation_got_errand,
};
const struct flow_type VOID_FLOW = {
    .name = "void",
    .size = sizeof(struct act),
    .start = void_start,
    .got_reply = act_got_reply,
    .got_child = operation_got_child,
    .got_errand = operation_got_errand,
};
