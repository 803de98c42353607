#include <math.h>
#include <stdio.h>

#include "dump.h"
#include "hash.h"

#include "audit_internal.h"
#include "audit_order.h"
#include "audit_places.h"
#include "functions.h"
#include "records.h"

#include "audit_walk.h"

#define BLOCK 256
#define WHOLE_MAX 5000       /* orders and payments of a partition whose indexes are read whole: 2 ms of the shard at most for one */
#define WHOLE_AT_ONCE 2500   /* members behind which no further index is read in the same step */
#define FEED_WHOLE_MAX 10000 /* entries of a feed that is read whole: 1 ms */
#define PAYMENTS_MAX 8       /* of an order; one with more is asked about */
#define ASKED_AT_ONCE 25
#define BUYERS_FEWEST 512 /* places for those of a block, a power of two */
#define KEY_PREFIX_MAX 32
#define KEY_MAX 64

/* What is under way; the next is begun when nothing is owed any more. */
enum stage { AT_TIME, AT_WHOLE, AT_INDEX, AT_RECORDS, AT_PLACES, AT_PAYMENT_PLACES, AT_VERSIONS, AT_ASKING, AT_FEED, AT_MOVED };

/* The sorted sets of a partition. Behind I_WORD those of a state and payment_status, or of a payment's status, by the number of their word. */
enum { I_ORDERS, I_DUTIES, I_PAYMENTS, I_OWED, I_PAYMENT_DUTIES, I_WORD, I_ALL = I_WORD + FACTS_WORDS };

/* A buyer, and the indexes of his orders and payments. */
struct buyer {
    struct view name;
    struct places orders, payments;
};

struct walk {
    struct flow flow;
    struct walk_result result;
    struct order_watch watch;
    unsigned partition;

    /*
     * The indexes. Of a partition that is not too large they are read whole and kept, in ${whole}, as they are then. Else they are asked for each
     * block about those who are in it, and buyers are those of the block.
     */
    int64_t size; /* orders and payments */
    bool keeps;
    struct arena *whole;
    struct places places[I_ALL];
    unsigned next_index;   /* to be read */
    struct buyer **buyers; /* a hash table with linear probing */
    size_t buyer_room;

    char order_prefix[KEY_PREFIX_MAX], payment_prefix[KEY_PREFIX_MAX]; /* of the keys of records */
    enum stage stage;
    bool stopped;

    /*
     * A block. ${page} has its rows and calls; ${stale} is what was before it, until the next reply: whoever carries a call may look at it that long.
     */
    struct arena *page, *stale;
    char after[40]; /* the score behind which it begins */
    size_t skip;    /* so many orders of that score were looked at; of a whole index: so many orders */
    struct order_row *rows;
    struct payment_row *payments;
    size_t count, payment_count;
    struct claims claims; /* of the step that is under way */
    unsigned asked[ASKED_AT_ONCE], asked_count;

    /* The feed, and the orders that it says have moved. */
    int64_t feed_size;
    struct view after_entry;
    int64_t *moved;
    size_t moved_count, moved_room, moved_asked;
};

enum {
    TAG_TIME,
    TAG_COUNTS,
    TAG_SIZE,
    TAG_FEED_SIZE,
    TAG_WHOLE,
    TAG_INDEX,
    TAG_DUTIES,
    TAG_RECORD,
    TAG_FIELDS,
    TAG_CLAIM_WHOLE,
    TAG_CLAIM,
    TAG_PAYMENT,
    TAG_PAYMENT_FIELDS,
    TAG_PAYMENT_PLACE,
    TAG_VERSION,
    TAG_ASKED,
    TAG_FEED_WHOLE,
    TAG_FEED,
    TAG_MOVED,
    TAGS
};

/* ---- calls ---- */

static void turn_page(struct walk *walk)
{
    if (walk->stale)
        arena_free(walk->page); /* it was begun since the last reply, so no call is on it */
    else
        walk->stale = walk->page;
    walk->page = walk->watch.arena = arena_child(walk->flow.arena);
}

static struct call *key_call(struct walk *walk, const char *command, struct view key)
{
    struct call *call = call_command(walk->page, command, walk->partition);

    call_key(call, key);
    return call;
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

/* .at NULL for the number of a word that names no index. */
static struct view index_key(const struct walk *walk, unsigned index)
{
    static const char *const NAMES[I_WORD][2] = {[I_ORDERS] = {"orders", ""},
                                                 [I_DUTIES] = {"txn", ""},
                                                 [I_PAYMENTS] = {"payments", ""},
                                                 [I_OWED] = {"payments", ":refund_due"},
                                                 [I_PAYMENT_DUTIES] = {"txn", ":pay"}};
    struct view part[3];

    if (index < I_WORD)
        return arena_printf(walk->page, "%s:{%u}%s", NAMES[index][0], walk->partition, NAMES[index][1]);
    size_t parts = split_bars(facts_text(walk->watch.facts, index - I_WORD), part, 3);
    if (parts == 3)
        return arena_printf(walk->page, "orders:{%u}:in:%.*s:%.*s", walk->partition, VIEW_ARG(part[0]), VIEW_ARG(part[1]));
    if (parts == 2)
        return arena_printf(walk->page, "payments:{%u}:in:%.*s", walk->partition, VIEW_ARG(part[0]));
    return (struct view){NULL, 0};
}

/* A command about an index. What more it takes is to follow. */
static struct call *index_call(struct walk *walk, const char *command, unsigned index)
{
    return key_call(walk, command, index_key(walk, index));
}

static int64_t number_of(struct view id)
{
    long long number;

    return view_to_int(id, &number) ? number : -1;
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

/* ---- its indexes ---- */

/*
 * Those of words that the audit has not met are read when one needs them. A shard carries out all that comes in one write before it turns to others,
 * so not too much is asked for at once.
 */
static void ask_whole(struct walk *walk)
{
    if (walk->size > WHOLE_MAX)
        walk->next_index = I_ALL;
    for (int64_t members = 0; walk->next_index < I_ALL && members < WHOLE_AT_ONCE; walk->next_index++) {
        struct view key = index_key(walk, walk->next_index);
        if (key.at == NULL)
            continue;
        flow_call(&walk->flow, key_call(walk, "DUMP", key), TAG_WHOLE, (int)walk->next_index);
        members += walk->size;
    }
}

static void got_size(struct walk *walk, size_t index, const struct reply *reply)
{
    walk->size += reply_int(reply, 0);
}

static void got_feed_size(struct walk *walk, size_t index, const struct reply *reply)
{
    walk->feed_size = reply_int(reply, 0);
}

static void got_whole(struct walk *walk, size_t index, const struct reply *reply)
{
    places_take(&walk->places[index], walk->whole, reply->root);
}

/* Are those that all orders and payments stand in held? Then the others are read whole as well; else none is kept. */
static void end_whole(struct walk *walk)
{
    walk->keeps = true;
    for (unsigned index = 0; index < I_WORD; index++)
        walk->keeps &= walk->places[index].held;
    if (!walk->keeps) {
        memset(walk->places, 0, sizeof(walk->places));
        return;
    }
    for (walk->buyer_room = BUYERS_FEWEST; walk->buyer_room < 2 * walk->places[I_ORDERS].count; walk->buyer_room *= 2)
        ;
    walk->buyers = ARENA_ARRAY(walk->whole, struct buyer *, walk->buyer_room);
}

/* ---- a block: orders ---- */

/* The next orders of an index that is held. */
static void take_index(struct walk *walk)
{
    const struct places *orders = &walk->places[I_ORDERS];

    walk->count = orders->count - walk->skip < BLOCK ? orders->count - walk->skip : BLOCK;
    walk->rows = ARENA_ARRAY(walk->page, struct order_row, walk->count + 1);
    for (size_t i = 0; i < walk->count; i++) {
        const struct place *place = &orders->list[walk->skip++];
        struct buffer id = {.arena = walk->page};
        buffer_add_int(&id, place->id);
        walk->rows[i].id = buffer_view(&id);
        walk->rows[i].number = place->id;
        walk->rows[i].score = place->score;
    }
}

static void ask_index(struct walk *walk)
{
    turn_page(walk);
    walk->payment_count = 0;
    if (walk->keeps) {
        take_index(walk);
        walk->result.orders += (int64_t)walk->count;
        return;
    }
    struct call *call = index_call(walk, "ZRANGEBYSCORE", I_ORDERS);
    call_arg(call, walk->after[0] ? view_of(walk->after) : VIEW("-inf"));
    call_arg(call, VIEW("+inf"));
    call_arg(call, VIEW("WITHSCORES"));
    call_arg(call, VIEW("LIMIT"));
    call_arg_int(call, (int64_t)walk->skip);
    call_arg_int(call, BLOCK);
    flow_call(&walk->flow, call, TAG_INDEX, 0);
}

/* Where the next block begins: at the last score, behind those that have it. */
static void note_place(struct walk *walk, struct view last)
{
    double score = walk->rows[walk->count - 1].score;
    size_t same = 0;

    while (same < walk->count && walk->rows[walk->count - 1 - same].score == score)
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
        walk->rows[i].number = number_of(walk->rows[i].id);
        walk->rows[i].score = score_in(item_at(list, i * 2 + 1));
    }
    walk->result.orders += (int64_t)walk->count;
    if (walk->count > 0)
        note_place(walk, item_text(item_at(list, walk->count * 2 - 1)));
}

/* Duties are known before the records, which are judged by them. */
static void ask_duties(struct walk *walk)
{
    struct call *call = walk->keeps || walk->count == 0 ? NULL : index_call(walk, "ZMSCORE", I_DUTIES);

    for (size_t i = 0; i < walk->count; i++)
        if (call)
            call_arg(call, walk->rows[i].id);
        else
            walk->rows[i].due = places_score(&walk->places[I_DUTIES], walk->rows[i].number);
    if (call)
        flow_call(&walk->flow, call, TAG_DUTIES, 0);
}

static void ask_records(struct walk *walk)
{
    ask_duties(walk);
    for (size_t i = 0; i < walk->count; i++)
        flow_call(&walk->flow, record_call(walk, "DUMP", walk->order_prefix, walk->rows[i].id), TAG_RECORD, (int)i);
}

static void got_duties(struct walk *walk, size_t index, const struct reply *reply)
{
    for (size_t i = 0; i < walk->count; i++)
        walk->rows[i].due = score_in(reply_item(reply, i));
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

    if (!order_judge(&walk->watch, row, reply->root, &lines)) {
        flow_call(&walk->flow, record_call(walk, "HGETALL", walk->order_prefix, row->id), TAG_FIELDS, (int)index);
        return;
    }
    if (row->payments.len > 0) {
        row->payment_count = ids_in(row->payments);
        row->suspect |= row->payment_count == 0 || row->payment_count > PAYMENTS_MAX;
    }
    if ((lines.live || !isnan(row->due)) && row->number >= 0)
        audit_take_lines(walk->flow.parent, row->number, lines.txn, lines.document, lines.live, lines.paid && isnan(row->due));
}

/* ---- a block: who must be in which index ---- */

/* Where the indexes of this buyer are kept. */
static struct buyer *buyer_of(struct walk *walk, struct view name)
{
    size_t at = hash32(name, 0) & (walk->buyer_room - 1);

    while (walk->buyers[at] && !view_equal(walk->buyers[at]->name, name))
        at = (at + 1) & (walk->buyer_room - 1);
    if (walk->buyers[at] == NULL) {
        struct arena *arena = walk->keeps ? walk->whole : walk->page;
        walk->buyers[at] = ARENA_NEW(arena, struct buyer);
        walk->buyers[at]->name = arena_copy(arena, name);
    }
    return walk->buyers[at];
}

/* Claims about ${most} orders or payments: two for each, of its buyer and of its state. Buyers that are not kept begin anew. */
static void begin_claims(struct walk *walk, size_t most)
{
    claims_begin(&walk->claims, walk->page, most * 2);
    if (walk->keeps)
        return;
    walk->buyer_room = BUYERS_FEWEST;
    walk->buyers = ARENA_ARRAY(walk->page, struct buyer *, walk->buyer_room);
}

static void claim_order(struct walk *walk, struct order_row *row)
{
    const struct claimant claimant = {row->id, row->number, &row->score, &row->suspect, NULL};
    struct claim *claim = claims_add(&walk->claims, &buyer_of(walk, row->user)->orders, &claimant);

    if (claim && claim->key.at == NULL)
        claim->key = arena_printf(walk->page, "orders:{%u}:user:%.*s", walk->partition, VIEW_ARG(row->user));
    claim = claims_add(&walk->claims, &walk->places[I_WORD + row->word], &claimant);
    if (claim && claim->key.at == NULL)
        claim->key = index_key(walk, I_WORD + row->word);
}

static void claim_payment(struct walk *walk, struct payment_row *payment)
{
    struct order_row *row = payment->order;
    const struct claimant claimant = {payment->id, payment->number, &payment->score, &row->suspect, NULL};
    struct claim *claim = claims_add(&walk->claims, &buyer_of(walk, row->user)->payments, &claimant);

    if (claim && claim->key.at == NULL)
        claim->key = arena_printf(walk->page, "payments:{%u}:user:%.*s", walk->partition, VIEW_ARG(row->user));
    if (payment->word >= FACTS_WORDS)
        return;
    claim = claims_add(&walk->claims, &walk->places[I_WORD + payment->word], &claimant);
    if (claim && claim->key.at == NULL)
        claim->key = index_key(walk, I_WORD + payment->word);
    payment->late |= claim != NULL;
}

static void ask_claim_scores(struct walk *walk, size_t n)
{
    struct call *call = key_call(walk, "ZMSCORE", walk->claims.list[n].key);

    for (const struct claimant *claimant = walk->claims.list[n].claimants; claimant; claimant = claimant->next)
        call_arg(call, claimant->id);
    flow_call(&walk->flow, call, TAG_CLAIM, (int)n);
}

static void ask_claims(struct walk *walk)
{
    claims_end(&walk->claims);
    for (size_t n = 0; n < walk->claims.count; n++)
        if (walk->keeps && !walk->claims.list[n].places->unreadable)
            flow_call(&walk->flow, key_call(walk, "DUMP", walk->claims.list[n].key), TAG_CLAIM_WHOLE, (int)n);
        else
            ask_claim_scores(walk, n);
}

static void got_claim_whole(struct walk *walk, size_t index, const struct reply *reply)
{
    if (!claim_whole(&walk->claims.list[index], walk->whole, reply->root))
        ask_claim_scores(walk, index);
}

static void got_claim(struct walk *walk, size_t index, const struct reply *reply)
{
    claim_scores(&walk->claims.list[index], reply);
}

/* ---- a block: where else its orders stand, and its payments ---- */

static void add_payments(struct walk *walk, struct order_row *row)
{
    struct view rest = row->payments;

    row->first_payment = (unsigned)walk->payment_count;
    for (unsigned n = 0; n < row->payment_count; n++) {
        const char *comma = memchr(rest.at, ',', rest.len);
        size_t len = comma ? (size_t)(comma - rest.at) : rest.len;
        struct payment_row *payment = &walk->payments[walk->payment_count];
        *payment = (struct payment_row){.id = {rest.at, len}, .number = number_of((struct view){rest.at, len}), .order = row};
        flow_call(&walk->flow, record_call(walk, "DUMP", walk->payment_prefix, payment->id), TAG_PAYMENT, (int)walk->payment_count++);
        rest = (struct view){rest.at + len + 1, rest.len - len - (comma != NULL)};
    }
}

static void ask_places(struct walk *walk)
{
    size_t payments = 0;

    begin_claims(walk, walk->count);
    for (size_t i = 0; i < walk->count; i++)
        if (!walk->rows[i].suspect)
            claim_order(walk, &walk->rows[i]);
    ask_claims(walk);
    for (size_t i = 0; i < walk->count; i++)
        payments += walk->rows[i].suspect ? 0 : walk->rows[i].payment_count;
    walk->payments = ARENA_ARRAY(walk->page, struct payment_row, payments + 1);
    for (size_t i = 0; i < walk->count; i++)
        if (!walk->rows[i].suspect && walk->rows[i].payment_count > 0)
            add_payments(walk, &walk->rows[i]);
}

static void got_payment(struct walk *walk, size_t index, const struct reply *reply)
{
    struct payment_row *payment = &walk->payments[index];

    if (!payment_judge(&walk->watch, payment, reply->root))
        flow_call(&walk->flow, record_call(walk, "HGETALL", walk->payment_prefix, payment->id), TAG_PAYMENT_FIELDS, (int)index);
}

/* ---- a block: where its payments stand ---- */

/* Where ${payment} keeps the score that it has in one of the three indexes of all payments. */
static double *place_of(struct payment_row *payment, unsigned index)
{
    return index == I_PAYMENTS ? &payment->score : index == I_OWED ? &payment->owed : &payment->duty;
}

static void ask_all_payments(struct walk *walk, unsigned index)
{
    struct call *call = walk->keeps ? NULL : index_call(walk, "ZMSCORE", index);

    for (size_t i = 0; i < walk->payment_count; i++)
        if (call)
            call_arg(call, walk->payments[i].id);
        else
            *place_of(&walk->payments[i], index) = places_score(&walk->places[index], walk->payments[i].number);
    if (call)
        flow_call(&walk->flow, call, TAG_PAYMENT_PLACE, (int)index);
}

static void got_payment_place(struct walk *walk, size_t index, const struct reply *reply)
{
    for (size_t i = 0; i < walk->payment_count; i++)
        *place_of(&walk->payments[i], (unsigned)index) = score_in(reply_item(reply, i));
}

/* Did it move while it was read? Behind all of its places. */
static void ask_versions(struct walk *walk)
{
    for (size_t i = 0; i < walk->payment_count; i++) {
        if (!walk->payments[i].late)
            continue;
        struct call *call = record_call(walk, "HGET", walk->payment_prefix, walk->payments[i].id);
        call_arg(call, VIEW("v"));
        flow_call(&walk->flow, call, TAG_VERSION, (int)i);
    }
}

static void ask_payment_places(struct walk *walk)
{
    if (walk->payment_count == 0)
        return;
    ask_all_payments(walk, I_PAYMENTS);
    ask_all_payments(walk, I_OWED);
    ask_all_payments(walk, I_PAYMENT_DUTIES);
    begin_claims(walk, walk->payment_count);
    for (size_t i = 0; i < walk->payment_count; i++)
        claim_payment(walk, &walk->payments[i]);
    ask_claims(walk);
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
    if (walk->feed_size <= FEED_WHOLE_MAX)
        flow_call(&walk->flow, feed_call(walk->page, "DUMP", walk->partition), TAG_FEED_WHOLE, 0);
    else
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

static void take_entry(struct walk *walk, int64_t ms, struct view text)
{
    int64_t order_id;

    if (ms < walk->watch.upto_ms)
        feed_take_text(&walk->result.feed, text);
    else if (feed_text_order(text, &order_id))
        note_moved(walk, order_id);
}

static void got_feed_whole(struct walk *walk, size_t index, const struct reply *reply)
{
    const struct feed_account before = walk->result.feed;
    struct dump_stream stream;
    int64_t ms;
    struct view text;

    if (reply->root->type == ITEM_NIL)
        return;
    bool read = reply->root->type == ITEM_TEXT && dump_stream_open(&stream, reply->root->text, walk->page);
    while (read && dump_entry(&stream, &ms, &text))
        take_entry(walk, ms, text);
    if (read && dump_stream_ended(&stream))
        return;
    walk->result.feed = before;
    walk->feed_size = INT64_MAX; /* so it is read by XRANGE */
    ask_feed(walk);
}

static void got_feed(struct walk *walk, size_t index, const struct reply *reply)
{
    const struct item *list = reply->root;

    for (size_t i = 0; i < list->count; i++)
        take_entry(walk, feed_entry_ms(item_at(list, i)), feed_entry_text(item_at(list, i)));
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
    flow_call(&walk->flow, index_call(walk, "ZCARD", I_ORDERS), TAG_SIZE, 0);
    flow_call(&walk->flow, index_call(walk, "ZCARD", I_PAYMENTS), TAG_SIZE, 0);
    flow_call(&walk->flow, feed_call(walk->page, "XLEN", walk->partition), TAG_FEED_SIZE, 0);
}

static void got_time(struct walk *walk, size_t index, const struct reply *reply)
{
    walk->watch.now_ms = reply_int(reply, 0) * 1000 + reply_int(reply, 1) / 1000;
    walk->watch.upto_ms = walk->result.feed.upto_ms = walk->watch.now_ms - FEED_PAUSE_MS;
}

static void begin(struct walk *walk, enum stage stage)
{
    static void (*const BEGIN[])(struct walk *
                                 walk) = {[AT_TIME] = ask_time,         [AT_WHOLE] = ask_whole,   [AT_INDEX] = ask_index,
                                          [AT_RECORDS] = ask_records,   [AT_PLACES] = ask_places, [AT_PAYMENT_PLACES] = ask_payment_places,
                                          [AT_VERSIONS] = ask_versions, [AT_ASKING] = ask_unsure, [AT_FEED] = ask_feed,
                                          [AT_MOVED] = ask_moved};

    walk->stage = stage;
    BEGIN[stage](walk);
}

static enum stage stage_after(struct walk *walk)
{
    switch (walk->stage) {
    case AT_WHOLE:
        if (walk->next_index < I_ALL)
            return AT_WHOLE;
        end_whole(walk);
        return AT_INDEX;
    case AT_VERSIONS:
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
    arena_free(walk->whole);
    walk->page = walk->stale = walk->whole = NULL;
    walk->result.events = (int64_t)walk->result.feed.entries;
    flow_end(&walk->flow);
}

static void got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    static void (*const GOT[TAGS])(struct walk * walk, size_t index, const struct reply *reply) = {[TAG_TIME] = got_time,
                                                                                                   [TAG_COUNTS] = got_moved,
                                                                                                   [TAG_SIZE] = got_size,
                                                                                                   [TAG_FEED_SIZE] = got_feed_size,
                                                                                                   [TAG_WHOLE] = got_whole,
                                                                                                   [TAG_INDEX] = got_index,
                                                                                                   [TAG_DUTIES] = got_duties,
                                                                                                   [TAG_RECORD] = got_record,
                                                                                                   [TAG_FIELDS] = got_record,
                                                                                                   [TAG_CLAIM_WHOLE] = got_claim_whole,
                                                                                                   [TAG_CLAIM] = got_claim,
                                                                                                   [TAG_PAYMENT] = got_payment,
                                                                                                   [TAG_PAYMENT_FIELDS] = got_payment,
                                                                                                   [TAG_PAYMENT_PLACE] = got_payment_place,
                                                                                                   [TAG_VERSION] = got_version,
                                                                                                   [TAG_ASKED] = got_asked,
                                                                                                   [TAG_FEED_WHOLE] = got_feed_whole,
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
    walk->whole = arena_child(audit->arena);
    return flow;
}

const struct walk_result *audit_walk_result(const struct flow *child)
{
    return &((const struct walk *)child)->result;
}
