#include <stdio.h>

#include "clock.h"

#include "access.h"

#define FAILED_EVERY_US 1000000

/* One for each second is enough to find the reason; a shard that is away must not fill the disk. */
static bool may_tell(struct access_log *log, unsigned *untold)
{
    int64_t now = clock_us();
    *untold = log->untold;
    if (log_level() != LOG_DEBUG && log->told_us && now - log->told_us < FAILED_EVERY_US) {
        log->untold++;
        return false;
    }
    log->told_us = now;
    log->untold = 0;
    return true;
}

static struct view number(char *text, size_t size, long long of)
{
    return (struct view){text, (size_t)snprintf(text, size, "%lld", of)};
}

void access_tell(struct access_log *log, const struct access *access)
{
    char status[24], took[24], left_out[24];
    unsigned untold = 0;
    if (access->status >= 500 && !may_tell(log, &untold))
        return;
    const char *method = method_name(exchange_method(access->exchange)), *code = access->outcome ? access->outcome->code : NULL;
    const struct log_field fields[] = {
        {"method", view_of(method), false},
        {"path", exchange_path(access->exchange), false},
        {"route", view_of(access->route), false},
        {"status", number(status, sizeof(status), access->status), true},
        {"code", view_of(code), false},
        {"duration_us", number(took, sizeof(took), access->took_us), true},
        {"request_id", access->request_id, false},
        {"traceparent", access->traceparent, false},
        {"untold", untold ? number(left_out, sizeof(left_out), untold) : view_of(NULL), true},
    };
    struct view shown = access->route ? view_of(access->route) : exchange_path(access->exchange);
    const void *before = log_about(NULL); /* all of it is here already */
    log_with(access->status >= 500 ? LOG_WARN : LOG_DEBUG, fields, sizeof(fields) / sizeof(*fields), "%s %.*s was answered %d%s%s", method,
             VIEW_ARG(shown), access->status, code ? " " : "", code ? code : "");
    log_about(before);
}

size_t access_describe(const void *what, struct log_field *fields, size_t count)
{
    const struct ask *ask = what;
    const struct log_field all[] = {
        {"request_id", ask->request_id, false},
        {"traceparent", ask->traceparent, false},
        {"method", view_of(method_name(ask->method)), false},
        {"route", view_of(ask->route), false},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all) && count < LOG_FIELDS_MAX; i++)
        fields[count++] = all[i];
    return count;
}
