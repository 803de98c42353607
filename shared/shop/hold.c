#include "check.h"

#include "functions.h"

#include "hold.h"

enum verdict verdict_of(struct view text)
{
    static const char *const names[] = {"reserved", "paid", "fulfilled", "cancelled", "expired", "aborted"};
    for (int v = VERDICT_RESERVED; v < VERDICT_BROKEN; v++)
        if (view_equal(text, view_of(names[v])))
            return (enum verdict)v;
    return VERDICT_BROKEN;
}

struct call *settle_call(struct arena *arena, const struct order_txn *txns, unsigned count)
{
    struct call *call = call_function(arena, &FN_SETTLE, txns[0].partition);
    for (unsigned i = 0; i < count; i++)
        call_keyf(call, "idem:{%u}:%.*s", txns[i].partition, VIEW_ARG(txns[i].txn.hash));
    for (unsigned i = 0; i < count; i++) {
        call_arg_int(call, txns[i].partition);
        call_arg(call, txns[i].txn.fingerprint);
        call_arg_int(call, txns[i].txn.attempt);
    }
    return call;
}

struct settled settled_from(const struct reply *reply, unsigned n)
{
    enum { VERDICT, MS, DECIDED, ORDER_ID, ATTEMPT, ANSWERS };
    size_t first = (size_t)n * ANSWERS;
    return (struct settled){
        .verdict = verdict_of(reply_text(reply, first + VERDICT)),
        .ms = reply_int(reply, first + MS),
        .decided = reply_text(reply, first + DECIDED).len > 0,
        .order_id = reply_int(reply, first + ORDER_ID),
    };
}

static struct call *product_call(struct flow *flow, const struct function *function, int64_t product_id)
{
    unsigned partition = topology_partition_of_id(flow->world->topology, product_id);
    struct call *call = call_function(flow->arena, function, partition);
    call_keyf(call, "stock:{%u}:%lld", partition, (long long)product_id);
    call_arg_int(call, partition);
    call_arg_int(call, product_id);
    return call;
}

static struct call *stock_call(struct flow *flow, const struct function *function, int64_t product_id, struct view txn)
{
    struct call *call = product_call(flow, function, product_id);
    call_arg(call, txn);
    return call;
}

struct call *try_call(struct flow *flow, int64_t product_id, struct view txn, int64_t quantity, unsigned order_partition, int64_t hold_ms)
{
    struct call *call = stock_call(flow, &FN_TRY, product_id, txn);
    call_arg_int(call, quantity);
    call_arg_int(call, order_partition);
    call_arg_int(call, hold_ms < HOLD_ASK_MS ? hold_ms : HOLD_ASK_MS);
    call_arg_int(call, 0);
    return call;
}

struct call *resolve_call(struct flow *flow, int64_t product_id, struct view txn, enum verdict verdict, int64_t age_ms, int64_t order_id)
{
    static const struct function *const functions[] = {
        [VERDICT_PAID] = &FN_CONFIRM,    [VERDICT_FULFILLED] = &FN_CONSUME, [VERDICT_CANCELLED] = &FN_RELEASE,
        [VERDICT_EXPIRED] = &FN_RELEASE, [VERDICT_ABORTED] = &FN_RELEASE,
    };
    CHECK(verdict < VERDICT_BROKEN && functions[verdict]);
    struct call *call = stock_call(flow, functions[verdict], product_id, txn);
    call_arg_int(call, verdict == VERDICT_ABORTED || age_ms < 0 ? -1 : age_ms);
    if (order_id)
        call_arg_int(call, order_id);
    else
        call_arg(call, VIEW(""));
    return call;
}

struct call *keep_call(struct flow *flow, int64_t product_id)
{
    return product_call(flow, &FN_KEEP, product_id);
}

void keep_add(struct call *call, struct view txn, int64_t left_ms)
{
    call_arg(call, txn);
    call_arg_int(call, left_ms);
}
