#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "library.h"

#include "redis_fixture.h"

/* ${make} is a Lua text that makes the record with R = redis.call; ${want} is what souk_show says of ${key}. */
static const struct shown {
    const char *name, *make, *key, *want;
} SHOWN[] = {
    {"an order",
     "R('HSET', 'order:{17}:4369', 'state', 'paid', 'payment_status', 'paid', 'v', 2, 'user', '42', 'total', '9007199254740991', "
     "'currency', 'USD', 'created', 5, 'expires', 900005, 't', 'aa.bb.1', 'payments', '4369,8465', "
     "'updated', 9, 'e1', 'reserved|none|900005|5|place|r1', 'e2', "
     "'paid|paid|900005|9|charge_succeeded|a|b', 'doc', cmsgpack.pack({lines = {{product_id = 1, quantity = 2, price = 1099}}}))",
     "order:{17}:4369",
     "{\"key\":\"order:{17}:4369\",\"state\":\"paid\",\"payment_status\":\"paid\",\"v\":2,\"user\":\"42\",\"total\":9007199254740991,"
     "\"currency\":\"USD\",\"created\":5,\"updated\":9,\"expires\":900005,\"t\":\"aa.bb.1\",\"payments\":\"4369,8465\","
     "\"doc\":{\"lines\":[{\"price\":1099,\"product_id\":1,\"quantity\":2}]},"
     "\"history\":["
     "{\"v\":1,\"state\":\"reserved\",\"payment_status\":\"none\",\"expires\":900005,\"at\":5,\"cause\":\"place\",\"request\":\"r1\"},"
     "{\"v\":2,\"state\":\"paid\",\"payment_status\":\"paid\",\"expires\":900005,\"at\":9,\"cause\":\"charge_succeeded\",\"request\":\"a|b\"}]}"},
    {"a payment with refunds",
     "R('HSET', 'payment:{1}:257', 'status', 'succeeded', 'v', 1, 'amount', 500, 'refunds', 2, 'refund1', "
     "'failed|100|5|refund:1|cafe|6|', 'refund2', 'pending|7|5|refund:2||6|too | small', 'e1', 'succeeded|500|0|5|charge_succeeded||r')",
     "payment:{1}:257",
     "{\"key\":\"payment:{1}:257\",\"status\":\"succeeded\",\"v\":1,\"amount\":500,\"refunds\":["
     "{\"n\":1,\"status\":\"failed\",\"amount\":100,\"created\":5,\"op\":\"refund:1\",\"ikey\":\"cafe\",\"updated\":6,\"reason\":\"\"},"
     "{\"n\":2,\"status\":\"pending\",\"amount\":7,\"created\":5,\"op\":\"refund:2\",\"ikey\":\"\",\"updated\":6,\"reason\":\"too | small\"}],"
     "\"history\":[{\"v\":1,\"status\":\"succeeded\","
     "\"captured\":500,\"refunded\":0,\"at\":5,\"cause\":\"charge_succeeded\",\"failure\":\"\",\"request\":\"r\"}]}"},
    {"a product with all kinds of values",
     "R('HSET', 'product:{1}:1', 'v', 3, 'doc', cmsgpack.pack({name = 'A \\\"b\\\"', "
     "price = 1099, big = 9007199254740991, low = -5, half = 0.5, yes = true}))",
     "product:{1}:1",
     "{\"key\":\"product:{1}:1\",\"v\":3,\"doc\":{"
     "\"big\":9007199254740991,\"half\":0.5,\"low\":-5,\"name\":\"A \\\"b\\\"\",\"price\":1099,\"yes\":true}}"},
    {"a document that is none", "R('HSET', 'product:{1}:1', 'v', 3, 'doc', string.char(193))", "product:{1}:1",
     "{\"key\":\"product:{1}:1\",\"v\":3,\"doc\":\"not readable here, 1 bytes\"}"},
    {"stock, with a number that is not exact", "R('HSET', 'stock:{1}:1', 'held', 2, 'on_hand', '9007199254740992', 'committed', '007', 'v', 4)",
     "stock:{1}:1", "{\"key\":\"stock:{1}:1\",\"on_hand\":\"9007199254740992\",\"held\":2,\"committed\":\"007\",\"v\":4}"},
    {"stock with holds and marks", "R('HSET', 'stock:{1}:1', 'b.c.1', 'released|1|9|77|70', 'v', 4, 'a.c.1', 'held|2|7|90|80')", "stock:{1}:1",
     "{\"key\":\"stock:{1}:1\",\"v\":4,\"a.c.1\":{\"phase\":\"held\",\"quantity\":2,\"order_partition\":7,\"when\":90,\"since\":80},"
     "\"b.c.1\":{\"phase\":\"released\",\"quantity\":1,\"order_partition\":9,\"when\":77,\"since\":70}}"},
    {"an idempotency record", "R('HSET', 'idem:{1}:ab', 'fp', '0123456789012345', 's', 'refused', 'status', 409, 'body', '{}', 'a:ff', 3)",
     "idem:{1}:ab", "{\"key\":\"idem:{1}:ab\",\"s\":\"refused\",\"fp\":\"0123456789012345\",\"status\":409,\"a:ff\":3,\"body\":\"{}\"}"},
    {"nothing", "R('DEL', 'order:{1}:1')", "order:{1}:1", "null"},
    {"a key of another kind", "R('ZADD', 'orders:{1}', 5, 1)", "orders:{1}",
     "-ERR souk_show takes one key: order, payment, product, stock or idem, as in order:{17}:4369"},
};

static void show(void **state)
{
    struct redis_fixture *redis = redis_start(NULL);

    REDIS_DO(redis, "FUNCTION", "LOAD", SOUK_LIBRARIES[1].text.at);
    for (size_t i = 0; i < sizeof(SHOWN) / sizeof(SHOWN[0]); i++) {
        char script[2048], *got;
        snprintf(script, sizeof(script), "local R = redis.call %s return 1", SHOWN[i].make);
        REDIS_DO(redis, "FLUSHALL");
        REDIS_DO(redis, "EVAL", script, "0");
        got = REDIS(redis, "FCALL_RO", "souk_show", "1", SHOWN[i].key);
        print_message("             %s\n", SHOWN[i].name);
        assert_non_null(got);
        assert_string_equal(got, SHOWN[i].want);
        free(got);
    }
    redis_stop(redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(show)};

    return cmocka_run_group_tests_name("show", tests, NULL, NULL);
}
