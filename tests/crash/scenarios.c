#include "crash.h"

/* Steps that several scenarios begin with. */
#define PUT(product, units) \
    { \
        SOUK_PRODUCT, "PUT", "/products/" product, NULL, "If-None-Match: *", "{\"name\":\"Lamp\",\"price\":10.50,\"stock\":" units "}", 201, NULL, 0 \
    }
#define LEFT PUT("$left", "5")
#define RIGHT PUT("$right", "5")
#define BOTH "{\"user\":\"$user\",\"items\":[{\"product_id\":$left,\"quantity\":2},{\"product_id\":$right,\"quantity\":1}]"
#define PLACE \
    { \
        SOUK_ORDER, "POST", "/orders", "place-$n", NULL, BOTH "}", 201, "order", 0 \
    }
#define PAY_AS(token, more, status) \
    { \
        SOUK_PAYMENT, "POST", "/payments", "pay-$n", NULL, "{\"order_id\":$order,\"method\":{\"token\":\"" token "\"}" more "}", status, "payment", \
            0 \
    }
#define PAY PAY_AS("tok_ok", "", 201)
#define AUTHORIZE PAY_AS("tok_ok", ",\"capture\":\"manual\"", 201)
#define CANCEL \
    { \
        SOUK_ORDER, "POST", "/orders/$order/cancel", "cancel-$n", NULL, NULL, 200, NULL, 0 \
    }

#define UNTOUCHED \
    { \
        5, 0, 0 \
    }

const struct scenario SCENARIOS[] = {
    {
        .name = "place",
        .what = "an order of two products on two shards",
        .victim = SOUK_ORDER,
        .prepare = {LEFT, RIGHT},
        .act = PLACE,
        .want = {.left = {5, 2, 0}, .right = {5, 1, 0}, .orders = 1, .state = "reserved", .payment_status = "none"},
    },
    {
        .name = "place-again",
        .what = "the same order with the same key once more",
        .victim = SOUK_ORDER,
        .prepare = {LEFT, RIGHT, PLACE},
        .act = PLACE,
        .want = {.left = {5, 2, 0}, .right = {5, 1, 0}, .orders = 1, .state = "reserved", .payment_status = "none"},
    },
    {
        .name = "place-short",
        .what = "an order that is short of one of its products",
        .victim = SOUK_ORDER,
        .prepare = {LEFT, PUT("$right", "0")},
        .act = {SOUK_ORDER, "POST", "/orders", "place-$n", NULL, BOTH "}", 409, NULL, 0},
        .want = {.left = UNTOUCHED},
    },
    {
        /* The rival's worker could not reach the orders' shard, and the rival did not come back. */
        .name = "place-settle",
        .what = "an order that needs the units of a hold that was left behind",
        .victim = SOUK_ORDER,
        .prepare = {LEFT,
                    {SOUK_ORDER, "POST", "/orders", "rival-$n", NULL,
                     "{\"user\":\"$rival\",\"items\":[{\"product_id\":$left,\"quantity\":4}],\"hold_seconds\":1}", 503, NULL, 3}},
        .wait_ms = 1500,
        .act = {SOUK_ORDER, "POST", "/orders", "place-$n", NULL, "{\"user\":\"$user\",\"items\":[{\"product_id\":$left,\"quantity\":3}]}", 201,
                "order", 0},
        .want = {.left = {5, 3, 0}, .orders = 1, .state = "reserved", .payment_status = "none"},
    },
    {
        .name = "cancel",
        .what = "a reserved order is cancelled",
        .victim = SOUK_ORDER,
        .prepare = {LEFT, RIGHT, PLACE},
        .act = CANCEL,
        .want = {.left = UNTOUCHED, .right = UNTOUCHED, .orders = 1, .state = "cancelled", .payment_status = "none"},
    },
    {
        .name = "cancel-paid",
        .what = "a paid order is cancelled, and its money goes back",
        .victim = SOUK_ORDER,
        .prepare = {LEFT, RIGHT, PLACE, PAY},
        .act = CANCEL,
        .want = {.left = UNTOUCHED,
                 .right = UNTOUCHED,
                 .orders = 1,
                 .state = "cancelled",
                 .payment_status = "refunded",
                 .payment = "refunded",
                 .charges = 1,
                 .refunds = 1},
    },
    {
        .name = "fulfil",
        .what = "a paid order is fulfilled",
        .victim = SOUK_ORDER,
        .prepare = {LEFT, RIGHT, PLACE, PAY},
        .act = {SOUK_ORDER, "POST", "/orders/$order/fulfil", "fulfil-$n", NULL, "{\"tracking\":\"T$n\"}", 200, NULL, 0},
        .want = {.left = {3, 0, 0},
                 .right = {4, 0, 0},
                 .orders = 1,
                 .state = "fulfilled",
                 .payment_status = "paid",
                 .payment = "succeeded",
                 .charges = 1},
    },
    {
        .name = "pay",
        .what = "an order is paid",
        .victim = SOUK_PAYMENT,
        .prepare = {LEFT, RIGHT, PLACE},
        .act = PAY,
        .gateway = true,
        .want = {.left = {5, 0, 2}, .right = {5, 0, 1}, .orders = 1, .state = "paid", .payment_status = "paid", .payment = "succeeded", .charges = 1},
    },
    {
        .name = "pay-declined",
        .what = "a payment that the gateway declines",
        .victim = SOUK_PAYMENT,
        .prepare = {LEFT, RIGHT, PLACE},
        .act = PAY_AS("tok_declined", "", 402),
        .gateway = true,
        .want = {.left = {5, 2, 0}, .right = {5, 1, 0}, .orders = 1, .state = "reserved", .payment_status = "none", .payment = "failed"},
    },
    {
        .name = "authorize",
        .what = "a payment that is authorized only",
        .victim = SOUK_PAYMENT,
        .prepare = {LEFT, RIGHT, PLACE},
        .act = AUTHORIZE,
        .gateway = true,
        .want = {.left = {5, 2, 0}, .right = {5, 1, 0}, .orders = 1, .state = "reserved", .payment_status = "authorized", .payment = "authorized"},
    },
    {
        .name = "capture",
        .what = "an authorized payment is captured",
        .victim = SOUK_PAYMENT,
        .prepare = {LEFT, RIGHT, PLACE, AUTHORIZE},
        .act = {SOUK_PAYMENT, "POST", "/payments/$payment/capture", "capture-$n", NULL, NULL, 200, NULL, 0},
        .gateway = true,
        .want =
            {.left = {5, 0, 2}, .right = {5, 0, 1}, .orders = 1, .state = "paid", .payment_status = "paid", .payment = "succeeded", .captures = 1},
    },
    {
        .name = "void",
        .what = "an authorized payment is let go",
        .victim = SOUK_PAYMENT,
        .prepare = {LEFT, RIGHT, PLACE, AUTHORIZE},
        .act = {SOUK_PAYMENT, "POST", "/payments/$payment/void", "void-$n", NULL, NULL, 200, NULL, 0},
        .gateway = true,
        .want = {.left = {5, 2, 0}, .right = {5, 1, 0}, .orders = 1, .state = "reserved", .payment_status = "none", .payment = "voided", .voids = 1},
    },
    {
        .name = "refund",
        .what = "a part of a payment goes back",
        .victim = SOUK_PAYMENT,
        .prepare = {LEFT, RIGHT, PLACE, PAY},
        .act = {SOUK_PAYMENT, "POST", "/payments/$payment/refunds", "refund-$n", NULL, "{\"amount\":5.25,\"reason\":\"scratched\"}", 201, NULL, 0},
        .gateway = true,
        .want = {.left = {5, 0, 2},
                 .right = {5, 0, 1},
                 .orders = 1,
                 .state = "paid",
                 .payment_status = "partially_refunded",
                 .payment = "partially_refunded",
                 .charges = 1,
                 .refunds = 1},
    },
    {
        /* Paid while a product's shard was away, so the holds are not confirmed. */
        .name = "sweep-confirm",
        .what = "the sweep does what a paid order owes to the stock",
        .victim = SOUK_ORDER,
        .prepare = {LEFT,
                    RIGHT,
                    PLACE,
                    {SOUK_PAYMENT, "POST", "/payments", "pay-$n", NULL, "{\"order_id\":$order,\"method\":{\"token\":\"tok_ok\"}}", 201, "payment",
                     1}},
        .sweep = "order",
        .alone_from = 3,
        .want = {.left = {5, 0, 2}, .right = {5, 0, 1}, .orders = 1, .state = "paid", .payment_status = "paid", .payment = "succeeded", .charges = 1},
    },
    {
        .name = "sweep-expire",
        .what = "the sweep ends an order that nobody paid",
        .victim = SOUK_ORDER,
        .prepare = {LEFT, RIGHT, {SOUK_ORDER, "POST", "/orders", "place-$n", NULL, BOTH ",\"hold_seconds\":3}", 201, "order", 0}},
        .wait_ms = 3200,
        .sweep = "order",
        .alone_from = 3,
        .want = {.left = UNTOUCHED, .right = UNTOUCHED, .orders = 1, .state = "expired", .payment_status = "none"},
    },
    {
        /* tok_timeout: the gateway charges and never answers. */
        .name = "sweep-settle",
        .what = "the sweep asks the gateway what became of a payment",
        .victim = SOUK_PAYMENT,
        .prepare = {LEFT, RIGHT, PLACE, PAY_AS("tok_timeout", "", 202)},
        .sweep = "payment",
        .alone_from = 4,
        .env = "SOUK_GATEWAY_TIMEOUT_MS=300",
        .want = {.left = {5, 0, 2}, .right = {5, 0, 1}, .orders = 1, .state = "paid", .payment_status = "paid", .payment = "succeeded", .charges = 1},
    },
    {
        .name = "sweep-refund",
        .what = "the sweep gives back the money of a cancelled order",
        .victim = SOUK_PAYMENT,
        .prepare = {LEFT, RIGHT, PLACE, PAY, CANCEL},
        .sweep = "payment",
        .alone_from = 4,
        .want = {.left = UNTOUCHED,
                 .right = UNTOUCHED,
                 .orders = 1,
                 .state = "cancelled",
                 .payment_status = "refunded",
                 .payment = "refunded",
                 .charges = 1,
                 .refunds = 1},
    },
    {
        .name = "adjust",
        .what = "units are added to a stock",
        .victim = SOUK_PRODUCT,
        .prepare = {LEFT},
        .act = {SOUK_PRODUCT, "POST", "/products/$left/stock-adjustments", "adjust-$n", NULL, "{\"delta\":3}", 200, NULL, 0},
        .want = {.left = {8, 0, 0}},
    },
    {
        .name = "create",
        .what = "a product is created, its id made from the key",
        .victim = SOUK_PRODUCT,
        .act = {SOUK_PRODUCT, "POST", "/products", "create-$n", NULL, "{\"name\":\"Lamp\",\"price\":10.50,\"stock\":5}", 201, "left", 0},
        .want = {.left = UNTOUCHED, .version = 1},
    },
    {
        .name = "patch",
        .what = "a product's price is changed, if it is as it was seen",
        .victim = SOUK_PRODUCT,
        .prepare = {LEFT},
        .act = {SOUK_PRODUCT, "PATCH", "/products/$left", NULL, "If-Match: \"v1\"", "{\"price\":12.00}", 200, NULL, 0},
        .repeat = 412,
        .want = {.left = UNTOUCHED, .version = 2},
    },
    {
        /* What was answered 202 and not written yet dies with the worker, and with nothing else; who sends it again has it. */
        .name = "patch-async",
        .what = "a product's price is changed, and answered before it is written",
        .victim = SOUK_PRODUCT,
        .prepare = {LEFT},
        .act = {SOUK_PRODUCT, "PATCH", "/products/$left", NULL, "If-Match: *\nPrefer: respond-async", "{\"price\":12.00}", 202, NULL, 0},
        .want = {.left = UNTOUCHED, .version = 2},
    },
    {
        .name = "import",
        .what = "two products on two shards are imported",
        .victim = SOUK_PRODUCT,
        .act = {SOUK_PRODUCT, "POST", "/products/import", "import-$n", "Content-Type: application/x-ndjson",
                "{\"id\":$left,\"name\":\"Lamp\",\"price\":10.50,\"stock\":5}\n{\"id\":$right,\"name\":\"Cup\",\"price\":2.00,\"stock\":5}\n", 200,
                NULL, 0},
        .want = {.left = UNTOUCHED, .right = UNTOUCHED, .version = 1},
    },
};
const unsigned SCENARIO_COUNT = sizeof(SCENARIOS) / sizeof(*SCENARIOS);
