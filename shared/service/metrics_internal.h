#ifndef METRICS_INTERNAL_H
#define METRICS_INTERNAL_H

#include "service_internal.h"

/* What metrics.c and metrics_page.c share: where the figures are among a thread's words. */
struct near_lease {
    uint64_t leased, staleness_us;
};

size_t metrics_shard_at(unsigned shard);
size_t metrics_near_at(const struct service *service);
size_t metrics_lease_at(const struct service *service, unsigned shard);
size_t metrics_program_at(const struct service *service);

#endif
