#include "functions.h"

#include "refusal.h"

/* The places of the answer, and how many stand before what is inside. */
enum { KEPT_AGAIN, KEPT_REQUEST, KEPT_CODE, KEPT_BEFORE };

struct reply refusal_open(struct flow *flow, const struct reply *reply)
{
    struct reply inside = *reply;
    if (reply->kind != REPLY_REFUSED || reply->code != CODE_REFUSED)
        return inside;
    if (reply_int(reply, KEPT_AGAIN))
        flow_retell(flow, reply_text(reply, KEPT_REQUEST));
    flow->wrote = true;
    inside.code = (int)reply_int(reply, KEPT_CODE);
    inside.first += KEPT_BEFORE;
    return inside;
}
