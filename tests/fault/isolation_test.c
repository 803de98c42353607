#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault_test_lib.h"
#include "generator.h"

/*
 * One shard of three is stopped: it takes connections and says nothing. Many ask for what lives there, more than the worker may have inside. Who asks
 * for what lives elsewhere must not notice. Latencies are measured by bench/isolation.
 *
 *   crowd: 300 requests a second for shard 2 ──▶ ┌───────────────────────┐ ──▶ shard 2, stopped
 *   guests for shards 0, 1                   ──▶ │ 256 inside, at most   │ ──▶ shards 0, 1
 *                                                └───────────────────────┘
 * Without a bound 600 of the crowd would be inside before the connection is given up.
 */
#define STOPPED 2
#define STOPPED_MS 3500
#define TRIES 3 /* a machine that stops for longer than SOUK_SHARD_BEHIND_MS makes every shard look stopped, which is no fault of the worker */
static const char *const ENV[] = {"SOUK_INSIDE_MAX=256", "SOUK_SHARD_BEHIND_MS=400", NULL};

static void add_orders(struct souk *souk, FILE *plan, unsigned shard)
{
    int64_t product = product_on(souk, shard, 0);

    for (int n = 0; n < 20; n++) {
        char user[32];

        user_on(souk, shard, n, user);
        fprintf(plan, "%d\tPOST\t/orders\t{\"user\":\"%s\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}\n", souk_worker_port(souk, SOUK_ORDER),
                user, (long long)product);
    }
}

/* A figure of the stopped shard in the order worker's metrics; -1 if it has not answered. */
static long figure(struct souk *souk, const char *name)
{
    char url[128], want[96];
    struct response *response;
    const char *at;
    long value = -1;

    snprintf(url, sizeof(url), "%s/metrics", souk_url(souk, SOUK_ORDER));
    snprintf(want, sizeof(want), "\n%s{shard=\"shard-%d\"} ", name, STOPPED + 1);
    response = client_send(souk_client(souk), &(struct client_request){.method = "GET", .url = url});
    at = response->status == 200 ? strstr(response->body, want) : NULL;
    if (at)
        value = atol(at + strlen(want));
    response_free(response);
    return value;
}

/* While it is stopped: refused at once but for those who came before that was noticed, and told when to come again. */
static void check_crowd(const struct generator *crowd)
{
    assert_true(generator_count(crowd, "refused") > 100);
    assert_int_equal(generator_count(crowd, "without_retry_after"), 0);
    assert_int_equal(generator_count(crowd, "server_errors") + generator_count(crowd, "others") + generator_count(crowd, "broken"), 0);
    assert_int_equal(generator_count(crowd, "unanswered"), 0);
    assert_true(generator_count(crowd, "refused_p50_us") < 200000);
}

/* Returns whether ${least} guests or more came, ${rate} in a second, and 99.9 % of them had what they wanted. */
static bool stop_and_look(struct souk *souk, const char *rate, long long least)
{
    struct generator crowd, guests;
    FILE *plan;
    long most_in_flight = 0;
    bool opened = false;
    int64_t until = clock_now_ms() + STOPPED_MS;

    souk_pause_shard(souk, STOPPED);
    plan = generator_plan(&crowd, souk, "crowd");
    add_orders(souk, plan, STOPPED);
    generator_start(&crowd, plan, "300", "1500", NULL);
    plan = generator_plan(&guests, souk, "guests");
    add_orders(souk, plan, 0);
    add_orders(souk, plan, 1);
    generator_start(&guests, plan, rate, "2", NULL);
    while (clock_now_ms() < until) {
        long in_flight = figure(souk, "souk_shard_in_flight");

        most_in_flight = in_flight > most_in_flight ? in_flight : most_in_flight;
        opened |= figure(souk, "souk_shard_breaker") > 0;
        usleep(20000);
    }
    generator_end(&guests);
    generator_end(&crowd);
    souk_resume_shard(souk, STOPPED);
    assert_true(souk_wait_ready(souk, SOUK_ORDER, 5000));

    print_message("guests: %lld of %lld done; crowd: %lld of %lld refused, at most %ld calls in flight\n", generator_count(&guests, "done"),
                  generator_count(&guests, "jobs"), generator_count(&crowd, "refused"), generator_count(&crowd, "jobs"), most_in_flight);
    assert_true(opened);
    check_crowd(&crowd);
    return generator_count(&guests, "jobs") >= least && generator_failures(&guests) * 1000 <= generator_count(&guests, "jobs");
}

static void isolate(const char *rate, long long least)
{
    struct souk *souk = souk_start(&(struct souk_settings){.env = ENV, .roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}});
    bool isolated = false;

    for (unsigned i = 0; i < souk_shard_count(souk); i++)
        product_put(souk, product_on(souk, i, 0), 1000000);
    for (int i = 0; i < TRIES && !isolated; i++)
        isolated = stop_and_look(souk, rate, least);
    assert_true(isolated);
    assert_int_equal(figure(souk, "souk_shard_breaker"), 0);
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

/* Each comes as soon as he has his answer. */
static void test_many_guests(void **state)
{
    isolate("0", 200);
}

/* So few that in many moments nobody's calls but those of the crowd are under way: that is no queue. */
static void test_few_guests(void **state)
{
    isolate("10", 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_guests),
        cmocka_unit_test(test_few_guests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
