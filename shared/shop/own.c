#include "own.h"

enum { TAG_PAYMENT, TAG_ORDER };

static void end_absent(struct ownership *own)
{
    answer_refuse(&own->flow, &OUTCOME_NOT_FOUND, "there is no %s %lld", own->is_payment ? "payment" : "order", (long long)own->id);
    flow_end(&own->flow);
}

static void ask(struct flow *flow, const char *kind, int64_t id, const char *field, int tag)
{
    unsigned partition = topology_partition_of_id(flow->world->topology, id);
    struct call *call = call_command(flow->arena, "HGET", partition);
    call_keyf(call, "%s:{%u}:%lld", kind, partition, (long long)id);
    call_arg(call, view_of(field));
    flow_call(flow, call, tag, 0);
}

static void begin(struct flow *flow, bool is_payment, int64_t id)
{
    struct ownership *own = (struct ownership *)flow;
    const struct topology *topology = flow->world->topology;
    own->is_payment = is_payment;
    own->id = id;
    if (topology_partition_of_id(topology, id) != topology_partition_of_text(topology, flow->ask->buyer))
        end_absent(own);
    else if (is_payment)
        ask(flow, "payment", id, "order_id", TAG_PAYMENT);
    else
        ask(flow, "order", id, "user", TAG_ORDER);
}

void own_begin_order(struct flow *flow, int64_t order_id)
{
    begin(flow, false, order_id);
}

static void order_start(struct flow *flow)
{
    begin(flow, false, flow->ask->ids[0]);
}

static void payment_start(struct flow *flow)
{
    begin(flow, true, flow->ask->ids[0]);
}

void own_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct ownership *own = (struct ownership *)flow;
    long long order_id;
    if (reply->kind != REPLY_OK) {
        answer_failed(flow, reply, "reading whose it is");
        flow_end(flow);
        return;
    }
    struct view text = reply_text(reply, 0);
    if (call->tag == TAG_PAYMENT && view_to_int(text, &order_id))
        ask(flow, "order", order_id, "user", TAG_ORDER);
    else if (call->tag == TAG_ORDER && view_equal(text, flow->ask->buyer))
        flow_end(flow);
    else
        end_absent(own);
}

void own_end_by_user(struct flow *flow, struct view user)
{
    if (user.at && !view_equal(user, flow->ask->buyer))
        answer_refuse(flow, &OUTCOME_OTHER_BUYER, "this caller acts for one buyer only; \"user\" must be that buyer's name");
    flow_end(flow);
}

const struct flow_type OWN_ORDER = {.name = "own order", .size = sizeof(struct ownership), .start = order_start, .got_reply = own_got_reply};
const struct flow_type OWN_PAYMENT = {.name = "own payment", .size = sizeof(struct ownership), .start = payment_start, .got_reply = own_got_reply};
