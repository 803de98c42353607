#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flow_driver.h"

#include "functions.h"

#include "product.h"

/*
 * POST /products/import without I/O: how lines become parts and what becomes of them. The driver's store has 16 partitions.
 */
struct import_talk {
    struct ask ask;
    struct driver *driver;
};

static void start(struct import_talk *talk, const char *body)
{
    talk->ask =
        (struct ask){.method = METHOD_POST, .route = "/products/import", .raw_body = view_of(body), .key = VIEW("k"), .request_id = VIEW("r")};
    talk->driver = driver_start(&PRODUCT_IMPORT_FLOW, &talk->ask);
}

/* Answers the beginning, and lets the flow read all lines. */
static void begin(struct import_talk *talk)
{
    struct call *call = driver_next_call(talk->driver);
    assert_true(driver_calls(call, &FN_IMPORT_BEGIN));
    driver_reply(talk->driver, call, "0");
    while (driver_sleep_ms(talk->driver) >= 0)
        driver_wake(talk->driver);
}

static void assert_body(struct import_talk *talk, const char *want)
{
    assert_int_equal(driver_finish(talk->driver)->status, 200);
    assert_string_equal(driver_answer(talk->driver)->content_type, "application/x-ndjson");
    assert_string_equal(driver_body(talk->driver), want);
    driver_free(talk->driver);
}

static void test_parts_and_results(void **state)
{
    struct import_talk talk;
    start(&talk,
          "{\"id\":17,\"name\":\"a\",\"price\":1,\"stock\":3}\n\n{\"id\":2,\"name\":\"b\",\"price\":2}\r\n{\"id\":33,\"name\":\"c\",\"price\":3}");
    begin(&talk);
    struct call *first = driver_next_call(talk.driver), *second = driver_next_call(talk.driver);
    assert_null(driver_next_call(talk.driver));
    assert_true(driver_calls(first, &FN_IMPORT) && driver_calls(second, &FN_IMPORT));
    assert_int_equal(first->partition, 1);
    assert_memory_equal(driver_part(talk.driver, first, 0), "idem:{1}:", 9);
    assert_string_equal(driver_part(talk.driver, first, 1), "1");
    assert_string_equal(driver_part(talk.driver, first, 3), "17");
    assert_string_equal(driver_part(talk.driver, first, 5), "3");
    assert_string_equal(driver_part(talk.driver, first, 6), "33");
    assert_string_equal(driver_part(talk.driver, first, 8), "");
    assert_int_equal(second->partition, 2);
    assert_string_not_equal(driver_part(talk.driver, first, 0), driver_part(talk.driver, second, 0));
    assert_string_equal(driver_part(talk.driver, first, 2), driver_part(talk.driver, second, 2));
    driver_reply(talk.driver, second, "14 '2,5'");
    driver_reply(talk.driver, first, "0 '17,0|33,1'");
    assert_null(driver_header(talk.driver, "Idempotent-Replayed"));
    assert_body(&talk, "{\"line\":1,\"id\":17,\"status\":422,\"code\":\"unprocessable\",\"retryable\":false,\"detail\":\"the product is there, and "
                       "its stock is not what a "
                       "catalogue says: leave out \\\"stock\\\", or change it by stock-adjustments\"}\n"
                       "{\"line\":3,\"id\":2,\"version\":5,\"status\":200}\n{\"line\":4,\"id\":33,\"version\":1,\"status\":201}\n");
}

static void test_lines(void **state)
{
    static const struct {
        const char *line, *want;
    } cases[] = {
        {"{", "\"line\":1,\"status\":400,\"code\":\"bad_request\""},
        {"null", "\"line\":1,\"status\":422,"},
        {"{}", "\"pointer\":\"/name\""},
        {"{\"name\":\"a\",\"price\":-1}", "\"pointer\":\"/price\""},
        {"{\"name\":\"a\",\"price\":1,\"currency\":\"XXX\"}", "\"pointer\":\"/currency\""},
        {"{\"name\":\"a\",\"price\":1,\"stock\":-1}", "\"pointer\":\"/stock\""},
        {"{\"name\":\"a\",\"price\":1,\"attributes\":1}", "\"pointer\":\"/attributes\""},
        {"{\"id\":9007199254740992,\"name\":\"a\",\"price\":1}", "\"pointer\":\"/id\""},
        {"{\"id\":5,\"name\":\"a\"}", "\"line\":1,\"id\":5,\"status\":422"},
        {"{\"name\":\"a\",\"price\":1,\"x\":1}", "\"pointer\":\"/x\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct import_talk talk;
        start(&talk, cases[i].line);
        begin(&talk);
        driver_finish(talk.driver);
        if (strstr(driver_body(talk.driver), cases[i].want) == NULL)
            fail_msg("%s: %s is not in %s", cases[i].line, cases[i].want, driver_body(talk.driver));
        driver_free(talk.driver);
    }
}

/* What a shard does not answer is said line by line, and what makes no sense is said to be that. */
static void test_failures(void **state)
{
    static const struct {
        const char *words;
        enum reply_kind kind;
        const char *want;
    } cases[] = {
        {NULL, REPLY_NOT_SENT, "\"status\":503,\"code\":\"shard_unavailable\",\"retryable\":true"},
        {NULL, REPLY_UNKNOWN, "\"status\":503,\"code\":\"outcome_unknown\",\"retryable\":true"},
        {"12", REPLY_OK, "\"status\":422,\"code\":\"idempotency_key_reused\""},
        {"0 '17,1|33,1'", REPLY_OK, "\"status\":500,\"code\":\"internal_error\""},
        {"0 ''", REPLY_OK, "\"status\":500"},
        {"0 '17'", REPLY_OK, "\"status\":500"},
        {"0 '17,+'", REPLY_OK, "\"status\":500"},
        {"0 '17,'", REPLY_OK, "\"status\":500"},
        {"10", REPLY_OK, "\"status\":500"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct import_talk talk;
        start(&talk, "{\"id\":17,\"name\":\"a\",\"price\":1}\n");
        begin(&talk);
        struct call *call = driver_next_call(talk.driver);
        if (cases[i].words)
            driver_reply(talk.driver, call, cases[i].words);
        else
            driver_reply_kind(talk.driver, call, cases[i].kind);
        assert_int_equal(driver_finish(talk.driver)->status, 200);
        if (strstr(driver_body(talk.driver), cases[i].want) == NULL)
            fail_msg("case %zu: %s is not in %s", i, cases[i].want, driver_body(talk.driver));
        driver_free(talk.driver);
    }
}

static void test_begin(void **state)
{
    static const struct {
        const char *words;
        enum reply_kind kind;
        int status;
    } cases[] = {{"12", REPLY_OK, 422}, {NULL, REPLY_NOT_SENT, 503}, {NULL, REPLY_UNKNOWN, 503}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct import_talk talk;
        start(&talk, "{\"id\":17,\"name\":\"a\",\"price\":1}\n");
        if (cases[i].words)
            driver_reply(talk.driver, driver_next_call(talk.driver), cases[i].words);
        else
            driver_reply_kind(talk.driver, driver_next_call(talk.driver), cases[i].kind);
        assert_int_equal(driver_finish(talk.driver)->status, cases[i].status);
        driver_free(talk.driver);
    }
}

/* Fills ${body} with ${count} lines of ${format}, which is given the number of each. */
static char *many(size_t count, const char *line)
{
    size_t len = strlen(line);
    char *body = malloc(count * (len + 1) + 1);
    assert_non_null(body);
    for (size_t i = 0; i < count; i++) {
        memcpy(body + i * (len + 1), line, len);
        body[i * (len + 1) + len] = '\n';
    }
    body[count * (len + 1)] = '\0';
    return body;
}

static void test_how_many_lines(void **state)
{
    static const struct {
        size_t count;
        int status;
    } cases[] = {{0, 400}, {1, 200}, {20000, 200}, {20001, 413}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct import_talk talk;
        char *body = many(cases[i].count, "1");
        start(&talk, body);
        if (cases[i].status == 200)
            begin(&talk);
        assert_int_equal(driver_finish(talk.driver)->status, cases[i].status);
        driver_free(talk.driver);
        free(body);
    }
}

/* Lines without an id: few calls, none too large, the same calls for the same request, and not more than some at a time. */
static void test_new_products(void **state)
{
    enum { COUNT = 3000 };
    struct import_talk talk;
    char *body = many(COUNT, "{\"name\":\"a\",\"price\":1}"), first_key[64] = "";
    for (int round = 0; round < 2; round++) {
        unsigned products = 0, calls = 0;
        start(&talk, body);
        begin(&talk);
        for (struct call *call; (call = driver_next_call(talk.driver)); calls++) {
            unsigned count = (call->keys + call->args - 3) / 3;
            char results[4096] = "";
            assert_in_range(count, 1, 64);
            for (unsigned i = 0; i < count; i++)
                snprintf(results + strlen(results), sizeof(results) - strlen(results), "%s%u,1", i ? "|" : "", ++products);
            if (calls == 0 && round == 0)
                snprintf(first_key, sizeof(first_key), "%s", driver_part(talk.driver, call, 0));
            else if (calls == 0)
                assert_string_equal(driver_part(talk.driver, call, 0), first_key);
            assert_in_range(driver_waiting(talk.driver), 0, 31);
            driver_reply(talk.driver, call, "0 %", view_of(results));
        }
        assert_int_equal(products, COUNT);
        assert_in_range(calls, COUNT / 64, COUNT / 16);
        assert_int_equal(driver_finish(talk.driver)->status, 200);
        driver_free(talk.driver);
    }
    free(body);
}

static void test_all_replayed(void **state)
{
    struct import_talk talk;
    start(&talk, "{\"id\":17,\"name\":\"a\",\"price\":1}\n{\"id\":18,\"name\":\"a\",\"price\":1}\n");
    begin(&talk);
    driver_reply(talk.driver, driver_next_call(talk.driver), "14 '17,1'");
    driver_reply(talk.driver, driver_next_call(talk.driver), "14 '18,9'");
    assert_string_equal(driver_header(talk.driver, "Idempotent-Replayed"), "true");
    assert_body(&talk, "{\"line\":1,\"id\":17,\"version\":1,\"status\":201}\n{\"line\":2,\"id\":18,\"version\":9,\"status\":200}\n");
}

/* Under an id that had a product before, a new one goes on behind its versions. */
static void test_made_again(void **state)
{
    struct import_talk talk;
    start(&talk, "{\"id\":17,\"name\":\"a\",\"price\":1}\n{\"id\":33,\"name\":\"a\",\"price\":1}\n");
    begin(&talk);
    driver_reply(talk.driver, driver_next_call(talk.driver), "0 '17,+8|33,8'");
    assert_body(&talk, "{\"line\":1,\"id\":17,\"version\":8,\"status\":201}\n{\"line\":2,\"id\":33,\"version\":8,\"status\":200}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_and_results), cmocka_unit_test(test_lines),
        cmocka_unit_test(test_failures),          cmocka_unit_test(test_begin),
        cmocka_unit_test(test_how_many_lines),    cmocka_unit_test(test_new_products),
        cmocka_unit_test(test_all_replayed),      cmocka_unit_test(test_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
