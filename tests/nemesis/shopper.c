#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"

#include "client.h"

#include "evidence.h"
#include "shopper.h"

#define ATTEMPTS_AT_ONCE 12 /* then a shopper does something else first; what is left is decided in the calm */
#define RING 24
#define BUYERS 160
#define NOT_THERE_YET 1000000 /* ids above it are of products that come later */

struct shopper {
    struct market *market;
    pthread_t thread;
    struct random random;
    struct client *client;
    struct op *ring[RING]; /* what was decided lately and can be replayed */
    unsigned at;
};

void market_init(struct market *market, struct history *history, uint64_t seed)
{
    *market = (struct market){.history = history, .seed = seed, .think_ms = 50};
    pthread_mutex_init(&market->lock, NULL);
}

void market_worker(struct market *market, enum souk_role role, int number, const char *url)
{
    unsigned n = market->workers[role].count++;
    market->workers[role].numbers[n] = number;
    market->workers[role].urls[n] = url;
}

void pause_ms(int ms)
{
    struct timespec moment = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&moment, NULL);
}

/* ---- the pool ---- */

static void pool_add(struct market *market, int64_t *pool, unsigned *count, int64_t id)
{
    pthread_mutex_lock(&market->lock);
    pool[(*count)++ % POOL_MAX] = id;
    pthread_mutex_unlock(&market->lock);
}

/* One of the latest, more often a young one; 0 if there is none yet. */
static int64_t pool_pick(struct shopper *shopper, const int64_t *pool, const unsigned *count)
{
    pthread_mutex_lock(&shopper->market->lock);
    unsigned n = *count < POOL_MAX ? *count : POOL_MAX;
    int64_t id = 0;
    if (n > 0) {
        int back = random_between(&shopper->random, 0, (int)n - 1);
        back = random_percent(&shopper->random, 50) ? back / 6 : back;
        id = pool[(*count - 1 - (unsigned)back) % POOL_MAX];
    }
    pthread_mutex_unlock(&shopper->market->lock);
    return id;
}

static int64_t an_order(struct shopper *shopper)
{
    return pool_pick(shopper, shopper->market->orders, &shopper->market->order_count);
}

static int64_t a_payment(struct shopper *shopper)
{
    return pool_pick(shopper, shopper->market->payments, &shopper->market->payment_count);
}

static int64_t a_product(struct shopper *shopper)
{
    return shopper->market->products[random_between(&shopper->random, 0, (int)shopper->market->product_count - 1)];
}

/* ---- sending ---- */

static enum souk_role role_of(enum op_kind kind)
{
    switch (kind) {
    case OP_PLACE:
    case OP_CANCEL:
    case OP_FULFIL:
    case OP_GET_ORDER:
        return SOUK_ORDER;
    case OP_ADJUST:
    case OP_IMPORT:
    case OP_GET_STOCK:
    case OP_PATCH:
        return SOUK_PRODUCT;
    default:
        return SOUK_PAYMENT;
    }
}

/* How each kind is sent: with a body and what goes with it, or as a GET. */
static const struct {
    const char *method, *type, *condition, *preference;
} SENT[OP_KINDS] = {
    [OP_PLACE... OP_ADJUST] = {"POST", "Content-Type: application/json", NULL, NULL},
    [OP_IMPORT] = {"POST", "Content-Type: application/x-ndjson", NULL, NULL},
    [OP_GET_ORDER... OP_GET_STOCK] = {"GET", NULL, NULL, NULL},
    [OP_PATCH] = {"PATCH", "Content-Type: application/merge-patch+json", "If-Match: *", "Prefer: respond-async"},
};

struct letter {
    char url[160], key[64], request_id[64];
    const char *headers[5];
    struct client_request request;
    unsigned n;
    int worker;
};

static void letter_write(struct letter *letter, struct market *market, struct op *op, unsigned which)
{
    enum souk_role role = role_of(op->kind);
    char name[32];
    letter->n = ++op->attempts;
    letter->worker = market->workers[role].numbers[which];
    op_request_id(op, letter->n, name);
    snprintf(letter->url, sizeof(letter->url), "%s%s", market->workers[role].urls[which], op->path);
    snprintf(letter->key, sizeof(letter->key), "Idempotency-Key: nemesis-%" PRIu32, op->number);
    snprintf(letter->request_id, sizeof(letter->request_id), "X-Request-Id: %s", name);
    letter->request =
        (struct client_request){.method = SENT[op->kind].method, .url = letter->url, .headers = letter->headers, .timeout_ms = TIMEOUT_MS};
    const char *headers[] = {letter->request_id, SENT[op->kind].type, op_is_post(op->kind) ? letter->key : SENT[op->kind].condition,
                             SENT[op->kind].preference, NULL};
    memcpy(letter->headers, headers, sizeof(headers));
    if (SENT[op->kind].type) {
        letter->request.body = op->body;
        letter->request.body_len = strlen(op->body);
    }
}

static unsigned any_worker(struct random *random, const struct market *market, const struct op *op)
{
    return (unsigned)random_between(random, 0, (int)market->workers[role_of(op->kind)].count - 1);
}

/* One attempt, or the same request to two workers at once. */
static void attempt(struct market *market, struct client *client, struct random *random, struct op *op, bool twice)
{
    struct letter letters[2];
    struct client_request requests[2];
    struct response *responses[2];
    size_t count = twice ? 2 : 1;
    unsigned which = any_worker(random, market, op);
    for (size_t i = 0; i < count; i++) {
        letter_write(&letters[i], market, op, (which + (unsigned)i) % market->workers[role_of(op->kind)].count);
        requests[i] = letters[i].request;
    }
    int64_t sent_us = clock_us();
    client_send_all(client, requests, count, responses);
    int64_t got_us = clock_us();
    for (size_t i = 0; i < count; i++) {
        history_answer(market->history, op, letters[i].n, letters[i].worker, sent_us, got_us, responses[i]);
        response_free(responses[i]);
    }
}

static bool closing(const struct shopper *shopper)
{
    return atomic_load(&shopper->market->closing);
}

/* Again with the same key until it is decided, on any worker, with growing pauses. */
static void pursue(struct shopper *shopper, struct op *op)
{
    bool twice = op_is_post(op->kind) && random_percent(&shopper->random, 6);
    int wait_ms = 5;
    for (int tries = 0; op->decision == UNDECIDED && tries < ATTEMPTS_AT_ONCE && !(tries > 0 && closing(shopper)); tries++) {
        if (tries > 0)
            pause_ms(random_between(&shopper->random, 1, wait_ms));
        wait_ms = wait_ms < 200 ? wait_ms * 2 : wait_ms;
        attempt(shopper->market, shopper->client, &shopper->random, op, twice && tries == 0);
        if (!op_is_post(op->kind) && op->decision == UNDECIDED && tries > 2)
            break;
    }
}

/* Keeps it for a replay, in the place of an older one. */
static void ring_add(struct shopper *shopper, struct op *op)
{
    struct op **place = &shopper->ring[shopper->at++ % RING];
    if (*place) {
        free((*place)->answer);
        (*place)->answer = NULL;
    }
    *place = op;
}

static void carry_out(struct shopper *shopper, struct op *op)
{
    struct market *market = shopper->market;
    pursue(shopper, op);
    if (!op_is_post(op->kind) || op->decision == UNDECIDED)
        return;
    ring_add(shopper, op);
    if (op->kind == OP_PLACE && op->decision == DONE)
        pool_add(market, market->orders, &market->order_count, op->id);
    if (op->kind == OP_PAY && op->decision == DONE)
        pool_add(market, market->payments, &market->payment_count, op->id);
}

/* ---- what a shopper does ---- */

static void add_text(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add_text(char *text, size_t size, const char *format, ...)
{
    size_t len = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + len, size - len, format, args);
    va_end(args);
}

static void place(struct shopper *shopper)
{
    struct market *market = shopper->market;
    struct random *random = &shopper->random;
    struct op *op = history_op(market->history, OP_PLACE);
    unsigned first = (unsigned)random_between(random, 0, (int)market->product_count - 1), step = 1 + 2 * (unsigned)random_between(random, 0, 2);
    op->line_count = (unsigned)random_between(random, 1, LINES_MAX);
    snprintf(op->path, sizeof(op->path), "/orders");
    snprintf(op->user, sizeof(op->user), "buyer-%d", (int)random_between(random, 1, BUYERS));
    snprintf(op->body, sizeof(op->body), "{\"user\":\"%s\",\"items\":[", op->user);
    for (unsigned i = 0; i < op->line_count; i++) {
        op->lines[i] = (struct op_line){market->products[(first + i * step) % market->product_count], random_between(random, 1, 3)};
        add_text(op->body, sizeof(op->body), "%s{\"product_id\":%" PRId64 ",\"quantity\":%d}", i ? "," : "", op->lines[i].product,
                 op->lines[i].quantity);
    }
    add_text(op->body, sizeof(op->body), "]");
    if (random_percent(random, 35))
        add_text(op->body, sizeof(op->body), ",\"hold_seconds\":%d", (int)random_between(random, 1, 4));
    add_text(op->body, sizeof(op->body), "}");
    carry_out(shopper, op);
}

static void pay(struct shopper *shopper)
{
    static const struct {
        int up_to;
        const char *token;
    } TOKENS[] = {{76, "tok_ok"}, {84, "tok_declined"}, {88, "tok_insufficient_funds"}, {93, "tok_timeout"}, {98, "tok_lost"}, {100, "tok_slow"}};
    int64_t order = an_order(shopper);
    if (order == 0)
        return;
    struct op *op = history_op(shopper->market->history, OP_PAY);
    int roll = random_between(&shopper->random, 1, 100), n = 0;
    while (roll > TOKENS[n].up_to)
        n++;
    op->target = order;
    snprintf(op->path, sizeof(op->path), "/payments");
    snprintf(op->body, sizeof(op->body), "{\"order_id\":%" PRId64 ",\"method\":{\"token\":\"%s\"}%s}", order, TOKENS[n].token,
             random_percent(&shopper->random, 22) ? ",\"capture\":\"manual\"" : "");
    carry_out(shopper, op);
}

/* A POST without a body of interest: /orders/ID/cancel and the like. */
static void act(struct shopper *shopper, enum op_kind kind, const char *collection, int64_t id, const char *verb, const char *body)
{
    if (id == 0)
        return;
    struct op *op = history_op(shopper->market->history, kind);
    op->target = id;
    snprintf(op->path, sizeof(op->path), "/%s/%" PRId64 "/%s", collection, id, verb);
    snprintf(op->body, sizeof(op->body), "%s", body);
    carry_out(shopper, op);
}

static void refund(struct shopper *shopper)
{
    int64_t payment = a_payment(shopper);
    if (payment == 0)
        return;
    struct op *op = history_op(shopper->market->history, OP_REFUND);
    op->target = payment;
    op->amount = random_percent(&shopper->random, 60) ? random_between(&shopper->random, 1, 900) : 0;
    snprintf(op->path, sizeof(op->path), "/payments/%" PRId64 "/refunds", payment);
    if (op->amount)
        snprintf(op->body, sizeof(op->body), "{\"amount\":\"%d.%02d\"}", (int)op->amount / 100, (int)op->amount % 100);
    else
        snprintf(op->body, sizeof(op->body), "{}");
    carry_out(shopper, op);
}

static void adjust(struct shopper *shopper)
{
    struct op *op = history_op(shopper->market->history, OP_ADJUST);
    op->target = a_product(shopper);
    op->units = random_percent(&shopper->random, 25) ? -random_between(&shopper->random, 1, 10) : random_between(&shopper->random, 10, 60);
    snprintf(op->path, sizeof(op->path), "/products/%" PRId64 "/stock-adjustments", op->target);
    /* The ledger has no request ids, so the reason names the operation there. */
    snprintf(op->body, sizeof(op->body), "{\"delta\":%" PRId64 ",\"reason\":\"%" PRIu32 ".0\"}", op->units, op->number);
    carry_out(shopper, op);
}

/* New products, each named as an attempt of this operation would be: so the catalogue says where it has them from, and which line each was. */
static void import(struct shopper *shopper)
{
    struct op *op = history_op(shopper->market->history, OP_IMPORT);
    op->units = random_between(&shopper->random, 1, LINES_MAX);
    snprintf(op->path, sizeof(op->path), "/products/import");
    for (int line = 0; line < op->units; line++)
        add_text(op->body, sizeof(op->body), "{\"name\":\"%" PRIu32 ".%d\",\"price\":\"10.50\",\"stock\":%d}\n", op->number, line, IMPORTED_UNITS);
    carry_out(shopper, op);
}

/* One more unit of a product that is not there yet, or an order of one. */
static struct op *ask_too_early(struct shopper *shopper)
{
    struct op *op = history_op(shopper->market->history, random_percent(&shopper->random, 50) ? OP_ADJUST : OP_PLACE);
    int64_t product = NOT_THERE_YET + op->number;
    if (op->kind == OP_ADJUST) {
        op->target = product;
        op->units = 1;
        snprintf(op->path, sizeof(op->path), "/products/%" PRId64 "/stock-adjustments", product);
        snprintf(op->body, sizeof(op->body), "{\"delta\":1,\"reason\":\"%" PRIu32 ".0\"}", op->number);
    } else {
        op->line_count = 1;
        op->lines[0] = (struct op_line){product, 1};
        snprintf(op->path, sizeof(op->path), "/orders");
        snprintf(op->body, sizeof(op->body), "{\"user\":\"early\",\"items\":[{\"product_id\":%" PRId64 ",\"quantity\":1}]}", product);
    }
    carry_out(shopper, op);
    return op;
}

/* Then the product comes, and the same is asked again: what was refused stays refused. */
static void come_too_early(struct shopper *shopper)
{
    struct op *early = ask_too_early(shopper);
    if (early->decision == UNDECIDED)
        return;
    struct op *import = history_op(shopper->market->history, OP_IMPORT);
    import->units = 1;
    snprintf(import->path, sizeof(import->path), "/products/import");
    snprintf(import->body, sizeof(import->body), "{\"id\":%d,\"name\":\"%" PRIu32 ".0\",\"price\":\"10.50\",\"stock\":%d}\n",
             NOT_THERE_YET + (int)early->number, import->number, IMPORTED_UNITS);
    carry_out(shopper, import);
    if (import->decision == DONE)
        attempt(shopper->market, shopper->client, &shopper->random, early, false);
}

static void patch(struct shopper *shopper)
{
    struct op *op = history_op(shopper->market->history, OP_PATCH);
    op->target = a_product(shopper);
    snprintf(op->path, sizeof(op->path), "/products/%" PRId64, op->target);
    snprintf(op->body, sizeof(op->body), "{\"attributes\":{\"op\":\"%" PRIu32 ".0\"}}", op->number);
    carry_out(shopper, op);
}

static void get(struct shopper *shopper, enum op_kind kind, int64_t id)
{
    static const char *const PATHS[OP_KINDS] = {
        [OP_GET_ORDER] = "/orders/%" PRId64, [OP_GET_PAYMENT] = "/payments/%" PRId64, [OP_GET_STOCK] = "/products/%" PRId64 "/stock"};
    if (id == 0)
        return;
    struct op *op = history_op(shopper->market->history, kind);
    op->target = id;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(op->path, sizeof(op->path), PATHS[kind], id);
#pragma GCC diagnostic pop
    carry_out(shopper, op);
}

static void look(struct shopper *shopper)
{
    int roll = random_between(&shopper->random, 0, 2);
    if (roll == 0)
        get(shopper, OP_GET_ORDER, an_order(shopper));
    else if (roll == 1)
        get(shopper, OP_GET_PAYMENT, a_payment(shopper));
    else
        get(shopper, OP_GET_STOCK, a_product(shopper));
}

/* Something decided, once more, on whichever worker: what was kept must have the same bytes, what was refused for good must be refused again. */
static void replay(struct shopper *shopper)
{
    struct op *op = shopper->ring[random_between(&shopper->random, 0, RING - 1)];
    if (op)
        attempt(shopper->market, shopper->client, &shopper->random, op, random_percent(&shopper->random, 20));
}

static void step(struct shopper *shopper)
{
    int roll = random_between(&shopper->random, 1, 100);
    if (roll <= 30)
        place(shopper);
    else if (roll <= 52)
        pay(shopper);
    else if (roll <= 56)
        act(shopper, OP_CAPTURE, "payments", a_payment(shopper), "capture", "{}");
    else if (roll <= 58)
        act(shopper, OP_VOID, "payments", a_payment(shopper), "void", "{}");
    else if (roll <= 65)
        act(shopper, OP_CANCEL, "orders", an_order(shopper), "cancel", "{\"reason\":\"changed my mind\"}");
    else if (roll <= 74)
        act(shopper, OP_FULFIL, "orders", an_order(shopper), "fulfil", "{\"tracking\":\"T1\"}");
    else if (roll <= 78)
        refund(shopper);
    else if (roll <= 81)
        adjust(shopper);
    else if (roll <= 83)
        import(shopper);
    else if (roll <= 84)
        come_too_early(shopper);
    else if (roll <= 86)
        patch(shopper);
    else if (roll <= 93)
        look(shopper);
    else
        replay(shopper);
}

static void *run(void *cookie)
{
    struct shopper *shopper = cookie;
    while (!closing(shopper)) {
        step(shopper);
        pause_ms(random_between(&shopper->random, 0, shopper->market->think_ms));
    }
    return NULL;
}

struct shopper *shopper_start(struct market *market, unsigned number)
{
    struct shopper *shopper = calloc(1, sizeof(*shopper));
    shopper->market = market;
    shopper->random = random_of(market->seed, 1000 + number);
    shopper->client = client_new();
    if (pthread_create(&shopper->thread, NULL, run, shopper) != 0) {
        fprintf(stderr, "cannot start a thread\n");
        abort();
    }
    return shopper;
}

void shopper_join(struct shopper *shopper)
{
    pthread_join(shopper->thread, NULL);
}

void shopper_free(struct shopper *shopper)
{
    client_free(shopper->client);
    free(shopper);
}

/* ---- when the shop is quiet ---- */

size_t market_undecided(const struct market *market)
{
    size_t undecided = 0;
    for (size_t i = 0; i < market->history->op_count; i++)
        undecided += op_is_post(market->history->ops[i]->kind) && market->history->ops[i]->decision == UNDECIDED;
    return undecided;
}

size_t market_decide_all(struct market *market, int ms)
{
    struct client *client = client_new();
    struct random random = random_of(market->seed, 999);
    int64_t deadline = clock_us() + (int64_t)ms * 1000;
    size_t undecided;
    do {
        undecided = 0;
        for (size_t i = 0; i < market->history->op_count; i++) {
            struct op *op = market->history->ops[i];
            if (!op_is_post(op->kind) || op->decision != UNDECIDED)
                continue;
            if (clock_us() < deadline)
                attempt(market, client, &random, op, false);
            if (op->decision != UNDECIDED)
                deadline = clock_us() + (int64_t)ms * 1000;
            undecided += op->decision == UNDECIDED;
        }
        pause_ms(undecided ? 100 : 0);
    } while (undecided > 0 && clock_us() < deadline);
    client_free(client);
    return undecided;
}

void market_ask_for_too_much(struct market *market)
{
    struct client *client = client_new();
    struct random random = random_of(market->seed, 998);
    for (unsigned i = 0; i < market->product_count; i++) {
        struct op *op = history_op(market->history, OP_PLACE);
        op->line_count = 1;
        op->lines[0] = (struct op_line){market->products[i], TOO_MANY};
        snprintf(op->user, sizeof(op->user), "greedy");
        snprintf(op->path, sizeof(op->path), "/orders");
        snprintf(op->body, sizeof(op->body), "{\"user\":\"greedy\",\"items\":[{\"product_id\":%" PRId64 ",\"quantity\":%d}]}", market->products[i],
                 TOO_MANY);
        attempt(market, client, &random, op, false);
    }
    client_free(client);
}

void market_look_around(struct market *market)
{
    struct shopper shopper = {.market = market, .client = client_new(), .random = random_of(market->seed, 997)};
    for (unsigned i = 0; i < market->product_count; i++)
        get(&shopper, OP_GET_STOCK, market->products[i]);
    for (unsigned i = 0; i < market->order_count && i < POOL_MAX; i++)
        get(&shopper, OP_GET_ORDER, market->orders[i]);
    for (unsigned i = 0; i < market->payment_count && i < POOL_MAX; i++)
        get(&shopper, OP_GET_PAYMENT, market->payments[i]);
    client_free(shopper.client);
}
