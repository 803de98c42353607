#ifndef DUTY_H
#define DUTY_H

#include "flow.h"

/*
 * Carries out what an order owes to the stock, as its state says: paid → CONFIRM, cancelled and expired → RELEASE, fulfilled → CONSUME at every stock
 * partition, then DUTY_DONE; a reserved order whose time is over is expired first. Each step may be repeated by anybody at any time, so the worker
 * that moved the order does it at once and a sweep does it if that one died.
 *
 *   ORDER_READ ─┬─ reserved: EXPIRE ─▶ ORDER_READ
 *               └─ else: resolve every line ─▶ all answered ─▶ DUTY_DONE
 *
 * A child flow. When a stock partition does not answer, the duty stays and a sweep tries again.
 */
struct flow *duty_new(struct flow *parent, int64_t order_id);

/* After it ended: is the duty done (or was there none)? */
bool duty_complete(const struct flow *flow);

#endif
