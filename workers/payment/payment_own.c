#include "own.h"

#include "payment.h"

/* Whose payments are asked for, or is one made for, by a caller that acts for one buyer. */

/* What the shop owes is one list of all buyers. One order's payments are left to the list, which shows none of an order that is not the buyer's. */
static void list_start(struct flow *flow)
{
    if (ask_param(flow->ask, "refund_due").at)
        answer_refuse(flow, &OUTCOME_OTHER_BUYER, "this caller acts for one buyer only; refund_due lists what is owed to all");
    flow_end(flow);
}

static void pay_start(struct flow *flow)
{
    const struct pay_body *body = flow->ask->body;
    own_begin_order(flow, body->order_id);
}

const struct flow_type OWN_PAYMENT_LIST = {.name = "own payments", .size = sizeof(struct flow), .start = list_start};
const struct flow_type OWN_PAY = {.name = "own payment made", .size = sizeof(struct ownership), .start = pay_start, .got_reply = own_got_reply};
