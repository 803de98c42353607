#include "functions.h"
#include "records.h"

#include "audit_feed.h"

#define PAGE_ORDERS 100
#define PAGE_ENTRIES 1000
#define TRIES 3

/* ---- one version as a number: the same as feed_sum in lua/audit_orders.lua ---- */

#define FEED_PRIME 67108859

uint64_t feed_word(struct view text)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < text.len; i++)
        sum = (sum * 31 + (unsigned char)text.at[i]) % FEED_PRIME;
    return sum;
}

uint64_t feed_number(int64_t order_id, int64_t version, uint64_t word)
{
    uint64_t x = ((uint64_t)order_id % FEED_PRIME * 8191 + (uint64_t)version * 131 + word) % FEED_PRIME;

    return x * x % FEED_PRIME;
}

/* ---- pages ---- */

static struct call *feed_orders_call(struct arena *arena, unsigned partition, const struct view after[2], const struct feed_account *account)
{
    struct call *call = call_function(arena, &FN_AUDIT_ORDERS, partition);

    call_keyf(call, "orders:{%u}", partition);
    call_arg_int(call, partition);
    call_arg(call, after[0]);
    call_arg(call, after[1]);
    call_arg_int(call, PAGE_ORDERS);
    call_arg_int(call, account->upto_ms);
    return call;
}

void feed_take_orders(struct feed_account *account, const struct reply *reply)
{
    account->versions += (uint64_t)reply_int(reply, 6);
    account->version_sum += (uint64_t)reply_int(reply, 7);
}

struct call *feed_call(struct arena *arena, const char *command, unsigned partition)
{
    struct call *call = call_command(arena, command, partition);

    call_keyf(call, "events:{%u}", partition);
    return call;
}

struct call *feed_entries_call(struct arena *arena, unsigned partition, struct view after, struct view upto)
{
    struct call *call = feed_call(arena, "XRANGE", partition);

    call_arg(call, after.len ? arena_printf(arena, "(%.*s", VIEW_ARG(after)) : VIEW("-"));
    call_arg(call, upto);
    call_arg(call, VIEW("COUNT"));
    call_arg_int(call, PAGE_ENTRIES);
    return call;
}

struct view feed_entry_text(const struct item *entry)
{
    return item_text(item_at(item_at(entry, 1), 1));
}

int64_t feed_entry_ms(const struct item *entry)
{
    struct view id = item_text(item_at(entry, 0));
    const char *dash = id.len ? memchr(id.at, '-', id.len) : NULL;
    long long ms;

    return dash && view_to_int((struct view){id.at, (size_t)(dash - id.at)}, &ms) ? ms : 0;
}

bool feed_text_order(struct view text, int64_t *order_id)
{
    const char *bar = text.len ? memchr(text.at, '|', text.len) : NULL;
    long long id;

    if (bar == NULL || !view_to_int((struct view){text.at, (size_t)(bar - text.at)}, &id))
        return false;
    *order_id = id;
    return true;
}

/* An entry is order|payment|v|from|to|payment_status|cause|request. What is not counts as an entry that no order has. */
void feed_take_text(struct feed_account *account, struct view text)
{
    struct view part[7];
    long long order_id, version;

    account->entries++;
    if (split_bars(text, part, 7) < 7 || !view_to_int(part[0], &order_id) || !view_to_int(part[2], &version))
        return;
    account->entry_sum += feed_number(order_id, version, feed_word((struct view){part[4].at, part[4].len + part[5].len + 2}));
}

struct view feed_last(const struct item *list)
{
    return list->count < PAGE_ENTRIES ? VIEW("") : item_text(item_at(item_at(list, list->count - 1), 0));
}

/* ---- counting anew ---- */

struct feed_check {
    struct flow flow;
    unsigned partition, tries;
    struct view after[2], after_entry;
    struct feed_account account;
    struct reply failure;
    bool failed;
};

enum { TAG_TIME, TAG_ORDERS, TAG_ENTRIES };

static void ask_time(struct flow *flow)
{
    flow_call(flow, call_command(flow->arena, "TIME", ((struct feed_check *)flow)->partition), TAG_TIME, 0);
}

static void ask_orders(struct feed_check *check)
{
    flow_call(&check->flow, feed_orders_call(check->flow.arena, check->partition, check->after, &check->account), TAG_ORDERS, 0);
}

static void ask_entries(struct feed_check *check)
{
    struct view upto = arena_printf(check->flow.arena, "%lld", (long long)check->account.upto_ms - 1);

    flow_call(&check->flow, feed_entries_call(check->flow.arena, check->partition, check->after_entry, upto), TAG_ENTRIES, 0);
}

static void got_time(struct feed_check *check, const struct reply *reply)
{
    check->account = (struct feed_account){.upto_ms = reply_int(reply, 0) * 1000 + reply_int(reply, 1) / 1000 - FEED_PAUSE_MS};
    check->after[0] = check->after[1] = check->after_entry = VIEW("");
    ask_orders(check);
}

static void got_orders(struct feed_check *check, const struct reply *reply)
{
    feed_take_orders(&check->account, reply);
    check->after[0] = arena_copy(check->flow.arena, reply_text(reply, 0));
    check->after[1] = arena_copy(check->flow.arena, reply_text(reply, 1));
    if (check->after[0].len)
        ask_orders(check);
    else
        ask_entries(check);
}

static void got_entries(struct feed_check *check, const struct reply *reply)
{
    for (size_t i = 0; i < reply->root->count; i++)
        feed_take_text(&check->account, feed_entry_text(item_at(reply->root, i)));
    check->after_entry = arena_copy(check->flow.arena, feed_last(reply->root));
    if (check->after_entry.len)
        ask_entries(check);
    else if (!feed_agrees(&check->account) && ++check->tries < TRIES)
        flow_sleep(&check->flow, FEED_PAUSE_MS);
    else
        flow_end(&check->flow);
}

static void got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct feed_check *check = (struct feed_check *)flow;

    if (reply->kind != REPLY_OK) {
        check->failure = (struct reply){.kind = REPLY_NOT_SENT, .why = reply->why ? reply->why : "it does not answer"};
        check->failed = true;
        flow_end(flow);
        return;
    }
    switch (call->tag) {
    case TAG_TIME:
        got_time(check, reply);
        break;
    case TAG_ORDERS:
        got_orders(check, reply);
        break;
    default:
        got_entries(check, reply);
    }
}

static const struct flow_type FEED_CHECK = {
    .name = "feed check", .size = sizeof(struct feed_check), .start = ask_time, .got_reply = got_reply, .got_wake = ask_time};

struct flow *feed_check_new(struct flow *parent, unsigned partition)
{
    struct flow *flow = flow_new(parent->arena, &FEED_CHECK, parent->world, parent->ask);

    ((struct feed_check *)flow)->partition = partition;
    return flow;
}

const struct feed_account *feed_check_account(const struct flow *child)
{
    return &((const struct feed_check *)child)->account;
}

const struct reply *feed_check_failed(const struct flow *child)
{
    const struct feed_check *check = (const struct feed_check *)child;

    return check->failed ? &check->failure : NULL;
}
