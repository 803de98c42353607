#ifndef SERVICE_INTERNAL_H
#define SERVICE_INTERNAL_H

#include <stdatomic.h>
#include <stdint.h>

#include "http.h"
#include "metrics.h"
#include "room.h"
#include "router.h"
#include "service.h"

/* The settings every worker has; the program's own follow in their own struct. */
struct service_settings {
    const char *address, *shards, *log_level, *redis_user, *redis_password_file, *auth;
    int port, threads, partitions, epoch, inside_max, connections_max, deadline_ms, drain_ms, wait_replicas, queue_ms;
};

/* One thread and what it owns. Other threads only read ${metrics} and ${missing}. */
struct worker_thread {
    struct service_thread public; /* first: what the program sees */
    struct http *http;
    struct outside outside;
    struct metrics metrics;
    _Atomic(const char *) missing; /* what keeps this thread from being ready; NULL: nothing */
    struct loop_timer *tick;
    int64_t drain_until_us;
    uint64_t request_seed, request_count; /* of the ids that are given to requests without one */
    bool stopping, quiesced;
    struct room room; /* the door's */
};

struct service {
    const struct service_program *program;
    struct service_settings settings;
    void *program_settings;
    struct topology *topology;
    struct router router;
    struct world world;
    char password[256];
    struct worker_thread *threads;
    int64_t started_us;
    atomic_int port;
    atomic_bool draining;
};

/* door.c: from exchange to flow and back. */
void door_on_request(void *cookie, struct exchange *exchange);
void door_on_refusal(void *cookie, struct exchange *exchange, int status, const char *detail, struct http_response *response);

/* admin.c: /livez, /readyz, /metrics, /version, /openapi.json. Returns false if it is no GET of one of them. */
bool admin_has(struct view path);
bool admin_answer(struct worker_thread *thread, struct exchange *exchange, struct http_response *response);

/* What keeps the whole service from being ready, or NULL. */
const char *service_missing(struct service *service);

#endif
