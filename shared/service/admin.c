#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

#include "store.h"

#include "service_internal.h"

/*
 * The pages for operators. They look at the process, not at records, so they are no flows: each is answered in the call.
 */
extern const char OPENAPI_JSON[];
extern const size_t OPENAPI_JSON_LEN;

static void page(struct http_response *response, int status, const struct http_header *type, struct view body)
{
    *response = (struct http_response){.status = status, .body = body, .headers = type, .header_count = 2};
}

static const struct http_header JSON_HEADERS[] = {{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}};
static const struct http_header PLAIN_HEADERS[] = {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}, {"Cache-Control", "no-store"}};

const char *service_missing(struct service *service)
{
    if (atomic_load(&service->draining))
        return "the worker is stopping";
    for (int i = 0; i < service->settings.threads; i++) {
        const char *missing = atomic_load(&service->threads[i].missing);
        if (missing)
            return missing;
    }
    return NULL;
}

static void livez(struct worker_thread *thread, struct exchange *exchange, struct http_response *response)
{
    page(response, 200, JSON_HEADERS, VIEW("{\"live\":true}"));
}

/* Names every shard that is not ready as this thread sees it, and what else is missing. */
static void readyz(struct worker_thread *thread, struct exchange *exchange, struct http_response *response)
{
    const char *missing = service_missing(thread->public.service);
    const struct topology *topology = thread->public.service->topology;
    struct writer w;
    writer_init(&w, FORMAT_JSON, exchange_arena(exchange));
    writer_map(&w, 3);
    WRITER_BOOL(&w, "ready", missing == NULL);
    writer_name(&w, VIEW("missing"));
    if (missing)
        writer_text(&w, view_of(missing));
    else
        writer_null(&w);
    writer_name(&w, VIEW("shards"));
    writer_map(&w, topology->shard_count);
    for (unsigned i = 0; i < topology->shard_count; i++) {
        writer_name(&w, view_of(topology->shards[i].name));
        writer_text(&w, view_of(store_shard_state(thread->public.store, i)));
    }
    writer_end(&w);
    writer_end(&w);
    page(response, missing ? 503 : 200, JSON_HEADERS, writer_done(&w));
}

static void version(struct worker_thread *thread, struct exchange *exchange, struct http_response *response)
{
    const struct service_program *program = thread->public.service->program;
    struct writer w;
    writer_init(&w, FORMAT_JSON, exchange_arena(exchange));
    writer_map(&w, 3);
    WRITER_TEXT(&w, "program", view_of(program->name));
    WRITER_TEXT(&w, "version", VIEW(SOUK_VERSION));
    WRITER_TEXT(&w, "library", program->libraries[0].name);
    writer_end(&w);
    page(response, 200, JSON_HEADERS, writer_done(&w));
}

static void openapi(struct worker_thread *thread, struct exchange *exchange, struct http_response *response)
{
    page(response, 200, JSON_HEADERS, (struct view){OPENAPI_JSON, OPENAPI_JSON_LEN});
}

/* ---- /metrics ---- */

static void line(struct buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void line(struct buffer *out, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    buffer_add(out, text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);
}

static uint64_t sum_over_threads(struct service *service, size_t offset)
{
    uint64_t sum = 0;
    for (int i = 0; i < service->settings.threads; i++) {
        atomic_uint_fast64_t *counter = (atomic_uint_fast64_t *)((char *)&service->threads[i].metrics + offset);
        sum += atomic_load_explicit(counter, memory_order_relaxed);
    }
    return sum;
}

static void route_metrics(struct buffer *out, struct service *service, size_t r, const char *labels)
{
    uint64_t count = 0;
    for (int class = 1; class <= 5; class ++) {
        uint64_t sum = sum_over_threads(service, offsetof(struct metrics, routes[r].by_class[class]));
        count += sum;
        if (sum)
            line(out, "souk_requests_total{%s,status=\"%dxx\"} %llu\n", labels, class, (unsigned long long)sum);
    }
    if (count == 0)
        return;
    uint64_t below = 0;
    for (int b = 0; b < METRICS_BUCKETS; b++) {
        below += sum_over_threads(service, offsetof(struct metrics, routes[r].buckets[b]));
        line(out, "souk_request_seconds_bucket{%s,le=\"%g\"} %llu\n", labels, (double)METRICS_BOUNDS_US[b] / 1e6, (unsigned long long)below);
    }
    line(out, "souk_request_seconds_bucket{%s,le=\"+Inf\"} %llu\n", labels, (unsigned long long)count);
    line(out, "souk_request_seconds_sum{%s} %g\n", labels, (double)sum_over_threads(service, offsetof(struct metrics, routes[r].total_us)) / 1e6);
    line(out, "souk_request_seconds_count{%s} %llu\n", labels, (unsigned long long)count);
}

static void shard_metrics(struct buffer *out, const struct worker_thread *thread)
{
    const struct topology *topology = thread->public.service->topology;
    line(out, "# HELP souk_shard_calls_total Calls to a shard by the thread that answers this page.\n# TYPE souk_shard_calls_total counter\n");
    for (unsigned i = 0; i < topology->shard_count; i++) {
        struct shard_figures f = store_shard_figures(thread->public.store, i);
        const char *name = topology->shards[i].name;
        line(out, "souk_shard_calls_total{shard=\"%s\"} %llu\n", name, (unsigned long long)f.calls);
        line(out, "souk_shard_batches_total{shard=\"%s\"} %llu\n", name, (unsigned long long)f.batches);
        line(out, "souk_shard_not_sent_total{shard=\"%s\"} %llu\n", name, (unsigned long long)f.not_sent);
        line(out, "souk_shard_unknown_total{shard=\"%s\"} %llu\n", name, (unsigned long long)f.unknown);
        line(out, "souk_shard_reconnects_total{shard=\"%s\"} %llu\n", name, (unsigned long long)f.reconnects);
        line(out, "souk_shard_in_flight{shard=\"%s\"} %u\n", name, f.in_flight);
        line(out, "souk_shard_repeated_total{shard=\"%s\"} %llu\n", name, (unsigned long long)f.repeated);
        line(out, "souk_shard_breaker{shard=\"%s\"} %u\n", name, f.breaker);
        line(out, "souk_shard_ready{shard=\"%s\"} %d\n", name, store_shard_ready(thread->public.store, i));
    }
}

static void near_metrics(struct buffer *out, const struct worker_thread *thread)
{
    struct near_cache *near = store_near(thread->public.store);
    const struct topology *topology = thread->public.service->topology;
    if (near == NULL)
        return;
    struct near_figures f = near_figures(near);
    int64_t now = clock_us();
    line(out, "# HELP souk_near_hits_total Answers given from what the thread that answers this page keeps.\n# TYPE souk_near_hits_total counter\n");
    line(out, "souk_near_hits_total %llu\n", (unsigned long long)f.hits);
    line(out, "souk_near_misses_total %llu\n", (unsigned long long)f.misses);
    line(out, "souk_near_joins_total %llu\n", (unsigned long long)f.joins);
    line(out, "souk_near_bypasses_total %llu\n", (unsigned long long)f.unleased);
    line(out, "souk_near_evictions_total %llu\n", (unsigned long long)f.evictions);
    line(out, "souk_near_invalidations_total %llu\n", (unsigned long long)f.invalidations);
    line(out, "souk_near_poisoned_total %llu\n", (unsigned long long)f.poisoned);
    line(out, "souk_near_losses_total %llu\n", (unsigned long long)f.losses);
    line(out, "souk_near_bytes %zu\n", f.bytes);
    line(out, "souk_near_answers %zu\n", f.answers);
    line(out, "# HELP souk_near_staleness_seconds How old an answer of this shard that is kept could be now; not there while none is given.\n");
    for (unsigned i = 0; i < topology->shard_count; i++)
        if (near_leased(near, i, now))
            line(out, "souk_near_staleness_seconds{shard=\"%s\"} %.3f\n", topology->shards[i].name, (double)near_staleness_us(near, i, now) / 1e6);
}

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm == NULL)
        return 0;
    if (fscanf(statm, "%llu %llu", &pages, &resident) != 2)
        resident = 0;
    fclose(statm);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void metrics(struct worker_thread *thread, struct exchange *exchange, struct http_response *response)
{
    struct service *service = thread->public.service;
    struct buffer out = {.arena = exchange_arena(exchange)};
    line(&out, "# HELP souk_requests_total Requests answered, by route and class of status.\n# TYPE souk_requests_total counter\n");
    line(&out, "# HELP souk_request_seconds Time from a whole request to its answer.\n# TYPE souk_request_seconds histogram\n");
    for (size_t r = 0; r < service->program->route_count; r++) {
        char labels[256];
        snprintf(labels, sizeof(labels), "method=\"%s\",route=\"%s\"", method_name(service->program->routes[r].method),
                 service->program->routes[r].path);
        route_metrics(&out, service, r, labels);
    }
    route_metrics(&out, service, METRICS_ROUTES_MAX - 1, "method=\"\",route=\"none\"");
    line(&out, "souk_refused_by_gate_total %llu\n", (unsigned long long)sum_over_threads(service, offsetof(struct metrics, refused_by_gate)));
    shard_metrics(&out, thread);
    near_metrics(&out, thread);
    line(&out, "souk_flows_running %u\n", engine_running(thread->public.engine));
    line(&out, "souk_requests_inside %u\n", http_inside(thread->http));
    line(&out, "souk_connections %u\n", http_connections(thread->http));
    line(&out, "process_resident_memory_bytes %llu\n", (unsigned long long)resident_bytes());
    if (service->program->metrics)
        service->program->metrics(&service->threads[0].public, &out);
    line(&out, "souk_uptime_seconds %g\n", (double)(clock_us() - service->started_us) / 1e6);
    page(response, 200, PLAIN_HEADERS, buffer_view(&out));
}

static const struct admin_page {
    const char *path;
    void (*answer)(struct worker_thread *thread, struct exchange *exchange, struct http_response *response);
} PAGES[] = {{"/livez", livez}, {"/readyz", readyz}, {"/metrics", metrics}, {"/version", version}, {"/openapi.json", openapi}};

static const struct admin_page *find_page(struct view path)
{
    for (size_t i = 0; i < sizeof(PAGES) / sizeof(*PAGES); i++)
        if (view_equal(path, view_of(PAGES[i].path)))
            return &PAGES[i];
    return NULL;
}

bool admin_has(struct view path)
{
    return find_page(path) != NULL;
}

bool admin_answer(struct worker_thread *thread, struct exchange *exchange, struct http_response *response)
{
    enum method method = exchange_method(exchange);
    const struct admin_page *found = method == METHOD_GET || method == METHOD_HEAD ? find_page(exchange_path(exchange)) : NULL;
    if (found)
        found->answer(thread, exchange, response);
    return found != NULL;
}
