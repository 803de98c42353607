#include <stdio.h>

#include "hash.h"

#include "audit_internal.h"
#include "audit_order.h"
#include "functions.h"
#include "records.h"

#include "audit_walk.h"

#define BLOCK 256
#define PAYMENTS_MAX 8 /* of an order; one with more is asked about */
#define ASKED_AT_ONCE 25
#define USERS 512 /* places, a power of two */
#define KEY_PREFIX_MAX 32
#define KEY_MAX 64

/* What is under way; the next is begun when nothing is owed any more. */
enum stage { AT_TIME, AT_INDEX, AT_RECORDS, AT_PLACES, AT_PAYMENT_PLACES, AT_ASKING, AT_FEED, AT_MOVED };

struct walk {
    struct flow flow;
    struct walk_result result;
    struct order_watch watch;
    unsigned partition;
    char order_prefix[KEY_PREFIX_MAX], payment_prefix[KEY_PREFIX_MAX]; /* of the keys of records */
    enum stage stage;
    bool stopped;

    /*
     * A block. ${page} has its rows and calls; ${stale} is what was before it, until the next reply: whoever carries a call may look at it that long.
     */
    struct arena *page, *stale;
    char after[40]; /* the score behind which it begins */
    size_t skip;    /* so many orders of that score were looked at */
    struct order_row *rows;
    struct payment_row *payments;
    size_t count, payment_count;
    unsigned *users; /* as group_by_user made it */
    unsigned asked[ASKED_AT_ONCE], asked_count;

    /* The feed, and the orders that it says have moved. */
    struct view after_entry;
    int64_t *moved;
    size_t moved_count, moved_room, moved_asked;
};

enum {
    TAG_TIME,
    TAG_COUNTS,
    TAG_INDEX,
    TAG_DUTIES,
    TAG_RECORD,
    TAG_USER,
    TAG_WORD,
    TAG_PAYMENT,
    TAG_PAYMENTS,
    TAG_OWED,
    TAG_PAYMENT_DUTIES,
    TAG_STATUS,
    TAG_PAYMENT_USER,
    TAG_VERSION,
    TAG_ASKED,
    TAG_FEED,
    TAG_MOVED,
    TAGS
};

/* ---- calls ---- */

static void turn_page(struct walk *walk)
{
    walk->stale = walk->page;
    walk->page = walk->watch.arena = arena_child(walk->flow.arena);
}

/* A command about the record whose key is ${prefix} and ${id}. There is one for each order, so it is made without printf. */
static struct call *record_call(struct walk *walk, const char *command, const char *prefix, struct view id)
{
    struct call *call = call_command(walk->page, command, walk->partition);
    char key[KEY_MAX];
    size_t len = strlen(prefix);

    if (id.len > sizeof(key) - KEY_PREFIX_MAX)
        id.len = sizeof(key) - KEY_PREFIX_MAX; /* it is no id: there is no such record */
    memcpy(key, prefix, len);
    memcpy(key + len, id.at, id.len);
    call_key(call, (struct view){key, len + id.len});
    return call;
}

/* ZMSCORE of the index {p} and ${suffix} behind ${prefix}; its members are to follow. */
static struct call *scores_call(struct walk *walk, const char *prefix, const char *suffix)
{
    struct call *call = call_command(walk->page, "ZMSCORE", walk->partition);

    call_keyf(call, "%s:{%u}%s", prefix, walk->partition, suffix);
    return call;
}

static struct call *orders_call(struct walk *walk, struct view ids)
{
    struct call *call = call_function(walk->page, &FN_AUDIT_ORDERS, walk->partition);

    call_keyf(call, "orders:{%u}", walk->partition);
    call_arg_int(call, walk->partition);
    call_arg(call, VIEW(""));
    call_arg(call, VIEW(""));
    call_arg_int(call, 1);
    call_arg_int(call, walk->watch.upto_ms);
    call_arg(call, ids);
    return call;
}

/* ---- a block: orders ---- */

static void ask_index(struct walk *walk)
{
    turn_page(walk);
    struct call *call = call_command(walk->page, "ZRANGEBYSCORE", walk->partition);
    call_keyf(call, "orders:{%u}", walk->partition);
    call_arg(call, walk->after[0] ? view_of(walk->after) : VIEW("-inf"));
    call_arg(call, VIEW("+inf"));
    call_arg(call, VIEW("WITHSCORES"));
    call_arg(call, VIEW("LIMIT"));
    call_arg_int(call, (int64_t)walk->skip);
    call_arg_int(call, BLOCK);
    flow_call(&walk->flow, call, TAG_INDEX, 0);
}

/* Where the next block begins: at the last score, behind those that have it. */
static void note_place(struct walk *walk)
{
    struct view last = walk->rows[walk->count - 1].score;
    size_t same = 0;

    while (same < walk->count && view_equal(walk->rows[walk->count - 1 - same].score, last))
        same++;
    walk->skip = view_equal(view_of(walk->after), last) ? walk->skip + same : same;
    snprintf(walk->after, sizeof(walk->after), "%.*s", VIEW_ARG(last));
}

static void got_index(struct walk *walk, size_t index, const struct reply *reply)
{
    const struct item *list = reply->root;

    walk->count = list->count / 2;
    walk->rows = ARENA_ARRAY(walk->page, struct order_row, walk->count + 1);
    for (size_t i = 0; i < walk->count; i++) {
        walk->rows[i].id = arena_copy(walk->page, item_text(item_at(list, i * 2)));
        walk->rows[i].score = arena_copy(walk->page, item_text(item_at(list, i * 2 + 1)));
    }
    walk->payment_count = 0;
    walk->result.orders += (int64_t)walk->count;
    if (walk->count > 0)
        note_place(walk);
}

/* Duties are asked for first, so that they are known when a record comes. */
static void ask_records(struct walk *walk)
{
    struct call *duties = scores_call(walk, "txn", "");

    for (size_t i = 0; i < walk->count; i++)
        call_arg(duties, walk->rows[i].id);
    if (walk->count > 0)
        flow_call(&walk->flow, duties, TAG_DUTIES, 0);
    for (size_t i = 0; i < walk->count; i++)
        flow_call(&walk->flow, record_call(walk, "HGETALL", walk->order_prefix, walk->rows[i].id), TAG_RECORD, (int)i);
}

/* A score that is kept; .at NULL if there is none. */
static struct view score_of(struct walk *walk, const struct reply *reply, size_t n)
{
    const struct item *item = reply_item(reply, n);

    return item->type == ITEM_TEXT ? arena_copy(walk->page, item->text) : (struct view){NULL, 0};
}

static void got_duties(struct walk *walk, size_t index, const struct reply *reply)
{
    for (size_t i = 0; i < walk->count; i++)
        walk->rows[i].due = score_of(walk, reply, i);
}

/* How many ids ${list} has, with commas between them; 0 if it is no such list. */
static unsigned ids_in(struct view list)
{
    unsigned count = 1;
    bool digit = false;

    for (size_t i = 0; i < list.len; i++) {
        bool comma = list.at[i] == ',';
        if ((comma && !digit) || (!comma && (list.at[i] < '0' || list.at[i] > '9')))
            return 0;
        count += comma;
        digit = !comma;
    }
    return digit ? count : 0;
}

static void got_record(struct walk *walk, size_t index, const struct reply *reply)
{
    struct order_row *row = &walk->rows[index];
    struct order_lines lines;
    long long id;

    order_judge(&walk->watch, row, reply->root, &lines);
    if (row->payments.len > 0) {
        row->payment_count = ids_in(row->payments);
        row->suspect |= row->payment_count == 0 || row->payment_count > PAYMENTS_MAX;
    }
    if ((lines.live || row->due.at) && view_to_int(row->id, &id))
        audit_take_lines(walk->flow.parent, id, lines.txn, lines.document, lines.live, lines.paid && row->due.at == NULL);
}

/* ---- a block: where else its orders stand, and its payments ---- */

/* Rows of one buyer are looked for with one command. ${users}: the first row of each, in places of a hash table: 0 is none, else its number and 1. */
static void group_by_user(struct walk *walk)
{
    unsigned *first = walk->users = ARENA_ARRAY(walk->page, unsigned, USERS);

    for (size_t i = walk->count; i-- > 0;) {
        struct order_row *row = &walk->rows[i];
        if (row->suspect)
            continue;
        unsigned at = hash32(row->user, 0) & (USERS - 1);
        while (first[at] && !view_equal(walk->rows[first[at] - 1].user, row->user))
            at = (at + 1) & (USERS - 1);
        row->next_of_user = first[at];
        first[at] = (unsigned)i + 1;
    }
}

static void ask_users(struct walk *walk)
{
    const unsigned *first = walk->users;

    for (size_t at = 0; at < USERS; at++) {
        if (first[at] == 0)
            continue;
        struct call *call = call_command(walk->page, "ZMSCORE", walk->partition);
        call_keyf(call, "orders:{%u}:user:%.*s", walk->partition, VIEW_ARG(walk->rows[first[at] - 1].user));
        for (unsigned n = first[at]; n; n = walk->rows[n - 1].next_of_user)
            call_arg(call, walk->rows[n - 1].id);
        flow_call(&walk->flow, call, TAG_USER, (int)first[at]);
    }
}

static void got_user(struct walk *walk, size_t index, const struct reply *reply)
{
    size_t at = 0;

    for (unsigned n = (unsigned)index; n; n = walk->rows[n - 1].next_of_user)
        walk->rows[n - 1].suspect |= !view_equal(reply_text(reply, at++), walk->rows[n - 1].score);
}

static void ask_words(struct walk *walk)
{
    unsigned first[FACTS_WORDS] = {0};

    for (size_t i = walk->count; i-- > 0;) {
        struct order_row *row = &walk->rows[i];
        if (row->suspect)
            continue;
        row->next_of_word = first[row->word];
        first[row->word] = (unsigned)i + 1;
    }
    for (unsigned word = 0; word < FACTS_WORDS; word++) {
        struct view part[3];
        if (first[word] == 0 || split_bars(facts_text(walk->watch.facts, word), part, 3) < 3)
            continue;
        struct call *call = call_command(walk->page, "ZMSCORE", walk->partition);
        call_keyf(call, "orders:{%u}:in:%.*s:%.*s", walk->partition, VIEW_ARG(part[0]), VIEW_ARG(part[1]));
        for (unsigned n = first[word]; n; n = walk->rows[n - 1].next_of_word)
            call_arg(call, walk->rows[n - 1].id);
        flow_call(&walk->flow, call, TAG_WORD, (int)first[word]);
    }
}

static void got_word(struct walk *walk, size_t index, const struct reply *reply)
{
    size_t at = 0;

    for (unsigned n = (unsigned)index; n; n = walk->rows[n - 1].next_of_word)
        walk->rows[n - 1].suspect |= !view_equal(reply_text(reply, at++), walk->rows[n - 1].score);
}

static void add_payments(struct walk *walk, struct order_row *row)
{
    struct view rest = row->payments;

    row->first_payment = (unsigned)walk->payment_count;
    for (unsigned n = 0; n < row->payment_count; n++) {
        const char *comma = memchr(rest.at, ',', rest.len);
        size_t len = comma ? (size_t)(comma - rest.at) : rest.len;
        struct payment_row *payment = &walk->payments[walk->payment_count];
        *payment = (struct payment_row){.id = {rest.at, len}, .order = row};
        flow_call(&walk->flow, record_call(walk, "HGETALL", walk->payment_prefix, payment->id), TAG_PAYMENT, (int)walk->payment_count++);
        rest = (struct view){rest.at + len + 1, rest.len - len - (comma != NULL)};
    }
}

static void ask_places(struct walk *walk)
{
    size_t payments = 0;

    group_by_user(walk);
    ask_users(walk);
    ask_words(walk);
    for (size_t i = 0; i < walk->count; i++)
        payments += walk->rows[i].suspect ? 0 : walk->rows[i].payment_count;
    walk->payments = ARENA_ARRAY(walk->page, struct payment_row, payments + 1);
    for (size_t i = 0; i < walk->count; i++)
        if (!walk->rows[i].suspect && walk->rows[i].payment_count > 0)
            add_payments(walk, &walk->rows[i]);
}

static void got_payment(struct walk *walk, size_t index, const struct reply *reply)
{
    payment_judge(&walk->watch, &walk->payments[index], reply->root);
}

/* ---- a block: where its payments stand ---- */

static void ask_all_payments(struct walk *walk, const char *prefix, const char *suffix, int tag)
{
    struct call *call = scores_call(walk, prefix, suffix);

    for (size_t i = 0; i < walk->payment_count; i++)
        call_arg(call, walk->payments[i].id);
    flow_call(&walk->flow, call, tag, 0);
}

static void ask_statuses(struct walk *walk)
{
    unsigned first[FACTS_WORDS] = {0};

    for (size_t i = walk->payment_count; i-- > 0;) {
        struct payment_row *payment = &walk->payments[i];
        if (payment->word >= FACTS_WORDS)
            continue;
        payment->next_of_word = first[payment->word];
        first[payment->word] = (unsigned)i + 1;
    }
    for (unsigned word = 0; word < FACTS_WORDS; word++) {
        struct view text = facts_text(walk->watch.facts, word);
        if (first[word] == 0 || text.len == 0)
            continue;
        struct call *call = call_command(walk->page, "ZMSCORE", walk->partition);
        call_keyf(call, "payments:{%u}:in:%.*s", walk->partition, (int)text.len - 1, text.at);
        for (unsigned n = first[word]; n; n = walk->payments[n - 1].next_of_word)
            call_arg(call, walk->payments[n - 1].id);
        flow_call(&walk->flow, call, TAG_STATUS, (int)first[word]);
    }
}

/* The payments of each buyer, in the order of got_payment_user. */
static void ask_payment_users(struct walk *walk)
{
    for (size_t at = 0; at < USERS; at++) {
        struct call *call = NULL;
        for (unsigned n = walk->users[at]; n; n = walk->rows[n - 1].next_of_user) {
            const struct order_row *row = &walk->rows[n - 1];
            if (row->payment_count > 0 && !call) {
                call = call_command(walk->page, "ZMSCORE", walk->partition);
                call_keyf(call, "payments:{%u}:user:%.*s", walk->partition, VIEW_ARG(row->user));
            }
            for (unsigned i = 0; i < row->payment_count; i++)
                call_arg(call, walk->payments[row->first_payment + i].id);
        }
        if (call)
            flow_call(&walk->flow, call, TAG_PAYMENT_USER, (int)walk->users[at]);
    }
}

static void got_payment_user(struct walk *walk, size_t index, const struct reply *reply)
{
    size_t at = 0;

    for (unsigned n = (unsigned)index; n; n = walk->rows[n - 1].next_of_user) {
        struct order_row *row = &walk->rows[n - 1];
        for (unsigned i = 0; i < row->payment_count; i++)
            row->suspect |= !view_equal(reply_text(reply, at++), walk->payments[row->first_payment + i].score);
    }
}

static void ask_payment_places(struct walk *walk)
{
    if (walk->payment_count == 0)
        return;
    ask_all_payments(walk, "payments", "", TAG_PAYMENTS);
    ask_all_payments(walk, "payments", ":refund_due", TAG_OWED);
    ask_all_payments(walk, "txn", ":pay", TAG_PAYMENT_DUTIES);
    ask_statuses(walk);
    ask_payment_users(walk);
    for (size_t i = 0; i < walk->payment_count; i++) {
        struct call *call = record_call(walk, "HGET", walk->payment_prefix, walk->payments[i].id);
        call_arg(call, VIEW("v"));
        flow_call(&walk->flow, call, TAG_VERSION, (int)i);
    }
}

static void got_payments(struct walk *walk, size_t index, const struct reply *reply)
{
    for (size_t i = 0; i < walk->payment_count; i++)
        walk->payments[i].score = score_of(walk, reply, i);
}

static void got_owed(struct walk *walk, size_t index, const struct reply *reply)
{
    for (size_t i = 0; i < walk->payment_count; i++)
        walk->payments[i].owed = score_of(walk, reply, i);
}

static void got_payment_duties(struct walk *walk, size_t index, const struct reply *reply)
{
    for (size_t i = 0; i < walk->payment_count; i++)
        walk->payments[i].duty = score_of(walk, reply, i);
}

static void got_status(struct walk *walk, size_t index, const struct reply *reply)
{
    size_t at = 0;

    for (unsigned n = (unsigned)index; n; n = walk->payments[n - 1].next_of_word)
        walk->payments[n - 1].order->suspect |= !view_equal(reply_text(reply, at++), walk->payments[n - 1].score);
}

static void got_version(struct walk *walk, size_t index, const struct reply *reply)
{
    walk->payments[index].order->suspect |= !view_equal(reply_text(reply, 0), walk->payments[index].version);
}

/* ---- a block: what is not sure ---- */

/* Is something asked already that will tell of all the new facts of ${row}? Else notes that its facts are asked. */
static bool waits_for_others(const struct walk *walk, const struct order_row *row, uint16_t *facts, unsigned *fact_count, unsigned room)
{
    bool waits = true;

    for (unsigned i = 0; i < row->unknown_count && waits; i++) {
        unsigned at = 0;
        while (at < *fact_count && facts[at] != row->unknown[i])
            at++;
        waits = fact_right(walk->watch.facts, row->unknown[i]) || (at < *fact_count && !fact_doubted(walk->watch.facts, row->unknown[i]));
    }
    for (unsigned i = 0; !waits && i < row->unknown_count && *fact_count < room; i++)
        facts[(*fact_count)++] = row->unknown[i];
    return waits;
}

/* Asks about the next orders that are not sure; of several with the same new facts about one. */
static void ask_unsure(struct walk *walk)
{
    uint16_t facts[ASKED_AT_ONCE * UNKNOWN_FACTS_MAX];
    struct buffer ids = {.arena = walk->page};
    unsigned fact_count = 0;

    walk->asked_count = 0;
    for (size_t i = 0; i < walk->count && walk->asked_count < ASKED_AT_ONCE; i++) {
        struct order_row *row = &walk->rows[i];
        if (row->asked || order_is_right(walk->watch.facts, row))
            continue;
        if (!row->suspect && waits_for_others(walk, row, facts, &fact_count, sizeof(facts) / sizeof(*facts)))
            continue;
        buffer_add(&ids, ",", walk->asked_count > 0);
        buffer_add_view(&ids, row->id);
        walk->asked[walk->asked_count++] = (unsigned)i;
        row->asked = true;
    }
    if (walk->asked_count > 0)
        flow_call(&walk->flow, orders_call(walk, buffer_view(&ids)), TAG_ASKED, 0);
}

static void got_asked(struct walk *walk, size_t index, const struct reply *reply)
{
    bool right = reply_item(reply, 4)->count == 0;

    audit_take_violations(walk->flow.parent, reply_item(reply, 4));
    feed_take_orders(&walk->result.feed, reply);
    walk->result.payments += reply_int(reply, 3);
    for (unsigned i = 0; i < walk->asked_count; i++) {
        const struct order_row *row = &walk->rows[walk->asked[i]];
        for (unsigned n = 0; n < row->unknown_count; n++)
            (right ? fact_learn : fact_doubt)(walk->watch.facts, row->unknown[n]);
    }
}

static void conclude(struct walk *walk)
{
    for (size_t i = 0; i < walk->count; i++) {
        struct order_row *row = &walk->rows[i];
        if (!row->suspect && row->payment_count > 0)
            order_conclude(&walk->watch, row, &walk->payments[row->first_payment], row->payment_count);
    }
}

/* Nothing is left to be asked: those that were not are right. */
static void count_block(struct walk *walk)
{
    for (size_t i = 0; i < walk->count; i++) {
        const struct order_row *row = &walk->rows[i];
        if (row->asked)
            continue;
        walk->result.feed.versions += row->versions;
        walk->result.feed.version_sum += row->version_sum;
        walk->result.payments += row->payment_count;
    }
}

/* ---- the feed ---- */

static void ask_feed(struct walk *walk)
{
    turn_page(walk);
    flow_call(&walk->flow, feed_entries_call(walk->page, walk->partition, walk->after_entry, VIEW("+")), TAG_FEED, 0);
}

static void note_moved(struct walk *walk, int64_t order_id)
{
    for (size_t i = walk->moved_count; i-- > 0;)
        if (walk->moved[i] == order_id)
            return;
    if (walk->moved_count == walk->moved_room) {
        int64_t *wider = ARENA_ARRAY(walk->flow.arena, int64_t, walk->moved_room * 2 + 16);
        if (walk->moved_count > 0)
            memcpy(wider, walk->moved, walk->moved_count * sizeof(*wider));
        walk->moved = wider;
        walk->moved_room = walk->moved_room * 2 + 16;
    }
    walk->moved[walk->moved_count++] = order_id;
}

static void got_feed(struct walk *walk, size_t index, const struct reply *reply)
{
    const struct item *list = reply->root;
    int64_t order_id;

    for (size_t i = 0; i < list->count; i++)
        if (feed_entry_ms(item_at(list, i)) < walk->watch.upto_ms)
            feed_take_entry(&walk->result.feed, item_at(list, i));
        else if (feed_entry_order(item_at(list, i), &order_id))
            note_moved(walk, order_id);
    walk->after_entry = arena_copy(walk->page, feed_last(list));
}

static void ask_moved(struct walk *walk)
{
    struct buffer ids = {.arena = walk->page};

    for (unsigned n = 0; n < ASKED_AT_ONCE && walk->moved_asked < walk->moved_count; n++) {
        buffer_add(&ids, ",", n > 0);
        buffer_add_int(&ids, walk->moved[walk->moved_asked++]);
    }
    if (ids.len > 0)
        flow_call(&walk->flow, orders_call(walk, buffer_view(&ids)), TAG_MOVED, 0);
}

static void got_moved(struct walk *walk, size_t index, const struct reply *reply)
{
    audit_take_violations(walk->flow.parent, reply_item(reply, 4));
}

/* ---- from one step to the next ---- */

static void ask_time(struct walk *walk)
{
    turn_page(walk);
    flow_call(&walk->flow, call_command(walk->page, "TIME", walk->partition), TAG_TIME, 0);
    flow_call(&walk->flow, orders_call(walk, VIEW("")), TAG_COUNTS, 0);
}

static void got_time(struct walk *walk, size_t index, const struct reply *reply)
{
    walk->watch.now_ms = reply_int(reply, 0) * 1000 + reply_int(reply, 1) / 1000;
    walk->watch.upto_ms = walk->result.feed.upto_ms = walk->watch.now_ms - FEED_PAUSE_MS;
}

static void begin(struct walk *walk, enum stage stage)
{
    static void (*const BEGIN[])(struct walk * walk) = {[AT_TIME] = ask_time,
                                                        [AT_INDEX] = ask_index,
                                                        [AT_RECORDS] = ask_records,
                                                        [AT_PLACES] = ask_places,
                                                        [AT_PAYMENT_PLACES] = ask_payment_places,
                                                        [AT_ASKING] = ask_unsure,
                                                        [AT_FEED] = ask_feed,
                                                        [AT_MOVED] = ask_moved};

    walk->stage = stage;
    BEGIN[stage](walk);
}

static enum stage stage_after(struct walk *walk)
{
    switch (walk->stage) {
    case AT_PAYMENT_PLACES:
        conclude(walk);
        return AT_ASKING;
    case AT_ASKING:
        if (walk->asked_count > 0)
            return AT_ASKING;
        count_block(walk);
        return walk->count == BLOCK ? AT_INDEX : AT_FEED;
    case AT_FEED:
        return walk->after_entry.len > 0 ? AT_FEED : AT_MOVED;
    case AT_MOVED:
        return AT_MOVED;
    default:
        return walk->stage + 1;
    }
}

static void end(struct walk *walk)
{
    arena_free(walk->stale);
    arena_free(walk->page);
    walk->page = walk->stale = NULL;
    walk->result.events = (int64_t)walk->result.feed.entries;
    flow_end(&walk->flow);
}

static void got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    static void (*const GOT[TAGS])(struct walk * walk, size_t index, const struct reply *reply) = {[TAG_TIME] = got_time,
                                                                                                   [TAG_COUNTS] = got_moved,
                                                                                                   [TAG_INDEX] = got_index,
                                                                                                   [TAG_DUTIES] = got_duties,
                                                                                                   [TAG_RECORD] = got_record,
                                                                                                   [TAG_USER] = got_user,
                                                                                                   [TAG_WORD] = got_word,
                                                                                                   [TAG_PAYMENT] = got_payment,
                                                                                                   [TAG_PAYMENTS] = got_payments,
                                                                                                   [TAG_OWED] = got_owed,
                                                                                                   [TAG_PAYMENT_DUTIES] = got_payment_duties,
                                                                                                   [TAG_STATUS] = got_status,
                                                                                                   [TAG_PAYMENT_USER] = got_payment_user,
                                                                                                   [TAG_VERSION] = got_version,
                                                                                                   [TAG_ASKED] = got_asked,
                                                                                                   [TAG_FEED] = got_feed,
                                                                                                   [TAG_MOVED] = got_moved};
    struct walk *walk = (struct walk *)flow;

    arena_free(walk->stale);
    walk->stale = NULL;
    if (reply->kind != REPLY_OK && !walk->stopped) {
        walk->result.failure = (struct reply){.kind = REPLY_NOT_SENT, .why = reply->why ? reply->why : "it does not answer"};
        walk->result.failed = true;
    }
    walk->stopped |= walk->result.failed || audit_stopping(flow->parent);
    if (!walk->stopped)
        GOT[call->tag](walk, (size_t)call->index, reply);
    while (flow->owed == 0 && !walk->stopped && !(walk->stage == AT_MOVED && walk->moved_asked == walk->moved_count))
        begin(walk, stage_after(walk));
    if (flow->owed == 0)
        end(walk);
}

static void start(struct flow *flow)
{
    begin((struct walk *)flow, AT_TIME);
}

static const struct flow_type WALK = {.name = "audit of orders", .size = sizeof(struct walk), .start = start, .got_reply = got_reply};

struct flow *audit_walk_new(struct flow *audit, unsigned partition)
{
    struct flow *flow = flow_new(audit->arena, &WALK, audit->world, audit->ask);
    struct walk *walk = (struct walk *)flow;

    walk->partition = partition;
    snprintf(walk->order_prefix, sizeof(walk->order_prefix), "order:{%u}:", partition);
    snprintf(walk->payment_prefix, sizeof(walk->payment_prefix), "payment:{%u}:", partition);
    walk->watch.facts = audit_facts(audit);
    return flow;
}

const struct walk_result *audit_walk_result(const struct flow *child)
{
    return &((const struct walk *)child)->result;
}
