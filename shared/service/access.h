#ifndef ACCESS_H
#define ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "log.h"

#include "flow.h"
#include "outcome.h"

/*
 * Lines about requests: at level debug one for each; else one for those that the worker failed (5xx), at most one a second from each thread, which
 * says how many were left out.
 */
struct access_log {
    int64_t told_us;
    unsigned untold; /* since then */
};

/* Is this answer told of? */
static inline bool access_is_told(int status)
{
    return status >= 500 || log_level() == LOG_DEBUG;
}

/* ${outcome}: what the problem was; NULL: none, or not known. ${route}: the template; NULL: it is no route's. */
struct access {
    const struct exchange *exchange;
    const char *route;
    struct view request_id, traceparent;
    int status;
    int64_t took_us;
    const struct outcome *outcome;
};
void access_tell(struct access_log *log, const struct access *access);

/* For log_describe_by: what is being done is a struct ask. */
size_t access_describe(const void *ask, struct log_field *fields, size_t count);

#endif
