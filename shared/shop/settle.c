#include "functions.h"

#include "settle.h"

/* LOOK names at most this many of a step, which covers about 128 holds. */
#define SETTLE_AT_ONCE 160

/* An order that moves between two questions is asked again, this often at most; then a later look finds it. */
#define ASKS_MAX 3

/* One hold that LOOK named. */
struct due_hold {
    struct view txn;
    struct order_txn of;
    unsigned asks;
    int next; /* the next one in the same call, -1: none; the call's index is the first one's */
    struct settled settled;
};

struct settle {
    struct flow flow;
    int64_t product_id;
    unsigned partition;
    int64_t cursor, started, least;
    struct due_hold holds[SETTLE_AT_ONCE];
    size_t count;
    unsigned waiting; /* holds of this step that are not resolved yet */
    unsigned asking;  /* calls about orders that are not answered yet */
    int kept, *kept_end; /* those to be kept when all are answered */
    bool incomplete;
};

enum { TAG_LOOK, TAG_SETTLE, TAG_EXPIRE, TAG_KEEP, TAG_RESOLVE };

static void look(struct settle *settle)
{
    struct call *call = call_function(settle->flow.arena, &FN_LOOK, settle->partition);
    call_keyf(call, "stock:{%u}:%lld", settle->partition, (long long)settle->product_id);
    call_arg_int(call, settle->partition);
    call_arg_int(call, settle->product_id);
    call_arg_int(call, settle->cursor);
    call_arg_int(call, settle->started);
    call_arg_int(call, settle->least);
    call_arg_int(call, SETTLE_AT_ONCE);
    flow_call(&settle->flow, call, TAG_LOOK, 0);
}

static void settle_start(struct flow *flow)
{
    look((struct settle *)flow);
}

static void look_on(struct settle *settle)
{
    if (settle->waiting > 0)
        return;
    if (settle->cursor == 0)
        flow_end(&settle->flow);
    else
        look(settle);
}

static void hold_done(struct settle *settle, bool resolved)
{
    settle->waiting--;
    settle->incomplete |= !resolved;
    look_on(settle);
}

/* Asks about this hold and those that are in its call. */
static void ask(struct settle *settle, int first)
{
    struct order_txn txns[HOLDS_AT_ONCE];
    unsigned count = 0;
    settle->asking++;
    for (int i = first; i >= 0; i = settle->holds[i].next) {
        settle->holds[i].asks++;
        txns[count++] = settle->holds[i].of;
    }
    flow_call(&settle->flow, settle_call(settle->flow.arena, txns, count), TAG_SETTLE, first);
}

/* Those whose orders are on one shard are asked about in one call, as many as it takes. */
static void ask_all(struct settle *settle)
{
    const uint16_t *owner = settle->flow.world->topology->owner;
    for (int first = 0; first < (int)settle->count; first++) {
        int last = first;
        unsigned together = 1;
        if (settle->holds[first].asks > 0)
            continue;
        for (int i = first + 1; i < (int)settle->count && together < HOLDS_AT_ONCE; i++)
            if (settle->holds[i].asks == 0 && owner[settle->holds[i].of.partition] == owner[settle->holds[first].of.partition]) {
                settle->holds[last].next = i;
                last = i;
                together++;
            }
        ask(settle, first);
    }
}

static void add_hold(struct settle *settle, struct view txn, int64_t order_partition)
{
    struct due_hold *hold = &settle->holds[settle->count];
    *hold = (struct due_hold){.txn = arena_copy(settle->flow.arena, txn), .of.partition = (unsigned)order_partition, .next = -1};
    if (!txn_parse(hold->txn, &hold->of.txn) || order_partition < 0 || order_partition >= settle->flow.world->topology->partitions) {
        settle->incomplete = true;
        return;
    }
    settle->waiting++;
    settle->count++;
}

static void got_look(struct settle *settle, const struct reply *reply)
{
    if (reply->kind != REPLY_OK) {
        settle->incomplete |= reply->kind != REPLY_REFUSED;
        flow_end(&settle->flow);
        return;
    }
    settle->cursor = reply_int(reply, 0);
    settle->started = reply_int(reply, 1);
    settle->least = reply_int(reply, 2);
    settle->count = 0;
    const struct item *named = reply_item(reply, 3);
    for (size_t i = 0; i + 1 < named->count && settle->count < SETTLE_AT_ONCE; i += 2)
        add_hold(settle, item_text(item_at(named, i)), item_int(item_at(named, i + 1)));
    ask_all(settle);
    look_on(settle);
}

static void resolve(struct settle *settle, int index)
{
    struct due_hold *hold = &settle->holds[index];
    flow_call(&settle->flow,
              resolve_call(&settle->flow, settle->product_id, hold->txn, hold->settled.verdict, hold->settled.ms, hold->settled.order_id),
              TAG_RESOLVE, index);
}

/* Keeps this hold and those that are in its call. */
static void keep(struct settle *settle, int first)
{
    struct call *call = keep_call(&settle->flow, settle->product_id);
    for (int i = first; i >= 0; i = settle->holds[i].next)
        keep_add(call, settle->holds[i].txn, settle->holds[i].settled.ms);
    flow_call(&settle->flow, call, TAG_KEEP, first);
}

static void keep_none(struct settle *settle)
{
    settle->kept = -1;
    settle->kept_end = &settle->kept;
}

static void keep_later(struct settle *settle, int index)
{
    *settle->kept_end = index;
    settle->kept_end = &settle->holds[index].next;
}

/* When all orders have been asked: one call for those that are kept, or one for so many of them. */
static void keep_all(struct settle *settle)
{
    if (settle->asking > 0)
        return;
    for (int first = settle->kept, next; first >= 0; first = next) {
        int last = first;
        for (unsigned together = 1; together < HOLDS_AT_ONCE && settle->holds[last].next >= 0; together++)
            last = settle->holds[last].next;
        next = settle->holds[last].next;
        settle->holds[last].next = -1;
        keep(settle, first);
    }
    keep_none(settle);
}

/*
 * A call about several holds failed by what it asks for: there may be one among them that cannot be read. So each gets a call of its own, and that
 * one is nobody else's harm. "Not now" would meet each of them as well.
 */
static bool call_apart(struct settle *settle, int first, const struct reply *reply, void (*call_again)(struct settle *settle, int index))
{
    if (!reply_is_own_fault(reply) || settle->holds[first].next < 0)
        return false;
    for (int i = first, next; i >= 0; i = next) {
        next = settle->holds[i].next;
        settle->holds[i].next = -1;
        call_again(settle, i);
    }
    return true;
}

static void expire_order(struct settle *settle, int index)
{
    struct due_hold *hold = &settle->holds[index];
    struct call *call = call_function(settle->flow.arena, &FN_EXPIRE, hold->of.partition);
    call_keyf(call, "order:{%u}:%lld", hold->of.partition, (long long)hold->settled.order_id);
    call_arg_int(call, hold->of.partition);
    call_arg_int(call, hold->settled.order_id);
    settle->asking++;
    flow_call(&settle->flow, call, TAG_EXPIRE, index);
}

static void got_settle(struct settle *settle, int first, const struct reply *reply)
{
    unsigned n = 0;
    if (call_apart(settle, first, reply, ask))
        return;
    for (int i = first, next; i >= 0; i = next) {
        struct due_hold *hold = &settle->holds[i];
        next = hold->next;
        hold->next = -1;
        hold->settled = reply->kind == REPLY_OK ? settled_from(reply, n++) : (struct settled){.verdict = VERDICT_BROKEN};
        if (hold->settled.verdict == VERDICT_BROKEN) {
            hold_done(settle, false);
        } else if (hold->settled.verdict != VERDICT_RESERVED) {
            resolve(settle, i);
        } else if (hold->settled.ms <= 0) {
            expire_order(settle, i);
        } else {
            keep_later(settle, i);
        }
    }
}

/* The order was expired by this call, or by somebody else's, or it moved on meanwhile: then it is asked once more. */
static void got_expire(struct settle *settle, int index, const struct reply *reply)
{
    struct due_hold *hold = &settle->holds[index];
    if (reply->kind == REPLY_OK) {
        hold->settled.verdict = VERDICT_EXPIRED;
        hold->settled.ms = reply_int(reply, 3);
        resolve(settle, index);
    } else if (reply->kind == REPLY_REFUSED && reply->code == CODE_EXPIRED) {
        hold->settled.ms = reply_int(reply, 0);
        keep_later(settle, index);
    } else if (reply->kind == REPLY_REFUSED && reply->code != CODE_NOT_FOUND && hold->asks < ASKS_MAX) {
        ask(settle, index);
    } else {
        hold_done(settle, false);
    }
}

/* Of those that are not held any more there is nothing to keep. */
static void got_keep(struct settle *settle, int first, const struct reply *reply)
{
    if (call_apart(settle, first, reply, keep))
        return;
    for (int i = first, next; i >= 0; i = next) {
        next = settle->holds[i].next;
        hold_done(settle, reply->kind == REPLY_OK);
    }
}

static void settle_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct settle *settle = (struct settle *)flow;
    switch (call->tag) {
    case TAG_LOOK:
        got_look(settle, reply);
        break;
    case TAG_SETTLE:
        settle->asking--;
        got_settle(settle, call->index, reply);
        keep_all(settle);
        break;
    case TAG_EXPIRE:
        settle->asking--;
        got_expire(settle, call->index, reply);
        keep_all(settle);
        break;
    case TAG_KEEP:
        got_keep(settle, call->index, reply);
        break;
    default:
        hold_done(settle, reply->kind == REPLY_OK || reply->kind == REPLY_REFUSED);
    }
}

static const struct flow_type SETTLE = {.name = "settle", .size = sizeof(struct settle), .start = settle_start, .got_reply = settle_got_reply};

struct flow *settle_new(struct flow *parent, int64_t product_id)
{
    struct flow *flow = flow_new(parent->arena, &SETTLE, parent->world, parent->ask);
    struct settle *settle = (struct settle *)flow;
    settle->product_id = product_id;
    settle->partition = topology_partition_of_id(parent->world->topology, product_id);
    keep_none(settle);
    return flow;
}

bool settle_complete(const struct flow *flow)
{
    return !((const struct settle *)flow)->incomplete;
}
