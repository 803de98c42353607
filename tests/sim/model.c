#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "check.h"
#include "log.h"

#include "txn.h"

#include "duty.h"
#include "settle.h"

#include "order.h"
#include "payment.h"

#include "asking.h"
#include "snapshots.h"

/*
 * The search: souk-model [--library FILE] [--only CASE] [--most STATES]
 *
 * Every state that a small shop can come to, by the real flows and the real functions: three products on three shards, two buyers, copies of their
 * requests on several coordinators, whoever settles, pays, cancels and fulfils. A state is
 *
 *   a state of each shard · of the gateway's book · of each flow that is under way, with what it has asked for · calls whose sender is gone · the
 *   time
 *
 * What may happen next, one thing at a time, in any order, faults as often as the scenario says:
 *   somebody begins · a call is carried out and answered · a call is UNKNOWN to its sender and is carried out later, or never · it was NOT SENT
 *   a call arrives twice · time passes · a shard loses what was not on disk, and restarts
 *
 * Death needs no step of its own. Who is dead is who never goes on, and what he has sent arrives later or never: that is every state once more, in
 * which nothing of his happens any further. So in each state, not only in those at the end, everybody is taken for dead and the rest must recover
 * (heal).
 *
 * A call and the reading of its answer are one step where no shard can lose anything: an answer changes nothing but its flow, and what the flow asks
 * for next may wait as long as one likes; so every delay of an answer is also a delay of the next call. While a shard can die, answers wait for the
 * disk.
 *
 * In each state the rules below must hold (bad), and a recovery without faults, by whoever sweeps, must bring everything to its place. A state that
 * breaks one is printed with the shortest way to it.
 */

/* ---- who there is ---- */

enum kind {
    PLACE_A,
    PLACE_B,
    PAY_A,
    PAY_A_AGAIN,
    AUTHORIZE_A,
    CAPTURE_A,
    CANCEL_A,
    FULFIL_A,
    SETTLE_0,
    SETTLE_1,
    SETTLE_2,
    DUTY_A,
    DUTY_B,
    RECONCILE_1,
    RECONCILE_2,
    KINDS
};
static const char *const KIND_NAMES[KINDS] = {"place A",   "place B",  "pay A",    "pay A again", "authorize A",
                                              "capture A", "cancel A", "fulfil A", "settle p0",   "settle p1",
                                              "settle p2", "duty A",   "duty B",   "reconcile 1", "reconcile 2"};

#define REQUESTS SETTLE_0 /* the kinds before it are clients' requests, each with a key of its own */
_Static_assert(KEYS_MAX == CAPTURE_A + 1, "records of orders and payments tell which of these requests they are of");
#define SLOTS 5
#define GHOSTS_MAX 6
#define TICKS_MAX 3
#define SLOT_KINDS_MAX 6
#define ORDERS 2
#define SHARDS 3

/* Somebody: may begin one of these, one after another, so often. */
struct actor {
    unsigned times;
    enum kind kinds[SLOT_KINDS_MAX];
    unsigned kind_count;
};
struct scenario {
    const char *name;
    int stock[SHOP_PRODUCTS];
    unsigned lines[ORDERS]; /* which products, one unit of each, as bits */
    bool neighbours;        /* both buyers' orders are on shard 0; else each on a shard of its own */
    enum kind before[4];    /* what happened already, without faults */
    unsigned before_count;
    struct actor actors[SLOTS];
    unsigned losses, copies, shard_deaths, gateway_losses; /* how often in all */
    unsigned ticks_s[TICKS_MAX];                           /* time may pass so much, one after another; 0: no more */
};

#define ONCE(...) \
    { \
        1, {__VA_ARGS__}, sizeof((enum kind[]){__VA_ARGS__}) / sizeof(enum kind) \
    }
#define TIMES(n, ...) \
    { \
        n, {__VA_ARGS__}, sizeof((enum kind[]){__VA_ARGS__}) / sizeof(enum kind) \
    }
#define SETTLES SETTLE_0, SETTLE_1, SETTLE_2

static const struct scenario SCENARIOS[] = {
    {.name = "two rivals, who share one of three products",
     .stock = {1, 1, 1},
     .lines = {3, 6},
     .actors = {ONCE(PLACE_A), ONCE(PLACE_B), ONCE(SETTLES)},
     .ticks_s = {12, 12}},
    {.name = "two rivals for the same three units", .stock = {1, 1, 1}, .lines = {7, 7}, .actors = {ONCE(PLACE_A), ONCE(PLACE_B)}, .ticks_s = {12}},
    {.name = "a request twice, and the shop goes on",
     .stock = {1, 1, 1},
     .lines = {3, 0},
     .actors = {ONCE(PLACE_A), ONCE(PLACE_A), ONCE(SETTLES), TIMES(2, PAY_A, FULFIL_A, CANCEL_A)},
     .ticks_s = {12}},
    {.name = "a request twice beside a rival",
     .stock = {1, 1, 1},
     .lines = {3, 2},
     .actors = {ONCE(PLACE_A), ONCE(PLACE_A), ONCE(PLACE_B), ONCE(SETTLES)},
     .ticks_s = {12}},
    {.name = "calls whose answer is lost, and that arrive late",
     .stock = {2, 1, 1},
     .lines = {1, 0},
     .actors = {ONCE(PLACE_A), ONCE(PLACE_A), ONCE(SETTLE_0), TIMES(2, PAY_A, FULFIL_A, CANCEL_A)},
     .losses = 2,
     .ticks_s = {12}},
    {.name = "calls that arrive twice",
     .stock = {2, 1, 1},
     .lines = {1, 0},
     .actors = {ONCE(PLACE_A), ONCE(PLACE_A), ONCE(SETTLE_0), TIMES(2, PAY_A, FULFIL_A, CANCEL_A)},
     .copies = 1,
     .ticks_s = {12}},
    {.name = "two recoverers",
     .stock = {1, 1, 1},
     .lines = {3, 0},
     .actors = {ONCE(PLACE_A), ONCE(SETTLES, DUTY_A), ONCE(SETTLES, DUTY_A), TIMES(2, PAY_A, FULFIL_A, CANCEL_A)},
     .ticks_s = {12, 12}},
    {.name = "paying twice, cancelling and expiring at once",
     .stock = {1, 1, 1},
     .lines = {1, 0},
     .before = {PLACE_A},
     .before_count = 1,
     .actors = {ONCE(PAY_A), ONCE(PAY_A_AGAIN), ONCE(CANCEL_A), ONCE(RECONCILE_1, DUTY_A)},
     .gateway_losses = 1,
     .ticks_s = {12, 12}},
    {.name = "authorizing, capturing, cancelling, expiring",
     .stock = {1, 1, 1},
     .lines = {1, 0},
     .before = {PLACE_A},
     .before_count = 1,
     .actors = {ONCE(AUTHORIZE_A), ONCE(CAPTURE_A), ONCE(CANCEL_A), ONCE(RECONCILE_1, DUTY_A)},
     .gateway_losses = 1,
     .ticks_s = {12, 60}},
    {.name = "shards that die and lose what was not on disk",
     .stock = {1, 1, 1},
     .lines = {3, 1},
     .actors = {ONCE(PLACE_A), ONCE(PLACE_B), ONCE(SETTLES)},
     .shard_deaths = 1,
     .ticks_s = {12}},
    {.name = "a repeat while the order is fulfilled",
     .stock = {1, 1, 1},
     .lines = {3, 0},
     .before = {PLACE_A, PAY_A},
     .before_count = 2,
     .actors = {ONCE(PLACE_A), ONCE(FULFIL_A), ONCE(SETTLES)},
     .losses = 1,
     .ticks_s = {12}},
    {.name = "a late repeat when marks are pruned",
     .stock = {2, 2, 1},
     .lines = {3, 0},
     .before = {PLACE_A, PAY_A, FULFIL_A},
     .before_count = 3,
     .actors = {ONCE(PLACE_A), ONCE(PLACE_A), TIMES(2, SETTLES)},
     .ticks_s = {660, 12}},
    {.name = "an order over two shards, and an answer is lost",
     .stock = {1, 1, 1},
     .lines = {3, 0},
     .actors = {ONCE(PLACE_A), ONCE(SETTLES), TIMES(2, PAY_A, FULFIL_A, CANCEL_A)},
     .losses = 1,
     .ticks_s = {12}},
    {.name = "an order over two shards, and a call arrives twice",
     .stock = {2, 2, 1},
     .lines = {3, 0},
     .actors = {ONCE(PLACE_A), ONCE(SETTLES), TIMES(2, PAY_A, FULFIL_A, CANCEL_A)},
     .copies = 1,
     .ticks_s = {12}},
    {.name = "a request twice over two shards, and an answer is lost",
     .stock = {1, 1, 1},
     .lines = {3, 0},
     .actors = {ONCE(PLACE_A), ONCE(PLACE_A), ONCE(SETTLES), ONCE(CANCEL_A)},
     .losses = 1,
     .ticks_s = {12}},
    {.name = "a request twice over two shards, and a call too",
     .stock = {2, 2, 1},
     .lines = {3, 0},
     .actors = {ONCE(PLACE_A), ONCE(PLACE_A), ONCE(SETTLES)},
     .copies = 1,
     .ticks_s = {12}},
    {.name = "two rivals, a recoverer, and a call arrives twice",
     .stock = {2, 1, 1},
     .lines = {3, 6},
     .actors = {ONCE(PLACE_A), ONCE(PLACE_B), ONCE(SETTLES)},
     .copies = 1,
     .ticks_s = {12}},
    {.name = "two orders of one shard, asked about together",
     .stock = {1, 1, 2},
     .lines = {4, 4},
     .neighbours = true,
     .actors = {ONCE(PLACE_A), ONCE(PLACE_B), TIMES(2, SETTLE_2), ONCE(PAY_A, CANCEL_A)},
     .ticks_s = {12, 12}},
    {.name = "two attempts of one request, asked about together",
     .stock = {2, 1, 1},
     .lines = {1, 0},
     .actors = {ONCE(PLACE_A), ONCE(PLACE_A), ONCE(SETTLE_0), ONCE(SETTLE_0)},
     .losses = 1,
     .ticks_s = {12, 12}},
    {.name = "paying again after an answer that is lost",
     .stock = {1, 1, 1},
     .lines = {3, 0},
     .before = {PLACE_A},
     .before_count = 1,
     .actors = {TIMES(2, PAY_A), ONCE(CANCEL_A), ONCE(RECONCILE_1)},
     .losses = 1,
     .ticks_s = {12}},
    {.name = "fulfilling too early, and a call arrives twice",
     .stock = {1, 1, 1},
     .lines = {3, 0},
     .before = {PLACE_A},
     .before_count = 1,
     .actors = {ONCE(PAY_A), ONCE(FULFIL_A), ONCE(FULFIL_A), ONCE(CANCEL_A)},
     .copies = 1},
    {.name = "capturing too early, and a call arrives twice",
     .stock = {1, 1, 1},
     .lines = {1, 0},
     .before = {PLACE_A},
     .before_count = 1,
     .actors = {ONCE(AUTHORIZE_A), ONCE(CAPTURE_A), ONCE(CAPTURE_A), ONCE(RECONCILE_1)},
     .copies = 1,
     .ticks_s = {12}},
    {.name = "a request twice, and a shard dies",
     .stock = {1, 1, 1},
     .lines = {3, 0},
     .actors = {ONCE(PLACE_A), ONCE(PLACE_A), ONCE(SETTLES)},
     .shard_deaths = 1,
     .ticks_s = {12}},
    {.name = "paying and cancelling, and a shard dies",
     .stock = {1, 1, 1},
     .lines = {2, 0}, /* its product is on another shard than the order */
     .before = {PLACE_A},
     .before_count = 1,
     .actors = {TIMES(2, PAY_A), ONCE(CANCEL_A), ONCE(RECONCILE_1, DUTY_A)},
     .shard_deaths = 1,
     .ticks_s = {12}},
    {.name = "fulfilling and cancelling, and a shard dies",
     .stock = {1, 1, 1},
     .lines = {3, 0},
     .before = {PLACE_A, PAY_A},
     .before_count = 2,
     .actors = {ONCE(FULFIL_A), ONCE(FULFIL_A), ONCE(CANCEL_A), ONCE(DUTY_A)},
     .shard_deaths = 1},
};

/* ---- the shop ---- */

#define PARTITIONS 16
#define BEGIN_MS INT64_C(1700000000000)
#define HOLD_S 20

/* What flows are made from. It is one for the process, since a flow knows no more than its arena and its kind. */
static struct {
    struct topology *topology;
    struct payment_settings settings;
    struct world world;
    int64_t product_ids[SHOP_PRODUCTS], order_ids[ORDERS];
    unsigned homes[ORDERS]; /* the shards of the orders */
    char users[ORDERS][24], place_json[ORDERS][200], key_hashes[KEYS_MAX][HASH128_HEX + 1];
} shop;

static const struct asking PLACING = {.route = "/orders", .shape = NULL};

struct host {
    struct flow flow;
    struct flow *(*make)(struct flow *parent, int64_t id);
    int64_t id;
};

static void host_start(struct flow *flow)
{
    struct host *host = (struct host *)flow;
    flow_spawn(flow, host->make(flow, host->id), 0, 0);
}

static void host_got_child(struct flow *flow, struct flow *child)
{
    flow_end(flow);
}

static const struct flow_type HOST = {.name = "host", .size = sizeof(struct host), .start = host_start, .got_child = host_got_child};

static struct flow *hosted(struct arena *arena, struct flow *(*make)(struct flow *parent, int64_t id), int64_t id)
{
    struct flow *flow = flow_new(arena, &HOST, &shop.world, NULL);
    ((struct host *)flow)->make = make;
    ((struct host *)flow)->id = id;
    return flow;
}

static struct flow *asked(struct arena *arena, const struct flow_type *type, const struct asking *asking)
{
    struct ask *ask = ARENA_NEW(arena, struct ask);
    asking_make(arena, asking, ask);
    return flow_new(arena, type, &shop.world, ask);
}

static struct flow *placing(struct arena *arena, unsigned order)
{
    static const char *const keys[ORDERS] = {"key-a", "key-b"};
    struct asking asking = PLACING;
    asking.key = keys[order];
    asking.json = shop.place_json[order];
    asking.shape = &PLACE_BODY;
    return asked(arena, &PLACE_FLOW, &asking);
}

static struct flow *paying(struct arena *arena, const char *key, const char *capture)
{
    struct view json =
        arena_printf(arena, "{\"order_id\":%lld,\"capture\":\"%s\",\"method\":{\"token\":\"tok_ok\"}}", (long long)shop.order_ids[0], capture);
    const struct asking asking = {.route = "/payments", .key = key, .json = json.at, .shape = &PAY_BODY};
    return asked(arena, &PAY_FLOW, &asking);
}

static struct flow *acting(struct arena *arena, const struct flow_type *type, const char *route, const struct shape *shape)
{
    const struct asking asking = {.route = route, .key = route, .json = "{}", .shape = shape, .id = shop.order_ids[0]};
    return asked(arena, type, &asking);
}

static struct flow *make_flow(struct arena *arena, unsigned kind)
{
    switch ((enum kind)kind) {
    case PLACE_A:
    case PLACE_B:
        return placing(arena, kind - PLACE_A);
    case PAY_A:
        return paying(arena, "key-pay", "automatic");
    case PAY_A_AGAIN:
        return paying(arena, "key-pay-again", "automatic");
    case AUTHORIZE_A:
        return paying(arena, "key-authorize", "manual");
    case CAPTURE_A: /* the first payment's id is the order's: both are the first of their sequence */
        return acting(arena, &CAPTURE_FLOW, "/payments/{id}/capture", &ACT_BODY);
    case CANCEL_A:
        return acting(arena, &CANCEL_FLOW, "/orders/{id}/cancel", &CANCEL_BODY);
    case FULFIL_A:
        return acting(arena, &FULFIL_FLOW, "/orders/{id}/fulfil", &FULFIL_BODY);
    case SETTLE_0:
    case SETTLE_1:
    case SETTLE_2:
        return hosted(arena, settle_new, shop.product_ids[kind - SETTLE_0]);
    case DUTY_A:
    case DUTY_B:
        return hosted(arena, duty_new, shop.order_ids[kind - DUTY_A]);
    case RECONCILE_1:
    case RECONCILE_2:
        return hosted(arena, reconcile_new, shop.order_ids[0] + (kind - RECONCILE_1) * PARTITIONS);
    case KINDS:
        break;
    }
    CHECK(!"a kind of flow");
    return NULL;
}

/* A buyer whose orders live on this shard. */
static void find_user(unsigned order, unsigned shard)
{
    for (int n = 0;; n++) {
        snprintf(shop.users[order], sizeof(shop.users[order]), "%c%d", 'a' + (int)order, n);
        unsigned partition = topology_partition_of_text(shop.topology, view_of(shop.users[order]));
        shop.order_ids[order] = PARTITIONS + partition;
        if (shop.topology->owner[partition] == shard && (order == 0 || shop.order_ids[order] != shop.order_ids[0]))
            return;
    }
}

static void write_order(unsigned order, unsigned lines)
{
    int len = snprintf(shop.place_json[order], sizeof(shop.place_json[order]), "{\"user\":\"%s\",\"hold_seconds\":%d,\"items\":[", shop.users[order],
                       HOLD_S);
    const char *comma = "";
    for (int i = 0; i < SHOP_PRODUCTS; i++) {
        if (!(lines & 1u << i))
            continue;
        len += snprintf(shop.place_json[order] + len, sizeof(shop.place_json[order]) - (size_t)len, "%s{\"product_id\":%lld,\"quantity\":1}", comma,
                        (long long)shop.product_ids[i]);
        comma = ",";
    }
    snprintf(shop.place_json[order] + len, sizeof(shop.place_json[order]) - (size_t)len, "]}");
}

/* What the records call a request's key by. */
static void find_hash(enum kind kind)
{
    struct arena *arena = arena_new();
    struct flow *flow = make_flow(arena, kind);
    struct view scope;
    if (kind == PLACE_A || kind == PLACE_B)
        scope = arena_printf(arena, "POST /orders %s", shop.users[kind - PLACE_A]);
    else if (kind == CAPTURE_A)
        scope = arena_printf(arena, "POST /payments/%lld/capture", (long long)shop.order_ids[0]);
    else
        scope = arena_printf(arena, "POST /payments %lld", (long long)shop.order_ids[0]);
    struct txn_key key = txn_key(arena, flow->ask, scope);
    memcpy(shop.key_hashes[kind], key.hash, sizeof(key.hash));
    arena_free(arena);
}

static void shop_set_up(const struct scenario *scenario)
{
    const char *error;
    if (shop.topology == NULL)
        shop.topology = topology_new("s1=h:1,s2=h:2,s3=h:3", PARTITIONS, 1, &error);
    CHECK(shop.topology);
    shop.settings = (struct payment_settings){.gateway_url = "", .gateway_timeout_ms = 5000, .authorization_hold_s = 30};
    shop.world = (struct world){.topology = shop.topology, .settings = &shop.settings};
    for (unsigned i = 0; i < SHOP_PRODUCTS; i++) { /* product i is on shard i */
        shop.product_ids[i] = 100;
        while (shop.topology->owner[topology_partition_of_id(shop.topology, shop.product_ids[i])] != i)
            shop.product_ids[i]++;
    }
    for (unsigned order = 0; order < ORDERS; order++) {
        shop.homes[order] = scenario->neighbours ? 0 : order;
        find_user(order, shop.homes[order]);
        write_order(order, scenario->lines[order]);
    }
    for (enum kind kind = 0; kind < KEYS_MAX; kind++)
        if (kind >= ORDERS || scenario->lines[kind])
            find_hash(kind);
}

/* ---- states ---- */

struct slot {
    uint32_t flow;               /* 0: nobody is at it */
    uint16_t pending[ITEMS_MAX]; /* the answer that waits for the disk; 0: none */
    uint8_t sent[ITEMS_MAX];     /* at which time */
    uint8_t left, kind;
};
struct ghost {
    uint16_t wish;
    uint16_t sent;
};
struct state {
    uint32_t shards[SHARDS], durable[SHARDS], book;
    struct slot slots[SLOTS];
    struct ghost ghosts[GHOSTS_MAX]; /* sorted */
    uint8_t ghost_count, time, losses, copies, shard_deaths, gateway_losses;
    uint8_t told_done, told_refused; /* the requests whose client was told so, as bits of their kinds */
};

struct search {
    const struct scenario *scenario;
    struct machine *machine;
    struct snapshots *snapshots;
    /* States are known by a digest; the states themselves stand in a queue until what may follow them was found. */
    struct hash128 *known; /* open addressing; high 0: free */
    size_t known_size;
    struct state *queue;
    size_t queue_cap, queue_first, queue_count;
    struct came {
        uint32_t from; /* number of the state before */
        uint16_t step; /* which of the things that may happen there */
    } * came;
    uint32_t count, cap, at, most;
    unsigned step;
    uint64_t steps;
    struct memo healed;
    uint32_t heals;
    char bad[300];
    /* For the way to a bad state: the step that is wanted, and what it leads to. */
    bool telling;
    unsigned wanted;
    struct state found;
    char label[300];
};

static int64_t time_ms(const struct search *search, unsigned time)
{
    int64_t ms = BEGIN_MS;
    for (unsigned i = 0; i < time; i++)
        ms += search->scenario->ticks_s[i] * INT64_C(1000);
    return ms;
}

static size_t known_slot(const struct search *search, struct hash128 digest)
{
    size_t slot = digest.low & (search->known_size - 1);
    while (search->known[slot].high && (search->known[slot].high != digest.high || search->known[slot].low != digest.low))
        slot = (slot + 1) & (search->known_size - 1);
    return slot;
}

static void known_grow(struct search *search)
{
    struct hash128 *before = search->known;
    size_t size = search->known_size;
    search->known_size = size ? size * 2 : 1 << 16;
    search->known = calloc(search->known_size, sizeof(*search->known));
    CHECK(search->known);
    for (size_t i = 0; i < size; i++)
        if (before[i].high)
            search->known[known_slot(search, before[i])] = before[i];
    free(before);
}

static void queue_grow(struct search *search)
{
    size_t cap = search->queue_cap ? search->queue_cap * 2 : 1 << 12;
    struct state *wider = malloc(cap * sizeof(*wider));
    CHECK(wider);
    for (size_t i = 0; i < search->queue_count; i++)
        wider[i] = search->queue[(search->queue_first + i) % search->queue_cap];
    free(search->queue);
    search->queue = wider;
    search->queue_cap = cap;
    search->queue_first = 0;
}

static void add_state(struct search *search, const struct state *state)
{
    struct hash128 digest = hash128((struct view){(const char *)state, sizeof(*state)}, 0);
    digest.high |= 1;
    if ((size_t)search->count * 2 >= search->known_size)
        known_grow(search);
    size_t slot = known_slot(search, digest);
    if (search->known[slot].high)
        return;
    search->known[slot] = digest;
    if (search->count == search->cap) {
        search->cap = search->cap ? search->cap * 2 : 1 << 12;
        search->came = realloc(search->came, search->cap * sizeof(*search->came));
        CHECK(search->came);
    }
    if (search->queue_count == search->queue_cap)
        queue_grow(search);
    search->queue[(search->queue_first + search->queue_count++) % search->queue_cap] = *state;
    search->came[search->count++] = (struct came){search->at, (uint16_t)search->step};
}

/* Two actors who may do the same are the same: their slots stand in one order. */
static void make_canonical(const struct search *search, struct state *state)
{
    for (unsigned i = 0; i + 1 < SLOTS; i++) {
        struct slot *slot = &state->slots[i], other = slot[1];
        if (memcmp(&search->scenario->actors[i], &search->scenario->actors[i + 1], sizeof(struct actor)) == 0 &&
            memcmp(slot, &other, sizeof(other)) < 0) {
            slot[1] = slot[0];
            slot[0] = other;
        }
    }
}

/* Something may happen, and leads to ${next}. When a way is told, only the label of the wanted one counts. */
static void emit(struct search *search, const struct state *next, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void emit(struct search *search, const struct state *next, const char *format, ...)
{
    struct state canonical = *next;
    make_canonical(search, &canonical);
    search->steps++;
    if (!search->telling) {
        add_state(search, &canonical);
    } else if (search->step == search->wanted) {
        va_list args;
        va_start(args, format);
        vsnprintf(search->label, sizeof(search->label), format, args);
        va_end(args);
        search->found = canonical;
    }
    search->step++;
}

/* ---- steps of flows ---- */

/* A client was told something that must stay so. An answer that asks to be repeated is none; nor is 202, or 404: the order may be placed later. */
static void note_told(struct state *state, enum kind kind, const struct machine_state *flow)
{
    if (kind >= REQUESTS || flow->again)
        return;
    if (flow->status == 200 || flow->status == 201)
        state->told_done |= (uint8_t)(1u << kind);
    else if (flow->status == 402 || flow->status == 409)
        state->told_refused |= (uint8_t)(1u << kind);
}

static void slot_over(const struct search *search, struct state *state, struct slot *slot)
{
    const struct machine_state *flow = machine_state(search->machine, slot->flow);
    if (!flow->over)
        return;
    note_told(state, slot->kind, flow);
    *slot = (struct slot){.left = slot->left};
}

/* The slot's item came back. What is still under way keeps its time and its answer. */
static void slot_step(const struct search *search, struct state *state, struct slot *slot, unsigned item, uint32_t reply)
{
    struct slot before = *slot;
    const struct machine_state from = *machine_state(search->machine, before.flow);
    bool taken[ITEMS_MAX] = {false};
    taken[item] = true;
    slot->flow = machine_step(search->machine, before.flow, item, reply);
    const struct machine_state *to = machine_state(search->machine, slot->flow);
    memset(slot->pending, 0, sizeof(slot->pending));
    memset(slot->sent, 0, sizeof(slot->sent));
    for (unsigned n = 0; n < to->item_count; n++) {
        slot->sent[n] = state->time;
        for (unsigned old = 0; old < from.item_count; old++) {
            if (taken[old] || from.items[old] != to->items[n])
                continue;
            taken[old] = true;
            slot->pending[n] = before.pending[old];
            slot->sent[n] = before.sent[old];
            break;
        }
    }
    slot_over(search, state, slot);
}

static unsigned shard_of(const struct call *call)
{
    return call->shard >= 0 ? (unsigned)call->shard : shop.topology->owner[call->partition];
}

/* Carries a call or an errand out, whoever sent it. Returns the answer's number. */
static uint32_t carry_out(const struct search *search, struct state *state, uint32_t wish, unsigned sent)
{
    const struct wish_of_flow *what = machine_wish(search->machine, wish);
    if (what->kind == ITEM_ERRAND) {
        struct outcome_of outcome = snapshots_ask_gateway(search->snapshots, state->book, wish);
        state->book = outcome.state;
        return outcome.reply;
    }
    unsigned shard = shard_of(what->call);
    struct outcome_of outcome =
        snapshots_run(search->snapshots, shard, state->shards[shard], wish, time_ms(search, state->time), time_ms(search, sent) + 30000);
    state->shards[shard] = outcome.state;
    if (state->shard_deaths == 0)
        state->durable[shard] = outcome.state;
    return outcome.reply;
}

static bool add_ghost(struct state *state, uint32_t wish, unsigned sent)
{
    unsigned at = state->ghost_count;
    if (at == GHOSTS_MAX)
        return false;
    while (at > 0 && (state->ghosts[at - 1].wish > wish || (state->ghosts[at - 1].wish == wish && state->ghosts[at - 1].sent > sent))) {
        state->ghosts[at] = state->ghosts[at - 1];
        at--;
    }
    CHECK(wish < UINT16_MAX);
    state->ghosts[at] = (struct ghost){(uint16_t)wish, (uint16_t)sent};
    state->ghost_count++;
    return true;
}

static void drop_ghost(struct state *state, unsigned at)
{
    memmove(&state->ghosts[at], &state->ghosts[at + 1], (--state->ghost_count - at) * sizeof(struct ghost));
    state->ghosts[state->ghost_count] = (struct ghost){0, 0};
}

/* ---- what may happen ---- */

static const char *wish_name(const struct search *search, uint32_t wish, char out[160])
{
    const struct wish_of_flow *what = machine_wish(search->machine, wish);
    if (what->kind == ITEM_ERRAND)
        snprintf(out, 160, "gateway %d %.*s", (int)what->errand->op, VIEW_ARG(what->errand->key));
    else if (what->kind == ITEM_NAP)
        snprintf(out, 160, "nap");
    else
        snprintf(out, 160, "%s %.*s (shard %u)", what->call->function ? what->call->function->name : "command", VIEW_ARG(call_part(what->call, 0)),
                 shard_of(what->call));
    return out;
}

static void begin_somebody(struct search *search, const struct state *from, unsigned index)
{
    const struct actor *actor = &search->scenario->actors[index];
    for (unsigned i = 0; i < actor->kind_count; i++) {
        struct state next = *from;
        struct slot *slot = &next.slots[index];
        enum kind kind = actor->kinds[i];
        slot->flow = machine_begin(search->machine, kind);
        slot->left--;
        slot->kind = (uint8_t)kind;
        memset(slot->sent, 0, sizeof(slot->sent));
        for (unsigned n = 0; n < machine_state(search->machine, slot->flow)->item_count; n++)
            slot->sent[n] = next.time;
        slot_over(search, &next, slot);
        emit(search, &next, "%u begins: %s", index, KIND_NAMES[kind]);
    }
}

static void item_comes_back(struct search *search, const struct state *from, unsigned index, unsigned item, uint32_t wish)
{
    struct state next = *from;
    struct slot *slot = &next.slots[index];
    char name[160];
    enum item_kind kind = machine_wish(search->machine, wish)->kind;
    uint32_t reply = kind == ITEM_NAP ? REPLY_NUMBER_WAKE : carry_out(search, &next, wish, slot->sent[item]);
    if (kind == ITEM_CALL && next.shard_deaths > 0)
        slot->pending[item] = (uint16_t)reply;
    else
        slot_step(search, &next, slot, item, reply);
    const struct reply *said = machine_reply_of(search->machine, reply);
    emit(search, &next, "%u: %s -> %d", index, wish_name(search, wish, name), kind == ITEM_CALL ? said->code : 0);
}

/* UNKNOWN to its sender; it may still arrive. Or certainly not sent. */
static void item_is_lost(struct search *search, const struct state *from, unsigned index, unsigned item, uint32_t wish, bool sent)
{
    struct state next = *from;
    char name[160];
    bool errand = machine_wish(search->machine, wish)->kind == ITEM_ERRAND;
    uint8_t *budget = errand ? &next.gateway_losses : &next.losses;
    if (*budget == 0 || (sent && !add_ghost(&next, wish, next.slots[index].sent[item])))
        return;
    (*budget)--;
    slot_step(search, &next, &next.slots[index], item, sent ? REPLY_NUMBER_UNKNOWN : REPLY_NUMBER_NOT_SENT);
    emit(search, &next, "%u: %s is %s", index, wish_name(search, wish, name), sent ? "unknown" : "not sent");
}

static void item_comes_twice(struct search *search, const struct state *from, unsigned index, unsigned item, uint32_t wish)
{
    struct state next = *from;
    char name[160];
    if (next.copies == 0 || !add_ghost(&next, wish, next.slots[index].sent[item]))
        return;
    next.copies--;
    emit(search, &next, "%u: a copy of %s is under way", index, wish_name(search, wish, name));
}

static void flow_goes_on(struct search *search, const struct state *from, unsigned index)
{
    const struct slot *slot = &from->slots[index];
    const struct machine_state flow = *machine_state(search->machine, slot->flow);
    for (unsigned n = 0; n < flow.item_count; n++) {
        if (slot->pending[n])
            continue;
        enum item_kind kind = machine_wish(search->machine, flow.items[n])->kind;
        item_comes_back(search, from, index, n, flow.items[n]);
        if (kind == ITEM_NAP)
            continue;
        item_is_lost(search, from, index, n, flow.items[n], true);
        item_is_lost(search, from, index, n, flow.items[n], false);
        if (kind == ITEM_CALL)
            item_comes_twice(search, from, index, n, flow.items[n]);
    }
}

static void ghost_arrives(struct search *search, const struct state *from, unsigned at)
{
    struct state next = *from;
    struct ghost ghost = next.ghosts[at];
    char name[160];
    drop_ghost(&next, at);
    carry_out(search, &next, ghost.wish, ghost.sent);
    emit(search, &next, "late: %s", wish_name(search, ghost.wish, name));
}

/* Is the slot's item a call to this shard? */
static bool goes_to(const struct search *search, const struct slot *slot, unsigned item, unsigned shard)
{
    const struct wish_of_flow *wish = machine_wish(search->machine, machine_state(search->machine, slot->flow)->items[item]);
    return wish->kind == ITEM_CALL && shard_of(wish->call) == shard;
}

/* All that is under way to this shard, or has its answer waiting there, comes back with ${fate}, or with what waits (fate 0: only that). */
static void answers_leave(const struct search *search, struct state *state, unsigned shard, uint32_t fate)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        uint32_t wishes[ITEMS_MAX], replies[ITEMS_MAX];
        unsigned count = 0;
        struct slot *slot = &state->slots[i];
        if (slot->flow == 0)
            continue;
        const struct machine_state *flow = machine_state(search->machine, slot->flow);
        for (unsigned n = 0; n < flow->item_count; n++)
            if (goes_to(search, slot, n, shard) && (fate || slot->pending[n])) {
                wishes[count] = flow->items[n];
                replies[count++] = fate ? fate : slot->pending[n];
            }
        for (unsigned c = 0; c < count; c++) {
            flow = machine_state(search->machine, slot->flow);
            unsigned n = 0;
            while (flow->items[n] != wishes[c])
                n++;
            slot_step(search, state, slot, n, replies[c]);
        }
    }
}

static bool answers_wait(const struct search *search, const struct state *state, unsigned shard)
{
    for (unsigned i = 0; i < SLOTS; i++)
        for (unsigned n = 0; state->slots[i].flow && n < machine_state(search->machine, state->slots[i].flow)->item_count; n++)
            if (state->slots[i].pending[n] && goes_to(search, &state->slots[i], n, shard))
                return true;
    return false;
}

static void shard_goes_on(struct search *search, const struct state *from, unsigned shard)
{
    if (search->scenario->shard_deaths == 0)
        return;
    if (from->durable[shard] != from->shards[shard] || answers_wait(search, from, shard)) {
        struct state next = *from;
        next.durable[shard] = next.shards[shard];
        answers_leave(search, &next, shard, 0);
        emit(search, &next, "shard %u writes to disk, and answers", shard);
    }
    if (from->shard_deaths > 0) {
        struct state next = *from;
        next.shards[shard] = next.durable[shard];
        if (--next.shard_deaths == 0) /* nobody can lose anything any more */
            memcpy(next.durable, next.shards, sizeof(next.durable));
        answers_leave(search, &next, shard, REPLY_NUMBER_UNKNOWN);
        emit(search, &next, "shard %u dies and comes back", shard);
    }
}

static void time_passes(struct search *search, const struct state *from)
{
    if (from->time == TICKS_MAX || search->scenario->ticks_s[from->time] == 0)
        return;
    struct state next = *from;
    next.time++;
    emit(search, &next, "%u s pass", search->scenario->ticks_s[from->time]);
}

static void expand(struct search *search, const struct state *from)
{
    search->step = 0;
    for (unsigned i = 0; i < SLOTS; i++)
        if (from->slots[i].flow)
            flow_goes_on(search, from, i);
        else if (from->slots[i].left > 0)
            begin_somebody(search, from, i);
    for (unsigned i = 0; i < from->ghost_count; i++)
        ghost_arrives(search, from, i);
    for (unsigned i = 0; i < SHARDS; i++)
        shard_goes_on(search, from, i);
    time_passes(search, from);
}

/* ---- what must hold ---- */

static const struct facts *facts_of(const struct search *search, const struct state *state, unsigned shard)
{
    return snapshots_facts(search->snapshots, shard, state->shards[shard]);
}

static void find_bad(struct search *search, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void find_bad(struct search *search, const char *format, ...)
{
    va_list args;
    if (search->bad[0])
        return;
    va_start(args, format);
    vsnprintf(search->bad, sizeof(search->bad), format, args);
    va_end(args);
}

static bool is_live(enum phase phase)
{
    return phase == PHASE_HELD || phase == PHASE_COMMITTED;
}

static bool is_kept(enum order_state state)
{
    return state == ORDER_RESERVED || state == ORDER_PAID;
}

static bool is_at_gateway(const char *status)
{
    return strcmp(status, "processing") == 0 || strcmp(status, "unknown") == 0;
}

static const struct facts *home_of(const struct search *search, const struct state *state, unsigned order)
{
    return facts_of(search, state, shop.homes[order]);
}

static enum order_state order_now(const struct search *search, const struct state *state, unsigned order)
{
    return home_of(search, state, order)->orders[order].state;
}

static void check_order(struct search *search, const struct state *state, unsigned order)
{
    const struct facts *home = home_of(search, state, order);
    enum order_state now = home->orders[order].state;
    if (home->orders[order].count > 1)
        find_bad(search, "key %c has %u orders", 'A' + (int)order, home->orders[order].count);
    for (unsigned p = 0; p < SHOP_PRODUCTS; p++) {
        if (!(search->scenario->lines[order] & 1u << p) || !is_kept(now))
            continue;
        if (!is_live(facts_of(search, state, p)->products[p].holds[order][home->orders[order].attempt].phase))
            find_bad(search, "order %c lives and has lost its hold of product %u", 'A' + (int)order, p);
    }
}

/* May this request's payment still be decided either way? */
static bool is_open(const struct facts *facts, enum kind kind)
{
    for (unsigned i = 0; i < facts->payment_count; i++)
        if (facts->payments[i].key == (int)kind && is_at_gateway(facts->payments[i].status))
            return true;
    return false;
}

/* Has it taken money? */
static bool has_taken(const struct facts *facts, enum kind kind)
{
    for (unsigned i = 0; i < facts->payment_count; i++)
        if (facts->payments[i].key == (int)kind && facts->payments[i].captured > 0)
            return true;
    return false;
}

/* Was money set aside by AUTHORIZE_A? Since then the payment may go by the key of its capture, or by none: its order ended, and it was voided. */
static bool has_authorized(const struct facts *facts)
{
    for (unsigned i = 0; i < facts->payment_count; i++)
        if (facts->payments[i].key != PAY_A && facts->payments[i].key != PAY_A_AGAIN && strcmp(facts->payments[i].status, "failed") != 0)
            return !is_open(facts, AUTHORIZE_A);
    return false;
}

/* Is it so, what this request's client may have been told: that it was done? */
static bool is_done(const struct search *search, const struct state *state, enum kind kind)
{
    switch (kind) {
    case PLACE_A:
    case PLACE_B:
        return order_now(search, state, kind - PLACE_A) != ORDER_NONE;
    case CANCEL_A:
        return order_now(search, state, 0) == ORDER_CANCELLED;
    case FULFIL_A:
        return order_now(search, state, 0) == ORDER_FULFILLED;
    case AUTHORIZE_A:
        return has_authorized(home_of(search, state, 0));
    default:
        return has_taken(home_of(search, state, 0), kind);
    }
}

/* That it was refused? A refusal to place is recorded first. What is under way at the gateway may still be done. */
static bool is_refused(const struct search *search, const struct state *state, enum kind kind)
{
    if (kind == PLACE_A || kind == PLACE_B)
        return !is_done(search, state, kind) && home_of(search, state, kind - PLACE_A)->keys[kind - PLACE_A].decision == DECISION_REFUSED;
    return !is_done(search, state, kind) && !is_open(home_of(search, state, 0), kind);
}

static void check_told(struct search *search, const struct state *state)
{
    for (enum kind kind = 0; kind < REQUESTS; kind++) {
        bool done = state->told_done & 1u << kind, refused = state->told_refused & 1u << kind;
        if (done && refused)
            find_bad(search, "the client of \"%s\" was told that it was done, and that it was refused", KIND_NAMES[kind]);
        if (done && !is_done(search, state, kind))
            find_bad(search, "the client of \"%s\" was told that it was done, and it is not", KIND_NAMES[kind]);
        if (refused && !is_refused(search, state, kind))
            find_bad(search, "the client of \"%s\" was told that it was refused, and it is not", KIND_NAMES[kind]);
    }
}

static int fulfilled_of(const struct search *search, const struct state *state, unsigned product)
{
    int sum = 0;
    for (unsigned order = 0; order < ORDERS; order++)
        sum += (search->scenario->lines[order] & 1u << product) && order_now(search, state, order) == ORDER_FULFILLED;
    return sum;
}

static void check_state(struct search *search, const struct state *state)
{
    if (snapshots_wrong(search->snapshots)[0])
        find_bad(search, "%s", snapshots_wrong(search->snapshots));
    for (unsigned p = 0; p < SHOP_PRODUCTS; p++) {
        const struct facts *facts = facts_of(search, state, p);
        if (facts->products[p].held < 0 || facts->products[p].committed < 0 ||
            facts->products[p].held + facts->products[p].committed > facts->products[p].on_hand)
            find_bad(search, "product %u is oversold: %d on hand, %d held, %d committed", p, facts->products[p].on_hand, facts->products[p].held,
                     facts->products[p].committed);
        if (search->scenario->stock[p] - facts->products[p].on_hand > fulfilled_of(search, state, p))
            find_bad(search, "product %u has lost units that no order took", p);
    }
    for (unsigned order = 0; order < ORDERS; order++)
        check_order(search, state, order);
    check_told(search, state);
}

/* ---- recovery without faults ---- */

static void run_whole(struct search *search, struct state *state, enum kind kind, int64_t now_ms)
{
    uint32_t flow = machine_begin(search->machine, kind);
    while (!machine_state(search->machine, flow)->over) {
        uint32_t wish = machine_state(search->machine, flow)->items[0], reply = REPLY_NUMBER_WAKE;
        const struct wish_of_flow *what = machine_wish(search->machine, wish);
        if (what->kind == ITEM_ERRAND) {
            reply = carry_out(search, state, wish, 0);
        } else if (what->kind == ITEM_CALL) {
            unsigned shard = shard_of(what->call);
            struct outcome_of outcome = snapshots_run(search->snapshots, shard, state->shards[shard], wish, now_ms, now_ms + 30000);
            state->shards[shard] = state->durable[shard] = outcome.state;
            reply = outcome.reply;
        }
        flow = machine_step(search->machine, flow, 0, reply);
    }
    note_told(state, kind, machine_state(search->machine, flow));
}

static void recover(struct search *search, struct state *state, int64_t now_ms)
{
    for (enum kind kind = SETTLE_0; kind <= SETTLE_2; kind++)
        run_whole(search, state, kind, now_ms);
    for (unsigned order = 0; order < ORDERS; order++)
        if (home_of(search, state, order)->orders[order].count && home_of(search, state, order)->duties)
            run_whole(search, state, DUTY_A + order, now_ms);
    for (unsigned i = 0; i < facts_of(search, state, 0)->payment_count && i < 2; i++)
        run_whole(search, state, RECONCILE_1 + i, now_ms);
}

static void check_money(struct search *search, const struct state *state)
{
    const struct facts *facts = facts_of(search, state, 0);
    int kept = 0;
    for (unsigned i = 0; i < facts->payment_count; i++) {
        struct taken taken = snapshots_taken(search->snapshots, state->book, facts->payments[i].id);
        kept += taken.taken - taken.given;
        if (taken.taken != facts->payments[i].captured || taken.given != facts->payments[i].refunded)
            find_bad(search, "payment %u says captured %d and refunded %d, the gateway %d and %d", i + 1, facts->payments[i].captured,
                     facts->payments[i].refunded, taken.taken, taken.given);
        if (taken.open)
            find_bad(search, "payment %u stands authorized at the gateway for ever", i + 1);
        if (is_at_gateway(facts->payments[i].status))
            find_bad(search, "payment %u stays %s", i + 1, facts->payments[i].status);
    }
    enum order_state order = facts->orders[0].state;
    int want = order == ORDER_PAID || order == ORDER_FULFILLED ? facts->orders[0].total : 0;
    if (kept != want)
        find_bad(search, "order A is in state %d, and the shop keeps %d of its buyer's money instead of %d", (int)order, kept, want);
}

static void check_rest(struct search *search, const struct state *state)
{
    for (unsigned p = 0; p < SHOP_PRODUCTS; p++) {
        const struct facts *facts = facts_of(search, state, p);
        int committed = 0;
        for (unsigned order = 0; order < ORDERS; order++)
            committed += (search->scenario->lines[order] & 1u << p) && order_now(search, state, order) == ORDER_PAID;
        if (facts->products[p].held != 0 || facts->products[p].committed != committed)
            find_bad(search, "at rest: product %u has %d held and %d committed for %d paid", p, facts->products[p].held, facts->products[p].committed,
                     committed);
        if (search->scenario->stock[p] - facts->products[p].on_hand != fulfilled_of(search, state, p))
            find_bad(search, "at rest: product %u has %d on hand of %d, and %d were fulfilled", p, facts->products[p].on_hand,
                     search->scenario->stock[p], fulfilled_of(search, state, p));
        if (facts->duties)
            find_bad(search, "at rest: shard %u still has duties", p);
    }
    for (unsigned order = 0; order < ORDERS; order++)
        if (order_now(search, state, order) == ORDER_RESERVED)
            find_bad(search, "at rest: order %c is still reserved", 'A' + (int)order);
    check_money(search, state);
}

static bool is_at_rest(const struct search *search, const struct state *state)
{
    for (unsigned i = 0; i < SHARDS; i++)
        if (facts_of(search, state, i)->duties || facts_of(search, state, i)->products[i].held)
            return false;
    return true;
}

/* All that clients may have been told when the shards are like this. */
static void tell_all(const struct search *search, struct state *state)
{
    state->told_done = state->told_refused = 0;
    for (enum kind kind = 0; kind < REQUESTS; kind++)
        if (is_done(search, state, kind))
            state->told_done |= (uint8_t)(1u << kind);
        else if (is_refused(search, state, kind))
            state->told_refused |= (uint8_t)(1u << kind);
}

/* Everybody is dead. Time passes, and whoever sweeps does what is due, until all is at rest. */
static void heal(struct search *search, const struct state *from)
{
    static const int64_t after_s[] = {13, 60, 1200, 1260, 8000, 8060, 16000};
    uint64_t a = (uint64_t)from->shards[0] << 32 | from->shards[1], b = (uint64_t)from->shards[2] << 32 | from->book << 8 | from->time;
    if (memo_find(&search->healed, a, b))
        return;
    memo_add(&search->healed, a, b)->value = 1;
    search->heals++;
    struct state state = *from;
    tell_all(search, &state);
    for (size_t i = 0; i < sizeof(after_s) / sizeof(*after_s) && search->bad[0] == '\0'; i++) {
        recover(search, &state, time_ms(search, from->time) + after_s[i] * 1000);
        check_state(search, &state);
        if (is_at_rest(search, &state))
            break;
    }
    check_rest(search, &state);
}

/* ---- the search ---- */

static struct state first_state(struct search *search)
{
    const struct scenario *scenario = search->scenario;
    struct state state;
    memset(&state, 0, sizeof(state));
    for (unsigned i = 0; i < SHARDS; i++)
        state.shards[i] = state.durable[i] = snapshots_begin(search->snapshots, i);
    state.book = 1;
    state.losses = (uint8_t)scenario->losses;
    state.copies = (uint8_t)scenario->copies;
    state.shard_deaths = (uint8_t)scenario->shard_deaths;
    state.gateway_losses = (uint8_t)scenario->gateway_losses;
    for (unsigned i = 0; i < SLOTS; i++)
        state.slots[i].left = (uint8_t)scenario->actors[i].times;
    for (unsigned i = 0; i < scenario->before_count; i++)
        run_whole(search, &state, scenario->before[i], BEGIN_MS);
    return state;
}

/* From the first state on, the steps that led here. */
static void print_way(struct search *search, uint32_t number)
{
    uint32_t way[1000], length = 0;
    struct state state = first_state(search);
    printf("    %s\n", search->bad);
    for (; number != 0 && length < 1000; number = search->came[number].from)
        way[length++] = number;
    search->telling = true;
    for (uint32_t i = length; i-- > 0;) {
        search->wanted = search->came[way[i]].step;
        expand(search, &state);
        state = search->found;
        printf("    %3u  %s\n", length - i, search->label);
    }
    search->telling = false;
}

/* Returns whether the rules hold in every state. */
static bool search_all(struct search *search)
{
    struct state state = first_state(search);
    add_state(search, &state);
    for (search->at = 0; search->queue_count > 0; search->at++) {
        state = search->queue[search->queue_first];
        search->queue_first = (search->queue_first + 1) % search->queue_cap;
        search->queue_count--;
        check_state(search, &state);
        if (search->bad[0] == '\0')
            heal(search, &state);
        if (search->bad[0]) {
            print_way(search, search->at);
            return false;
        }
        if (search->count > search->most) {
            printf("    gave up at %u states\n", search->most);
            return false;
        }
        expand(search, &state);
    }
    return true;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool run_scenario(const struct scenario *scenario, struct lua_library *library, uint32_t most, uint64_t *total)
{
    double began = seconds_now();
    shop_set_up(scenario);
    struct shop_plan plan = {.topology = shop.topology};
    for (int i = 0; i < SHOP_PRODUCTS; i++) {
        plan.product_ids[i] = shop.product_ids[i];
        plan.stock[i] = scenario->stock[i];
    }
    for (enum kind kind = 0; kind < KEYS_MAX; kind++)
        if (kind >= ORDERS || scenario->lines[kind])
            plan.key_hashes[kind] = shop.key_hashes[kind];
    struct search search = {.scenario = scenario, .machine = machine_new(make_flow), .most = most};
    search.snapshots = snapshots_new(&plan, search.machine, library);
    bool holds = search_all(&search);
    struct machine_counts counts = machine_counts(search.machine);
    printf("%-55s %9u states %11llu steps %7u flow states %6u shard states %7u recoveries %5.1f s  %s\n", scenario->name, search.count,
           (unsigned long long)search.steps, counts.states, snapshots_count(search.snapshots), search.heals, seconds_now() - began,
           holds ? "holds" : "BROKEN");
    fflush(stdout);
    *total += search.count;
    free(search.known);
    free(search.queue);
    free(search.came);
    memo_free(&search.healed);
    snapshots_free(search.snapshots);
    machine_free(search.machine);
    return holds;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"library", 1, NULL, 'l'}, {"only", 1, NULL, 'o'}, {"most", 1, NULL, 'm'}, {NULL, 0, NULL, 0}};
    const char *only = NULL;
    const char *path = NULL;
    uint32_t most = 30000000;
    uint64_t total = 0;
    bool holds = true;
    for (int option; (option = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (option == 'l') {
            path = optarg;
        } else if (option == 'o') {
            only = optarg;
        } else if (option == 'm') {
            most = (uint32_t)strtoul(optarg, NULL, 10);
        } else {
            printf("souk-model [--library FILE] [--only TEXT] [--most STATES]\n");
            return 2;
        }
    }
    log_start("souk-model", LOG_ERROR);
    struct lua_library *library = shard_sim_library(path);
    for (size_t i = 0; i < sizeof(SCENARIOS) / sizeof(*SCENARIOS); i++)
        if (only == NULL || strstr(SCENARIOS[i].name, only))
            holds &= run_scenario(&SCENARIOS[i], library, most, &total);
    printf("%llu states in all: %s\n", (unsigned long long)total, holds ? "every rule holds in every one" : "A RULE IS BROKEN");
    lua_library_free(library);
    return holds ? 0 : 1;
}
