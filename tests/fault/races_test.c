#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * Two requests that cannot both be, at once, over two order workers and two payment workers: one wins, the other is told so, and order, stock,
 * payment and the gateway's journal agree. A round is PAIRS such pairs in one burst.
 */
#define PAIRS 30
#define ROUNDS 4
#define PRICE 1050 /* of the smallest unit, as product_put has it */

struct race {
    struct souk *souk;
    int orders[2], payments[2]; /* the workers */
    int64_t product;
    int round; /* of all tests: keys and buyers are named after it */
    int64_t order[PAIRS], payment[PAIRS];
    struct post posts[2 * PAIRS];
    struct response *responses[2 * PAIRS]; /* pair i: i and PAIRS + i */
};

static int setup(void **state)
{
    struct race *race = calloc(1, sizeof(*race));

    race->souk = souk_start(&(struct souk_settings){.roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true, [SOUK_PAYMENT] = true}});
    race->orders[0] = SOUK_ORDER;
    race->orders[1] = souk_add(race->souk, SOUK_ORDER);
    race->payments[0] = SOUK_PAYMENT;
    race->payments[1] = souk_add(race->souk, SOUK_PAYMENT);
    race->product = product_on(race->souk, 0, 0);
    product_put(race->souk, race->product, 1000000);
    *state = race;
    return 0;
}

static int teardown(void **state)
{
    struct race *race = *state;
    unsigned wrong = souk_stop(race->souk);

    free(race);
    return wrong ? -1 : 0;
}

/* ---- asking ---- */

static void send_at_once(struct race *race, size_t count)
{
    struct client_request requests[2 * PAIRS];

    for (size_t i = 0; i < count; i++)
        requests[i] = race->posts[i].request;
    client_send_all(souk_client(race->souk), requests, count, race->responses);
}

/* ${text} with ${id} in the place of its "#". */
static void fill(char *out, size_t size, const char *text, int64_t id)
{
    size_t before = strcspn(text, "#");

    if (text[before])
        snprintf(out, size, "%.*s%lld%s", (int)before, text, (long long)id, text + before + 1);
    else
        snprintf(out, size, "%s", text);
}

/* Request ${n} of the burst; the two of a pair go to two workers. */
static void set(struct race *race, int n, const int workers[2], const char *what, int64_t id, const char *path, const char *body)
{
    char key[48], whole_path[64], whole_body[256];

    snprintf(key, sizeof(key), "%s-%d-%d", what, race->round, n);
    fill(whole_path, sizeof(whole_path), path, id);
    fill(whole_body, sizeof(whole_body), body, id);
    post_set(&race->posts[n], souk_url(race->souk, workers[(n % PAIRS + n / PAIRS) % 2]), whole_path, key, "%s", whole_body);
}

static void place_all(struct race *race, int64_t product, int hold_seconds)
{
    race->round++;
    for (int i = 0; i < PAIRS; i++) {
        char key[48];

        snprintf(key, sizeof(key), "place-%d-%d", race->round, i);
        post_set(&race->posts[i], souk_url(race->souk, race->orders[i % 2]), "/orders", key,
                 "{\"user\":\"racer %d\",\"items\":[{\"product_id\":%lld,\"quantity\":1}],\"hold_seconds\":%d}", race->round * PAIRS + i,
                 (long long)product, hold_seconds);
    }
    send_at_once(race, PAIRS);
    for (int i = 0; i < PAIRS; i++) {
        assert_status(race->responses[i], 201);
        race->order[i] = id_in(race->responses[i]);
    }
    responses_free(race->responses, PAIRS);
}

#define PAY "{\"order_id\":#,\"method\":{\"token\":\"tok_ok\"}}"
#define AUTHORIZE "{\"order_id\":#,\"method\":{\"token\":\"tok_ok\"},\"capture\":\"manual\"}"

static void pay_all(struct race *race, const char *body)
{
    for (int i = 0; i < PAIRS; i++)
        set(race, i, race->payments, "first", race->order[i], "/payments", body);
    send_at_once(race, PAIRS);
    for (int i = 0; i < PAIRS; i++) {
        assert_status(race->responses[i], 201);
        race->payment[i] = id_in(race->responses[i]);
    }
    responses_free(race->responses, PAIRS);
}

/* ---- looking ---- */

static int64_t payment_number(struct race *race, int64_t payment, const char *field)
{
    char key[64], *text;
    int64_t number;

    snprintf(key, sizeof(key), "payment:{%lld}:%lld", (long long)(payment % SOUK_PARTITIONS), (long long)payment);
    text = REDIS(souk_shard(race->souk, souk_shard_of(race->souk, payment)), "HGET", key, field);
    assert_non_null(text);
    number = strtoll(text, NULL, 10);
    free(text);
    return number;
}

static void assert_order(struct race *race, int i, const char *state, const char *payment_status)
{
    char *found = order_field(race->souk, race->order[i], "state"), *paid = order_field(race->souk, race->order[i], "payment_status");

    if (strcmp(found, state) != 0 || (payment_status && strcmp(paid, payment_status) != 0))
        fail_msg("order %lld is %s, %s; expected %s, %s", (long long)race->order[i], found, paid, state, payment_status ? payment_status : "any");
    free(found);
    free(paid);
}

struct wish {
    struct race *race;
    int i;
    const char *payment_status;
};

static bool has_payment_status(void *cookie)
{
    struct wish *wish = cookie;
    char *found = order_field(wish->race->souk, wish->race->order[wish->i], "payment_status");
    bool has = strcmp(found, wish->payment_status) == 0;

    free(found);
    return has;
}

static void await_payment_status(struct race *race, int i, const char *payment_status)
{
    struct wish wish = {race, i, payment_status};

    if (!souk_wait(has_payment_status, &wish, 15000))
        assert_order(race, i, "cancelled or expired", payment_status);
}

/* What the gateway has taken and not given back, by its own journal. */
static int64_t money_at_gateway(struct race *race)
{
    char *journal = souk_journal(race->souk), *rest = journal, *line;
    int64_t sum = 0;

    while ((line = strsep(&rest, "\n")) && *line) {
        json_t *entry = json_loads(line, 0, NULL);
        const char *op = json_string_value(json_object_get(entry, "op"));
        int64_t amount = json_integer_value(json_object_get(entry, "amount"));

        assert_non_null(op);
        if (strcmp(op, "charge") == 0 || strcmp(op, "capture") == 0)
            sum += amount;
        else if (strcmp(op, "refund") == 0)
            sum -= amount;
        json_decref(entry);
    }
    free(journal);
    return sum;
}

/* The same by the payments' records. */
static int64_t money_in_records(struct race *race)
{
    static const char SUM[] = "local sum = 0 for p = 0, ARGV[1] - 1 do for _, id in ipairs(redis.call('ZRANGE', 'payments:{' .. p .. '}', 0, -1)) do "
                              "local v = redis.call('HMGET', 'payment:{' .. p .. '}:' .. id, 'captured', 'refunded') sum = sum + v[1] - v[2] end end "
                              "return string.format('%.0f', sum)";
    char partitions[16];
    int64_t sum = 0;

    snprintf(partitions, sizeof(partitions), "%d", SOUK_PARTITIONS);
    for (unsigned shard = 0; shard < souk_shard_count(race->souk); shard++) {
        char *text = REDIS(souk_shard(race->souk, shard), "EVAL", SUM, "0", partitions);

        assert_non_null(text);
        assert_int_not_equal(text[0], '-');
        sum += strtoll(text, NULL, 10);
        free(text);
    }
    return sum;
}

/* ${expected}: what the shop must have, by the test's own account of who won. */
static void assert_agreed(struct race *race, int64_t before, int64_t expected)
{
    assert_true(souk_audit(race->souk));
    assert_int_equal(money_in_records(race), before + expected);
    assert_int_equal(money_at_gateway(race), before + expected);
}

/* Did this one win? A loser has 409 or 422 with one of these codes. */
static bool won(const struct response *response, int status, const char *codes)
{
    const char *code = json_string_value(json_at(response->json, "code"));

    if (response->status == status)
        return true;
    if (!code || !strstr(codes, code) || (response->status != 409 && response->status != 422))
        fail_msg("answer %d: %s", response->status, response->body);
    return false;
}

/* ---- the races ---- */

/* A payment that is whole before the cancel comes lets both win: then the money goes back. */
static void test_cancel_against_pay(void **state)
{
    struct race *race = *state;
    int cancelled = 0, paid = 0, both = 0;
    int64_t before = money_at_gateway(race);

    for (int round = 0; round < ROUNDS; round++) {
        place_all(race, race->product, 900);
        for (int i = 0; i < PAIRS; i++) {
            set(race, i % 2 ? PAIRS + i : i, race->orders, "cancel", race->order[i], "/orders/#/cancel", "{}");
            set(race, i % 2 ? i : PAIRS + i, race->payments, "pay", race->order[i], "/payments", PAY);
        }
        send_at_once(race, 2 * PAIRS);
        for (int i = 0; i < PAIRS; i++) {
            bool cancel = won(race->responses[i % 2 ? PAIRS + i : i], 200, "payment_open");
            bool pay = won(race->responses[i % 2 ? i : PAIRS + i], 201, "illegal_transition");

            if (!cancel && !pay)
                fail_msg("order %lld: both were refused", (long long)race->order[i]);
            if (cancel && pay)
                await_payment_status(race, i, "refunded");
            assert_order(race, i, cancel ? "cancelled" : "paid", cancel && pay ? "refunded" : cancel ? "none" : "paid");
            cancelled += cancel && !pay;
            paid += pay && !cancel;
            both += cancel && pay;
        }
        responses_free(race->responses, 2 * PAIRS);
    }
    print_message("cancel won %d times, pay %d times; %d were paid, cancelled and refunded\n", cancelled, paid, both);
    assert_agreed(race, before, (int64_t)paid * PRICE);
}

static void test_two_payments(void **state)
{
    struct race *race = *state;
    int64_t before = money_at_gateway(race);

    for (int round = 0; round < ROUNDS; round++) {
        place_all(race, race->product, 900);
        for (int i = 0; i < 2 * PAIRS; i++)
            set(race, i, race->payments, "two", race->order[i % PAIRS], "/payments", PAY);
        send_at_once(race, 2 * PAIRS);
        for (int i = 0; i < PAIRS; i++) {
            bool first = won(race->responses[i], 201, "payment_open illegal_transition");
            bool second = won(race->responses[PAIRS + i], 201, "payment_open illegal_transition");

            assert_int_equal(first + second, 1);
            assert_order(race, i, "paid", "paid");
        }
        responses_free(race->responses, 2 * PAIRS);
    }
    assert_agreed(race, before, ROUNDS * PAIRS * PRICE);
}

static void test_two_captures(void **state)
{
    struct race *race = *state;
    int64_t before = money_at_gateway(race);

    for (int round = 0; round < ROUNDS; round++) {
        place_all(race, race->product, 900);
        pay_all(race, AUTHORIZE);
        for (int i = 0; i < 2 * PAIRS; i++)
            set(race, i, race->payments, "capture", race->payment[i % PAIRS], "/payments/#/capture", "{}");
        send_at_once(race, 2 * PAIRS);
        for (int i = 0; i < PAIRS; i++) {
            bool first = won(race->responses[i], 200, "payment_open illegal_transition idempotency_in_flight");
            bool second = won(race->responses[PAIRS + i], 200, "payment_open illegal_transition idempotency_in_flight");

            assert_int_equal(first + second, 1);
            assert_int_equal(payment_number(race, race->payment[i], "captured"), PRICE);
            assert_order(race, i, "paid", "paid");
        }
        responses_free(race->responses, 2 * PAIRS);
    }
    assert_agreed(race, before, ROUNDS * PAIRS * PRICE);
}

static void test_capture_against_void(void **state)
{
    struct race *race = *state;
    int64_t before = money_at_gateway(race);
    int captured = 0;

    for (int round = 0; round < ROUNDS; round++) {
        place_all(race, race->product, 900);
        pay_all(race, AUTHORIZE);
        for (int i = 0; i < PAIRS; i++) {
            int first = i % 2 ? PAIRS + i : i, second = i % 2 ? i : PAIRS + i;

            set(race, first, race->payments, "capture", race->payment[i], "/payments/#/capture", "{}");
            set(race, second, race->payments, "void", race->payment[i], "/payments/#/void", "{}");
        }
        send_at_once(race, 2 * PAIRS);
        for (int i = 0; i < PAIRS; i++) {
            bool capture = won(race->responses[i % 2 ? PAIRS + i : i], 200, "payment_open illegal_transition idempotency_in_flight");
            bool voided = won(race->responses[i % 2 ? i : PAIRS + i], 200, "payment_open illegal_transition idempotency_in_flight");

            assert_int_equal(capture + voided, 1);
            assert_order(race, i, capture ? "paid" : "reserved", capture ? "paid" : "none");
            captured += capture;
        }
        responses_free(race->responses, 2 * PAIRS);
    }
    print_message("capture won %d times of %d\n", captured, ROUNDS * PAIRS);
    assert_agreed(race, before, (int64_t)captured * PRICE);
}

/* Each asks for more than half of what was captured. */
static void test_refunds_above_captured(void **state)
{
    struct race *race = *state;
    int64_t before = money_at_gateway(race);

    for (int round = 0; round < ROUNDS; round++) {
        place_all(race, race->product, 900);
        pay_all(race, PAY);
        for (int i = 0; i < 2 * PAIRS; i++)
            set(race, i, race->payments, "refund", race->payment[i % PAIRS], "/payments/#/refunds", "{\"amount\":6.00}");
        send_at_once(race, 2 * PAIRS);
        for (int i = 0; i < PAIRS; i++) {
            bool first = won(race->responses[i], 201, "unprocessable"), second = won(race->responses[PAIRS + i], 201, "unprocessable");

            assert_int_equal(first + second, 1);
            assert_int_equal(payment_number(race, race->payment[i], "refunded"), 600);
            assert_order(race, i, "paid", "partially_refunded");
        }
        responses_free(race->responses, 2 * PAIRS);
    }
    assert_agreed(race, before, ROUNDS * PAIRS * (PRICE - 600));
}

static void test_cancel_against_fulfil(void **state)
{
    struct race *race = *state;
    int64_t before = money_at_gateway(race), on_hand = stock_of(race->souk, race->product, "on_hand");
    int fulfilled = 0;

    for (int round = 0; round < ROUNDS; round++) {
        place_all(race, race->product, 900);
        pay_all(race, PAY);
        for (int i = 0; i < PAIRS; i++) {
            set(race, i % 2 ? PAIRS + i : i, race->orders, "cancel", race->order[i], "/orders/#/cancel", "{}");
            set(race, i % 2 ? i : PAIRS + i, race->orders, "fulfil", race->order[i], "/orders/#/fulfil", "{}");
        }
        send_at_once(race, 2 * PAIRS);
        for (int i = 0; i < PAIRS; i++) {
            bool cancel = won(race->responses[i % 2 ? PAIRS + i : i], 200, "illegal_transition");
            bool fulfil = won(race->responses[i % 2 ? i : PAIRS + i], 200, "illegal_transition");

            assert_int_equal(cancel + fulfil, 1);
            if (cancel)
                await_payment_status(race, i, "refunded");
            assert_order(race, i, fulfil ? "fulfilled" : "cancelled", fulfil ? "paid" : "refunded");
            assert_true(duty_goes(race->souk, race->order[i], 15000));
            fulfilled += fulfil;
        }
        responses_free(race->responses, 2 * PAIRS);
    }
    print_message("fulfil won %d times of %d\n", fulfilled, ROUNDS * PAIRS);
    assert_int_equal(stock_of(race->souk, race->product, "on_hand"), on_hand - fulfilled);
    assert_agreed(race, before, (int64_t)fulfilled * PRICE);
}

/* Waits for an instant that the shop has set: nothing tells when it has come but the clock. */
static void wait_until(int64_t at_ms)
{
    while (clock_now_ms() < at_ms)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
}

/*
 * All units of a product are held by orders whose time is over at about now. Their buyers pay, others want the units and so have the holds looked at,
 * and the sweeps come by as well.
 */
static void test_expire_against_pay(void **state)
{
    struct race *race = *state;
    int64_t before = money_at_gateway(race);
    int paid = 0, gone = 0, hungry = 0, late = 0;

    for (int round = 0; round < ROUNDS; round++) {
        int64_t product = product_on(race->souk, 1, round), placed;

        product_put(race->souk, product, PAIRS);
        placed = clock_now_ms();
        place_all(race, product, 1);
        for (int i = 0; i < PAIRS; i++) {
            set(race, i, race->payments, "late", race->order[i], "/payments", PAY);
            set(race, PAIRS + i, race->orders, "hungry", product, "/orders", "{\"user\":\"hungry\",\"items\":[{\"product_id\":#,\"quantity\":1}]}");
        }
        wait_until(placed + 1000 - 10 + 8 * round);
        send_at_once(race, 2 * PAIRS);
        for (int i = 0; i < PAIRS; i++) {
            bool pay = won(race->responses[i], 201, "order_expired illegal_transition");

            bool expired = order_becomes(race->souk, race->order[i], "expired", pay ? 0 : 10000);

            /* The payment may have been at the gateway when the order's time was over: then it succeeded too late. */
            if (pay && expired)
                await_payment_status(race, i, "refunded");
            assert_order(race, i, expired ? "expired" : "paid", expired ? (pay ? "refunded" : "none") : "paid");
            assert_true(duty_goes(race->souk, race->order[i], 15000));
            paid += !expired;
            gone += expired;
            late += pay && expired;
            if (race->responses[PAIRS + i]->status != 503) /* the holds could not be asked in time; units are there or not */
                hungry += won(race->responses[PAIRS + i], 201, "insufficient_stock");
        }
        responses_free(race->responses, 2 * PAIRS);
        assert_int_equal(stock_of(race->souk, product, "on_hand"), PAIRS);
        assert_true(stock_of(race->souk, product, "held") + stock_of(race->souk, product, "committed") <= PAIRS);
    }
    print_message("%d were paid in time, %d expired, %d of them with a payment under way; %d units went to who waited for them\n", paid, gone, late,
                  hungry);
    assert_true(hungry <= gone);
    assert_agreed(race, before, (int64_t)paid * PRICE);
}

static bool went_through(struct race *race, int i, const char *part)
{
    for (int v = 1; v < 20; v++) {
        char field[16], *text;
        bool found;

        snprintf(field, sizeof(field), "e%d", v);
        text = order_field(race->souk, race->order[i], field);
        found = strstr(text, part) != NULL;
        free(text);
        if (found)
            return true;
    }
    return false;
}

/* The gateway takes 2 s, the orders live for 1 s: the money comes too late, is owed back, and goes back by itself. */
static void test_late_success(void **state)
{
    struct race *race = *state;
    int64_t before = money_at_gateway(race), held;

    held = stock_of(race->souk, race->product, "held");
    place_all(race, race->product, 1);
    for (int i = 0; i < PAIRS; i++)
        set(race, i, race->payments, "slow", race->order[i], "/payments", "{\"order_id\":#,\"method\":{\"token\":\"tok_slow\"}}");
    send_at_once(race, PAIRS);
    for (int i = 0; i < PAIRS; i++) {
        assert_status(race->responses[i], 201);
        race->payment[i] = id_in(race->responses[i]);
    }
    responses_free(race->responses, PAIRS);
    for (int i = 0; i < PAIRS; i++) {
        await_payment_status(race, i, "refunded");
        assert_order(race, i, "expired", "refunded");
        assert_true(went_through(race, i, "expired|refund_due|"));
        assert_int_equal(payment_number(race, race->payment[i], "captured"), PRICE);
        assert_int_equal(payment_number(race, race->payment[i], "refunded"), PRICE);
    }
    assert_true(stock_becomes(race->souk, race->product, "held", held, 10000));
    assert_agreed(race, before, 0);
}

struct listing {
    struct race *race;
    size_t want;
};

static bool lists_so_many(void *cookie)
{
    struct listing *listing = cookie;
    char url[128];
    struct response *response;
    bool so_many;

    snprintf(url, sizeof(url), "%s/payments?refund_due=true&limit=100", souk_url(listing->race->souk, listing->race->payments[1]));
    response = client_send(souk_client(listing->race->souk), &(struct client_request){.method = "GET", .url = url});
    assert_status(response, 200);
    so_many = json_array_size(response->json) == listing->want;
    response_free(response);
    return so_many;
}

/* While the gateway is away, what must be given back is a list that can be read; when it is back the list becomes empty. */
static void test_refunds_that_are_due(void **state)
{
    struct race *race = *state;
    int64_t before = money_at_gateway(race);
    struct listing due = {race, PAIRS}, none = {race, 0};

    assert_true(souk_wait(lists_so_many, &none, 5000));
    place_all(race, race->product, 900);
    pay_all(race, PAY);
    souk_pause(race->souk, SOUK_SANDBOX);
    for (int i = 0; i < PAIRS; i++)
        set(race, i, race->orders, "cancel", race->order[i], "/orders/#/cancel", "{}");
    send_at_once(race, PAIRS);
    for (int i = 0; i < PAIRS; i++)
        assert_status(race->responses[i], 200);
    responses_free(race->responses, PAIRS);
    assert_true(souk_wait(lists_so_many, &due, 5000));
    souk_resume(race->souk, SOUK_SANDBOX);
    assert_true(souk_wait(lists_so_many, &none, 40000));
    for (int i = 0; i < PAIRS; i++)
        assert_order(race, i, "cancelled", "refunded");
    assert_agreed(race, before, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_against_pay),   cmocka_unit_test(test_two_payments),           cmocka_unit_test(test_two_captures),
        cmocka_unit_test(test_capture_against_void), cmocka_unit_test(test_refunds_above_captured), cmocka_unit_test(test_cancel_against_fulfil),
        cmocka_unit_test(test_expire_against_pay),   cmocka_unit_test(test_late_success),           cmocka_unit_test(test_refunds_that_are_due),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
