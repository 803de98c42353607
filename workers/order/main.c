#include "library.h"

#include "audit.h"
#include "sweep.h"

#include "order.h"

/* souk-order: orders from their placing to their fulfilment, the event feed, and the audit of the whole store. */

static const struct route ROUTES[] = {
    {.method = METHOD_GET, .path = "/orders", .flow = &ORDER_LIST_FLOW, .params = "user|state|payment_status|limit|cursor"},
    {.method = METHOD_POST, .path = "/orders", .flow = &PLACE_FLOW, .body = &PLACE_BODY, .flags = ROUTE_KEY},
    {.method = METHOD_GET, .path = "/orders/{id}", .flow = &ORDER_GET_FLOW},
    {.method = METHOD_GET, .path = "/orders/{id}/events", .flow = &ORDER_HISTORY_FLOW},
    {.method = METHOD_POST, .path = "/orders/{id}/cancel", .flow = &CANCEL_FLOW, .body = &CANCEL_BODY, .flags = ROUTE_KEY | ROUTE_BODY_OPTIONAL},
    {.method = METHOD_POST, .path = "/orders/{id}/fulfil", .flow = &FULFIL_FLOW, .body = &FULFIL_BODY, .flags = ROUTE_KEY | ROUTE_BODY_OPTIONAL},
    {.method = METHOD_GET, .path = "/events", .flow = &EVENTS_FLOW, .params = "after|limit"},
    {.method = METHOD_GET, .path = "/admin/audit", .flow = &AUDIT_FLOW, .deadline_ms = 600000},
};

/* One thread of the worker sweeps; more would only ask for the same lease. */
static bool thread_start(struct service_thread *thread, struct outside *outside)
{
    if (thread->index == 0)
        thread->own = sweep_start(thread, &SWEEP_ORDERS);
    return thread->index != 0 || thread->own != NULL;
}

static void thread_stop(struct service_thread *thread)
{
    sweep_stop(thread->own);
}

static const struct service_program PROGRAM = {
    .name = "souk-order",
    .preset_port = 8081,
    .routes = ROUTES,
    .route_count = sizeof(ROUTES) / sizeof(*ROUTES),
    .libraries = SOUK_LIBRARIES,
    .library_count = SOUK_LIBRARY_COUNT,
    .thread_start = thread_start,
    .thread_stop = thread_stop,
};

int main(int argc, char **argv)
{
    return service_main(&PROGRAM, argc, argv);
}
