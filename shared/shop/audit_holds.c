#include "functions.h"

#include "audit_holds.h"

#define PAGE_HOLDS 1000
#define TRIES 4

struct holds_walk {
    struct flow flow;
    struct holds_audit result;
    void (*take)(struct flow *parent, const struct item *list, int64_t now_ms, int64_t live[2]);
    unsigned tries;
    bool moved; /* the stock has another version than at the first page */
    int64_t version, sum_held, sum_committed, unreadable, uncovered;
};

static void ask_page(struct holds_walk *walk, int64_t cursor)
{
    unsigned partition = topology_partition_of_id(walk->flow.world->topology, walk->result.product_id);
    struct call *call = call_function(walk->flow.arena, &FN_AUDIT_HOLDS, partition);

    call_keyf(call, "stock:{%u}:%lld", partition, (long long)walk->result.product_id);
    call_arg_int(call, partition);
    call_arg_int(call, walk->result.product_id);
    call_arg_int(call, cursor);
    call_arg_int(call, PAGE_HOLDS);
    flow_call(&walk->flow, call, 0, 0);
}

static void start(struct flow *flow)
{
    struct holds_walk *walk = (struct holds_walk *)flow;

    walk->result.wrong = VIEW("");
    walk->version = -2;
    walk->moved = false;
    walk->result.live[0] = walk->result.live[1] = 0;
    walk->result.holds = walk->sum_held = walk->sum_committed = walk->unreadable = walk->uncovered = 0;
    ask_page(walk, 0);
}

static void find_wrong(struct holds_walk *walk, int64_t held, int64_t committed)
{
    struct arena *arena = walk->flow.arena;
    long long id = walk->result.product_id;

    if (walk->version < 0)
        walk->result.wrong = VIEW(""); /* the product was deleted meanwhile, and marks alone need no look */
    else if (walk->unreadable)
        walk->result.wrong = arena_printf(arena, "product %lld: %lld holds are not readable", id, (long long)walk->unreadable);
    else if (walk->uncovered)
        walk->result.wrong = arena_printf(arena, "product %lld: ask is later than a hold or mark that waits", id);
    else if (held != walk->sum_held || committed != walk->sum_committed)
        walk->result.wrong = arena_printf(arena, "product %lld: held is %lld, committed is %lld, and the holds sum to %lld and %lld", id,
                                          (long long)held, (long long)committed, (long long)walk->sum_held, (long long)walk->sum_committed);
    else
        walk->result.wrong = VIEW("");
}

/* HSCAN may show a hold twice while the hash is made smaller, so a difference must be there each time. */
static void got_last_page(struct holds_walk *walk, int64_t held, int64_t committed)
{
    if (!walk->moved)
        find_wrong(walk, held, committed);
    if ((walk->moved || walk->result.wrong.len) && ++walk->tries < TRIES)
        start(&walk->flow);
    else
        flow_end(&walk->flow);
}

static void got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct holds_walk *walk = (struct holds_walk *)flow;
    int64_t cursor = reply_int(reply, 0), version = reply_int(reply, 1);

    if (reply->kind != REPLY_OK) {
        walk->result.failure = (struct reply){.kind = REPLY_NOT_SENT, .why = reply->why ? reply->why : "it does not answer"};
        walk->result.failed = true;
        flow_end(flow);
        return;
    }
    walk->moved = walk->moved || (walk->version != -2 && walk->version != version);
    walk->version = version;
    walk->sum_held += reply_int(reply, 4);
    walk->sum_committed += reply_int(reply, 5);
    walk->result.holds += reply_int(reply, 6);
    walk->unreadable += reply_int(reply, 7);
    walk->uncovered += reply_int(reply, 8);
    walk->take(flow->parent, reply_item(reply, 9), reply_int(reply, 10), walk->result.live);
    if (cursor)
        ask_page(walk, cursor);
    else
        got_last_page(walk, reply_int(reply, 2), reply_int(reply, 3));
}

static const struct flow_type HOLDS_WALK = {.name = "audit of holds", .size = sizeof(struct holds_walk), .start = start, .got_reply = got_reply};

struct flow *audit_holds_new(struct flow *parent, int64_t product_id,
                             void (*take)(struct flow *parent, const struct item *list, int64_t now_ms, int64_t live[2]))
{
    struct flow *flow = flow_new(parent->arena, &HOLDS_WALK, parent->world, parent->ask);
    struct holds_walk *walk = (struct holds_walk *)flow;

    walk->result.product_id = product_id;
    walk->take = take;
    return flow;
}

const struct holds_audit *audit_holds_result(const struct flow *child)
{
    return &((const struct holds_walk *)child)->result;
}
