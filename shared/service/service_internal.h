#ifndef SERVICE_INTERNAL_H
#define SERVICE_INTERNAL_H

#include <stdatomic.h>
#include <stdint.h>

#include "auth.h"
#include "http.h"

#include "access.h"
#include "kept.h"
#include "metrics.h"
#include "room.h"
#include "router.h"
#include "service.h"

/* The settings every worker has; the program's own follow in their own struct. */
struct service_settings {
    const char *address, *shards, *log_level, *log_format, *redis_user, *redis_password_file, *auth, *tokens_file, *fsync;
    int port, threads, partitions, epoch, inside_max, connections_max, deadline_ms, drain_ms, drain_delay_ms, wait_replicas, queue_ms,
        shard_behind_ms, cache_mb, cache_age_ms, caller_rate;
};

/*
 * The end of a thread after SIGTERM. The steps of http.h, with time between them.
 *
 *   SERVING ─▶ NOTICE    not ready, and serving as before, but each answer closes its connection: load balancers notice
 *          ─▶ DEAF      no connection is begun; those that were are made
 *          ─▶ FINISHING nobody listens; what is inside is finished, then the loop stops
 */
enum drain { DRAIN_SERVING, DRAIN_NOTICE, DRAIN_DEAF, DRAIN_FINISHING };

/* What the service manager was told; the first thread's. */
struct supervisor {
    bool wanted, told;
    const char *missing;              /* as last told */
    int64_t alive_every_us, alive_us; /* 0: it waits for no signs of life */
};

/* One thread and what it owns. Other threads only read ${words}, ${missing} and ${ticked_us}. */
struct worker_thread {
    struct service_thread public; /* first: what the program sees */
    struct http *http;
    struct outside outside;
    struct auth *auth; /* NULL: whoever reaches the worker may do everything (SOUK_AUTH=off) */
    struct metrics metrics;
    atomic_uint_fast64_t *words; /* what it has published of its figures, see metrics.c */
    int64_t published_us;
    _Atomic(const char *) missing; /* what keeps this thread from being ready; NULL: nothing */
    struct loop_timer *tick;
    _Atomic(int64_t) ticked_us; /* when its loop last turned; read by the first thread */
    int64_t tick_due_us;
    enum drain drain;
    int64_t drain_until_us; /* of this step */
    uint64_t request_seed, request_count; /* of the ids that are given to requests without one */
    bool complete;    /* all shards were ready at one moment */
    struct room room; /* the door's */
    struct access_log access;
    char age[12];     /* of what is kept, for the header Age */
};

struct service {
    const struct service_program *program;
    struct service_settings settings;
    void *program_settings;
    struct topology *topology;
    struct router router;
    struct world world;
    char password[256];
    struct keyring *keyring; /* NULL: SOUK_AUTH=off */
    struct worker_thread *threads;
    int64_t started_us;
    atomic_int port;
    atomic_bool draining;
    struct supervisor supervisor;
    atomic_int others;   /* threads beside the first that have not ended */
    atomic_bool hurried; /* a second signal: the notice is over */
};

/* One request, in its exchange's arena. */
struct request {
    struct worker_thread *thread;
    struct exchange *exchange;
    const struct route *route;
    struct ask ask;
    struct flow *refusal; /* a flow that only carries the answer of a request that was not understood */
    int64_t since_us;
    bool answered;
    struct kept_part kept;
};

/* door.c: from exchange to flow and back. */
void door_on_request(void *cookie, struct exchange *exchange);
bool door_is_bulk(void *cookie, enum method method, struct view path);
int door_on_head(void *cookie, const struct exchange *exchange);
void door_on_refusal(void *cookie, struct exchange *exchange, int status, const char *detail, struct http_response *response);

/*
 * Who sends it, and may it do this? Counts what is granted. *caller as auth_check says; NULL too while SOUK_AUTH is off, when everything is granted.
 */
static inline enum auth_verdict door_check(struct worker_thread *thread, const struct exchange *exchange, enum scope scope, int64_t now_us,
                                           const struct caller **caller)
{
    *caller = NULL;
    if (thread->auth == NULL)
        return AUTH_GRANTED;
    enum auth_verdict verdict = auth_check(thread->auth, exchange_header(exchange, HTTP_AUTHORIZATION), scope, caller);
    return verdict == AUTH_GRANTED && !auth_count(thread->auth, *caller, now_us) ? AUTH_TOO_MANY : verdict;
}

/* For kept.c: starts the request's flow, with what is left of its time; answers it with a copy of what another was answered. */
void door_start(struct request *request);
void door_answer_copy(struct request *request, struct flow *flow, const struct answer *answer);
/* Its route's place in the program's table. */
size_t door_route_index(const struct request *request);
/* The format that an Accept header asks for first; false if it allows none of ours. */
bool door_format(struct view accept, enum format *format);
/* The client's own id if it is a sensible one, else one that is written to ${made}. */
#define REQUEST_ID_LEN 16
struct view door_request_id(struct worker_thread *thread, const struct exchange *exchange, char made[REQUEST_ID_LEN]);

/* admin.c: /livez, /readyz, /metrics, /version, /openapi.json. Returns false if it is no GET of one of them. */
bool admin_has(struct view path);
bool admin_answer(struct worker_thread *thread, struct exchange *exchange, struct http_response *response);

/* What keeps the whole service from being ready, or NULL. */
const char *service_missing(struct service *service);
/* Tells each setting that is a whole number, by its variable: tell(cookie, "SOUK_THREADS", 3). */
void service_numbers(const struct service *service, void (*tell)(void *cookie, const char *variable, int number), void *cookie);

#endif
