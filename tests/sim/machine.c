#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#include "store.h"

#include "step.h"
#include "traced_arena.h"

#include "machine.h"

/* How a state was come to for the first time. */
struct state {
    struct machine_state public; /* first */
    unsigned kind;
    uint32_t parent, wish, reply; /* parent 0: it has just started */
};

struct answer_of {
    struct reply reply;
    enum gateway_result result; /* of an errand */
    struct view ref, failure;
};

struct machine {
    struct flow *(*make)(struct arena *arena, unsigned kind);
    struct arena *arena; /* of wishes and replies, which stay */
    struct state *states;
    struct wish_of_flow *wishes;
    struct answer_of *replies;
    uint32_t state_count, wish_count, reply_count;
    uint64_t steps;
    struct memo state_numbers, wish_numbers, reply_numbers, step_numbers;
};

/* A flow that runs. */
struct live_item {
    uint32_t wish;
    struct flow *owner;
    struct call *call;
    struct errand *errand;
};
#define LIVE_ITEMS_MAX 64
struct live {
    struct runner runner; /* first */
    struct machine *machine;
    struct arena *arena;
    struct flow *root;
    struct live_item items[LIVE_ITEMS_MAX];
    unsigned item_count;
    bool over, again;
    int status;
    struct hash128 body;
};

/* ---- maps ---- */

static size_t memo_slot(const struct memo *memo, uint64_t a, uint64_t b)
{
    size_t slot = (size_t)((a * UINT64_C(0x9e3779b97f4a7c15) ^ b) * UINT64_C(0xff51afd7ed558ccd) >> 20) & (memo->cap - 1);
    while (memo->rows[slot].value && (memo->rows[slot].a != a || memo->rows[slot].b != b))
        slot = (slot + 1) & (memo->cap - 1);
    return slot;
}

struct memo_row *memo_find(struct memo *memo, uint64_t a, uint64_t b)
{
    if (memo->cap == 0)
        return NULL;
    struct memo_row *row = &memo->rows[memo_slot(memo, a, b)];
    return row->value ? row : NULL;
}

/* Its value must be set to something other than 0 before the next call. */
struct memo_row *memo_add(struct memo *memo, uint64_t a, uint64_t b)
{
    if (memo->count * 2 >= memo->cap) {
        struct memo wider = {.cap = memo->cap ? memo->cap * 2 : 1024};
        wider.rows = calloc(wider.cap, sizeof(*wider.rows));
        CHECK(wider.rows);
        for (size_t i = 0; i < memo->cap; i++)
            if (memo->rows[i].value)
                wider.rows[memo_slot(&wider, memo->rows[i].a, memo->rows[i].b)] = memo->rows[i];
        wider.count = memo->count;
        free(memo->rows);
        *memo = wider;
    }
    memo->count++;
    struct memo_row *row = &memo->rows[memo_slot(memo, a, b)];
    row->a = a;
    row->b = b;
    return row;
}

void memo_free(struct memo *memo)
{
    free(memo->rows);
    *memo = (struct memo){.cap = 0};
}

static void *grow(void *array, uint32_t count, size_t size)
{
    if (count & (count - 1))
        return array;
    array = realloc(array, (count ? (size_t)count * 2 : 1) * size);
    CHECK(array);
    return array;
}

/* ---- wishes ---- */

static uint32_t intern_wish(struct machine *machine, struct hash128 hash, struct wish_of_flow wish)
{
    struct memo_row *row = memo_find(&machine->wish_numbers, hash.high, hash.low);
    if (row)
        return row->value;
    row = memo_add(&machine->wish_numbers, hash.high, hash.low);
    machine->wishes = grow(machine->wishes, machine->wish_count, sizeof(*machine->wishes));
    if (wish.call) { /* a copy that outlives its flow */
        struct call *call = ARENA_NEW(machine->arena, struct call);
        *call = *wish.call;
        call->body = (struct buffer){.arena = machine->arena};
        buffer_add_view(&call->body, buffer_view(&wish.call->body));
        wish.call = call;
    }
    if (wish.errand) {
        struct gateway_errand *errand = ARENA_NEW(machine->arena, struct gateway_errand);
        *errand = *wish.errand;
        errand->key = arena_copy(machine->arena, errand->key);
        errand->currency = arena_copy(machine->arena, errand->currency);
        errand->token = arena_copy(machine->arena, errand->token);
        errand->ref = arena_copy(machine->arena, errand->ref);
        wish.errand = errand;
    }
    machine->wishes[machine->wish_count] = wish;
    return row->value = ++machine->wish_count;
}

static void live_add(struct live *live, struct hash128 hash, struct wish_of_flow wish, struct live_item item)
{
    CHECK(live->item_count < LIVE_ITEMS_MAX);
    item.wish = intern_wish(live->machine, hash, wish);
    live->items[live->item_count++] = item;
}

static void live_call(struct runner *runner, struct call *call)
{
    struct live *live = (struct live *)runner;
    struct buffer text = {.arena = live->arena};
    buffer_add_view(&text, view_of(call->function ? call->function->name : "command"));
    buffer_add_int(&text, call->partition);
    buffer_add_view(&text, VIEW(","));
    buffer_add_int(&text, call->shard);
    buffer_add_view(&text, VIEW(","));
    buffer_add_int(&text, call->tag);
    buffer_add_view(&text, VIEW(","));
    buffer_add_int(&text, call->index);
    buffer_add_view(&text, VIEW(","));
    buffer_add_int(&text, call->keys);
    buffer_add_view(&text, buffer_view(&call->body));
    live_add(live, hash128(buffer_view(&text), 1), (struct wish_of_flow){.kind = ITEM_CALL, .call = call},
             (struct live_item){.owner = call->cookie, .call = call});
}

static void live_errand(struct runner *runner, struct errand *base)
{
    struct live *live = (struct live *)runner;
    struct gateway_errand *errand = (struct gateway_errand *)base;
    struct view text = arena_printf(live->arena, "%d|%.*s|%lld|%.*s|%.*s|%.*s", (int)errand->op, VIEW_ARG(errand->key), (long long)errand->amount,
                                    VIEW_ARG(errand->currency), VIEW_ARG(errand->token), VIEW_ARG(errand->ref));
    live_add(live, hash128(text, 2), (struct wish_of_flow){.kind = ITEM_ERRAND, .errand = errand},
             (struct live_item){.owner = base->flow, .errand = base});
}

static void live_nap(struct runner *runner, struct flow *flow, int64_t ms)
{
    struct live *live = (struct live *)runner;
    live_add(live, hash128(VIEW("nap"), 3), (struct wish_of_flow){.kind = ITEM_NAP}, (struct live_item){.owner = flow});
}

static void live_answer(struct runner *runner, struct flow *root)
{
    struct live *live = (struct live *)runner;
    live->status = root->answer->status;
    live->again = root->answer->outcome && root->answer->outcome->retryable;
    live->body = hash128(root->answer->body, 4);
}

static void live_over(struct runner *runner, struct flow *root)
{
    ((struct live *)runner)->over = true;
}

static const struct port PORT = {.call = live_call, .errand = live_errand, .nap = live_nap, .answer = live_answer, .over = live_over};

/* ---- running along a path ---- */

static void live_start(struct live *live, struct machine *machine, unsigned kind)
{
    *live = (struct live){.runner.port = &PORT, .machine = machine, .arena = arena_new()};
    live->root = machine->make(live->arena, kind);
    step_start(&live->runner, live->root);
}

static void live_feed(struct live *live, uint32_t wish, uint32_t reply)
{
    const struct answer_of *answer = &live->machine->replies[reply];
    unsigned n = 0;
    while (n < live->item_count && live->items[n].wish != wish)
        n++;
    CHECK(n < live->item_count);
    struct live_item item = live->items[n];
    memmove(&live->items[n], &live->items[n + 1], (--live->item_count - n) * sizeof(item));
    if (item.call) {
        step_reply(item.call, &answer->reply);
    } else if (item.errand) {
        struct gateway_errand *errand = (struct gateway_errand *)item.errand;
        errand->result = answer->result;
        errand->result_ref = answer->ref;
        errand->failure = answer->failure;
        step_errand(item.errand);
    } else {
        step_wake(item.owner);
    }
}

static void live_replay(struct live *live, struct machine *machine, uint32_t number)
{
    const struct state *state = &machine->states[number - 1];
    if (state->parent == 0) {
        live_start(live, machine, state->kind);
        return;
    }
    live_replay(live, machine, state->parent);
    live_feed(live, machine->states[number - 1].wish, machine->states[number - 1].reply);
}

/* ---- states ---- */

static int item_compare(const void *a, const void *b)
{
    const struct live_item *left = a, *right = b;
    return (left->wish > right->wish) - (left->wish < right->wish);
}

/* What a flow that runs has become: known content gets the known number. */
static uint32_t live_number(struct live *live, struct state origin)
{
    struct machine *machine = live->machine;
    void *roots[LIVE_ITEMS_MAX + 1] = {live->root};
    uint32_t said[LIVE_ITEMS_MAX + 4] = {origin.kind, live->over, (uint32_t)live->status, (uint32_t)live->body.low};
    qsort(live->items, live->item_count, sizeof(*live->items), item_compare);
    for (unsigned i = 0; i < live->item_count; i++) {
        roots[i + 1] = live->items[i].owner;
        said[i + 4] = live->items[i].wish;
    }
    struct hash128 hash = hash128((struct view){(const char *)said, (4 + live->item_count) * sizeof(*said)}, 6);
    if (!live->over) { /* one that is over knows nothing that matters */
        struct hash128 heap = traced_digest(live->arena, roots, live->item_count + 1);
        hash.high ^= heap.high;
        hash.low ^= heap.low;
    }
    struct memo_row *row = memo_find(&machine->state_numbers, hash.high, hash.low);
    if (row)
        return row->value;
    row = memo_add(&machine->state_numbers, hash.high, hash.low);
    machine->states = grow(machine->states, machine->state_count, sizeof(*machine->states));
    origin.public =
        (struct machine_state){.over = live->over, .again = live->again, .status = live->status, .body = live->body, .item_count = live->item_count};
    CHECK(live->item_count <= ITEMS_MAX);
    for (unsigned i = 0; i < live->item_count; i++)
        origin.public.items[i] = live->items[i].wish;
    machine->states[machine->state_count] = origin;
    return row->value = ++machine->state_count;
}

uint32_t machine_begin(struct machine *machine, unsigned kind)
{
    struct live live;
    live_start(&live, machine, kind);
    uint32_t number = live_number(&live, (struct state){.kind = kind});
    arena_free(live.arena);
    return number;
}

uint32_t machine_step(struct machine *machine, uint32_t from, unsigned item, uint32_t reply)
{
    const struct state *state = &machine->states[from - 1];
    CHECK(item < state->public.item_count);
    uint32_t wish = state->public.items[item];
    struct memo_row *row = memo_find(&machine->step_numbers, (uint64_t)from << 32 | wish, reply);
    if (row)
        return row->value;
    struct live live;
    unsigned kind = state->kind;
    machine->steps++;
    live_replay(&live, machine, from);
    live_feed(&live, wish, reply);
    uint32_t number = live_number(&live, (struct state){.kind = kind, .parent = from, .wish = wish, .reply = reply});
    arena_free(live.arena);
    memo_add(&machine->step_numbers, (uint64_t)from << 32 | wish, reply)->value = number;
    return number;
}

const struct machine_state *machine_state(const struct machine *machine, uint32_t state)
{
    return &machine->states[state - 1].public;
}

const struct wish_of_flow *machine_wish(const struct machine *machine, uint32_t wish)
{
    return &machine->wishes[wish - 1];
}

/* ---- replies ---- */

static void put_item(struct buffer *out, const struct item *item)
{
    buffer_add_int(out, item->type);
    buffer_add_view(out, VIEW(":"));
    buffer_add_int(out, item->type == ITEM_INT ? item->integer : (long long)item->text.len + (long long)item->count);
    buffer_add_view(out, VIEW(":"));
    if (item->type == ITEM_TEXT || item->type == ITEM_ERROR)
        buffer_add_view(out, item->text);
    for (size_t i = 0; i < item->count; i++)
        put_item(out, &item->items[i]);
}

static struct item copy_item(struct arena *arena, const struct item *item)
{
    struct item copy = *item;
    if (item->text.at)
        copy.text = arena_copy(arena, item->text);
    if (item->type == ITEM_LIST) {
        copy.items = ARENA_ARRAY(arena, struct item, item->count + 1);
        for (size_t i = 0; i < item->count; i++)
            copy.items[i] = copy_item(arena, &item->items[i]);
    }
    return copy;
}

static uint32_t add_answer(struct machine *machine, struct answer_of answer)
{
    machine->replies = grow(machine->replies, machine->reply_count, sizeof(*machine->replies));
    machine->replies[machine->reply_count] = answer;
    return machine->reply_count++;
}

uint32_t machine_reply(struct machine *machine, const struct function *function, const struct item *root)
{
    struct arena *arena = arena_new();
    struct buffer text = {.arena = arena};
    put_item(&text, root);
    struct hash128 hash = hash128(buffer_view(&text), function ? 7 : 8);
    arena_free(arena);
    struct memo_row *row = memo_find(&machine->reply_numbers, hash.high, hash.low);
    if (row)
        return row->value;
    struct item *kept = ARENA_NEW(machine->arena, struct item);
    bool unclassified = false;
    *kept = copy_item(machine->arena, root);
    struct answer_of answer = {.reply = reply_from(function, kept, &unclassified)};
    CHECK(!unclassified);
    uint32_t number = add_answer(machine, answer);
    memo_add(&machine->reply_numbers, hash.high, hash.low)->value = number;
    return number;
}

uint32_t machine_result(struct machine *machine, enum gateway_result result, struct view ref, struct view failure)
{
    struct arena *arena = arena_new();
    struct hash128 hash = hash128(arena_printf(arena, "%d|%.*s|%.*s", (int)result, VIEW_ARG(ref), VIEW_ARG(failure)), 9);
    arena_free(arena);
    struct memo_row *row = memo_find(&machine->reply_numbers, hash.high, hash.low);
    if (row)
        return row->value;
    struct answer_of answer = {.result = result, .ref = arena_copy(machine->arena, ref), .failure = arena_copy(machine->arena, failure)};
    uint32_t number = add_answer(machine, answer);
    memo_add(&machine->reply_numbers, hash.high, hash.low)->value = number;
    return number;
}

const struct reply *machine_reply_of(const struct machine *machine, uint32_t reply)
{
    return &machine->replies[reply].reply;
}

struct machine_counts machine_counts(const struct machine *machine)
{
    return (struct machine_counts){machine->state_count, machine->wish_count, machine->reply_count, machine->steps};
}

/* ---- its life ---- */

struct machine *machine_new(struct flow *(*make)(struct arena *arena, unsigned kind))
{
    struct machine *machine = calloc(1, sizeof(*machine));
    CHECK(machine);
    machine->make = make;
    machine->arena = arena_new();
    for (uint32_t number = REPLY_NUMBER_NONE; number < REPLY_NUMBER_FIRST; number++)
        CHECK(add_answer(machine, (struct answer_of){.result = GATEWAY_UNKNOWN}) == number);
    machine->replies[REPLY_NUMBER_NOT_SENT].reply = (struct reply){.kind = REPLY_NOT_SENT, .why = "the shard is not ready"};
    machine->replies[REPLY_NUMBER_NOT_SENT].result = GATEWAY_NOT_SENT;
    machine->replies[REPLY_NUMBER_UNKNOWN].reply = (struct reply){.kind = REPLY_UNKNOWN, .why = "the connection broke"};
    return machine;
}

void machine_free(struct machine *machine)
{
    if (machine == NULL)
        return;
    memo_free(&machine->state_numbers);
    memo_free(&machine->wish_numbers);
    memo_free(&machine->reply_numbers);
    memo_free(&machine->step_numbers);
    free(machine->states);
    free(machine->wishes);
    free(machine->replies);
    arena_free(machine->arena);
    free(machine);
}
