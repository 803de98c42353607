#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#include "functions.h"
#include "outcome.h"
#include "records.h"

#include "order.h"
#include "payment.h"
#include "product.h"

#include "asking.h"

#include "shoppers.h"

#define TRIES_MAX 100000 /* nobody gives up: what is never decided is stuck */
#define REPLAYS_MAX 3
#define DEADLINE_MS 5000
#define PAY_DEADLINE_MS 10000

static void shopper_go_on(struct shopper *shopper, const struct deed *decided);

/* ---- the requests ---- */

static void deed_make(struct arena *arena, struct ask *ask, void *cookie);
static void deed_got_answer(void *cookie, const struct answer *answer);

#define KIND(of, its_flow, ms) \
    { \
        .role = of, .flow = its_flow, .deadline_ms = ms, .make = deed_make, .got_answer = deed_got_answer \
    }
static const struct deed_kind {
    struct request_kind request;
    const char *route;
    const struct shape *shape;
} KINDS[DEED_TYPES] = {
    [DEED_PLACE] = {KIND(ROLE_ORDER, &PLACE_FLOW, DEADLINE_MS), "/orders", &PLACE_BODY},
    [DEED_CANCEL] = {KIND(ROLE_ORDER, &CANCEL_FLOW, DEADLINE_MS), "/orders/{id}/cancel", &CANCEL_BODY},
    [DEED_FULFIL] = {KIND(ROLE_ORDER, &FULFIL_FLOW, DEADLINE_MS), "/orders/{id}/fulfil", &FULFIL_BODY},
    [DEED_PAY] = {KIND(ROLE_PAYMENT, &PAY_FLOW, PAY_DEADLINE_MS), "/payments", &PAY_BODY},
    [DEED_CAPTURE] = {KIND(ROLE_PAYMENT, &CAPTURE_FLOW, PAY_DEADLINE_MS), "/payments/{id}/capture", &ACT_BODY},
    [DEED_VOID] = {KIND(ROLE_PAYMENT, &VOID_FLOW, PAY_DEADLINE_MS), "/payments/{id}/void", &ACT_BODY},
    [DEED_REFUND] = {KIND(ROLE_PAYMENT, &REFUND_FLOW, PAY_DEADLINE_MS), "/payments/{id}/refunds", &REFUND_BODY},
    [DEED_ADJUST] = {KIND(ROLE_PRODUCT, &STOCK_ADJUST_FLOW, DEADLINE_MS), "/products/{id}/stock-adjustments", &ADJUST_BODY},
    [DEED_IMPORT] = {KIND(ROLE_PRODUCT, &PRODUCT_IMPORT_FLOW, DEADLINE_MS), "/products/import", NULL},
};

/* Each copy has an id of its own, as from a client that makes one for each attempt: so a repeat that is told its own has other bytes. */
static void deed_make(struct arena *arena, struct ask *ask, void *cookie)
{
    struct deed *deed = cookie;
    const struct deed_kind *kind = &KINDS[deed->type];
    struct view request = arena_printf(arena, "r-%u", ++deed->copies);
    const struct asking asking = {
        .route = kind->route, .key = deed->key, .json = deed->json, .request_id = request.at, .shape = kind->shape, .id = deed->id};
    asking_make(arena, &asking, ask);
}

static void deed_send(struct deed *deed)
{
    deed->under_way++;
    deed->shopper->shop->requests++;
    fleet_ask(deed->shopper->shop->fleet, &KINDS[deed->type].request, deed);
}

static void deed_send_later(void *cookie)
{
    deed_send(cookie);
}

/* ---- the answers ---- */

static bool contains(struct view text, const char *part)
{
    return memmem(text.at, text.len, part, strlen(part)) != NULL;
}

/* Nobody answered, or the answer is none yet and says so (we do not know; a payment is under way; a line of many): the same request again. */
static bool is_open(const struct deed *deed, const struct answer *answer)
{
    return answer == NULL || (answer->outcome && answer->outcome->retryable) ||
           (deed->type == DEED_IMPORT && contains(answer->body, "\"status\":503"));
}

/* A refusal for a reason that may pass. One to fulfil passes when the order is paid, so only while it is reserved. */
static bool is_kept(enum deed_type type, const struct answer *answer)
{
    switch (type) {
    case DEED_PLACE:
        return answer->status == 409 || answer->status == 422;
    case DEED_ADJUST:
        return answer->status == 409 || answer->status == 404;
    case DEED_CAPTURE:
    case DEED_VOID:
    case DEED_REFUND:
        return answer->status == 409 || answer->status == 422;
    case DEED_FULFIL:
        return answer->status == 409 && contains(answer->body, "\"state\":\"reserved\"");
    default:
        return false;
    }
}

static bool is_stored(const struct deed *deed, const struct answer *answer)
{
    return answer->status < 300 || answer->status == 402 || is_kept(deed->type, answer);
}

static void learn_id(struct deed *deed, const struct answer *answer)
{
    long long id = 0;
    if (answer->status < 300 && answer->body.len > 6 && memcmp(answer->body.at, "{\"id\":", 6) == 0)
        id = strtoll(answer->body.at + 6, NULL, 10);
    deed->made_id = id;
}

static void compare(struct deed *deed, const struct answer *answer, struct hash128 body)
{
    if (deed->stored && (answer->status != deed->status || body.high != deed->body.high || body.low != deed->body.low))
        fleet_complain(deed->shopper->shop->fleet, "key %s was told %d, and then %d or other bytes: %.*s", deed->key, deed->status, answer->status,
                       VIEW_ARG(answer->body));
    deed->shopper->shop->replayed++;
}

static void count_decided(struct shop *shop, const struct deed *deed)
{
    shop->placed += deed->type == DEED_PLACE && deed->status == 201;
    shop->refused += deed->type == DEED_PLACE && deed->status != 201;
    shop->paid += deed->type == DEED_PAY && deed->status == 201;
}

static void deed_decide(struct deed *deed, const struct answer *answer)
{
    struct hash128 body = hash128(answer->body, 0);
    bool known = deed->status != 0;
    if (known && deed->stored) {
        compare(deed, answer, body);
        return;
    }
    if (known && answer->status < 300)
        fleet_complain(deed->shopper->shop->fleet, "key %s was told %d, and then %d", deed->key, deed->status, answer->status);
    if (known && !is_stored(deed, answer))
        return;
    deed->status = answer->status;
    deed->stored = is_stored(deed, answer);
    deed->body = body;
    learn_id(deed, answer);
    if (known) /* a second copy of it was decided after the first was refused without being kept */
        return;
    count_decided(deed->shopper->shop, deed);
    shopper_go_on(deed->shopper, deed);
}

static void deed_got_answer(void *cookie, const struct answer *answer)
{
    struct deed *deed = cookie;
    struct shop *shop = deed->shopper->shop;
    struct random *random = fleet_random(shop->fleet);
    deed->under_way--;
    if (answer && answer->status == 500)
        fleet_complain(shop->fleet, "%s %s was answered 500: %.*s", KINDS[deed->type].route, deed->key, VIEW_ARG(answer->body));
    if (!is_open(deed, answer)) {
        deed_decide(deed, answer);
        if (deed->replays < REPLAYS_MAX && random_chance(random, shop->again)) {
            deed->replays++;
            fleet_wake(shop->fleet, random_tailed(random, 1000000, 7), deed_send_later, deed);
        }
    } else if (++deed->tries < TRIES_MAX) {
        fleet_wake(shop->fleet, random_tailed(random, 100000, 6), deed_send_later, deed);
    }
}

/* ---- what is asked ---- */

static struct deed *deed_new(struct shopper *shopper, enum deed_type type, int64_t id)
{
    CHECK(shopper->deed_count < SHOPPER_DEEDS_MAX);
    struct deed *deed = &shopper->deeds[shopper->deed_count++];
    *deed = (struct deed){.shopper = shopper, .type = type, .id = id};
    snprintf(deed->key, sizeof(deed->key), "key-%u-%u", shopper->number, shopper->deed_count);
    snprintf(deed->json, sizeof(deed->json), "{}");
    return deed;
}

/* Off it goes, now and then twice at once. */
static void deed_begin(struct deed *deed)
{
    struct shop *shop = deed->shopper->shop;
    struct random *random = fleet_random(shop->fleet);
    fleet_wake(shop->fleet, random_between(random, 0, shop->think_ms * 1000), deed_send_later, deed);
    if (random_chance(random, shop->twice)) {
        deed->replays++;
        fleet_wake(shop->fleet, random_between(random, 0, shop->think_ms * 1000), deed_send_later, deed);
    }
}

static void begin_place(struct shopper *shopper)
{
    struct shop *shop = shopper->shop;
    struct random *random = fleet_random(shop->fleet);
    struct deed *deed = deed_new(shopper, DEED_PLACE, 0);
    unsigned lines = (unsigned)random_between(random, 1, shop->product_count < 4 ? shop->product_count : 4);
    unsigned first = (unsigned)random_below(random, shop->product_count);
    int len = snprintf(deed->json, sizeof(deed->json), "{\"user\":\"user-%u\",\"hold_seconds\":%lld,\"items\":[", shopper->number,
                       (long long)random_tailed(random, 2, 4));
    for (unsigned i = 0; i < lines; i++)
        len += snprintf(deed->json + len, sizeof(deed->json) - (size_t)len, "%s{\"product_id\":%lld,\"quantity\":%lld}", i ? "," : "",
                        (long long)shop->product_ids[(first + i) % shop->product_count], (long long)random_between(random, 1, 3));
    snprintf(deed->json + len, sizeof(deed->json) - (size_t)len, "]}");
    deed_begin(deed);
}

static void begin_pay(struct shopper *shopper)
{
    struct random *random = fleet_random(shopper->shop->fleet);
    struct deed *deed = deed_new(shopper, DEED_PAY, 0);
    const char *token = random_chance(random, 850) ? "tok_ok" : random_chance(random, 500) ? "tok_declined" : "tok_insufficient_funds";
    snprintf(deed->json, sizeof(deed->json), "{\"order_id\":%lld,\"capture\":\"%s\",\"method\":{\"token\":\"%s\"}}", (long long)shopper->order_id,
             shopper->path == PATH_AUTHORIZE ? "manual" : "automatic", token);
    deed_begin(deed);
}

static void begin_adjust(struct shopper *shopper)
{
    struct shop *shop = shopper->shop;
    struct random *random = fleet_random(shop->fleet);
    struct deed *deed = deed_new(shopper, DEED_ADJUST, shop->product_ids[random_below(random, shop->product_count)]);
    do
        deed->amount = random_between(random, -5, 15);
    while (deed->amount == 0);
    snprintf(deed->json, sizeof(deed->json), "{\"delta\":%lld,\"reason\":\"count\"}", (long long)deed->amount);
    deed_begin(deed);
}

/* Products without ids: one that was made twice would be two. Each is named by its deed and its line. */
static void begin_import(struct shopper *shopper)
{
    struct random *random = fleet_random(shopper->shop->fleet);
    struct deed *deed = deed_new(shopper, DEED_IMPORT, 0);
    int len = 0;
    deed->amount = random_between(random, 1, 4);
    for (int64_t line = 0; line < deed->amount; line++)
        len += snprintf(deed->json + len, sizeof(deed->json) - (size_t)len, "{\"name\":\"%s.%lld\",\"price\":1,\"stock\":%d}\n", deed->key,
                        (long long)line, IMPORTED_UNITS);
    deed_begin(deed);
}

static void begin_refund(struct shopper *shopper)
{
    struct random *random = fleet_random(shopper->shop->fleet);
    struct deed *deed = deed_new(shopper, DEED_REFUND, shopper->payment_id);
    if (random_chance(random, 500)) {
        deed->amount = random_between(random, 1, 300);
        snprintf(deed->json, sizeof(deed->json), "{\"amount\":%lld.%02lld}", (long long)deed->amount / 100, (long long)deed->amount % 100);
    }
    deed_begin(deed);
}

/* ---- the shopper ---- */

static void shopper_over(struct shopper *shopper)
{
    if (shopper->over)
        return;
    shopper->over = true;
    shopper->shop->closed++;
}

static void after_place(struct shopper *shopper, const struct deed *decided)
{
    if (decided->status != 201) {
        shopper_over(shopper);
        return;
    }
    shopper->order_id = decided->made_id;
    if (shopper->path == PATH_LEAVE) {
        shopper_over(shopper);
        return;
    }
    if (shopper->path == PATH_CANCEL || shopper->path == PATH_RACE)
        deed_begin(deed_new(shopper, DEED_CANCEL, shopper->order_id));
    if (shopper->path != PATH_CANCEL)
        begin_pay(shopper);
}

static void after_pay(struct shopper *shopper, const struct deed *decided)
{
    shopper->payment_id = decided->made_id;
    if (shopper->payment_id == 0 || shopper->path == PATH_RACE || shopper->after == AFTER_LEAVE) {
        shopper_over(shopper);
        return;
    }
    if (shopper->after == AFTER_FULFIL)
        deed_begin(deed_new(shopper, DEED_FULFIL, shopper->order_id));
    else if (shopper->after == AFTER_CANCEL)
        deed_begin(deed_new(shopper, DEED_CANCEL, shopper->order_id));
    else if (shopper->after == AFTER_REFUND)
        begin_refund(shopper);
    else
        deed_begin(deed_new(shopper, shopper->after == AFTER_CAPTURE ? DEED_CAPTURE : DEED_VOID, shopper->payment_id));
}

/* ${decided} was decided for the first time. */
static void shopper_go_on(struct shopper *shopper, const struct deed *decided)
{
    if (decided->type == DEED_PLACE)
        after_place(shopper, decided);
    else if (decided->type == DEED_PAY)
        after_pay(shopper, decided);
    else
        shopper_over(shopper);
}

static enum path pick_path(struct random *random)
{
    static const struct {
        enum path path;
        unsigned share;
    } shares[] = {{PATH_PAY, 450},       {PATH_LEAVE, 150}, {PATH_CANCEL, 100}, {PATH_RACE, 100},
                  {PATH_AUTHORIZE, 150}, {PATH_ADJUST, 40}, {PATH_IMPORT, 10}};
    unsigned at = (unsigned)random_below(random, 1000);
    for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
        if (at < shares[i].share)
            return shares[i].path;
        at -= shares[i].share;
    }
    return PATH_PAY;
}

static void shopper_come(void *cookie)
{
    struct shop *shop = cookie;
    struct random *random = fleet_random(shop->fleet);
    struct shopper *shopper = &shop->shoppers[shop->begun];
    *shopper = (struct shopper){.shop = shop, .number = shop->begun++, .path = pick_path(random)};
    if (shopper->path == PATH_AUTHORIZE)
        shopper->after = random_chance(random, 600) ? AFTER_CAPTURE : random_chance(random, 500) ? AFTER_VOID : AFTER_CANCEL;
    else
        shopper->after = random_chance(random, 500) ? AFTER_FULFIL : (enum after)random_below(random, AFTER_CAPTURE);
    if (shopper->path == PATH_ADJUST)
        begin_adjust(shopper);
    else if (shopper->path == PATH_IMPORT)
        begin_import(shopper);
    else
        begin_place(shopper);
}

/* ---- the shop ---- */

static void put_product(void *cookie)
{
    const struct offer *offer = cookie;
    struct shop *shop = offer->shop;
    struct arena *arena = arena_new();
    int64_t price = random_between(fleet_random(shop->fleet), 1, 5000);
    struct call *call =
        asking_product(arena, fleet_topology(shop->fleet), shop->product_ids[offer->product], price, shop->stock[offer->product]);
    CHECK(item_int(item_at(fleet_do(shop->fleet, call, arena), 0)) == CODE_OK);
    arena_free(arena);
}

void shop_open(struct shop *shop, struct fleet *fleet, unsigned shoppers, int64_t every_ms)
{
    struct random *random = fleet_random(fleet);
    *shop = (struct shop){.fleet = fleet, .shopper_count = shoppers, .twice = 60, .again = 120, .think_ms = every_ms * 20};
    shop->shoppers = calloc(shoppers, sizeof(*shop->shoppers));
    CHECK(shop->shoppers);
    shop->product_count = (unsigned)random_between(random, 2, PRODUCTS_MAX);
    int64_t demand = (int64_t)shoppers * 5 / shop->product_count + 2;
    for (unsigned i = 0; i < shop->product_count; i++) {
        shop->product_ids[i] = 1000 + i * 7;
        shop->stock[i] = random_between(random, 1, demand);
        shop->offers[i] = (struct offer){shop, i};
        if (i > 1 && random_chance(random, 200))
            fleet_wake(fleet, random_between(random, 0, (int64_t)shoppers * every_ms * 1000), put_product, &shop->offers[i]);
        else
            put_product(&shop->offers[i]);
    }
    for (unsigned i = 0; i < shoppers; i++)
        fleet_wake(fleet, (int64_t)i * every_ms * 1000 + random_between(random, 0, every_ms * 1000), shopper_come, shop);
}

bool shop_done(const struct shop *shop)
{
    if (shop->closed < shop->shopper_count)
        return false;
    for (unsigned i = 0; i < shop->shopper_count; i++)
        for (unsigned n = 0; n < shop->shoppers[i].deed_count; n++)
            if (shop->shoppers[i].deeds[n].under_way || shop->shoppers[i].deeds[n].status == 0)
                return false;
    return true;
}

void shop_repeat(struct shop *shop, unsigned permille, int64_t ms)
{
    struct random *random = fleet_random(shop->fleet);
    for (unsigned i = 0; i < shop->shopper_count; i++)
        for (unsigned n = 0; n < shop->shoppers[i].deed_count; n++)
            if (shop->shoppers[i].deeds[n].stored && random_chance(random, permille))
                fleet_wake(shop->fleet, random_between(random, 0, ms * 1000), deed_send_later, &shop->shoppers[i].deeds[n]);
}

void shop_close(struct shop *shop)
{
    free(shop->shoppers);
    shop->shoppers = NULL;
}
