#ifndef OUTCOMES_H
#define OUTCOMES_H

#include "outcome.h"

/* The shop's own outcomes: rows of the same kind as service/outcome.h's. */
#define OUTCOMES_SHOP(ROW) \
    ROW(INSUFFICIENT_STOCK, "insufficient_stock", "There are not enough units", 409, false, 0) \
    ROW(ILLEGAL_TRANSITION, "illegal_transition", "This is not possible from the present state", 409, false, 0) \
    ROW(TOTAL_CHANGED, "total_changed", "The total is another than expected", 409, false, 0) \
    ROW(ORDER_EXPIRED, "order_expired", "The order's hold time is over", 409, false, 0) \
    ROW(PAYMENT_OPEN, "payment_open", "The order has a payment under way", 409, true, 1) \
    ROW(UNITS_HELD, "units_held", "Units of this product are held by orders", 409, false, 0) \
    ROW(STOCK_CHANGED, "stock_changed", "The stock is another than expected", 409, false, 0)

OUTCOMES_SHOP(OUTCOME_DECLARE)

#endif
