#include <stddef.h>
#include <stdio.h>

#include "log.h"

#include "metrics.h"
#include "service.h"

#include "library.h"

#include "product.h"
#include "writeback_port.h"

#define AT(field) offsetof(struct product_settings, field)
static const struct option_row OPTIONS[] = {
    {"writeback-ms", OPTION_INT, AT(writeback_ms), "20", 0, 1000, NULL, "how long a change that is answered 202 (Prefer: respond-async) is gathered with others"},
    {"writeback-mb", OPTION_INT, AT(writeback_mb), "16", 1, 1024, NULL, "memory per thread for such changes, in MiB; when it is full they wait, then are answered 503"},
};

/* An import shares its shards with everything else, and with others. */
#define IMPORT_DEADLINE_MS 20000

/* Stock is always live: those answers are not kept and so are marked no-store. */
static const struct route ROUTES[] = {
    {METHOD_GET, "/products", SCOPE_CATALOGUE_READ, &PRODUCT_LIST_FLOW, NULL, ROUTE_NEAR_RANGE, 0, "ids|limit|cursor", NULL},
    {METHOD_POST, "/products", SCOPE_CATALOGUE_WRITE, &PRODUCT_CREATE_FLOW, &PRODUCT_BODY, ROUTE_KEY, 0, NULL, NULL},
    {METHOD_POST, "/products/import", SCOPE_CATALOGUE_WRITE, &PRODUCT_IMPORT_FLOW, NULL, ROUTE_KEY | ROUTE_BULK, IMPORT_DEADLINE_MS, NULL, NULL},
    {METHOD_GET, "/products/{id}", SCOPE_CATALOGUE_READ, &PRODUCT_READ_FLOW, NULL, ROUTE_NEAR_RECORD, 0, NULL, NULL},
    {METHOD_PUT, "/products/{id}", SCOPE_CATALOGUE_WRITE, &PRODUCT_PUT_FLOW, &PRODUCT_BODY, ROUTE_IF_MATCH, 0, NULL, NULL},
    {METHOD_PATCH, "/products/{id}", SCOPE_CATALOGUE_WRITE, &PRODUCT_PATCH_FLOW, NULL, ROUTE_IF_MATCH | ROUTE_RAW, 0, NULL, NULL},
    {METHOD_DELETE, "/products/{id}", SCOPE_CATALOGUE_WRITE, &PRODUCT_DELETE_FLOW, NULL, ROUTE_IF_MATCH, 0, NULL, NULL},
    {METHOD_GET, "/products/{id}/stock", SCOPE_STOCK_READ, &STOCK_READ_FLOW, NULL, 0, 0, NULL, NULL},
    {METHOD_POST, "/products/{id}/stock-adjustments", SCOPE_STOCK_WRITE, &STOCK_ADJUST_FLOW, &ADJUST_BODY, ROUTE_KEY, 0, NULL, NULL},
    {METHOD_GET, "/products/{id}/stock-movements", SCOPE_STOCK_READ, &STOCK_MOVES_FLOW, NULL, 0, 0, "limit|cursor", NULL},
};

static bool thread_start(struct service_thread *thread, struct outside *outside)
{
    struct writeback_port *port = writeback_port_new(thread);
    if (port == NULL) {
        log_error("cannot start: out of memory");
        return false;
    }
    thread->own = port;
    *outside = (struct outside){.send = writeback_port_send, .cookie = port};
    return true;
}

static void thread_stop(struct service_thread *thread)
{
    writeback_port_free(thread->own);
}

static void thread_abandon(struct service_thread *thread)
{
    writeback_port_abandon(thread->own);
}

/* ---- /metrics ---- */

#define FIGURE(field) offsetof(struct writeback_figures, field)
static const struct {
    const char *name;
    size_t offset;
} FIGURES[] = {
    {"accepted_total", FIGURE(accepted)}, {"coalesced_total", FIGURE(coalesced)}, {"written_total", FIGURE(written)},
    {"unchanged_total", FIGURE(unchanged)}, {"dropped_total", FIGURE(dropped)},   {"refused_total", FIGURE(refused)},
    {"retried_total", FIGURE(retried)},   {"bytes", FIGURE(bytes)},               {"products", FIGURE(products)},
    {"waiting", FIGURE(waiting)},
};

static void metrics(struct service_thread *first, struct buffer *out)
{
    for (size_t i = 0; i < sizeof(FIGURES) / sizeof(*FIGURES); i++) {
        uint64_t sum = 0;
        const struct service_thread *thread;
        for (int n = 0; (thread = service_thread_at(first, n)); n++) {
            const char *figures = (const char *)writeback_port_figures(thread->own);
            sum += atomic_load_explicit((const atomic_uint_fast64_t *)(figures + FIGURES[i].offset), memory_order_relaxed);
        }
        char line[128];
        int len = snprintf(line, sizeof(line), "souk_writeback_%s %llu\n", FIGURES[i].name, (unsigned long long)sum);
        buffer_add(out, line, (size_t)len);
    }
}

static const struct service_program PROGRAM = {
    .name = "souk-product",
    .about = "the catalogue worker of Souk: products, their prices and their stock",
    .preset_port = 8080,
    .routes = ROUTES,
    .route_count = sizeof(ROUTES) / sizeof(*ROUTES),
    .libraries = SOUK_LIBRARIES,
    .library_count = SOUK_LIBRARY_COUNT,
    .catalogue = true,
    .near_kind = "product",
    .options = OPTIONS,
    .option_count = sizeof(OPTIONS) / sizeof(*OPTIONS),
    .settings_size = sizeof(struct product_settings),
    .thread_start = thread_start,
    .thread_stop = thread_stop,
    .thread_abandon = thread_abandon,
    .metrics = metrics,
};

int main(int argc, char **argv)
{
    return service_main(&PROGRAM, argc, argv);
}
