#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#include "functions.h"
#include "records.h"

#include "book.h"

#include "asking.h"

#include "snapshots.h"

#define SHARDS 3
#define BEGIN_MS INT64_C(1700000000000)

struct shard_state {
    void *saved;
    size_t len;
    struct facts facts;
};
struct shard_machine {
    struct shard_sim *sim;
    struct shard_state *states;
    uint32_t count;
    struct memo numbers, runs;
};
/* The gateway's book is what was decided, in any order: a state is a row of wishes. */
struct book_state {
    uint32_t *wishes;
    uint32_t count;
};
struct snapshots {
    struct shop_plan plan;
    struct machine *machine;
    struct arena *arena;
    struct shard_machine shards[SHARDS];
    struct book_state *books;
    uint32_t book_count;
    struct memo book_numbers, book_runs;
    char wrong[256];
};

/* ---- reading a shard ---- */

enum part { PART_OTHER, PART_IGNORED, PART_STOCK, PART_ORDER, PART_IDEM, PART_PAYMENT };
struct look {
    struct keyspace_visitor visitor; /* first */
    const struct snapshots *snapshots;
    struct facts *facts;
    struct hash128 sum, key;
    enum part part;
    int index; /* of the product or key; -1: none that we know */
    int64_t id;
    int order_at, attempt, total;
    enum order_state state;
};

static int64_t number_of(struct view text)
{
    char copied[32];
    snprintf(copied, sizeof(copied), "%.*s", VIEW_ARG(text));
    return strtoll(copied, NULL, 10);
}

static int product_of(const struct snapshots *snapshots, int64_t id)
{
    for (int i = 0; i < SHOP_PRODUCTS; i++)
        if (snapshots->plan.product_ids[i] == id)
            return i;
    return -1;
}

static int key_of(const struct snapshots *snapshots, struct view text)
{
    for (int i = 0; i < KEYS_MAX; i++)
        if (snapshots->plan.key_hashes[i] && view_begins(text, snapshots->plan.key_hashes[i]))
            return i;
    return -1;
}

static int attempt_of(struct view txn)
{
    const char *dot = memrchr(txn.at, '.', txn.len);
    int attempt = dot ? (int)number_of((struct view){dot + 1, (size_t)(txn.at + txn.len - dot) - 1}) : 0;
    return attempt < ATTEMPTS_MAX ? attempt : 0;
}

/* An order's record is read field by field; it counts when the next key begins. */
static void order_done(struct look *look)
{
    if (look->part != PART_ORDER || look->order_at < 0)
        return;
    look->facts->orders[look->order_at].count++;
    look->facts->orders[look->order_at].state = look->state;
    look->facts->orders[look->order_at].attempt = look->attempt;
    look->facts->orders[look->order_at].total = look->total;
    look->facts->orders[look->order_at].id = look->id;
}

static void look_key(struct keyspace_visitor *visitor, struct view name, enum key_kind kind, int64_t expires_ms)
{
    static const struct {
        const char *prefix;
        enum part part;
    } parts[] = {{"stock:", PART_STOCK},   {"order:", PART_ORDER},    {"idem:", PART_IDEM},   {"payment:", PART_PAYMENT},
                 {"moves:", PART_IGNORED}, {"events:", PART_IGNORED}, {"souk:", PART_IGNORED}};
    struct look *look = (struct look *)visitor;
    const char *end = memrchr(name.at, ':', name.len);
    struct view last = {end ? end + 1 : name.at, end ? (size_t)(name.at + name.len - end) - 1 : 0};
    order_done(look);
    look->part = PART_OTHER;
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        if (view_begins(name, parts[i].prefix))
            look->part = parts[i].part;
    look->key = hash128(name, 1);
    look->id = number_of(last);
    look->index = look->part == PART_IDEM ? key_of(look->snapshots, last) : product_of(look->snapshots, look->id);
    look->order_at = -1;
    look->facts->duties |= view_begins(name, "txn:");
    if (look->part == PART_PAYMENT) {
        CHECK(look->facts->payment_count < PAYMENTS_MAX);
        look->facts->payments[look->facts->payment_count++].id = look->id;
    }
}

static int word_of(struct view text, const char *const *words, int count)
{
    for (int i = 1; i < count; i++)
        if (view_equal(text, view_of(words[i])))
            return i;
    return 0;
}

static void look_hold(struct look *look, struct view txn, struct view text)
{
    static const char *const phases[] = {"", "held", "committed", "consumed", "released", "restocked"};
    struct view parts[5];
    int key = key_of(look->snapshots, txn), attempt = attempt_of(txn);
    CHECK(split_bars(text, parts, 5) == 5);
    if (look->index < 0 || key < 0 || attempt == 0) {
        look->facts->products[look->index < 0 ? 0 : look->index].strangers = true;
        return;
    }
    look->facts->products[look->index].holds[key][attempt].phase = (enum phase)word_of(parts[0], phases, 6);
    look->facts->products[look->index].holds[key][attempt].quantity = (int)number_of(parts[1]);
}

static void look_order(struct look *look, struct view name, struct view value)
{
    static const char *const states[] = {"", "reserved", "paid", "fulfilled", "cancelled", "expired"};
    if (view_equal(name, VIEW("state"))) {
        look->state = (enum order_state)word_of(value, states, 6);
    } else if (view_equal(name, VIEW("total"))) {
        look->total = (int)number_of(value);
    } else if (view_equal(name, VIEW("t"))) {
        look->order_at = key_of(look->snapshots, value);
        look->attempt = attempt_of(value);
    }
}

static void look_idem(struct look *look, struct view name, struct view value)
{
    static const char *const decisions[] = {"", "aborted", "placed", "refused"};
    if (look->index < 0)
        return;
    if (view_equal(name, VIEW("s")))
        look->facts->keys[look->index].decision = (enum decision)word_of(value, decisions, 4);
    else if (view_equal(name, VIEW("n")))
        look->facts->keys[look->index].attempt = (int)number_of(value);
}

static void look_payment(struct look *look, struct view name, struct view value)
{
    unsigned last = look->facts->payment_count - 1;
    if (view_equal(name, VIEW("status")))
        snprintf(look->facts->payments[last].status, sizeof(look->facts->payments[last].status), "%.*s", VIEW_ARG(value));
    else if (view_equal(name, VIEW("captured")))
        look->facts->payments[last].captured = (int)number_of(value);
    else if (view_equal(name, VIEW("refunded")))
        look->facts->payments[last].refunded = (int)number_of(value);
    else if (view_equal(name, VIEW("order_id")))
        look->facts->payments[last].order_id = number_of(value);
    else if (view_equal(name, VIEW("ikey")))
        look->facts->payments[last].key = key_of(look->snapshots, value);
}

static void look_stock(struct look *look, struct view name, struct view value)
{
    if (look->index < 0)
        return;
    if (view_equal(name, VIEW("on_hand"))) {
        look->facts->products[look->index].there = true;
        look->facts->products[look->index].on_hand = (int)number_of(value);
    } else if (view_equal(name, VIEW("held"))) {
        look->facts->products[look->index].held = (int)number_of(value);
    } else if (view_equal(name, VIEW("committed"))) {
        look->facts->products[look->index].committed = (int)number_of(value);
    }
}

static void look_item(struct keyspace_visitor *visitor, struct view name, struct view value)
{
    struct look *look = (struct look *)visitor;
    if (look->part == PART_IGNORED || (look->part == PART_STOCK && view_equal(name, VIEW("v"))))
        return;
    struct hash128 a = hash128(name, 2), b = hash128(value, 3);
    look->sum.high += (a.high ^ look->key.high) * UINT64_C(0x9e3779b97f4a7c15) ^ (b.high + look->key.low * 31);
    look->sum.low += (a.low ^ look->key.low) * UINT64_C(0xc2b2ae3d27d4eb4f) ^ (b.low + look->key.high * 17);
    if (look->part == PART_ORDER)
        look_order(look, name, value);
    else if (look->part == PART_IDEM)
        look_idem(look, name, value);
    else if (look->part == PART_PAYMENT)
        look_payment(look, name, value);
    else if (look->part == PART_STOCK && memchr(name.at, '.', name.len))
        look_hold(look, name, value);
    else if (look->part == PART_STOCK)
        look_stock(look, name, value);
}

/* ---- states of shards ---- */

/* The number of what the shard is now. */
static uint32_t shard_number(struct snapshots *snapshots, unsigned index)
{
    struct shard_machine *shard = &snapshots->shards[index];
    struct keyspace *keyspace = shard_sim_keyspace(shard->sim);
    struct facts facts;
    memset(&facts, 0, sizeof(facts));
    struct look look = {.visitor = {look_key, look_item}, .snapshots = snapshots, .facts = &facts, .order_at = -1};
    keyspace_visit(keyspace, &look.visitor);
    order_done(&look);
    struct memo_row *row = memo_find(&shard->numbers, look.sum.high, look.sum.low);
    if (row)
        return row->value;
    row = memo_add(&shard->numbers, look.sum.high, look.sum.low);
    if ((shard->count & (shard->count - 1)) == 0) {
        shard->states = realloc(shard->states, (shard->count ? shard->count * 2 : 1) * sizeof(*shard->states));
        CHECK(shard->states);
    }
    struct shard_state *state = &shard->states[shard->count];
    state->facts = facts;
    state->saved = keyspace_save(keyspace, &state->len);
    return row->value = ++shard->count;
}

struct outcome_of snapshots_run(struct snapshots *snapshots, unsigned index, uint32_t state, uint32_t wish, int64_t now_ms, int64_t limit_ms)
{
    struct shard_machine *shard = &snapshots->shards[index];
    uint64_t what = (uint64_t)state << 32 | wish, when = (uint64_t)(now_ms - BEGIN_MS + 1) << 24 | (now_ms <= limit_ms);
    struct memo_row *row = memo_find(&shard->runs, what, when);
    if (row)
        return (struct outcome_of){row->value, row->more};
    struct arena *arena = arena_new();
    const struct call *call = machine_wish(snapshots->machine, wish)->call;
    keyspace_load(shard_sim_keyspace(shard->sim), shard->states[state - 1].saved, shard->states[state - 1].len);
    shard_sim_set_clock(shard->sim, now_ms * 1000);
    const struct item *root = shard_sim_run(shard->sim, call, limit_ms, arena);
    shard_sim_sync(shard->sim);
    if (root->type == ITEM_ERROR && snapshots->wrong[0] == '\0')
        snprintf(snapshots->wrong, sizeof(snapshots->wrong), "%s: %.*s", call->function ? call->function->name : "a command", VIEW_ARG(root->text));
    struct outcome_of outcome = {shard_number(snapshots, index), machine_reply(snapshots->machine, call->function, root)};
    arena_free(arena);
    row = memo_add(&shard->runs, what, when);
    row->value = outcome.state;
    row->more = outcome.reply;
    return outcome;
}

uint32_t snapshots_begin(const struct snapshots *snapshots, unsigned shard)
{
    return 1;
}

const struct facts *snapshots_facts(const struct snapshots *snapshots, unsigned shard, uint32_t state)
{
    return &snapshots->shards[shard].states[state - 1].facts;
}

/* ---- the gateway ---- */

static const struct entry *book_ask(struct book *book, const struct gateway_errand *errand)
{
    static const enum book_op ops[] = {
        [GATEWAY_CHARGE] = BOOK_CHARGE, [GATEWAY_AUTHORIZE] = BOOK_AUTHORIZE, [GATEWAY_CAPTURE] = BOOK_CAPTURE,
        [GATEWAY_VOID] = BOOK_VOID,     [GATEWAY_REFUND] = BOOK_REFUND,
    };
    bool fresh;
    if (errand->op == GATEWAY_SETTLE)
        return book_close(book, errand->key, 0, &fresh);
    struct wish wish = {.op = ops[errand->op], .key = errand->key, .ref = errand->ref, .currency = errand->currency, .token = errand->token};
    wish.amount = errand->op == GATEWAY_VOID ? 0 : errand->amount;
    return book_decide(book, &wish, 0, &fresh);
}

static struct book *book_of(const struct snapshots *snapshots, uint32_t state)
{
    struct book *book = book_new();
    for (uint32_t i = 0; i < snapshots->books[state - 1].count; i++)
        book_ask(book, machine_wish(snapshots->machine, snapshots->books[state - 1].wishes[i])->errand);
    return book;
}

static enum gateway_result result_of(const char *status)
{
    for (enum gateway_result result = GATEWAY_SUCCEEDED; result <= GATEWAY_FAILED; result++)
        if (view_equal(view_of(status), gateway_result_text(result)))
            return result;
    return GATEWAY_UNKNOWN;
}

static uint32_t book_with(struct snapshots *snapshots, uint32_t state, uint32_t wish)
{
    const struct book_state from = state ? snapshots->books[state - 1] : (struct book_state){NULL, 0};
    struct book_state to = {malloc((from.count + 1) * sizeof(uint32_t)), from.count + (wish != 0)};
    CHECK(to.wishes);
    if (from.count > 0)
        memcpy(to.wishes, from.wishes, from.count * sizeof(uint32_t));
    if (wish)
        to.wishes[from.count] = wish;
    struct hash128 hash = hash128((struct view){(const char *)to.wishes, to.count * sizeof(uint32_t)}, 11);
    struct memo_row *row = memo_find(&snapshots->book_numbers, hash.high, hash.low);
    if (row) {
        free(to.wishes);
        return row->value;
    }
    snapshots->books = realloc(snapshots->books, (snapshots->book_count + 1) * sizeof(*snapshots->books));
    CHECK(snapshots->books);
    snapshots->books[snapshots->book_count] = to;
    row = memo_add(&snapshots->book_numbers, hash.high, hash.low);
    return row->value = ++snapshots->book_count;
}

struct outcome_of snapshots_ask_gateway(struct snapshots *snapshots, uint32_t state, uint32_t wish)
{
    struct memo_row *row = memo_find(&snapshots->book_runs, state, wish);
    if (row)
        return (struct outcome_of){row->value, row->more};
    const struct gateway_errand *errand = machine_wish(snapshots->machine, wish)->errand;
    struct book *book = book_of(snapshots, state);
    bool known = book_find(book, errand->key) != NULL;
    const struct entry *entry = book_ask(book, errand);
    struct outcome_of outcome = {state, REPLY_NUMBER_UNKNOWN};
    if (entry)
        outcome.reply = machine_result(snapshots->machine, result_of(entry_status(entry)), entry->ref, entry->failure);
    else
        snprintf(snapshots->wrong, sizeof(snapshots->wrong), "the gateway was asked for two things with the key %.*s", VIEW_ARG(errand->key));
    if (!known)
        outcome.state = book_with(snapshots, state, wish);
    book_free(book);
    row = memo_add(&snapshots->book_runs, state, wish);
    row->value = outcome.state;
    row->more = outcome.reply;
    return outcome;
}

static void count_entry(struct taken *taken, const struct entry *entry)
{
    switch (entry->wish.op) {
    case BOOK_CHARGE:
    case BOOK_CAPTURE:
        taken->taken += (int)entry->wish.amount;
        taken->open = false;
        break;
    case BOOK_AUTHORIZE:
        taken->open = true;
        break;
    case BOOK_VOID:
        taken->open = false;
        break;
    case BOOK_REFUND:
        taken->given += (int)entry->wish.amount;
        break;
    case BOOK_CLOSE:
        break;
    }
}

struct taken snapshots_taken(const struct snapshots *snapshots, uint32_t state, int64_t payment_id)
{
    struct taken taken = {0, 0, false};
    struct book *book = book_of(snapshots, state);
    for (const struct entry *entry = book_first(book); entry; entry = entry->next) {
        struct view key = entry->wish.key;
        if (entry->failure.len == 0 && view_begins(key, "souk-") && number_of((struct view){key.at + 5, key.len - 5}) == payment_id)
            count_entry(&taken, entry);
    }
    book_free(book);
    return taken;
}

/* ---- its life ---- */

static void put_product(struct snapshots *snapshots, int index)
{
    struct arena *arena = arena_new();
    const struct topology *topology = snapshots->plan.topology;
    struct call *call = asking_product(arena, topology, snapshots->plan.product_ids[index], 100, snapshots->plan.stock[index]);
    struct shard_sim *sim = snapshots->shards[topology->owner[call->partition]].sim;
    shard_sim_set_clock(sim, BEGIN_MS * 1000);
    CHECK(item_int(item_at(shard_sim_run(sim, call, BEGIN_MS, arena), 0)) == CODE_OK);
    shard_sim_sync(sim);
    arena_free(arena);
}

struct snapshots *snapshots_new(const struct shop_plan *plan, struct machine *machine, struct lua_library *library)
{
    struct snapshots *snapshots = calloc(1, sizeof(*snapshots));
    CHECK(snapshots && plan->topology->shard_count == SHARDS);
    snapshots->plan = *plan;
    snapshots->machine = machine;
    for (unsigned i = 0; i < SHARDS; i++) {
        snapshots->shards[i].sim = shard_sim_new(plan->topology, i, library);
        shard_sim_stand_still(snapshots->shards[i].sim);
    }
    for (int i = 0; i < SHOP_PRODUCTS; i++)
        put_product(snapshots, i);
    for (unsigned i = 0; i < SHARDS; i++)
        CHECK(shard_number(snapshots, i) == 1);
    CHECK(book_with(snapshots, 0, 0) == 1);
    return snapshots;
}

void snapshots_free(struct snapshots *snapshots)
{
    if (snapshots == NULL)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard_machine *shard = &snapshots->shards[i];
        for (uint32_t n = 0; n < shard->count; n++)
            free(shard->states[n].saved);
        free(shard->states);
        memo_free(&shard->numbers);
        memo_free(&shard->runs);
        shard_sim_free(shard->sim);
    }
    for (uint32_t n = 0; n < snapshots->book_count; n++)
        free(snapshots->books[n].wishes);
    free(snapshots->books);
    memo_free(&snapshots->book_numbers);
    memo_free(&snapshots->book_runs);
    free(snapshots);
}

unsigned snapshots_count(const struct snapshots *snapshots)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SHARDS; i++)
        count += snapshots->shards[i].count;
    return count;
}

const char *snapshots_wrong(const struct snapshots *snapshots)
{
    return snapshots->wrong;
}
