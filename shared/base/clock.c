#include <stdio.h>
#include <time.h>

#include "clock.h"

#define LAST_MS ((int64_t)253402300799999) /* 9999-12-31T23:59:59.999Z */

int64_t clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A time outside of what the formats can say becomes the nearest that they can: a damaged number in a record must not stop a worker. */
static int64_t within(int64_t ms)
{
    return ms < 0 ? 0 : ms > LAST_MS ? LAST_MS : ms;
}

static struct tm calendar(int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;

    gmtime_r(&seconds, &parts);
    return parts;
}

size_t clock_rfc3339(char out[CLOCK_RFC3339_MAX], int64_t ms)
{
    struct tm parts = calendar(within(ms));
    size_t len = strftime(out, CLOCK_RFC3339_MAX, "%Y-%m-%dT%H:%M:%S", &parts);

    return len + (size_t)snprintf(out + len, CLOCK_RFC3339_MAX - len, ".%03uZ", (unsigned)(within(ms) % 1000));
}

size_t clock_http_date(char out[CLOCK_RFC3339_MAX], int64_t ms)
{
    struct tm parts = calendar(within(ms));

    /* English names without a table: no program of Souk calls setlocale, so the locale is always "C". */
    return strftime(out, CLOCK_RFC3339_MAX, "%a, %d %b %Y %H:%M:%S GMT", &parts);
}
