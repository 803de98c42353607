#ifndef SERVICE_H
#define SERVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine.h"
#include "flow.h"
#include "options.h"
#include "shape.h"
#include "store.h"

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
    const struct flow_type *flow;
    const struct shape *body; /* NULL: no body is read */
    unsigned flags;
    int deadline_ms;    /* 0: the service's default */
    const char *params; /* "limit|cursor|user": query parameters that are known; others are refused with 400. NULL: none */
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
    const char *name; /* "souk-order" */
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
    /* Adds the program's own lines to /metrics. ${first}: the service's first thread; any thread may call. May be NULL. */
    void (*metrics)(struct service_thread *first, struct buffer *out);
};

/* Runs until SIGTERM or SIGINT, and until its drain is over (service_internal.h). Returns the exit status. */
int service_main(const struct service_program *program, int argc, char **argv);

/* The n-th thread of ${thread}'s service, from 0; NULL if there are fewer. */
struct service_thread *service_thread_at(const struct service_thread *thread, int n);

/* Is this thread's service stopping? Sweeps then take no new work. */
bool service_draining(const struct service_thread *thread);

#endif
