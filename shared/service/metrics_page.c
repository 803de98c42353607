#include <stdio.h>

#include "metrics_internal.h"
#include "process.h"

/* The sums of what all threads have published, and for whom. */
struct sums {
    struct worker_thread *thread;
    struct service *service;
    struct metrics metrics;
    struct near_figures near;
    struct shard_figures shards[SHARDS_MAX];
};

static const struct sums *sums_of(const struct metric_page *page)
{
    return page->figures;
}

/* ---- the worker ---- */

static void read_build(struct metric_page *page)
{
    const struct service_program *program = sums_of(page)->service->program;
    metric_add(page, 1, program->name, SOUK_VERSION, program->libraries[0].name.at);
}

static void read_ready(struct metric_page *page)
{
    metric_add(page, service_missing(sums_of(page)->service) == NULL);
}

static void read_threads(struct metric_page *page)
{
    metric_add(page, sums_of(page)->service->settings.threads);
}

static void add_setting(void *page, const char *variable, int number)
{
    metric_add(page, number, variable);
}

static void read_settings(struct metric_page *page)
{
    service_numbers(sums_of(page)->service, add_setting, page);
}

static void read_inside_max(struct metric_page *page)
{
    const struct service_settings *settings = &sums_of(page)->service->settings;
    metric_add(page, (double)settings->inside_max * settings->threads);
}

static void read_connections_max(struct metric_page *page)
{
    const struct service_settings *settings = &sums_of(page)->service->settings;
    metric_add(page, (double)settings->connections_max * settings->threads);
}

/* Of each thread by itself: one that hangs must not hide behind others that do not. */
static void read_lag(struct metric_page *page)
{
    const struct service *service = sums_of(page)->service;
    for (int i = 0; i < service->settings.threads; i++) {
        struct metric_times lag = {.total_us = 0};
        char thread[16];
        snprintf(thread, sizeof(thread), "%d", i);
        figures_add(&service->threads[i].words[FIGURES_WORDS(offsetof(struct metrics, lag))], &lag, sizeof(lag));
        metric_add_times(page, &lag, thread);
    }
}

/* ---- requests ---- */

#define STATUS_TEXT(status) #status,
static const char *const STATUS_TEXTS[METRICS_STATUSES] = {"other", STATUSES(STATUS_TEXT)};

/* A fault of the worker is counted from 0 on, so that the first one is seen as a rise; what clients do appears when it happens. */
static bool is_shown(const char *status, uint64_t count)
{
    return count > 0 || *status == '5';
}

static void name_of_route(const struct sums *sums, size_t index, const char **method, const char **path)
{
    const struct service_program *program = sums->service->program;
    *method = index < program->route_count ? method_name(program->routes[index].method) : "";
    *path = index < program->route_count ? program->routes[index].path : "none";
}

/* The program's routes, then what is none's. Returns METRICS_ROUTES_MAX behind the last. */
static size_t next_route(const struct sums *sums, size_t index)
{
    return index + 1 == sums->service->program->route_count ? METRICS_NO_ROUTE : index + 1;
}

static void read_requests(struct metric_page *page)
{
    const struct sums *sums = sums_of(page);
    const char *method, *path;
    for (size_t r = 0; r < METRICS_ROUTES_MAX; r = next_route(sums, r)) {
        name_of_route(sums, r, &method, &path);
        for (size_t s = 0; s < METRICS_STATUSES; s++) {
            uint64_t count = sums->metrics.routes[r].by_status[s];
            if (is_shown(STATUS_TEXTS[s], count))
                metric_add(page, (double)count, method, path, STATUS_TEXTS[s]);
        }
    }
}

static void read_durations(struct metric_page *page)
{
    const struct sums *sums = sums_of(page);
    const char *method, *path;
    for (size_t r = 0; r < METRICS_ROUTES_MAX; r = next_route(sums, r)) {
        name_of_route(sums, r, &method, &path);
        metric_add_times(page, &sums->metrics.routes[r].times, method, path);
    }
}

static void read_refused(struct metric_page *page)
{
    for (size_t s = 0; s < METRICS_STATUSES; s++) {
        uint64_t count = sums_of(page)->metrics.refused[s];
        if (is_shown(STATUS_TEXTS[s], count))
            metric_add(page, (double)count, STATUS_TEXTS[s]);
    }
}

/* ---- callers ---- */

static void read_callers(struct metric_page *page)
{
    const struct sums *sums = sums_of(page);
    if (sums->service->keyring == NULL)
        return;
    metric_add(page, (double)sums->metrics.refused_unknown, "unknown");
    metric_add(page, (double)sums->metrics.refused_scope, "scope");
    metric_add(page, (double)sums->metrics.refused_rate, "rate");
}

static void read_tokens(struct metric_page *page)
{
    struct keyring *keyring = sums_of(page)->service->keyring;
    if (keyring)
        metric_add(page, keyring_is_current(keyring));
}

/* ---- shards ---- */

static const char *shard_name(const struct sums *sums, unsigned shard)
{
    return sums->service->topology->shards[shard].name;
}

static void read_shard_number(struct metric_page *page)
{
    const struct sums *sums = sums_of(page);
    for (unsigned i = 0; i < sums->service->topology->shard_count; i++)
        metric_add(page, (double)metric_number_at(&sums->shards[i], page->row->offset), shard_name(sums, i));
}

static void read_shard_times(struct metric_page *page)
{
    const struct sums *sums = sums_of(page);
    for (unsigned i = 0; i < sums->service->topology->shard_count; i++)
        metric_add_times(page, &sums->shards[i].times, shard_name(sums, i));
}

static void read_shard_errors(struct metric_page *page)
{
    const struct sums *sums = sums_of(page);
    for (unsigned i = 0; i < sums->service->topology->shard_count; i++)
        for (enum reply_fault fault = REPLY_NONE + 1; fault < REPLY_FAULTS; fault++)
            metric_add(page, (double)sums->shards[i].faults[fault], shard_name(sums, i), reply_fault_name(fault));
}

static void read_shard_ready(struct metric_page *page)
{
    const struct sums *sums = sums_of(page);
    for (unsigned i = 0; i < sums->service->topology->shard_count; i++)
        metric_add(page, sums->shards[i].ready == (uint64_t)sums->service->settings.threads, shard_name(sums, i));
}

/* Threads have connections of their own; the one that is worst off counts. */
static void read_shard_breaker(struct metric_page *page)
{
    const struct sums *sums = sums_of(page);
    for (unsigned shard = 0; shard < sums->service->topology->shard_count; shard++) {
        uint64_t worst = BREAKER_CLOSED;
        for (int i = 0; i < sums->service->settings.threads; i++) {
            struct shard_figures figures = {.breaker = 0};
            figures_add(&sums->service->threads[i].words[metrics_shard_at(shard)], &figures, sizeof(figures));
            worst = figures.breaker > worst ? figures.breaker : worst;
        }
        metric_add(page, (double)worst, shard_name(sums, shard));
    }
}

/* ---- what is kept near ---- */

static bool keeps(const struct sums *sums)
{
    return store_near(sums->thread->public.store) != NULL;
}

static void read_near_number(struct metric_page *page)
{
    if (keeps(sums_of(page)))
        metric_add(page, (double)metric_number_at(&sums_of(page)->near, page->row->offset));
}

static void read_near_max(struct metric_page *page)
{
    if (keeps(sums_of(page)))
        metric_add(page, (double)sums_of(page)->service->settings.cache_mb * 1024 * 1024);
}

static void read_staleness(struct metric_page *page)
{
    const struct sums *sums = sums_of(page);
    const struct service *service = sums->service;
    for (unsigned shard = 0; keeps(sums) && shard < service->topology->shard_count; shard++) {
        struct near_lease oldest = {.leased = 0};
        for (int i = 0; i < service->settings.threads; i++) {
            struct near_lease lease = {.leased = 0};
            figures_add(&service->threads[i].words[metrics_lease_at(service, shard)], &lease, sizeof(lease));
            if (lease.leased && lease.staleness_us >= oldest.staleness_us)
                oldest = lease;
        }
        if (oldest.leased)
            metric_add(page, (double)oldest.staleness_us / 1e6, shard_name(sums, shard));
    }
}

/* ---- the table ---- */

#define AT(member) offsetof(struct sums, member)
#define SHARD(member) offsetof(struct shard_figures, member)
#define NEAR(member) offsetof(struct near_figures, member)
static const struct metric_row WORKER_METRICS[] = {
    {"souk_build_info", METRIC_GAUGE, "program,version,library", "1; the labels say which program this is, and which function library it calls.",
     read_build, 0},
    {"souk_ready", METRIC_GAUGE, "", "1 when /readyz answers 200, else 0.", read_ready, 0},
    {"souk_threads", METRIC_GAUGE, "", "Threads of the worker, SOUK_THREADS.", read_threads, 0},
    {"souk_setting", METRIC_GAUGE, "name", "What the worker was told, of its settings that are whole numbers: SOUK_AUDIT_S and others.",
     read_settings, 0},
    {"souk_requests_total", METRIC_COUNTER, "method,route,status", "Requests that were answered; the pages for operators are not counted.",
     read_requests, 0},
    {"souk_request_duration_seconds", METRIC_HISTOGRAM, "method,route", "From a whole request to its answer.", read_durations, 0},
    {"souk_refused_by_gate_total", METRIC_COUNTER, "status",
     "Requests that were refused before they were whole or read: too large, too slow, or ambiguous.", read_refused, 0},
    {"souk_callers_refused_total", METRIC_COUNTER, "why",
     "Requests that were refused for who sent them: unknown (401), scope (403), rate (429). Not there while auth is off.", read_callers, 0},
    {"souk_tokens_current", METRIC_GAUGE, "",
     "1 when what the file of tokens says is in use, 0 when its last change was refused; not there while auth is off.", read_tokens, 0},
    {"souk_requests_inside", METRIC_GAUGE, "", "Requests under way.", metric_read_number, AT(metrics.inside)},
    {"souk_requests_inside_max", METRIC_GAUGE, "", "How many may be, of all threads together: SOUK_INSIDE_MAX.", read_inside_max, 0},
    {"souk_connections", METRIC_GAUGE, "", "Open connections of clients.", metric_read_number, AT(metrics.connections)},
    {"souk_connections_max", METRIC_GAUGE, "", "How many there may be, of all threads together: SOUK_HTTP_CONNECTIONS.", read_connections_max, 0},
    {"souk_flows_running", METRIC_GAUGE, "", "Flows under way: requests, duties, sweeps.", metric_read_number, AT(metrics.flows)},
    {"souk_loop_lag_seconds", METRIC_HISTOGRAM, "thread",
     "How much too late a timer rang, which is set again and again; so long everything else waits too.", read_lag, 0},
    {"souk_shard_ready", METRIC_GAUGE, "shard", "1 when every thread has a proved connection to the shard, which takes calls, else 0.",
     read_shard_ready, 0},
    {"souk_shard_breaker", METRIC_GAUGE, "shard",
     "0 while the shard takes calls; 1 while it is asked whether it is the right one; 2 while it is away or behind.", read_shard_breaker, 0},
    {"souk_shard_in_flight", METRIC_GAUGE, "shard", "Calls that were sent and not yet answered: the depth of the pipeline.", read_shard_number,
     SHARD(in_flight)},
    {"souk_shard_calls_total", METRIC_COUNTER, "shard", "Calls that were sent to the shard.", read_shard_number, SHARD(calls)},
    {"souk_shard_batches_total", METRIC_COUNTER, "shard", "Writes that carried them; calls divided by this are the calls of one write.",
     read_shard_number, SHARD(batches)},
    {"souk_shard_written_bytes_total", METRIC_COUNTER, "shard", "Bytes that were written to the shard.", read_shard_number, SHARD(bytes_out)},
    {"souk_shard_call_duration_seconds", METRIC_HISTOGRAM, "shard", "From the sending of a call to its answer.", read_shard_times, 0},
    {"souk_shard_errors_total", METRIC_COUNTER, "shard,kind",
     "Calls that were certainly not carried out (not_ready, behind, too_many, unwritten, declined), or of which that is not known (lost, no_answer, "
     "unconfirmed, unclear).",
     read_shard_errors, 0},
    {"souk_shard_repeated_total", METRIC_COUNTER, "shard", "Calls that were sent once more, since the connection broke and they had done nothing.",
     read_shard_number, SHARD(repeated)},
    {"souk_shard_reconnects_total", METRIC_COUNTER, "shard", "Attempts to connect after the first.", read_shard_number, SHARD(reconnects)},
    {"souk_near_hits_total", METRIC_COUNTER, "", "Reads answered from what the worker keeps.", read_near_number, NEAR(hits)},
    {"souk_near_misses_total", METRIC_COUNTER, "", "Reads of what was not kept.", read_near_number, NEAR(misses)},
    {"souk_near_joins_total", METRIC_COUNTER, "", "Reads that waited for another one of the same.", read_near_number, NEAR(joins)},
    {"souk_near_bypasses_total", METRIC_COUNTER, "", "Reads past what is kept, because the shard does not tell of changes.", read_near_number,
     NEAR(unleased)},
    {"souk_near_evictions_total", METRIC_COUNTER, "", "Kept answers that had to go for want of memory.", read_near_number, NEAR(evictions)},
    {"souk_near_invalidations_total", METRIC_COUNTER, "", "News of changes.", read_near_number, NEAR(invalidations)},
    {"souk_near_poisoned_total", METRIC_COUNTER, "", "Answers that were not kept, because their record changed while it was read.", read_near_number,
     NEAR(poisoned)},
    {"souk_near_losses_total", METRIC_COUNTER, "", "Times when all that rests on a shard had to go, because its connection broke.", read_near_number,
     NEAR(losses)},
    {"souk_near_bytes", METRIC_GAUGE, "", "Memory of what is kept.", read_near_number, NEAR(bytes)},
    {"souk_near_max_bytes", METRIC_GAUGE, "", "How much it may be: SOUK_CACHE_MB.", read_near_max, 0},
    {"souk_near_answers", METRIC_GAUGE, "", "Answers that are kept.", read_near_number, NEAR(answers)},
    {"souk_near_staleness_seconds", METRIC_GAUGE, "shard", "How old a kept answer of this shard could be now; not there while none is given.",
     read_staleness, 0},
    {0},
};

/* ---- the page ---- */

static struct sums *sum_up(struct worker_thread *thread, struct arena *arena)
{
    struct service *service = thread->public.service;
    struct sums *sums = ARENA_NEW(arena, struct sums);
    sums->thread = thread;
    sums->service = service;
    for (int i = 0; i < service->settings.threads; i++) {
        const atomic_uint_fast64_t *words = service->threads[i].words;
        figures_add(words, &sums->metrics, sizeof(sums->metrics));
        figures_add(&words[metrics_near_at(service)], &sums->near, sizeof(sums->near));
        for (unsigned shard = 0; shard < service->topology->shard_count; shard++)
            figures_add(&words[metrics_shard_at(shard)], &sums->shards[shard], sizeof(sums->shards[shard]));
    }
    return sums;
}

/* The program's own figures, as one block: its tables know where theirs begin. */
static const char *sum_up_program(const struct service *service, struct arena *arena)
{
    char *sum = arena_alloc(arena, service->program->figures_size);
    for (int i = 0; i < service->settings.threads; i++)
        figures_add(&service->threads[i].words[metrics_program_at(service)], sum, service->program->figures_size);
    return sum;
}

void metrics_page(struct worker_thread *thread, struct buffer *out)
{
    const struct service *service = thread->public.service;
    struct metric_page page = {.out = out, .cookie = service->topology};
    metrics_publish(thread);
    page.figures = sum_up(thread, out->arena);
    metric_page_add(&page, WORKER_METRICS);
    metric_page_add(&page, PROCESS_METRICS);
    if (service->program->metrics == NULL)
        return;
    const char *own = sum_up_program(service, out->arena);
    for (const struct metric_table *table = service->program->metrics; table->rows; table++) {
        page.figures = own + table->offset;
        metric_page_add(&page, table->rows);
    }
}

void metrics_print(const void *cookie)
{
    const struct service_program *program = cookie;
    metric_print(WORKER_METRICS);
    metric_print(PROCESS_METRICS);
    for (const struct metric_table *table = program->metrics; table && table->rows; table++)
        metric_print(table->rows);
}
