#ifndef SHIM_H
#define SHIM_H

#include <stdatomic.h>
#include <stdint.h>

/*
 * What the shim (in the worker that is the victim) and souk-crash (outside of it) share: one block in a file that both have mapped. The file's name
 * is in the victim's environment.
 *
 *   souk-crash                                      the victim
 *   action, at, skip_ms; armed = 1 ───────────────▶ counts each crossing (or allocation); at the at-th it acts, and says in ${acted} what it was
 */
#define SHIM_FILE_VARIABLE "SOUK_CRASH_CONTROL"

/* COUNT only counts, and writes down what it counted. All but NO_MEMORY are about crossings. */
enum shim_action { SHIM_COUNT, SHIM_DIE_BEFORE, SHIM_DIE_AFTER, SHIM_FAIL, SHIM_SHORT, SHIM_NO_MEMORY };
#define SHIM_ACTIONS 6

/* What a call allows: it can fail and the process goes on; it can be carried out for its first byte only. */
enum { SHIM_CAN_FAIL = 1, SHIM_CAN_BE_SHORT = 2 };

/* One call: its name, who made it ("libhiredis"), and in which function of that, if the library has a name for it. */
struct shim_call {
    uint32_t allows;
    char name[16], library[28], function[40];
};
#define SHIM_CALLS_MAX 1024
#define SHIM_ALLOCATIONS_MAX 8192

struct shim_control {
    /* Set from outside while it is not armed. */
    uint32_t action;  /* enum shim_action */
    uint32_t at;      /* the first is 1 */
    uint32_t skip_ms; /* while ${skipping}, the victim's clock is ahead by so much: what it does by the clock is due at once */
    _Atomic uint32_t armed, skipping;

    /* Set by the victim. */
    _Atomic uint32_t ever;               /* calls, also while it is not armed */
    _Atomic uint32_t calls, allocations; /* counted since these were set to 0 */
    _Atomic uint32_t acted;              /* 1: ${call} is what it acted upon */
    struct shim_call call;
    struct shim_call calls_seen[SHIM_CALLS_MAX], allocations_seen[SHIM_ALLOCATIONS_MAX]; /* by COUNT */
};

#endif
