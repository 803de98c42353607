#ifndef BREAKER_H
#define BREAKER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether a shard takes calls now, and who may be sent twice. Pure, without clock and I/O; pipeline.c and shard.c have its use.
 *
 *              behind, lost             asked
 *   CLOSED ──────────────────▶ OPEN ◀──────────▶ HALF_OPEN        CLOSED: calls go through
 *     ▲ ▲                       │ │    lost          │            OPEN: they complete at once as NOT_SENT
 *     │ └────── caught up ──────┘ └ lost, behind     │            HALF_OPEN: the same, while one question is under way
 *     └──────────────────── passed ──────────────────┘
 *
 * A shard that is silent must not hold many requests, because what waits for it takes the room of others. So many calls may be under way only while
 * the oldest of them is young. What is under way when it opens is not given up: its answers close it again. The probe of HALF_OPEN is the check of a
 * new connection (identity.c), which no client waits for.
 */
enum breaker { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN };
enum breaker_event {
    BREAKER_BEHIND,    /* many calls are under way, and the oldest waits for too long */
    BREAKER_CAUGHT_UP, /* an answer has come, and that is not so any more */
    BREAKER_LOST,      /* there is no connection */
    BREAKER_ASKED,     /* the shard was asked what it is */
    BREAKER_PASSED,    /* it has answered, and is the one it should be */
};
enum breaker breaker_next(enum breaker breaker, enum breaker_event event);

/*
 * A call that had no answer for want of a connection may be sent once more, if it has done nothing. So that a shard which breaks connections is not
 * asked twice as much, one call in RETRY_SHARE is all that is sent again, and at most RETRY_BURST at a time: a token bucket that calls fill.
 */
#define RETRY_SHARE 10
#define RETRY_BURST 128

struct retry_budget {
    uint64_t calls;  /* of which its share was put in */
    uint64_t credit; /* in calls; RETRY_SHARE of them are one retry */
};

/* ${calls}: all that were sent so far. Takes one retry out and returns true, or returns false. */
bool retry_allowed(struct retry_budget *budget, uint64_t calls);

#endif
