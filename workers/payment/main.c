#include <stddef.h>
#include <stdlib.h>

#include "log.h"

#include "library.h"

#include "census.h"
#include "own.h"
#include "sweep.h"

#include "gateway_port.h"
#include "payment.h"

/* souk-payment: payments of orders, captures, voids and refunds, and the reconciliation of what the gateway did not say. */

#define AT(field) offsetof(struct payment_settings, field)
static const struct option_row OPTIONS[] = {
    {"gateway-url", OPTION_URL, AT(gateway_url), "http://127.0.0.1:8083", 0, 0, NULL, "address of the payment gateway"},
    {"gateway-timeout-ms", OPTION_INT, AT(gateway_timeout_ms), "5000", 100, 7000, NULL,
     "time the gateway has; after it the outcome is unknown, and is asked for until it is known"},
    {"authorization-hold-s", OPTION_INT, AT(authorization_hold_s), "604800", 60, 2592000, NULL,
     "how long an order stays reserved from its authorization, for the capture"},
    {"census-s", OPTION_INT, AT(census_s), "15", 0, 3600, NULL,
     "seconds from one count of the orders, payments and duties for /metrics to the next; 0: none"},
};

/* A payment may take as long as the gateway (7 s at most) and the calls before and after it. */
#define PAY_DEADLINE_MS 10000

#define ACT_FLAGS (ROUTE_KEY | ROUTE_BODY_OPTIONAL)
static const struct route ROUTES[] = {
    {.method = METHOD_GET,
     .path = "/payments",
     .scope = SCOPE_PAYMENTS_READ,
     .own = &OWN_PAYMENT_LIST,
     .flow = &PAYMENT_LIST_FLOW,
     .params = "order_id|status|refund_due|limit|cursor"},
    {.method = METHOD_POST,
     .path = "/payments",
     .scope = SCOPE_PAYMENTS_WRITE,
     .own = &OWN_PAY,
     .flow = &PAY_FLOW,
     .body = &PAY_BODY,
     .flags = ROUTE_KEY,
     .deadline_ms = PAY_DEADLINE_MS},
    {.method = METHOD_GET,
     .path = "/payments/{id}",
     .scope = SCOPE_PAYMENTS_READ,
     .own = &OWN_PAYMENT,
     .flow = &PAYMENT_GET_FLOW,
     .params = "wait",
     .deadline_ms = PAY_DEADLINE_MS},
    {.method = METHOD_POST,
     .path = "/payments/{id}/capture",
     .scope = SCOPE_PAYMENTS_CAPTURE,
     .flow = &CAPTURE_FLOW,
     .body = &ACT_BODY,
     .flags = ACT_FLAGS,
     .deadline_ms = PAY_DEADLINE_MS},
    {.method = METHOD_POST,
     .path = "/payments/{id}/void",
     .scope = SCOPE_PAYMENTS_CAPTURE,
     .flow = &VOID_FLOW,
     .body = &ACT_BODY,
     .flags = ACT_FLAGS,
     .deadline_ms = PAY_DEADLINE_MS},
    {.method = METHOD_GET, .path = "/payments/{id}/refunds", .scope = SCOPE_PAYMENTS_READ, .own = &OWN_PAYMENT, .flow = &REFUND_LIST_FLOW},
    {.method = METHOD_POST,
     .path = "/payments/{id}/refunds",
     .scope = SCOPE_PAYMENTS_REFUND,
     .flow = &REFUND_FLOW,
     .body = &REFUND_BODY,
     .flags = ACT_FLAGS,
     .deadline_ms = PAY_DEADLINE_MS},
};

static const struct sweep_kind SWEEP_PAYMENTS = {.name = "payment", .child = reconcile_new};

/* What one thread owns. Only the first sweeps; more would only ask for the same leases. */
struct own {
    struct gateway_port *port;
    struct sweeper *payments, *orders;
    struct census *census;
};

static void thread_stop(struct service_thread *thread)
{
    struct own *own = thread->own;
    sweep_stop(own->orders);
    sweep_stop(own->payments);
    census_free(own->census);
    gateway_port_free(own->port);
    free(own);
}

static bool thread_start(struct service_thread *thread, struct outside *outside)
{
    const struct payment_settings *settings = thread->world->settings;
    const struct gateway_settings gateway = {.url = settings->gateway_url, .timeout_ms = settings->gateway_timeout_ms};
    struct own *own = calloc(1, sizeof(*own));
    if (own == NULL || (own->port = gateway_port_new(thread->loop, &gateway)) == NULL) {
        log_error("cannot start: out of memory");
        free(own);
        return false;
    }
    thread->own = own;
    *outside = (struct outside){.send = gateway_port_send, .cookie = own->port};
    if (thread->index > 0)
        return true;
    own->payments = sweep_start(thread, &SWEEP_PAYMENTS);
    own->orders = sweep_start(thread, &SWEEP_ORDERS);
    own->census = census_new(thread, settings->census_s);
    if (!own->payments || !own->orders || !own->census)
        return false;
    sweep_tell(own->orders, own->census);
    return true;
}

static const struct metric_table METRICS[] = {{CENSUS_METRICS, 0}, {0}};

static const void *figures(struct service_thread *thread)
{
    struct own *own = thread->own;
    return own->census ? census_figures(own->census) : NULL;
}

static const struct service_program PROGRAM = {
    .name = "souk-payment",
    .about = "the payment worker of Souk: payments, captures, voids and refunds",
    .preset_port = 8082,
    .routes = ROUTES,
    .route_count = sizeof(ROUTES) / sizeof(*ROUTES),
    .options = OPTIONS,
    .option_count = sizeof(OPTIONS) / sizeof(*OPTIONS),
    .settings_size = sizeof(struct payment_settings),
    .libraries = SOUK_LIBRARIES,
    .library_count = SOUK_LIBRARY_COUNT,
    .thread_start = thread_start,
    .thread_stop = thread_stop,
    .metrics = METRICS,
    .figures_size = sizeof(struct census_figures),
    .figures = figures,
};

int main(int argc, char **argv)
{
    if (!gateway_library_start())
        return 1;
    int status = service_main(&PROGRAM, argc, argv);
    gateway_library_end();
    return status;
}
