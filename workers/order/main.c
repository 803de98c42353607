#include <stdlib.h>

#include "library.h"

#include "audit.h"
#include "auditor.h"
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
    int audit_s;
};

#define AT(field) offsetof(struct order_settings, field)
static const struct option_row OPTIONS[] = {
    {"audit-s", OPTION_INT, AT(audit_s), "300", 0, 86400, NULL,
     "seconds from one audit of the store to the next, by whichever worker is first; 0: none"},
};

/* What the first thread owns. More threads that sweep and audit would only ask for the same leases. */
struct own {
    struct sweeper *sweeper;
    struct auditor *auditor;
};

static void thread_stop(struct service_thread *thread)
{
    struct own *own = thread->own;
    auditor_stop(own->auditor);
    sweep_stop(own->sweeper);
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
    own->sweeper = sweep_start(thread, &SWEEP_ORDERS);
    own->auditor = auditor_start(thread, settings->audit_s);
    return own->sweeper && own->auditor;
}

static void metrics(struct service_thread *first, struct buffer *out)
{
    auditor_metrics(((struct own *)first->own)->auditor, out);
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
    .metrics = metrics,
};

int main(int argc, char **argv)
{
    return service_main(&PROGRAM, argc, argv);
}
