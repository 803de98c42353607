#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * SIGTERM: not ready any more, then no new connections, what is under way is answered, exit status 0. Nobody who asks again elsewhere notices; and
 * who asks here while he has not heard of it is served.
 */
#define EXIT_MS 10000
#define BUYERS 6
#define IDLE 40
#define DELAY_MS 1000
static const char *const DELAYED[] = {"SOUK_DRAIN_DELAY_MS=1000", NULL}, *const LONG_DELAYED[] = {"SOUK_DRAIN_DELAY_MS=600000", NULL},
                         *const THREADED[] = {"SOUK_THREADS=3", NULL};

static struct souk *start(void)
{
    static const char *const ENV[] = {FAULT_PATIENT, NULL};
    return souk_start(&(struct souk_settings){.env = ENV, .roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}});
}

/* What happens beside souk_terminate, which waits for the exit. */
struct witness {
    pthread_t thread;
    struct souk *souk;
    int worker; /* a pidfd: whoever has its number behind it is not meant */
    struct raw *order, *readiness;
    struct response *answer;
    int ready_status;
    bool refuses;
};

static int readyz(struct raw *raw)
{
    static const char REQUEST[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    if (!raw_send(raw, REQUEST, sizeof(REQUEST) - 1))
        return 0;
    struct response *response = raw_read(raw, false, 2000);
    int status = response->status;
    response_free(response);
    return status;
}

static bool not_ready(void *cookie)
{
    struct witness *witness = cookie;
    witness->ready_status = readyz(witness->readiness);
    return witness->ready_status != 200;
}

static bool refused(void *cookie)
{
    struct witness *witness = cookie;
    struct raw *late = raw_open(souk_worker_port(witness->souk, SOUK_ORDER));
    raw_close(late);
    return late == NULL;
}

static void *watch_drain(void *cookie)
{
    struct witness *witness = cookie;
    souk_wait(not_ready, witness, 2000);
    witness->refuses = souk_wait(refused, witness, 1000); /* one thread says it before the last has closed its listener */
    usleep(100000); /* threads with nothing under way have ended: further signals find a process that is still whole */
    pidfd_send_signal(witness->worker, SIGTERM, NULL, 0);
    pidfd_send_signal(witness->worker, SIGUSR1, NULL, 0);
    souk_resume_shard(witness->souk, 2);
    witness->answer = raw_read(witness->order, false, 5000);
    return NULL;
}

/* A request that waits for a stopped shard when SIGTERM comes. */
static void test_under_way_is_answered(void **state)
{
    struct souk *souk = start();
    struct witness witness = {.souk = souk};
    struct post post;
    char user[32];
    int64_t product = product_on(souk, 0, 0);
    souk_set_env(souk, SOUK_ORDER, THREADED);
    souk_restart(souk, SOUK_ORDER);
    product_put(souk, product, 5);
    user_on(souk, 2, 0, user);
    witness.readiness = raw_open(souk_worker_port(souk, SOUK_ORDER));
    assert_non_null(witness.readiness);
    assert_int_equal(readyz(witness.readiness), 200);

    souk_pause_shard(souk, 2);
    post_set(&post, souk_url(souk, SOUK_ORDER), "/orders", "drain", "{\"user\":\"%s\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}", user,
             (long long)product);
    witness.order = post_raw(souk_worker_port(souk, SOUK_ORDER), "/orders", &post);
    assert_true(stock_becomes(souk, product, "held", 1, 2000));
    witness.worker = pidfd_open(souk_pid(souk, SOUK_ORDER), 0);
    assert_true(witness.worker >= 0);
    assert_int_equal(pthread_create(&witness.thread, NULL, watch_drain, &witness), 0);
    int64_t begin = clock_now_ms();
    int status = souk_terminate(souk, SOUK_ORDER, EXIT_MS);
    print_message("drained in %lld ms\n", (long long)(clock_now_ms() - begin));
    pthread_join(witness.thread, NULL);
    close(witness.worker);

    assert_int_equal(status, 0);
    assert_int_equal(witness.ready_status, 503);
    assert_true(witness.refuses);
    assert_status(witness.answer, 201);
    int64_t id = id_in(witness.answer);
    response_free(witness.answer);
    raw_close(witness.order);
    raw_close(witness.readiness);
    souk_restart(souk, SOUK_ORDER);
    assert_true(order_becomes(souk, id, "reserved", 0));
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

/* A shard that never answers does not keep the worker from going. */
static void test_time_limit(void **state)
{
    struct souk *souk = start();
    struct post post;
    char user[32];
    int64_t product = product_on(souk, 0, 0);
    product_put(souk, product, 5);
    user_on(souk, 2, 0, user);
    souk_pause_shard(souk, 2);
    post_set(&post, souk_url(souk, SOUK_ORDER), "/orders", "drain", "{\"user\":\"%s\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}", user,
             (long long)product);
    struct raw *raw = post_raw(souk_worker_port(souk, SOUK_ORDER), "/orders", &post);
    assert_true(stock_becomes(souk, product, "held", 1, 2000));
    assert_int_equal(souk_terminate(souk, SOUK_ORDER, EXIT_MS), 0);
    struct response *response = raw_read(raw, false, 1000);
    assert_status(response, 503);
    response_free(response);
    raw_close(raw);
    souk_mend(souk);
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

/* One answer on a connection that stood idle: good, its last, and told so. */
static struct response *last_answer(struct raw *raw, const char *request)
{
    struct response *response;
    if (!raw_send(raw, request, strlen(request)))
        fail_msg("an idle connection was closed while the worker had to keep it");
    response = raw_read(raw, false, 3000);
    assert_status(response, 200);
    assert_non_null(response_header(response, "Connection"));
    assert_string_equal(response_header(response, "Connection"), "close");
    assert_true(raw_closes(raw, 1000));
    raw_close(raw);
    return response;
}

/* SIGTERM and the wait for the exit, beside a test that goes on asking. */
struct leaving {
    struct souk *souk;
    pthread_t thread;
    int status;
};

static void *leave(void *cookie)
{
    struct leaving *leaving = cookie;
    leaving->status = souk_terminate(leaving->souk, SOUK_PRODUCT, EXIT_MS);
    return NULL;
}

static bool says_it_goes(void *cookie)
{
    struct leaving *leaving = cookie;
    struct raw *raw = raw_open(souk_worker_port(leaving->souk, SOUK_PRODUCT));
    int status = raw ? readyz(raw) : 0;
    raw_close(raw);
    return status == 503;
}

/*
 * SOUK_DRAIN_DELAY_MS: not ready, and nobody is turned away. A load balancer that asks has its answer; others still send, on new connections and on
 * such as they have kept. Each answer is its connection's last, also what is kept near.
 */
static void test_notice(void **state)
{
    struct souk *souk = start();
    struct leaving leaving = {.souk = souk};
    struct raw *idle[IDLE];
    char request[128];
    int64_t product = product_on(souk, 0, 0);
    product_put(souk, product, 5);
    souk_set_env(souk, SOUK_PRODUCT, DELAYED);
    souk_restart(souk, SOUK_PRODUCT);
    snprintf(request, sizeof(request), "GET /products/%lld HTTP/1.1\r\nHost: localhost\r\n\r\n", (long long)product);
    for (int i = 0; i < IDLE; i++) {
        idle[i] = raw_open(souk_worker_port(souk, SOUK_PRODUCT));
        assert_non_null(idle[i]);
        assert_true(raw_send(idle[i], request, strlen(request)));
        struct response *response = raw_read(idle[i], false, 2000);
        assert_status(response, 200);
        assert_null(response_header(response, "Connection"));
        response_free(response);
    }

    int64_t begin = clock_now_ms();
    assert_int_equal(pthread_create(&leaving.thread, NULL, leave, &leaving), 0);
    assert_true(souk_wait(says_it_goes, &leaving, DELAY_MS / 2));
    for (int i = 0; i < IDLE; i++) {
        struct response *response = last_answer(idle[i], request);
        assert_non_null(response_header(response, "X-Cache"));
        assert_string_equal(response_header(response, "X-Cache"), "hit");
        response_free(response);
        struct raw *fresh = raw_open(souk_worker_port(souk, SOUK_PRODUCT));
        assert_non_null(fresh);
        response_free(last_answer(fresh, request));
    }
    pthread_join(leaving.thread, NULL);
    assert_int_equal(leaving.status, 0);
    assert_true(clock_now_ms() - begin >= DELAY_MS);
    assert_int_equal(souk_stop(souk), 0);
}

/* Whoever is at the terminal need not wait: a second signal ends the delay. */
static void test_second_signal(void **state)
{
    struct souk *souk = start();
    souk_set_env(souk, SOUK_ORDER, LONG_DELAYED);
    souk_restart(souk, SOUK_ORDER);
    kill(souk_pid(souk, SOUK_ORDER), SIGTERM);
    usleep(300000);
    assert_int_equal(souk_terminate(souk, SOUK_ORDER, EXIT_MS), 0);
    assert_int_equal(souk_stop(souk), 0);
}

static struct load *crowd_start(struct souk *souk, const char *first, const char *second)
{
    struct load *loads = loads_new(BUYERS);
    for (int i = 0; i < BUYERS; i++) {
        load_aim(&loads[i], first, second);
        loads[i].product = product_on(souk, (unsigned)i % souk_shard_count(souk), 0);
        loads[i].retries = true;
        user_on(souk, (unsigned)(i + 1) % souk_shard_count(souk), i, loads[i].user);
        snprintf(loads[i].name, sizeof(loads[i].name), "buyer-%d", i);
        if (i < 3)
            product_put(souk, loads[i].product, 1000000);
    }
    for (int i = 0; i < BUYERS; i++)
        load_start(&loads[i]);
    return loads;
}

/* Everybody got what he asked for, sooner or later, and there is not one order more. */
static void crowd_end(struct souk *souk, struct load *loads, int worker)
{
    size_t placed = 0, again = 0;
    loads_stop(loads, BUYERS);
    for (int i = 0; i < BUYERS; i++)
        for (size_t n = 0; n < atomic_load(&loads[i].count); n++) {
            assert_int_equal(loads[i].records[n].status, 201);
            again += loads[i].records[n].tries > 1;
            placed++;
        }
    print_message("%zu orders, %zu of them sent more than once\n", placed, again);
    loads_check(souk, worker, loads, BUYERS);
    assert_int_equal(order_count(souk), placed);
    loads_free(loads, BUYERS);
    assert_true(souk_audit(souk));
}

/* The second instance was there all the time. */
static void test_second_takes_over(void **state)
{
    struct souk *souk = start();
    int second = souk_add(souk, SOUK_ORDER);
    struct load *loads = crowd_start(souk, souk_url(souk, SOUK_ORDER), souk_url(souk, second));
    loads_reach(loads, BUYERS, 100, 0, 10000);
    assert_int_equal(souk_terminate(souk, SOUK_ORDER, EXIT_MS), 0);
    loads_reach(loads, BUYERS, 400, 0, 10000);
    souk_restart(souk, SOUK_ORDER);
    crowd_end(souk, loads, second);
    assert_int_equal(souk_stop(souk), 0);
}

/* There is only one, which is replaced on its port, several times. */
static void test_replaced_on_its_port(void **state)
{
    struct souk *souk = start();
    struct load *loads = crowd_start(souk, souk_url(souk, SOUK_ORDER), souk_url(souk, SOUK_ORDER));
    for (size_t round = 1; round <= 3; round++) {
        loads_reach(loads, BUYERS, round * 100, 0, 10000);
        assert_int_equal(souk_terminate(souk, SOUK_ORDER, EXIT_MS), 0);
        souk_launch(souk, SOUK_ORDER);
    }
    loads_reach(loads, BUYERS, 400, 0, 10000);
    crowd_end(souk, loads, SOUK_ORDER);
    assert_int_equal(souk_stop(souk), 0);
}

/* The same with kill -9: an answer may be lost, an acknowledged order may not. */
static void test_killed_on_its_port(void **state)
{
    struct souk *souk = start();
    struct load *loads = crowd_start(souk, souk_url(souk, SOUK_ORDER), souk_url(souk, SOUK_ORDER));
    for (size_t round = 1; round <= 3; round++) {
        loads_reach(loads, BUYERS, round * 100, 0, 10000);
        souk_launch(souk, SOUK_ORDER);
    }
    loads_reach(loads, BUYERS, 400, 0, 10000);
    crowd_end(souk, loads, SOUK_ORDER);
    assert_int_equal(souk_stop(souk), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_under_way_is_answered), cmocka_unit_test(test_time_limit),
        cmocka_unit_test(test_notice),                cmocka_unit_test(test_second_signal),
        cmocka_unit_test(test_second_takes_over),     cmocka_unit_test(test_replaced_on_its_port),
        cmocka_unit_test(test_killed_on_its_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
