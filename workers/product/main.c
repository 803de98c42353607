#include <stddef.h>

#include "log.h"
#include "metric.h"

#include "service.h"

#include "library.h"

#include "product.h"
#include "writeback_port.h"

#define AT(field) offsetof(struct product_settings, field)
static const struct option_row OPTIONS[] = {
    {"writeback-ms", OPTION_INT, AT(writeback_ms), "20", 0, 1000, NULL,
     "how long a change that is answered 202 (Prefer: respond-async) is gathered with others"},
    {"writeback-mb", OPTION_INT, AT(writeback_mb), "16", 1, 1024, NULL,
     "memory per thread for such changes, in MiB; when it is full they wait, then are answered 503"},
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

#define FIGURE(member) offsetof(struct writeback_figures, member)
static const struct metric_row WRITEBACK_METRICS[] = {
    {"souk_writeback_accepted_total", METRIC_COUNTER, "",
     "Changes with Prefer: respond-async that were answered 202.", metric_read_number, FIGURE(accepted)},
    {"souk_writeback_coalesced_total", METRIC_COUNTER, "",
     "Of these, joined with others of the same product.", metric_read_number, FIGURE(coalesced)},
    {"souk_writeback_written_total", METRIC_COUNTER, "", "Products that were written.", metric_read_number, FIGURE(written)},
    {"souk_writeback_unchanged_total", METRIC_COUNTER, "",
     "Products that were as the changes would have them.", metric_read_number, FIGURE(unchanged)},
    {"souk_writeback_dropped_total", METRIC_COUNTER, "",
     "Changes that were answered 202 and could not be made.", metric_read_number, FIGURE(dropped)},
    {"souk_writeback_refused_total", METRIC_COUNTER, "", "Changes that found no room and were answered 503.", metric_read_number, FIGURE(refused)},
    {"souk_writeback_retried_total", METRIC_COUNTER, "",
     "Times when a product was put off: its shard did not answer, or another change was faster.", metric_read_number, FIGURE(retried)},
    {"souk_writeback_bytes", METRIC_GAUGE, "", "Memory of the changes that are not written yet.", metric_read_number, FIGURE(bytes)},
    {"souk_writeback_products", METRIC_GAUGE, "", "Products with such changes.", metric_read_number, FIGURE(products)},
    {"souk_writeback_waiting", METRIC_GAUGE, "", "Changes that wait for room.", metric_read_number, FIGURE(waiting)},
    {0},
};
static const struct metric_table METRICS[] = {{WRITEBACK_METRICS, 0}, {0}};

static const void *figures(struct service_thread *thread)
{
    return writeback_port_figures(thread->own);
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
    .metrics = METRICS,
    .figures_size = sizeof(struct writeback_figures),
    .figures = figures,
};

int main(int argc, char **argv)
{
    return service_main(&PROGRAM, argc, argv);
}
