#include "own.h"

#include "order.h"

/* Whose orders are asked for, or is one placed for, by a caller that acts for one buyer: what the request names. */

static void list_start(struct flow *flow)
{
    own_end_by_user(flow, ask_param(flow->ask, "user"));
}

static void place_start(struct flow *flow)
{
    const struct place_body *body = flow->ask->body;
    own_end_by_user(flow, body->user);
}

const struct flow_type OWN_ORDER_LIST = {.name = "own orders", .size = sizeof(struct flow), .start = list_start};
const struct flow_type OWN_PLACE = {.name = "own order placed", .size = sizeof(struct flow), .start = place_start};
