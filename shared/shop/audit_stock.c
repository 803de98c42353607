#include <stdio.h>

#include "dump.h"

#include "audit_holds.h"
#include "audit_internal.h"
#include "functions.h"
#include "hold.h"
#include "records.h"

#include "audit_stock.h"

#define PAGE 100
#define FIELDS_ENOUGH 5000                  /* of stocks, holds and counters, are read in one step */
#define FIELDS_MAX 2000                     /* of one stock, in one command; above it its holds are left to audit_holds */
#define SLACK_MS (CLOCKS_DIFFER_MS + 10000) /* as in audit_stock */
#define NEVER INT64_MAX

enum { ON_HAND, HELD, COMMITTED, VERSION, ASK, COUNTERS };
static const char *const NAMES[COUNTERS] = {"on_hand", "held", "committed", "v", "ask"};

struct product {
    struct view id;
    struct view counters[COUNTERS];           /* as they stand in its stock */
    int64_t fields, sums[COUNTERS], earliest; /* of its stock; the units of its holds by phase, and when the first of them is to be looked at */
    struct view listed;                       /* in asks:{p}; .at NULL: it is not there */
    struct view ledger;                       /* its last entry */
    bool suspect;
};

enum stage { AT_INDEX, AT_SIZES, AT_STOCK, AT_ASKING };

struct shelf {
    struct flow flow;
    struct stock_result result;
    unsigned partition;
    enum stage stage;
    bool stopped;
    int64_t now_ms;
    struct arena *page, *stale; /* as in audit_walk */
    char after[40];
    struct product *products;
    size_t count, from, upto, asked; /* of the page; those whose stocks are being read; those that were asked about if they had to be */
};

enum { TAG_TIME, TAG_INDEX, TAG_RECORD, TAG_SIZE, TAG_ASKS, TAG_STOCK, TAG_FIELDS, TAG_COUNTERS, TAG_LEDGER, TAG_ASKED, TAGS };

static struct call *product_call(struct shelf *shelf, const char *command, const char *kind, const struct product *product)
{
    struct call *call = call_command(shelf->page, command, shelf->partition);

    call_keyf(call, "%s:{%u}:%.*s", kind, shelf->partition, VIEW_ARG(product->id));
    return call;
}

/* ---- which products ---- */

static void ask_index(struct shelf *shelf)
{
    shelf->stale = shelf->page;
    shelf->page = arena_child(shelf->flow.arena);
    struct call *call = call_command(shelf->page, "ZRANGEBYSCORE", shelf->partition);
    call_keyf(call, "products:{%u}", shelf->partition);
    call_arg(call, shelf->after[0] ? arena_printf(shelf->page, "(%s", shelf->after) : VIEW("-inf"));
    call_arg(call, VIEW("+inf"));
    call_arg(call, VIEW("WITHSCORES"));
    call_arg(call, VIEW("LIMIT"));
    call_arg(call, VIEW("0"));
    call_arg_int(call, PAGE);
    flow_call(&shelf->flow, call_command(shelf->page, "TIME", shelf->partition), TAG_TIME, 0);
    flow_call(&shelf->flow, call, TAG_INDEX, 0);
}

static void got_time(struct shelf *shelf, size_t index, const struct reply *reply)
{
    shelf->now_ms = reply_int(reply, 0) * 1000 + reply_int(reply, 1) / 1000;
}

static void got_index(struct shelf *shelf, size_t index, const struct reply *reply)
{
    const struct item *list = reply->root;

    shelf->count = list->count / 2;
    shelf->from = shelf->upto = shelf->asked = 0;
    shelf->products = ARENA_ARRAY(shelf->page, struct product, shelf->count + 1);
    for (size_t i = 0; i < shelf->count; i++) {
        struct view id = item_text(item_at(list, i * 2)), score = item_text(item_at(list, i * 2 + 1));
        shelf->products[i] = (struct product){.id = arena_copy(shelf->page, id), .earliest = NEVER, .suspect = !view_equal(id, score)};
        if (i + 1 == shelf->count)
            snprintf(shelf->after, sizeof(shelf->after), "%.*s", VIEW_ARG(score));
    }
    shelf->result.products += (int64_t)shelf->count;
}

/* ---- how much there is of each ---- */

static void ask_sizes(struct shelf *shelf)
{
    for (size_t i = 0; i < shelf->count; i++) {
        struct product *product = &shelf->products[i];
        flow_call(&shelf->flow, product_call(shelf, "EXISTS", "product", product), TAG_RECORD, (int)i);
        flow_call(&shelf->flow, product_call(shelf, "HLEN", "stock", product), TAG_SIZE, (int)i);
    }
}

static void got_record(struct shelf *shelf, size_t index, const struct reply *reply)
{
    shelf->products[index].suspect |= reply_int(reply, 0) != 1;
}

static void got_size(struct shelf *shelf, size_t index, const struct reply *reply)
{
    shelf->products[index].fields = reply_int(reply, 0);
}

/* ---- their counters and holds ---- */

/* Of a page of audit_holds, whose parent this is. */
static void take_page(struct flow *flow, const struct item *list, int64_t now_ms, int64_t live[2])
{
    struct audit_hold hold;

    for (size_t i = 0; i + 2 < list->count; i += 3) {
        hold.txn = item_text(item_at(list, i));
        hold.product_id = item_int(item_at(list, i + 1));
        if (!audit_hold_read(item_text(item_at(list, i + 2)), &hold))
            continue;
        live[hold.committed]++;
        audit_take_hold(flow->parent, &hold, now_ms);
    }
}

static void ask_many_holds(struct shelf *shelf, size_t index)
{
    struct product *product = &shelf->products[index];
    struct call *call = product_call(shelf, "HMGET", "stock", product);
    long long id;

    for (int i = 0; i < COUNTERS; i++)
        call_arg(call, view_of(NAMES[i]));
    flow_call(&shelf->flow, call, TAG_COUNTERS, (int)index);
    if (view_to_int(product->id, &id))
        flow_spawn(&shelf->flow, audit_holds_new(&shelf->flow, id, take_page), 0, (int)index);
}

static void ask_ledger(struct shelf *shelf, size_t index)
{
    struct call *call = product_call(shelf, "XREVRANGE", "moves", &shelf->products[index]);

    call_arg(call, VIEW("+"));
    call_arg(call, VIEW("-"));
    call_arg(call, VIEW("COUNT"));
    call_arg(call, VIEW("1"));
    flow_call(&shelf->flow, call, TAG_LEDGER, (int)index);
}

/* The next ones, as many as have not too many holds together. A stock comes whole in one answer, so its counters and its holds are of one moment. */
static void ask_stock(struct shelf *shelf)
{
    struct call *asks = call_command(shelf->page, "ZMSCORE", shelf->partition);
    int64_t fields = 0;

    call_keyf(asks, "asks:{%u}", shelf->partition);
    for (shelf->from = shelf->upto; shelf->upto < shelf->count && fields < FIELDS_ENOUGH; shelf->upto++) {
        struct product *product = &shelf->products[shelf->upto];
        call_arg(asks, product->id);
        if (product->fields > FIELDS_MAX) {
            ask_many_holds(shelf, shelf->upto);
        } else {
            flow_call(&shelf->flow, product_call(shelf, "DUMP", "stock", product), TAG_STOCK, (int)shelf->upto);
            fields += product->fields;
        }
        ask_ledger(shelf, shelf->upto);
    }
    if (shelf->from < shelf->upto)
        flow_call(&shelf->flow, asks, TAG_ASKS, 0);
}

static void take_hold(struct shelf *shelf, struct product *product, struct view txn, struct view text)
{
    struct audit_hold hold = {.txn = txn};
    int64_t due;
    long long id;

    if (!audit_hold_read(text, &hold) || !view_to_int(product->id, &id)) {
        product->suspect = true;
        return;
    }
    hold.product_id = id;
    due = hold.live ? hold.committed ? NEVER : hold.when_ms : hold.when_ms + HOLD_MARK_KEPT_MS;
    product->earliest = due < product->earliest ? due : product->earliest;
    if (!hold.live)
        return;
    product->sums[hold.committed ? COMMITTED : HELD] += hold.quantity;
    shelf->result.live[hold.committed]++;
    audit_take_hold(shelf->flow.parent, &hold, shelf->now_ms);
}

/* Is this field of a stock a transaction's? As holds.is_name. */
static bool is_transaction(struct view name)
{
    return name.len > 32 && name.at[32] == '.';
}

/* The place of a counter's name in NAMES, or COUNTERS: it is none of those. */
static size_t counter_of(struct view name)
{
    size_t at = 0;

    while (at < COUNTERS && !view_equal(name, view_of(NAMES[at])))
        at++;
    return at;
}

static void take_field(struct shelf *shelf, struct product *product, struct view name, struct view text)
{
    size_t counter = counter_of(name);

    if (is_transaction(name)) {
        take_hold(shelf, product, name, text);
        shelf->result.holds++;
    } else if (counter < COUNTERS) {
        product->counters[counter] = arena_copy(shelf->page, text);
    }
}

/* What HGETALL answers; and DUMP, if it is nil. */
static void got_fields(struct shelf *shelf, size_t index, const struct reply *reply)
{
    const struct item *list = reply->root;

    for (size_t i = 0; i + 1 < list->count; i += 2)
        take_field(shelf, &shelf->products[index], item_text(item_at(list, i)), item_text(item_at(list, i + 1)));
}

/* Can all of it be read? Nothing is taken of a stock that cannot, for HGETALL will bring it. */
static bool is_readable(struct dump dump)
{
    struct view name, text;

    while (dump_field(&dump, &name, &text))
        ;
    return dump_ended(&dump);
}

static void got_stock(struct shelf *shelf, size_t index, const struct reply *reply)
{
    struct product *product = &shelf->products[index];
    struct dump dump;
    struct view name, text;

    if (reply->root->type != ITEM_TEXT)
        got_fields(shelf, index, reply);
    else if (!dump_open(&dump, reply->root->text, DUMP_HASH, shelf->page) || !is_readable(dump))
        flow_call(&shelf->flow, product_call(shelf, "HGETALL", "stock", product), TAG_FIELDS, (int)index);
    else
        while (dump_field(&dump, &name, &text))
            take_field(shelf, product, name, text);
}

static void got_counters(struct shelf *shelf, size_t index, const struct reply *reply)
{
    for (size_t i = 0; i < COUNTERS; i++)
        shelf->products[index].counters[i] = arena_copy(shelf->page, reply_text(reply, i));
}

static void got_ledger(struct shelf *shelf, size_t index, const struct reply *reply)
{
    shelf->products[index].ledger = arena_copy(shelf->page, item_text(item_at(item_at(reply_item(reply, 0), 1), 1)));
}

static void got_asks(struct shelf *shelf, size_t index, const struct reply *reply)
{
    for (size_t i = shelf->from; i < shelf->upto; i++) {
        const struct item *item = reply_item(reply, i - shelf->from);
        shelf->products[i].listed = item->type == ITEM_TEXT ? arena_copy(shelf->page, item->text) : (struct view){NULL, 0};
    }
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* check_ask of audit_stock */
static bool ask_is_right(const struct shelf *shelf, const struct product *product)
{
    int64_t soon = shelf->now_ms + SLACK_MS, ask = 0, listed;

    if (product->counters[ASK].len > 0 && !audit_number(product->counters[ASK], &ask))
        return false;
    if (product->earliest != NEVER && (ask == 0 || ask > later(product->earliest, soon)))
        return false;
    if (ask == 0)
        return product->listed.at == NULL;
    return product->listed.at && audit_number(product->listed, &listed) && listed <= later(ask, soon);
}

/* check_ledger of audit_stock */
static bool ledger_is_right(const struct product *product)
{
    struct view part[MOVE_PARTS];
    bool right = split_bars(product->ledger, part, MOVE_PARTS) == MOVE_PARTS;

    for (size_t i = 0; right && i < ASK; i++)
        right = view_equal(part[MOVE_ON_HAND + i], product->counters[i]);
    return right;
}

static void judge(const struct shelf *shelf, struct product *product)
{
    int64_t counters[COUNTERS];

    for (size_t i = 0; i < ASK; i++)
        if (!audit_number(product->counters[i], &counters[i])) {
            product->suspect = true;
            return;
        }
    product->suspect |= counters[ON_HAND] < counters[HELD] + counters[COMMITTED] || !ledger_is_right(product);
    if (product->fields <= FIELDS_MAX)
        product->suspect |= counters[HELD] != product->sums[HELD] || counters[COMMITTED] != product->sums[COMMITTED] || !ask_is_right(shelf, product);
}

static void got_child(struct shelf *shelf, const struct flow *child)
{
    const struct holds_audit *holds = audit_holds_result(child);

    if (holds->failed) {
        shelf->result.failure = holds->failure;
        shelf->result.failed = true;
        return;
    }
    shelf->result.holds += holds->holds;
    shelf->result.live[0] += holds->live[0];
    shelf->result.live[1] += holds->live[1];
    if (holds->wrong.len)
        audit_violation(shelf->flow.parent, AUDIT_UNITS, holds->wrong);
}

/* ---- what is not sure ---- */

static void ask_unsure(struct shelf *shelf)
{
    struct buffer ids = {.arena = shelf->page};

    while (shelf->asked < shelf->count && ids.len == 0) {
        struct product *product = &shelf->products[shelf->asked++];
        if (product->suspect)
            buffer_add_view(&ids, product->id);
    }
    if (ids.len == 0)
        return;
    struct call *call = call_function(shelf->page, &FN_AUDIT_STOCK, shelf->partition);
    call_keyf(call, "products:{%u}", shelf->partition);
    call_arg_int(call, shelf->partition);
    call_arg(call, VIEW(""));
    call_arg_int(call, 1);
    call_arg(call, buffer_view(&ids));
    flow_call(&shelf->flow, call, TAG_ASKED, 0);
}

static void got_asked(struct shelf *shelf, size_t index, const struct reply *reply)
{
    audit_take_violations(shelf->flow.parent, reply_item(reply, 3));
}

/* ---- from one step to the next ---- */

static void begin(struct shelf *shelf, enum stage stage)
{
    static void (*const BEGIN[])(struct shelf *
                                 shelf) = {[AT_INDEX] = ask_index, [AT_SIZES] = ask_sizes, [AT_STOCK] = ask_stock, [AT_ASKING] = ask_unsure};

    shelf->stage = stage;
    BEGIN[stage](shelf);
}

static enum stage finish(struct shelf *shelf)
{
    switch (shelf->stage) {
    case AT_STOCK:
        for (size_t i = shelf->from; i < shelf->upto; i++)
            judge(shelf, &shelf->products[i]);
        return shelf->upto < shelf->count ? AT_STOCK : AT_ASKING;
    case AT_ASKING:
        return shelf->asked < shelf->count ? AT_ASKING : AT_INDEX;
    default:
        return shelf->stage + 1;
    }
}

static bool has_all(const struct shelf *shelf)
{
    return shelf->stage == AT_ASKING && shelf->asked == shelf->count && shelf->count < PAGE;
}

static void go_on(struct shelf *shelf)
{
    struct flow *flow = &shelf->flow;

    shelf->stopped |= shelf->result.failed || audit_stopping(flow->parent);
    while (flow->owed == 0 && !shelf->stopped && !has_all(shelf))
        begin(shelf, finish(shelf));
    if (flow->owed > 0)
        return;
    arena_free(shelf->stale);
    arena_free(shelf->page);
    shelf->page = shelf->stale = NULL;
    flow_end(flow);
}

static void shelf_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    static void (*const GOT[TAGS])(struct shelf * shelf, size_t index, const struct reply *reply) = {
        [TAG_TIME] = got_time,   [TAG_INDEX] = got_index,   [TAG_RECORD] = got_record,     [TAG_SIZE] = got_size,     [TAG_ASKS] = got_asks,
        [TAG_STOCK] = got_stock, [TAG_FIELDS] = got_fields, [TAG_COUNTERS] = got_counters, [TAG_LEDGER] = got_ledger, [TAG_ASKED] = got_asked};
    struct shelf *shelf = (struct shelf *)flow;

    arena_free(shelf->stale);
    shelf->stale = NULL;
    if (reply->kind != REPLY_OK && !shelf->stopped) {
        shelf->result.failure = (struct reply){.kind = REPLY_NOT_SENT, .why = reply->why ? reply->why : "it does not answer"};
        shelf->result.failed = true;
    }
    shelf->stopped |= shelf->result.failed || audit_stopping(flow->parent);
    if (!shelf->stopped)
        GOT[call->tag](shelf, (size_t)call->index, reply);
    go_on(shelf);
}

static void shelf_got_child(struct flow *flow, struct flow *child)
{
    got_child((struct shelf *)flow, child);
    go_on((struct shelf *)flow);
}

static void start(struct flow *flow)
{
    begin((struct shelf *)flow, AT_INDEX);
}

static const struct flow_type SHELF = {
    .name = "audit of stock", .size = sizeof(struct shelf), .start = start, .got_reply = shelf_got_reply, .got_child = shelf_got_child};

struct flow *audit_stock_new(struct flow *audit, unsigned partition)
{
    struct flow *flow = flow_new(audit->arena, &SHELF, audit->world, audit->ask);

    ((struct shelf *)flow)->partition = partition;
    return flow;
}

const struct stock_result *audit_stock_result(const struct flow *child)
{
    return &((const struct shelf *)child)->result;
}
