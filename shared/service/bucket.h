#ifndef BUCKET_H
#define BUCKET_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A token bucket as one number: when it will be full again (GCRA, ITU-T I.371). It holds a second's worth; each request takes one, and they come back
 * evenly.
 * ${rate}: a second, 1 to 1000000. Pure; 0 is a full one.
 */
#define BUCKET_SECOND_NS INT64_C(1000000000)

/* Takes one. Returns false if it is empty, and then takes nothing. */
static inline bool bucket_take(int64_t *full_at_ns, int64_t now_us, int rate)
{
    int64_t now = now_us * 1000, from = *full_at_ns > now ? *full_at_ns : now, to = from + BUCKET_SECOND_NS / rate;
    if (to > now + BUCKET_SECOND_NS)
        return false;
    *full_at_ns = to;
    return true;
}

#endif
