#ifndef CLOCK_H
#define CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Monotonic time in microseconds; only differences mean anything. */
int64_t clock_us(void);

/* Wall time in milliseconds since 1970, for logs and headers, never for a decision. */
int64_t clock_wall_ms(void);

/* The longest text of clock_rfc3339, with its NUL: 2026-11-22T15:24:00.123Z */
#define CLOCK_RFC3339_MAX 32

/* Writes ${ms} since 1970 as RFC 3339 in UTC with milliseconds; returns its length. Cannot fail for years 1970 … 9999. */
size_t clock_rfc3339(char out[CLOCK_RFC3339_MAX], int64_t ms);

/* Writes ${ms} since 1970 as an HTTP date (RFC 9110 section 5.6.7); returns its length (29). */
size_t clock_http_date(char out[CLOCK_RFC3339_MAX], int64_t ms);

#endif
