#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "loop.h"

#include "duty.h"
#include "functions.h"
#include "settle.h"

#include "sweep.h"

struct sweep {
    struct flow flow;
    const struct sweep_kind *kind;
    unsigned shard;
    unsigned partition; /* where it begins; pruned, if it is this shard's */
    struct view worker;
    int64_t products[SWEEP_AT_ONCE]; /* named and not begun yet, the next one last */
    size_t product_count;
    bool granted; /* this worker has the lease */
    bool full;    /* as much was named or pruned as can be at once: there may be more */
};

enum { TAG_SWEEP, TAG_PRUNE };
enum { CHILD_DUTY, CHILD_PRODUCT };

static void start(struct flow *flow)
{
    struct sweep *sweep = (struct sweep *)flow;
    struct call *call = call_function(flow->arena, &FN_SWEEP, 0);
    call->shard = (int)sweep->shard;
    call_keyf(call, "souk:lease:%s", sweep->kind->name);
    call_arg(call, view_of(sweep->kind->name));
    call_arg(call, sweep->worker);
    call_arg_int(call, SWEEP_LEASE_MS);
    call_arg_int(call, SWEEP_AT_ONCE);
    call_arg(call, topology_partitions_of(flow->world->topology, sweep->shard, sweep->partition, flow->arena));
    flow_call(flow, call, TAG_SWEEP, 0);
}

static void note_count(struct sweep *sweep, size_t count)
{
    sweep->full |= count >= SWEEP_AT_ONCE;
}

/* A duty for each id of [id p id p …]. */
static void spawn_duties(struct sweep *sweep, const struct item *named)
{
    for (size_t i = 0; i + 1 < named->count; i += 2)
        flow_spawn(&sweep->flow, sweep->kind->child(&sweep->flow, item_int(item_at(named, i))), CHILD_DUTY, 0);
}

static void spawn_product(struct sweep *sweep)
{
    if (sweep->product_count == 0)
        return;
    int64_t product = sweep->products[--sweep->product_count];
    flow_spawn_joined(&sweep->flow, sweep->kind->product_child(&sweep->flow, product), CHILD_PRODUCT, 0, product);
}

/* Products are settled one after the other: each asks about more than a hundred holds at once, and clients' calls stand in the same line. */
static void spawn_products(struct sweep *sweep, const struct item *named)
{
    for (size_t i = 0; sweep->kind->product_child && i + 1 < named->count && sweep->product_count < SWEEP_AT_ONCE; i += 2)
        sweep->products[sweep->product_count++] = item_int(item_at(named, i));
    spawn_product(sweep);
}

static void prune(struct sweep *sweep)
{
    unsigned partition = sweep->partition;
    if (!sweep->kind->prunes || sweep->flow.world->topology->owner[partition] != sweep->shard)
        return;
    struct call *call = call_function(sweep->flow.arena, &FN_PRUNE, partition);
    call_keyf(call, "orders:{%u}", partition);
    call_arg_int(call, partition);
    call_arg_int(call, SWEEP_AT_ONCE);
    flow_call(&sweep->flow, call, TAG_PRUNE, 0);
}

static void end_when_quiet(struct sweep *sweep)
{
    if (sweep->flow.owed == 0)
        flow_end(&sweep->flow);
}

static void got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct sweep *sweep = (struct sweep *)flow;
    if (call->tag == TAG_PRUNE && reply->kind == REPLY_OK) {
        note_count(sweep, (size_t)reply_int(reply, 0));
    } else if (reply->kind == REPLY_OK && reply_int(reply, 0)) {
        sweep->granted = true;
        note_count(sweep, reply_item(reply, 2)->count / 2);
        note_count(sweep, reply_item(reply, 3)->count / 2);
        spawn_duties(sweep, reply_item(reply, 2));
        spawn_products(sweep, reply_item(reply, 3));
        prune(sweep);
    }
    end_when_quiet(sweep);
}

static void got_child(struct flow *flow, struct flow *child)
{
    struct sweep *sweep = (struct sweep *)flow;
    if (child->tag == CHILD_PRODUCT)
        spawn_product(sweep);
    end_when_quiet(sweep);
}

static const struct flow_type SWEEP = {.name = "sweep", .size = sizeof(struct sweep), .start = start, .got_reply = got_reply, .got_child = got_child};

struct flow *sweep_new(struct arena *arena, const struct world *world, const struct sweep_kind *kind, unsigned shard, struct view worker,
                       unsigned partition)
{
    struct flow *flow = flow_new(arena, &SWEEP, world, NULL);
    struct sweep *sweep = (struct sweep *)flow;
    sweep->kind = kind;
    sweep->shard = shard;
    sweep->worker = worker;
    sweep->partition = partition;
    return flow;
}

const struct sweep_kind SWEEP_ORDERS = {.name = "order", .child = duty_new, .product_child = settle_new, .prunes = true};

/* ---- the timer behind it ---- */

struct sweeper {
    struct service_thread *thread;
    const struct sweep_kind *kind;
    struct census *census; /* NULL: nobody counts */
    struct loop_timer *timer;
    char worker[128]; /* who holds the lease: host, process, time of start */
    unsigned partition; /* another one each time */
    bool busy[SHARDS_MAX]; /* the last sweep of that shard has not ended */
    int left[SHARDS_MAX];  /* sweeps that may follow at once */
    struct sweep_seat {
        struct sweeper *sweeper;
        unsigned shard;
    } seats[SHARDS_MAX];
};

/* Whoever has the lease of a shard shows how much there is on it, and nobody else. */
static void note_lease(struct sweeper *sweeper, unsigned shard, bool held)
{
    if (sweeper->census)
        census_lease(sweeper->census, shard, held);
}

static void sweep_shard(struct sweeper *sweeper, unsigned shard);

static void got_end(void *cookie, struct flow *flow)
{
    const struct sweep *sweep = (const struct sweep *)flow;
    struct sweep_seat *seat = cookie;
    seat->sweeper->busy[seat->shard] = false;
    note_lease(seat->sweeper, seat->shard, sweep->granted);
    if (sweep->full && seat->sweeper->left[seat->shard]-- > 0)
        sweep_shard(seat->sweeper, seat->shard);
}

static void sweep_shard(struct sweeper *sweeper, unsigned shard)
{
    if (sweeper->busy[shard])
        return;
    if (service_draining(sweeper->thread) || !store_shard_ready(sweeper->thread->store, shard)) {
        note_lease(sweeper, shard, false); /* another worker takes it */
        return;
    }
    struct arena *arena = arena_new();
    struct flow *flow = sweep_new(arena, sweeper->thread->world, sweeper->kind, shard, view_of(sweeper->worker), sweeper->partition);
    sweeper->busy[shard] = true;
    sweeper->seats[shard] = (struct sweep_seat){sweeper, shard};
    engine_start(sweeper->thread->engine, flow, 0, NULL, got_end, &sweeper->seats[shard]);
    arena_free(arena);
}

static void got_timer(void *cookie)
{
    struct sweeper *sweeper = cookie;
    const struct topology *topology = sweeper->thread->world->topology;
    sweeper->partition = (sweeper->partition + 1) % topology->partitions;
    for (unsigned shard = 0; shard < topology->shard_count; shard++) {
        sweeper->left[shard] = SWEEPS_IN_A_ROW - 1;
        sweep_shard(sweeper, shard);
    }
    if (!service_draining(sweeper->thread))
        loop_timer_set(sweeper->timer, SWEEP_MS);
}

struct sweeper *sweep_start(struct service_thread *thread, const struct sweep_kind *kind)
{
    struct sweeper *sweeper = calloc(1, sizeof(*sweeper));
    if (sweeper == NULL || (sweeper->timer = loop_timer_new(thread->loop, got_timer, sweeper)) == NULL) {
        log_error("cannot start sweeping: out of memory");
        free(sweeper);
        return NULL;
    }
    char host[HOST_NAME_MAX + 1] = "";
    gethostname(host, sizeof(host) - 1);
    snprintf(sweeper->worker, sizeof(sweeper->worker), "%s.%d.%lld", host, (int)getpid(), (long long)clock_us());
    sweeper->thread = thread;
    sweeper->kind = kind;
    loop_timer_set(sweeper->timer, SWEEP_MS);
    return sweeper;
}

void sweep_tell(struct sweeper *sweeper, struct census *census)
{
    sweeper->census = census;
}

void sweep_stop(struct sweeper *sweeper)
{
    if (sweeper == NULL)
        return;
    loop_timer_free(sweeper->timer);
    free(sweeper);
}
