#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

#include "functions.h"

#include "census.h"

/* One call counts so many partitions, about half a millisecond of the shard's time; others are answered between two. */
#define PARTITIONS_AT_ONCE 8

static const char *const STATES[CENSUS_STATES] = {"reserved", "paid", "fulfilled", "cancelled", "expired"};
static const char *const PAYMENT_STATUSES[CENSUS_PAYMENT_STATUSES] = {"none",     "pending",    "authorized", "paid", "partially_refunded",
                                                                       "refunded", "refund_due"};
static const char *const PAYMENTS[CENSUS_PAYMENTS] = {"processing", "succeeded", "failed",             "unknown", "authorized",
                                                      "voided",     "expired",   "partially_refunded", "refunded"};
static const char *const DUTIES[CENSUS_DUTIES] = {"order", "payment", "hold"};
static const char *const AGES[] = {"10s", "1m", "10m"};

struct census {
    struct service_thread *thread;
    int64_t period_us;
    int64_t due_us[SHARDS_MAX]; /* when a shard is to be counted next */
    bool busy[SHARDS_MAX];
    struct census_figures figures;
};

/* ---- one shard, as a flow ---- */

struct count {
    struct flow flow;
    struct census *census;
    unsigned shard, next; /* the first partition that is not counted yet */
    struct census_shard found;
};

/* The next partitions of the shard, "3,7,9"; empty when all are counted. */
static struct view next_partitions(struct count *count)
{
    const struct topology *topology = count->flow.world->topology;
    struct buffer list = {.arena = count->flow.arena};
    unsigned taken = 0;

    for (; count->next < topology->partitions && taken < PARTITIONS_AT_ONCE; count->next++) {
        if (topology->owner[count->next] != count->shard)
            continue;
        buffer_add(&list, ",", taken++ > 0);
        buffer_add_int(&list, count->next);
    }
    return buffer_view(&list);
}

static void end(struct count *count)
{
    count->found.at_ms = (uint64_t)clock_wall_ms();
    count->census->figures.shards[count->shard] = count->found;
    flow_end(&count->flow);
}

static void ask_on(struct count *count)
{
    struct view partitions = next_partitions(count);
    struct call *call;

    if (partitions.len == 0) {
        end(count);
        return;
    }
    call = call_function(count->flow.arena, &FN_CENSUS, 0);
    call->shard = (int)count->shard;
    call_key(call, VIEW("souk:shard"));
    call_arg(call, partitions);
    flow_call(&count->flow, call, 0, 0);
}

static void start(struct flow *flow)
{
    ask_on((struct count *)flow);
}

/* The place of a name; -1 for one that a newer version has written. */
static int place_of(struct view name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (view_equal(name, view_of(names[i])))
            return i;
    return -1;
}

static void take_orders(struct count *count, const struct item *list)
{
    for (size_t i = 0; i + 2 < list->count; i += 3) {
        int state = place_of(item_text(item_at(list, i)), STATES, CENSUS_STATES);
        int status = place_of(item_text(item_at(list, i + 1)), PAYMENT_STATUSES, CENSUS_PAYMENT_STATUSES);
        if (state >= 0 && status >= 0)
            count->found.orders[state][status] += (uint64_t)item_int(item_at(list, i + 2));
    }
}

static void take_payments(struct count *count, const struct item *list)
{
    for (size_t i = 0; i + 1 < list->count; i += 2) {
        int status = place_of(item_text(item_at(list, i)), PAYMENTS, CENSUS_PAYMENTS);
        if (status >= 0)
            count->found.payments[status] += (uint64_t)item_int(item_at(list, i + 1));
    }
}

static void take_duties(struct census_duties *duties, const struct item *list)
{
    uint64_t oldest_ms = (uint64_t)item_int(item_at(list, 5));

    duties->listed += (uint64_t)item_int(item_at(list, 0));
    duties->due += (uint64_t)item_int(item_at(list, 1));
    for (size_t i = 0; i < 3; i++)
        duties->older[i] += (uint64_t)item_int(item_at(list, 2 + i));
    if (oldest_ms > duties->oldest_ms)
        duties->oldest_ms = oldest_ms;
}

/* A shard that does not answer keeps the numbers that it had, with their time, as long as we hold its lease. */
static void got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct count *count = (struct count *)flow;

    if (reply->kind != REPLY_OK) {
        flow_end(flow);
        return;
    }
    count->found.products += (uint64_t)reply_int(reply, 1);
    count->found.refund_due += (uint64_t)reply_int(reply, 2);
    take_orders(count, reply_item(reply, 3));
    take_payments(count, reply_item(reply, 4));
    for (size_t i = 0; i < CENSUS_DUTIES; i++)
        take_duties(&count->found.duties[i], reply_item(reply, 5 + i));
    ask_on(count);
}

static const struct flow_type CENSUS = {.name = "census", .size = sizeof(struct count), .start = start, .got_reply = got_reply};

/* ---- whose turn it is ---- */

struct census *census_new(struct service_thread *thread, int period_s)
{
    struct census *census = calloc(1, sizeof(*census));

    if (census == NULL) {
        log_error("cannot start counting: out of memory");
        return NULL;
    }
    census->thread = thread;
    census->period_us = (int64_t)period_s * 1000000;
    return census;
}

void census_free(struct census *census)
{
    free(census);
}

static void got_end(void *cookie, struct flow *flow)
{
    const struct count *count = (const struct count *)flow;

    count->census->busy[count->shard] = false;
}

static void begin(struct census *census, unsigned shard)
{
    struct arena *arena = arena_new();
    struct flow *flow = flow_new(arena, &CENSUS, census->thread->world, NULL);
    struct count *count = (struct count *)flow;

    count->census = census;
    count->shard = shard;
    census->busy[shard] = true;
    engine_start(census->thread->engine, flow, 0, NULL, got_end, NULL);
    arena_free(arena);
}

void census_lease(struct census *census, unsigned shard, bool held)
{
    int64_t now = clock_us();

    if (!held) {
        if (census->figures.shards[shard].at_ms)
            memset(&census->figures.shards[shard], 0, sizeof(census->figures.shards[shard]));
        census->due_us[shard] = 0; /* nothing is shown any more: who gets it again counts at once */
        return;
    }
    if (census->period_us == 0 || census->busy[shard] || now < census->due_us[shard] || service_draining(census->thread))
        return;
    census->due_us[shard] = now + census->period_us;
    begin(census, shard);
}

/* ---- figures ---- */

const struct census_figures *census_figures(const struct census *census)
{
    return &census->figures;
}

/* The n-th shard that was counted, from ${from} on; NULL: there is none. ${name}: what it is called. */
static const struct census_shard *counted(const struct metric_page *page, unsigned *shard, const char **name)
{
    const struct topology *topology = page->cookie;
    const struct census_figures *figures = page->figures;

    for (; *shard < topology->shard_count; ++*shard)
        if (figures->shards[*shard].at_ms) {
            *name = topology->shards[*shard].name;
            return &figures->shards[*shard];
        }
    return NULL;
}

#define EACH_COUNTED(page, found, shard, name) (unsigned shard = 0; (found = counted(page, &shard, &name)); shard++)

static void read_time(struct metric_page *page)
{
    const struct census_shard *found;
    const char *name;

    for EACH_COUNTED (page, found, shard, name)
        metric_add(page, (double)found->at_ms / 1000, name);
}

static void read_number(struct metric_page *page)
{
    const struct census_shard *found;
    const char *name;

    for EACH_COUNTED (page, found, shard, name)
        metric_add(page, (double)metric_number_at(found, page->row->offset), name);
}

static void read_orders(struct metric_page *page)
{
    const struct census_shard *found;
    const char *name;

    for EACH_COUNTED (page, found, shard, name)
        for (int s = 0; s < CENSUS_STATES; s++)
            for (int t = 0; t < CENSUS_PAYMENT_STATUSES; t++)
                metric_add(page, (double)found->orders[s][t], name, STATES[s], PAYMENT_STATUSES[t]);
}

static void read_payments(struct metric_page *page)
{
    const struct census_shard *found;
    const char *name;

    for EACH_COUNTED (page, found, shard, name)
        for (int s = 0; s < CENSUS_PAYMENTS; s++)
            metric_add(page, (double)found->payments[s], name, PAYMENTS[s]);
}

static void read_duties(struct metric_page *page)
{
    const struct census_shard *found;
    const char *name;

    for EACH_COUNTED (page, found, shard, name)
        for (int d = 0; d < CENSUS_DUTIES; d++)
            metric_add(page, (double)metric_number_at(&found->duties[d], page->row->offset), name, DUTIES[d]);
}

static void read_older(struct metric_page *page)
{
    const struct census_shard *found;
    const char *name;

    for EACH_COUNTED (page, found, shard, name)
        for (int d = 0; d < CENSUS_DUTIES; d++)
            for (int a = 0; a < 3; a++)
                metric_add(page, (double)found->duties[d].older[a], name, DUTIES[d], AGES[a]);
}

static void read_oldest(struct metric_page *page)
{
    const struct census_shard *found;
    const char *name;

    for EACH_COUNTED (page, found, shard, name)
        for (int d = 0; d < CENSUS_DUTIES; d++)
            metric_add(page, (double)found->duties[d].oldest_ms / 1000, name, DUTIES[d]);
}

#define SHARD(member) offsetof(struct census_shard, member)
#define OWED(member) offsetof(struct census_duties, member)
const struct metric_row CENSUS_METRICS[] = {
    {"souk_census_timestamp_seconds", METRIC_GAUGE, "shard",
     "When this worker has counted what follows, in seconds since 1970. One worker counts a shard; the others show nothing of it.", read_time, 0},
    {"souk_products", METRIC_GAUGE, "shard", "Products.", read_number, SHARD(products)},
    {"souk_orders", METRIC_GAUGE, "shard,state,payment_status", "Orders.", read_orders, 0},
    {"souk_payments", METRIC_GAUGE, "shard,status", "Payments.", read_payments, 0},
    {"souk_payments_refund_due", METRIC_GAUGE, "shard",
     "Payments of orders that ended after the money was taken, and that must be given back.", read_number, SHARD(refund_due)},
    {"souk_duties", METRIC_GAUGE, "shard,kind",
     "What must be done at some time: for an order (expire, confirm, release, consume), for a payment (reconcile, void, refund), a look at a "
     "product's holds.", read_duties, OWED(listed)},
    {"souk_duties_due", METRIC_GAUGE, "shard,kind", "Of these, what is due; at most 64 of a partition are looked at.", read_duties, OWED(due)},
    {"souk_duties_older", METRIC_GAUGE, "shard,kind,age",
     "Of these, what is due since more than 10 s, 1 minute, 10 minutes. A sweep is patient with holds: up to two minutes are usual.", read_older, 0},
    {"souk_duty_oldest_seconds", METRIC_GAUGE, "shard,kind", "For how long the oldest of these is due.", read_oldest, 0},
    {0},
};
