#ifndef METRICS_H
#define METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

/*
 * Counters of one thread: only that thread adds, any thread may read (relaxed: a scrape may be one request behind). Requests are counted by route
 * and class of status, and their time falls into buckets whose bounds are METRICS_BOUNDS_US.
 */
#define METRICS_ROUTES_MAX 40
#define METRICS_BUCKETS 12
extern const int64_t METRICS_BOUNDS_US[METRICS_BUCKETS];

struct metrics {
    struct {
        atomic_uint_fast64_t by_class[6]; /* 1xx … 5xx at [1] … [5] */
        atomic_uint_fast64_t buckets[METRICS_BUCKETS + 1], total_us;
    } routes[METRICS_ROUTES_MAX];
    atomic_uint_fast64_t refused_by_gate;
    atomic_uint_fast64_t refused_unknown, refused_scope, refused_rate; /* callers: 401, 403, 429 */
};

void metrics_request(struct metrics *metrics, size_t route, int status, int64_t took_us);

static inline void metrics_add(atomic_uint_fast64_t *counter, uint64_t amount)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount, memory_order_relaxed);
}

#endif
