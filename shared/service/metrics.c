#include <stdlib.h>

#include "clock.h"

#include "metrics_internal.h"

/*
 * A thread's words, one after the other:
 *
 *   struct metrics · a struct shard_figures for each shard · struct near_figures · a struct near_lease for each shard · the program's own
 */

/* The place of a status among METRICS_STATUSES; 0 means that it is not among them. */
#define STATUS_ORDER(status) ORDER_##status,
enum { ORDER_NONE, STATUSES(STATUS_ORDER) ORDER_END };
#define STATUS_PLACE(status) [status - 100] = ORDER_##status,
static const uint8_t PLACES[500] = {STATUSES(STATUS_PLACE)};

static size_t place_of(int status)
{
    return status >= 100 && status < 600 ? PLACES[status - 100] : 0;
}

void metrics_request(struct metrics *metrics, size_t route, int status, int64_t took_us)
{
    metrics->routes[route].by_status[place_of(status)]++;
    metric_time(&metrics->routes[route].times, took_us);
}

void metrics_refused(struct metrics *metrics, int status)
{
    metrics->refused[place_of(status)]++;
}

/* ---- publishing ---- */

static unsigned shard_count(const struct service *service)
{
    return service->topology->shard_count;
}

size_t metrics_shard_at(unsigned shard)
{
    return FIGURES_WORDS(sizeof(struct metrics)) + shard * FIGURES_WORDS(sizeof(struct shard_figures));
}

size_t metrics_near_at(const struct service *service)
{
    return metrics_shard_at(shard_count(service));
}

size_t metrics_lease_at(const struct service *service, unsigned shard)
{
    return metrics_near_at(service) + FIGURES_WORDS(sizeof(struct near_figures)) + shard * FIGURES_WORDS(sizeof(struct near_lease));
}

size_t metrics_program_at(const struct service *service)
{
    return metrics_lease_at(service, shard_count(service));
}

bool metrics_open(struct worker_thread *thread)
{
    const struct service *service = thread->public.service;
    size_t words = metrics_program_at(service) + FIGURES_WORDS(service->program->figures_size);
    thread->words = calloc(words, sizeof(*thread->words));
    return thread->words != NULL;
}

void metrics_close(struct worker_thread *thread)
{
    free(thread->words);
}

static void publish_near(struct worker_thread *thread)
{
    const struct service *service = thread->public.service;
    const struct near_cache *near = store_near(thread->public.store);
    int64_t now = clock_us();
    if (near == NULL)
        return;
    struct near_figures figures = near_figures(near);
    figures_publish(&thread->words[metrics_near_at(service)], &figures, sizeof(figures));
    for (unsigned i = 0; i < shard_count(service); i++) {
        struct near_lease lease = {.leased = near_leased(near, i, now)};
        lease.staleness_us = lease.leased ? (uint64_t)near_staleness_us(near, i, now) : 0;
        figures_publish(&thread->words[metrics_lease_at(service, i)], &lease, sizeof(lease));
    }
}

void metrics_publish(struct worker_thread *thread)
{
    const struct service_program *program = thread->public.service->program;
    thread->metrics.inside = http_inside(thread->http);
    thread->metrics.connections = http_connections(thread->http);
    thread->metrics.flows = engine_running(thread->public.engine);
    figures_publish(thread->words, &thread->metrics, sizeof(thread->metrics));
    for (unsigned i = 0; i < shard_count(thread->public.service); i++) {
        struct shard_figures figures = store_shard_figures(thread->public.store, i);
        figures_publish(&thread->words[metrics_shard_at(i)], &figures, sizeof(figures));
    }
    publish_near(thread);
    const void *own = program->figures ? program->figures(&thread->public) : NULL;
    if (own)
        figures_publish(&thread->words[metrics_program_at(thread->public.service)], own, program->figures_size);
}
