#include "metrics.h"

const int64_t METRICS_BOUNDS_US[METRICS_BUCKETS] = {250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000};

void metrics_request(struct metrics *metrics, size_t route, int status, int64_t took_us)
{
    size_t bucket = 0;
    while (bucket < METRICS_BUCKETS && took_us > METRICS_BOUNDS_US[bucket])
        bucket++;
    metrics_add(&metrics->routes[route].by_class[status / 100 % 6], 1);
    metrics_add(&metrics->routes[route].buckets[bucket], 1);
    metrics_add(&metrics->routes[route].total_us, (uint64_t)took_us);
}
