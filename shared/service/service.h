#ifndef SERVICE_H
#define SERVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "metric.h"
#include "options.h"
#include "scope.h"
#include "shape.h"
#include "store.h"

#include "engine.h"
#include "flow.h"

/*
 * A worker program: routes, what they need, and the life around them. main() of each worker is a call of service_main with one of these.
 */
enum route_flags {
    ROUTE_KEY = 1,      /* Idempotency-Key is needed */
    ROUTE_IF_MATCH = 2, /* If-Match is needed (or If-None-Match: * where the flow allows creation) */
    ROUTE_BODY_OPTIONAL = 4,
    ROUTE_NEAR_RECORD = 8, /* its answer rests on the record of its first {id}, and is kept near if the flow says so (answer_keep) */
    ROUTE_RAW = 16,        /* the body is a document that the flow reads itself (merge patch) */
    ROUTE_NEAR_RANGE = 32, /* the same, on a range of records */
    ROUTE_BULK = 64,       /* the body is lines of JSON that the flow reads itself, up to BULK_BODY_MAX bytes; so is the answer */
};
#define BODY_MAX (64 * 1024)
#define BULK_BODY_MAX (1024 * 1024)
struct route {
    enum method method;
    const char *path; /* "/orders/{id}/cancel" */
    enum scope scope; /* what its caller must be allowed to do */
    const struct flow_type *flow;
    const struct shape *body; /* NULL: no body is read */
    unsigned flags;
    int deadline_ms;    /* 0: the service's default */
    const char *params; /* "limit|cursor|user": query parameters that are known; others are refused with 400. NULL: none */
    /*
     * Of a scope of REACH_BUYER, and only of such: is what is asked for that of the one buyer that the caller acts for (ask->buyer)? This flow is run
     * first, for such callers only. It ends without an answer if it is; else it answers, as if there were no such thing. A list's own flow need only
     * look at its filters: the list itself shows the buyer's.
     */
    const struct flow_type *own;
};

struct service;
struct service_thread {
    struct service *service;
    struct loop *loop;
    struct store *store;
    struct engine *engine;
    struct world *world;
    int index;
    void *own; /* the program's, set by thread_start */
};

struct service_program {
    const char *name;  /* "souk-order" */
    const char *about; /* what it is, in one line for --help */
    int preset_port;
    const struct route *routes;
    size_t route_count;
    const struct option_row *options; /* beside the common ones */
    size_t option_count;
    size_t settings_size; /* of the program's own settings struct */
    const struct library *libraries;
    unsigned library_count;
    bool catalogue;        /* 4 KiB of headers rather than 8 */
    const char *near_kind; /* answers made from this kind of record can be kept near ("product"); NULL: none */
    /* Called on each thread before it serves: the outside port, sweeps. Returns false (logged) to stop the start. May be NULL. */
    bool (*thread_start)(struct service_thread *thread, struct outside *outside);
    void (*thread_stop)(struct service_thread *thread); /* only if thread_start has set ${own} */
    /* The time of a drain is over and this thread leaves with flows under way: says what is lost by that. May be NULL. */
    void (*thread_abandon)(struct service_thread *thread);
    /* What must be true beside reachable shards to be ready: returns NULL, or what is missing (static). May be NULL. */
    const char *(*ready)(struct service_thread *thread);
    /*
     * The program's own metrics; their rows read the sum over all threads of what ${figures} gives, and their page's cookie is the topology. It is
     * called on each thread once a second and before it answers /metrics: nothing but uint64_t, ${figures_size} bytes of it, or NULL if this thread
     * has none. May be NULL, as ${metrics}.
     */
    const struct metric_table *metrics;
    size_t figures_size;
    const void *(*figures)(struct service_thread *thread);
};

/*
 * Runs until SIGTERM or SIGINT, and until its drain is over (service_internal.h). Returns the exit status: 2 if a setting is wrong, 1 if it could not
 * start otherwise.
 */
int service_main(const struct service_program *program, int argc, char **argv);

/* Is this thread's service stopping? Sweeps then take no new work. */
bool service_draining(const struct service_thread *thread);

#endif
