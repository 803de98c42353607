#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * A request whose time is over before it has written anything is answered 504: nothing was done. Then nothing may be done either, when the shard that
 * it waits for answers after all.
 */
static const char *const ENV[] = {"SOUK_DEADLINE_MS=300", FAULT_PATIENT, NULL};

static int64_t paid_order(struct souk *souk)
{
    struct post post;
    int64_t product = product_on(souk, 1, 0);
    char user[32];
    user_on(souk, 0, 0, user);
    product_put(souk, product, 10);
    post_set(&post, souk_url(souk, SOUK_ORDER), "/orders", "o", "{\"user\":\"%s\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}", user,
             (long long)product);
    struct response *response = post_send(souk_client(souk), &post);
    assert_status(response, 201);
    int64_t id = id_in(response);
    response_free(response);
    post_set(&post, souk_url(souk, SOUK_PAYMENT), "/payments", "p", "{\"order_id\":%lld,\"method\":{\"token\":\"tok_ok\"}}", (long long)id);
    response = post_send(souk_client(souk), &post);
    assert_status(response, 201);
    response_free(response);
    return id;
}

/* Has the worker nothing under way, not even what it has answered already? */
static bool is_idle(void *cookie)
{
    struct souk *souk = cookie;
    char url[160];
    snprintf(url, sizeof(url), "%s/metrics", souk_url(souk, SOUK_ORDER));
    struct response *response = client_send(souk_client(souk), &(struct client_request){.method = "GET", .url = url});
    bool idle = response->body && strstr(response->body, "\nsouk_flows_running 0\n");
    response_free(response);
    return idle;
}

static void test_fulfil(void **state)
{
    struct souk *souk = souk_start(&(struct souk_settings){.roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true, [SOUK_PAYMENT] = true}, .env = ENV});
    int64_t id = paid_order(souk);
    struct post post;
    char path[64];
    snprintf(path, sizeof(path), "/orders/%lld/fulfil", (long long)id);
    post_set(&post, souk_url(souk, SOUK_ORDER), path, "f", "{}");

    souk_pause_shard(souk, 0);
    struct response *response = post_send(souk_client(souk), &post);
    souk_resume_shard(souk, 0);
    assert_status(response, 504);
    response_free(response);
    assert_true(souk_wait(is_idle, souk, 5000));
    char *now = order_field(souk, id, "state");
    assert_string_equal(now, "paid");
    free(now);

    response = post_send(souk_client(souk), &post);
    assert_status(response, 200);
    assert_null(response_header(response, "Idempotent-Replayed"));
    response_free(response);
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fulfil)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
