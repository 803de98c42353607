#include "breaker.h"

enum breaker breaker_next(enum breaker breaker, enum breaker_event event)
{
    /* The words are those of the picture in breaker.h. */
    static const enum breaker NEXT[][BREAKER_PASSED + 1] = {
        [BREAKER_CLOSED] = {[BREAKER_BEHIND] = BREAKER_OPEN,
                            [BREAKER_CAUGHT_UP] = BREAKER_CLOSED,
                            [BREAKER_LOST] = BREAKER_OPEN,
                            [BREAKER_ASKED] = BREAKER_HALF_OPEN,
                            [BREAKER_PASSED] = BREAKER_CLOSED},
        [BREAKER_HALF_OPEN] = {[BREAKER_BEHIND] = BREAKER_HALF_OPEN,
                               [BREAKER_CAUGHT_UP] = BREAKER_HALF_OPEN,
                               [BREAKER_LOST] = BREAKER_OPEN,
                               [BREAKER_ASKED] = BREAKER_HALF_OPEN,
                               [BREAKER_PASSED] = BREAKER_CLOSED},
        [BREAKER_OPEN] = {[BREAKER_BEHIND] = BREAKER_OPEN,
                          [BREAKER_CAUGHT_UP] = BREAKER_CLOSED,
                          [BREAKER_LOST] = BREAKER_OPEN,
                          [BREAKER_ASKED] = BREAKER_HALF_OPEN,
                          [BREAKER_PASSED] = BREAKER_CLOSED},
    };

    return NEXT[breaker][event];
}

bool retry_allowed(struct retry_budget *budget, uint64_t calls)
{
    budget->credit += calls - budget->calls;
    budget->calls = calls;
    if (budget->credit > RETRY_BURST * RETRY_SHARE)
        budget->credit = RETRY_BURST * RETRY_SHARE;
    if (budget->credit < RETRY_SHARE)
        return false;
    budget->credit -= RETRY_SHARE;
    return true;
}
