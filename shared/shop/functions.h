#ifndef FUNCTIONS_H
#define FUNCTIONS_H

#include "call.h"

/*
 * The functions of lua/, one row each: C name, name, does it write, which records that are kept near does it change. lua/README.md has their
 * arguments and answers.
 */
#define FUNCTIONS(ROW) \
    ROW(PRODUCT_CREATE, "product_create", true, "product") \
    ROW(PRODUCT_PUT, "product_put", true, "product") \
    ROW(PRODUCT_REPLACE, "product_replace", true, "product") \
    ROW(IMPORT_BEGIN, "import_begin", true, NULL) \
    ROW(IMPORT, "import", true, "product") \
    ROW(PRODUCT_DELETE, "product_delete", true, "product") \
    ROW(STOCK_ADJUST, "stock_adjust", true, NULL) \
    ROW(TRY, "try", true, NULL) \
    ROW(CONFIRM, "confirm", true, NULL) \
    ROW(RELEASE, "release", true, NULL) \
    ROW(CONSUME, "consume", true, NULL) \
    ROW(KEEP, "keep", true, NULL) \
    ROW(LOOK, "look", true, NULL) \
    ROW(PLACE, "place", true, NULL) \
    ROW(REFUSE, "refuse", true, NULL) \
    ROW(SETTLE, "settle", true, NULL) \
    ROW(CANCEL, "cancel", true, NULL) \
    ROW(FULFIL, "fulfil", true, NULL) \
    ROW(EXPIRE, "expire", true, NULL) \
    ROW(ORDER_READ, "order_read", false, NULL) \
    ROW(DUTY_DONE, "duty_done", true, NULL) \
    ROW(PRUNE, "prune", true, NULL) \
    ROW(SWEEP, "sweep", true, NULL) \
    ROW(PAY, "pay", true, NULL) \
    ROW(PAY_ACT, "pay_act", true, NULL) \
    ROW(PAY_RESULT, "pay_result", true, NULL) \
    ROW(REFUND, "refund", true, NULL) \
    ROW(REFUND_RESULT, "refund_result", true, NULL) \
    ROW(PAY_DONE, "pay_done", true, NULL) \
    ROW(PAYMENT_READ, "payment_read", false, NULL) \
    ROW(LIST, "list", false, NULL) \
    ROW(EVENTS, "events", false, NULL) \
    ROW(CENSUS, "census", false, NULL) \
    ROW(AUDIT_STOCK, "audit_stock", false, NULL) \
    ROW(AUDIT_HOLDS, "audit_holds", false, NULL) \
    ROW(AUDIT_ORDERS, "audit_orders", false, NULL)

#define FUNCTION_DECLARE(id, name, writes, changes) extern const struct function FN_##id;
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
