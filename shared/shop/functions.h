#ifndef FUNCTIONS_H
#define FUNCTIONS_H

#include "call.h"

/* The functions of lua/, one row each: C name, name, does it write. lua/README.md has their arguments and answers. */
#define FUNCTIONS(ROW) \
    ROW(PRODUCT_CREATE, "product_create", true) \
    ROW(PRODUCT_PUT, "product_put", true) \
    ROW(PRODUCT_DELETE, "product_delete", true) ROW(STOCK_ADJUST, "stock_adjust", true) ROW(TRY, "try", true) ROW(CONFIRM, "confirm", true) \
        ROW(RELEASE, "release", true) ROW(CONSUME, "consume", true) ROW(KEEP, "keep", true) ROW(LOOK, "look", true) ROW(PLACE, "place", true) \
            ROW(REFUSE, "refuse", true) ROW(SETTLE, "settle", true) ROW(CANCEL, "cancel", true) ROW(FULFIL, "fulfil", true) \
                ROW(EXPIRE, "expire", true) ROW(ORDER_READ, "order_read", false) ROW(DUTY_DONE, "duty_done", true) ROW(PRUNE, "prune", true) \
                    ROW(SWEEP, "sweep", true) ROW(PAY, "pay", true) ROW(PAY_ACT, "pay_act", true) ROW(PAY_RESULT, "pay_result", true) \
                        ROW(REFUND, "refund", true) ROW(REFUND_RESULT, "refund_result", true) ROW(PAY_DONE, "pay_done", true) \
                            ROW(PAYMENT_READ, "payment_read", false) ROW(LIST, "list", false) ROW(EVENTS, "events", false) \
                                ROW(AUDIT_STOCK, "audit_stock", false) ROW(AUDIT_HOLDS, "audit_holds", false) ROW(AUDIT_ORDERS, "audit_orders", false)

#define FUNCTION_DECLARE(id, name, writes) extern const struct function FN_##id;
FUNCTIONS(FUNCTION_DECLARE)

/* What a function's first integer says (lua/README.md). 1 and 2 never reach a flow: the store turns them into NOT_SENT. */
enum {
    CODE_OK = 0,
    CODE_NOT_FOUND = 10,
    CODE_STALE = 11,
    CODE_KEY_REUSED = 12,
    CODE_IN_FLIGHT = 13,
    CODE_REPLAY = 14,
    CODE_REFUSED = 15,
    CODE_ALREADY = 16,
    CODE_SHORT = 20,
    CODE_GONE = 21,
    CODE_ASK = 22,
    CODE_HELD = 23,
    CODE_UNEXPECTED = 24,
    CODE_ABSENT = 25,
    CODE_ILLEGAL = 26,
    CODE_PAYMENT_OPEN = 27,
    CODE_EXPIRED = 28,
    CODE_AMOUNT = 29,
    CODE_ABORTED = 30,
};

#endif
