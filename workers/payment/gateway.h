#ifndef GATEWAY_H
#define GATEWAY_H

#include <stdint.h>

#include "arena.h"
#include "flow.h"

/*
 * The payment gateway as flows see it: an errand says what is wanted and comes back with what became of it. Which gateway it is, and how it is
 * reached, is behind the port (gateway_port.h).
 *
 * Every errand carries an idempotency key that is the same on every retry. SETTLE asks what became of a key; a gateway that does not know the key
 * records it as closed, so that a late request with it is refused, and says FAILED "closed". So what is unknown ends definitely.
 */
enum gateway_op { GATEWAY_CHARGE, GATEWAY_AUTHORIZE, GATEWAY_CAPTURE, GATEWAY_VOID, GATEWAY_REFUND, GATEWAY_SETTLE };

/*
 * UNKNOWN: the gateway may or may not have done it. NOT_SENT: the request certainly never reached it; but one that was sent before under the same key
 * may have, so neither is a "no".
 */
enum gateway_result { GATEWAY_SUCCEEDED, GATEWAY_AUTHORIZED, GATEWAY_VOIDED, GATEWAY_FAILED, GATEWAY_UNKNOWN, GATEWAY_NOT_SENT };

struct gateway_errand {
    struct errand base;
    struct arena *arena; /* valid until the completion; texts below are in it or outlive it */

    /* What is wanted. */
    enum gateway_op op;
    struct view key;
    int64_t amount;              /* CHARGE, AUTHORIZE, CAPTURE, REFUND: of the smallest unit */
    struct view currency, token; /* CHARGE, AUTHORIZE */
    struct view ref;             /* CAPTURE, VOID, REFUND: the gateway's name of the charge */

    /* What became of it. */
    enum gateway_result result;
    struct view result_ref; /* the gateway's name of the charge; empty if none came of it */
    struct view failure;    /* FAILED: the gateway's code, word characters only */
    const char *why;        /* UNKNOWN, NOT_SENT: for the log; static */

    int64_t since_us; /* the port's own */
};

/* The errand about one operation of a payment: its key is "souk-<payment id>-<op>", op as it is stored ("charge:1", "refund:2"). Cannot fail. */
struct gateway_errand *gateway_errand_new(struct arena *arena, enum gateway_op op, int64_t payment_id, struct view payment_op);

/* What functions call it: "succeeded", "authorized", "voided", "failed"; "unknown" for UNKNOWN and NOT_SENT. */
struct view gateway_result_text(enum gateway_result result);

#endif
