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

static void metrics(struct worker_thread *thread, struct exchange *exchange, struct http_response *response)
{
    struct buffer out = {.arena = exchange_arena(exchange)};
    metrics_page(thread, &out);
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
