#ifndef METRICS_H
#define METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metric.h"

/*
 * What a worker's threads count, and the page that shows it.
 *
 *   each thread   counts in its struct metrics ─▶ metrics_publish: once a second, and when it answers the page itself
 *   the page      metrics_page: the sums of what all threads have published
 */
struct service;
struct worker_thread;

/* The statuses that a worker answers with; any other is counted as the last, "other". */
#define STATUSES(ROW) \
    ROW(200) ROW(201) ROW(202) ROW(204) ROW(304) ROW(400) ROW(401) ROW(402) ROW(403) ROW(404) ROW(405) ROW(406) ROW(408) ROW(409) ROW(412) ROW(413) \
    ROW(414) ROW(415) ROW(422) ROW(428) ROW(429) ROW(431) ROW(500) ROW(501) ROW(503) ROW(504)
#define STATUS_ONE(status) +1
#define METRICS_STATUSES (0 STATUSES(STATUS_ONE) + 1)

/* Nothing but uint64_t: see figures_publish. The routes are those of the program's table; the last one counts what is no route's. */
#define METRICS_ROUTES_MAX 33
#define METRICS_NO_ROUTE (METRICS_ROUTES_MAX - 1)
struct metrics {
    struct route_figures {
        uint64_t by_status[METRICS_STATUSES];
        struct metric_times times;
    } routes[METRICS_ROUTES_MAX];
    uint64_t refused[METRICS_STATUSES]; /* by the gate */
    uint64_t refused_unknown, refused_scope, refused_rate; /* callers: 401, 403, 429 */
    struct metric_times lag;
    uint64_t inside, connections, flows; /* at the moment */
};

/* Counts an answer. Cannot fail. */
void metrics_request(struct metrics *metrics, size_t route, int status, int64_t took_us);
void metrics_refused(struct metrics *metrics, int status);

/* The memory where this thread publishes; false if it is short. It stays until the service ends, also when the thread has ended. */
bool metrics_open(struct worker_thread *thread);
void metrics_close(struct worker_thread *thread);
void metrics_publish(struct worker_thread *thread);

/* The whole page, as ${thread} answers it. */
void metrics_page(struct worker_thread *thread, struct buffer *out);
/* --metrics: the rows of this program. */
void metrics_print(const void *program);

#endif
