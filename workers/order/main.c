#include <stdlib.h>

#include "library.h"

#include "audit.h"
#include "auditor.h"
#include "census.h"
#include "own.h"
#include "sweep.h"

#include "order.h"

/* souk-order: orders from their placing to their fulfilment, the event feed, and the audit of the whole store. */

static const struct route ROUTES[] = {
    {.method = METHOD_GET,
     .path = "/orders",
     .scope = SCOPE_ORDERS_READ,
     .own = &OWN_ORDER_LIST,
     .flow = &ORDER_LIST_FLOW,
     .params = "user|state|payment_status|limit|cursor"},
    {.method = METHOD_POST,
     .path = "/orders",
     .scope = SCOPE_ORDERS_WRITE,
     .own = &OWN_PLACE,
     .flow = &PLACE_FLOW,
     .body = &PLACE_BODY,
     .flags = ROUTE_KEY},
    {.method = METHOD_GET, .path = "/orders/{id}", .scope = SCOPE_ORDERS_READ, .own = &OWN_ORDER, .flow = &ORDER_GET_FLOW},
    {.method = METHOD_GET, .path = "/orders/{id}/events", .scope = SCOPE_ORDERS_READ, .own = &OWN_ORDER, .flow = &ORDER_HISTORY_FLOW},
    {.method = METHOD_POST,
     .path = "/orders/{id}/cancel",
     .scope = SCOPE_ORDERS_WRITE,
     .own = &OWN_ORDER,
     .flow = &CANCEL_FLOW,
     .body = &CANCEL_BODY,
     .flags = ROUTE_KEY | ROUTE_BODY_OPTIONAL},
    {.method = METHOD_POST,
     .path = "/orders/{id}/fulfil",
     .scope = SCOPE_ORDERS_FULFIL,
     .flow = &FULFIL_FLOW,
     .body = &FULFIL_BODY,
     .flags = ROUTE_KEY | ROUTE_BODY_OPTIONAL},
    {.method = METHOD_GET, .path = "/events", .scope = SCOPE_EVENTS_READ, .flow = &EVENTS_FLOW, .params = "after|limit"},
    {.method = METHOD_GET, .path = "/admin/audit", .scope = SCOPE_AUDIT_READ, .flow = &AUDIT_FLOW, .deadline_ms = 600000},
};

struct order_settings {
    int audit_s, census_s;
};

#define AT(field) offsetof(struct order_settings, field)
static const struct option_row OPTIONS[] = {
    {"audit-s", OPTION_INT, AT(audit_s), "300", 0, 86400, NULL,
     "seconds from one audit of the store to the next, by whichever worker is first; 0: none"},
    {"census-s", OPTION_INT, AT(census_s), "15", 0, 3600, NULL,
     "seconds from one count of the orders, payments and duties for /metrics to the next; 0: none"},
};

/* What the first thread owns. More threads that sweep and audit would only ask for the same leases. */
struct order_figures {
    struct audit_figures audit;
    struct census_figures census;
};
struct own {
    struct sweeper *sweeper;
    struct census *census;
    struct auditor *auditor;
    struct order_figures figures; /* as they were when asked for last */
};

static void thread_stop(struct service_thread *thread)
{
    struct own *own = thread->own;
    auditor_stop(own->auditor);
    sweep_stop(own->sweeper);
    census_free(own->census);
    free(own);
}

static bool thread_start(struct service_thread *thread, struct outside *outside)
{
    const struct order_settings *settings = thread->world->settings;
    if (thread->index != 0)
        return true;
    struct own *own = calloc(1, sizeof(*own));
    if (own == NULL)
        return false;
    thread->own = own;
    own->census = census_new(thread, settings->census_s);
    own->sweeper = sweep_start(thread, &SWEEP_ORDERS);
    own->auditor = auditor_start(thread, settings->audit_s);
    if (!own->census || !own->sweeper || !own->auditor)
        return false;
    sweep_tell(own->sweeper, own->census);
    return true;
}

static const struct metric_table METRICS[] = {
    {CENSUS_METRICS, offsetof(struct order_figures, census)},
    {AUDIT_METRICS, offsetof(struct order_figures, audit)},
    {0},
};

static const void *figures(struct service_thread *thread)
{
    struct own *own = thread->own;
    if (own == NULL)
        return NULL;
    own->figures.audit = *auditor_figures(own->auditor);
    own->figures.census = *census_figures(own->census);
    return &own->figures;
}

static const struct service_program PROGRAM = {
    .name = "souk-order",
    .about = "the order worker of Souk: orders from their placing to their fulfilment, the event feed, the audit",
    .preset_port = 8081,
    .routes = ROUTES,
    .route_count = sizeof(ROUTES) / sizeof(*ROUTES),
    .options = OPTIONS,
    .option_count = sizeof(OPTIONS) / sizeof(*OPTIONS),
    .settings_size = sizeof(struct order_settings),
    .libraries = SOUK_LIBRARIES,
    .library_count = SOUK_LIBRARY_COUNT,
    .thread_start = thread_start,
    .thread_stop = thread_stop,
    .metrics = METRICS,
    .figures_size = sizeof(struct order_figures),
    .figures = figures,
};

int main(int argc, char **argv)
{
    return service_main(&PROGRAM, argc, argv);
}
