#include <stdlib.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "loop.h"

#include "errand_line.h"

#include "writeback_port.h"

/* One shard's part: its buffer, who waits for room in it, and whether its flush runs. */
struct lane {
    struct writeback_port *port;
    struct writeback_buffer *buffer;
    struct errand_line waiting;
    bool flushing;
};

struct writeback_port {
    struct service_thread *thread;
    struct writeback *writeback;
    struct errand_line done;
    struct loop_timer *turn; /* the next turn: completes errands */
    struct loop_timer *late; /* when those that wait are looked at */
    struct lane lanes[SHARDS_MAX];
};

#define LATE_STEP_MS 50

static void complete(struct writeback_port *port, struct errand *errand, bool taken)
{
    ((struct writeback_errand *)errand)->taken = taken;
    if (!taken)
        writeback_figures(port->writeback)->refused++;
    errand_line_add(&port->done, errand);
    loop_timer_set(port->turn, 0);
}

static void turn_rang(void *cookie)
{
    struct writeback_port *port = cookie;
    struct errand_line done;
    errand_line_move(&done, &port->done);
    for (struct errand *errand; (errand = errand_line_take(&done));)
        errand->done(errand);
}

/* ---- flushes ---- */

static void lane_flush(struct lane *lane, int64_t wait_ms);

/* Those who waited come before those who come now. */
static void admit(struct lane *lane)
{
    struct writeback_port *port = lane->port;
    while (lane->waiting.first) {
        const struct writeback_errand *errand = (const struct writeback_errand *)lane->waiting.first;
        if (!writeback_put(lane->buffer, errand->id, errand->change, errand->request_id))
            return;
        writeback_figures(port->writeback)->waiting--;
        complete(port, errand_line_take(&lane->waiting), true);
    }
}

static void got_end(void *cookie, struct flow *flow)
{
    struct lane *lane = cookie;
    const struct product_settings *settings = lane->port->thread->world->settings;
    bool failed = writeback_flush_failed(flow);
    lane->flushing = false;
    admit(lane);
    if (!writeback_is_empty(lane->buffer))
        lane_flush(lane, failed && settings->writeback_ms < WRITEBACK_RETRY_MS ? WRITEBACK_RETRY_MS : settings->writeback_ms);
}

static void lane_flush(struct lane *lane, int64_t wait_ms)
{
    struct service_thread *thread = lane->port->thread;
    struct arena *arena = arena_new();
    struct flow *flush = flow_new(arena, &WRITEBACK_FLUSH_FLOW, thread->world, NULL);
    writeback_flush_init(flush, lane->buffer, wait_ms);
    lane->flushing = true;
    engine_start(thread->engine, flush, 0, NULL, got_end, lane);
    arena_free(arena); /* the engine holds it */
}

/* ---- the port ---- */

static void late_rang(void *cookie)
{
    struct writeback_port *port = cookie;
    bool any = false;
    for (unsigned i = 0; i < port->thread->world->topology->shard_count; i++) {
        struct errand_line *waiting = &port->lanes[i].waiting;
        while (waiting->first && ((struct writeback_errand *)waiting->first)->due_us <= clock_us()) {
            writeback_figures(port->writeback)->waiting--;
            complete(port, errand_line_take(waiting), false);
        }
        any = any || waiting->first;
    }
    if (any)
        loop_timer_set(port->late, LATE_STEP_MS);
}

static struct lane *lane_of(struct writeback_port *port, int64_t id)
{
    const struct topology *topology = port->thread->world->topology;
    return &port->lanes[topology->owner[topology_partition_of_id(topology, id)]];
}

void writeback_port_send(void *cookie, struct errand *base)
{
    struct writeback_port *port = cookie;
    struct writeback_errand *errand = (struct writeback_errand *)base;
    const struct product_settings *settings = port->thread->world->settings;
    struct lane *lane = lane_of(port, errand->id);
    if (base->withheld) {
        complete(port, base, false);
    } else if (lane->waiting.first || !writeback_put(lane->buffer, errand->id, errand->change, errand->request_id)) {
        errand->due_us = clock_us() + WRITEBACK_WAIT_MS * 1000;
        errand_line_add(&lane->waiting, base);
        writeback_figures(port->writeback)->waiting++;
        loop_timer_set(port->late, LATE_STEP_MS);
    } else {
        complete(port, base, true);
        if (!lane->flushing)
            lane_flush(lane, settings->writeback_ms);
    }
}

struct writeback_port *writeback_port_new(struct service_thread *thread)
{
    const struct product_settings *settings = thread->world->settings;
    const struct topology *topology = thread->world->topology;
    struct writeback_port *port = calloc(1, sizeof(*port));
    if (port == NULL)
        return NULL;
    port->thread = thread;
    errand_line_init(&port->done);
    port->writeback = writeback_new(topology, (size_t)settings->writeback_mb << 20);
    port->turn = loop_timer_new(thread->loop, turn_rang, port);
    port->late = loop_timer_new(thread->loop, late_rang, port);
    if (port->writeback == NULL || port->turn == NULL || port->late == NULL) {
        writeback_port_free(port);
        return NULL;
    }
    for (unsigned i = 0; i < topology->shard_count; i++)
        errand_line_init(&port->lanes[i].waiting);
    for (unsigned p = 0; p < topology->partitions; p++) { /* some id of each shard */
        struct lane *lane = &port->lanes[topology->owner[p]];
        lane->port = port;
        lane->buffer = writeback_buffer_of(port->writeback, p);
    }
    return port;
}

struct writeback_figures *writeback_port_figures(const struct writeback_port *port)
{
    return writeback_figures(port->writeback);
}

void writeback_port_abandon(const struct writeback_port *port)
{
    uint64_t products = writeback_port_figures(port)->products;
    if (products > 0)
        log_error("changes of %llu products that were answered 202 are lost: their shards did not take them in time", (unsigned long long)products);
}

void writeback_port_free(struct writeback_port *port)
{
    if (port == NULL)
        return;
    writeback_free(port->writeback);
    loop_timer_free(port->turn);
    loop_timer_free(port->late);
    free(port);
}
