#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "port.h"

#include "fault_test_lib.h"
#include "generator.h"

/*
 * A rolling update under load: every worker is replaced, one after another, behind a load balancer, and no request fails.
 *
 *   souk-bench-load ──▶ haproxy │ nginx ──▶ four places for each kind: two workers, and two that are free
 *
 * The new worker takes the free place and is ready before an old one is told to go; that one's place is then free.
 *
 *   haproxy        asks /readyz, and so stops sending in time
 *   nginx          asks nobody: it goes on until it is refused, and must be able to take that for "nothing was done", also of a POST. It would also
 *                  send to a worker that has just begun to listen, so here the new ones are there before it is
 *   nginx, told    that requests may be repeated, as docs/upgrade.md says
 */
enum balancer { HAPROXY, NGINX, NGINX_TOLD };
static const char *const PROGRAMS[] = {[HAPROXY] = "haproxy", [NGINX] = "nginx", [NGINX_TOLD] = "nginx"};

#define EXIT_MS 10000
#define KINDS 2
#define PLACES 4
#define STEP_MS 150 /* of load between two steps */
static const enum souk_role ROLES[KINDS] = {SOUK_PRODUCT, SOUK_ORDER};
/* The delay is for those that go; what a busy machine makes a worker refuse is another test's business. */
static const char *const ENV[] = {"SOUK_DRAIN_DELAY_MS=500", "SOUK_QUEUE_MS=0", "SOUK_SHARD_BEHIND_MS=0", NULL};

struct fleet {
    struct souk *souk;
    enum balancer balancer;
    struct port fronts[KINDS];
    int workers[KINDS][PLACES];
    struct generator load;
    pid_t balancing;
};

/* ---- load balancers ---- */

/*
 * It takes every place for a worker until its first check, so it is there when it has found the free ones. After that three checks in a row, so that
 * it takes no worker for gone because it did not get the processor itself for the time of one.
 */
static void write_haproxy(const struct fleet *fleet, FILE *conf)
{
    fprintf(conf, "global\n maxconn 1000\ndefaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n timeout check 2s\n"
                  " option redispatch\n option httpchk GET /readyz\n");
    for (int k = 0; k < KINDS; k++) {
        fprintf(conf, "listen kind%d\n bind 127.0.0.1:%d\n monitor-uri /readyz\n monitor fail unless { nbsrv eq 2 }\n", k, fleet->fronts[k].number);
        for (int p = 0; p < PLACES; p++)
            fprintf(conf, " server place%d 127.0.0.1:%d check inter 50ms fall 3 rise 1\n", p, souk_worker_port(fleet->souk, fleet->workers[k][p]));
    }
}

static void write_nginx(const struct fleet *fleet, FILE *conf)
{
    fprintf(conf,
            "daemon off; master_process off; pid nginx.pid; error_log error.log; events {}\nhttp {\n access_log off; keepalive_requests 1000000;\n"
            " client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n"
            " proxy_http_version 1.1; proxy_set_header Connection '';\n%s",
            fleet->balancer == NGINX_TOLD ? " proxy_next_upstream error timeout http_503 non_idempotent;\n" : "");
    for (int k = 0; k < KINDS; k++) {
        fprintf(conf, " upstream kind%d {\n", k);
        for (int p = 0; p < PLACES; p++)
            fprintf(conf, "  server 127.0.0.1:%d max_fails=0;\n", souk_worker_port(fleet->souk, fleet->workers[k][p]));
        fprintf(conf, "  keepalive 16; keepalive_requests 1000000;\n }\n server { listen 127.0.0.1:%d; location / { proxy_pass http://kind%d; } }\n",
                fleet->fronts[k].number, k);
    }
    fprintf(conf, "}\n");
}

static bool fronts_answer(void *cookie)
{
    struct fleet *fleet = cookie;
    bool all = true;

    for (int k = 0; k < KINDS; k++) {
        char url[64];
        struct response *response;

        snprintf(url, sizeof(url), "http://127.0.0.1:%d/readyz", fleet->fronts[k].number);
        response = client_send(souk_client(fleet->souk), &(struct client_request){.method = "GET", .url = url});
        all &= response->status == 200;
        response_free(response);
    }
    return all;
}

static void start_balancer(struct fleet *fleet)
{
    const char *program = PROGRAMS[fleet->balancer];
    bool haproxy = fleet->balancer == HAPROXY;
    char dir[160], conf[200], out[200];
    FILE *file;

    snprintf(dir, sizeof(dir), "%s/%s", souk_dir(fleet->souk), program);
    snprintf(conf, sizeof(conf), "%s/conf", dir);
    snprintf(out, sizeof(out), "%s/out", dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    file = fopen(conf, "w");
    assert_non_null(file);
    (haproxy ? write_haproxy : write_nginx)(fleet, file);
    fclose(file);
    if (haproxy)
        fleet->balancing = beside_launch(out, (const char *const[]){"haproxy", "-db", "-f", conf, NULL});
    else
        fleet->balancing = beside_launch(out, (const char *const[]){"nginx", "-p", dir, "-c", conf, NULL});
    if (!souk_wait(fronts_answer, fleet, 5000))
        fail_msg("%s does not answer; see %s", program, out);
}

/* ---- load ---- */

/* Two reads of a product, of which most are kept near, and one order. */
static void start_load(struct fleet *fleet)
{
    FILE *plan = generator_plan(&fleet->load, fleet->souk, "load");

    for (unsigned n = 0; n < 3; n++) {
        long long a = product_on(fleet->souk, n, 0), b = product_on(fleet->souk, (n + 1) % 3, 0);

        product_put(fleet->souk, a, 1000000);
        fprintf(plan, "%d\tGET\t/products/%lld\t\n%d\tGET\t/products\t\n", fleet->fronts[0].number, a, fleet->fronts[0].number);
        fprintf(plan,
                "%d\tPOST\t/orders\t{\"user\":\"user-%%n\",\"items\":[{\"product_id\":%lld,\"quantity\":1},{\"product_id\":%lld,\"quantity\":1}]}\n",
                fleet->fronts[1].number, a, b);
    }
    generator_start(&fleet->load, plan, "0", "12", NULL);
}

/* ---- the update ---- */

/* Two of each kind run, and the two other places are free. */
static void start_fleet(struct fleet *fleet)
{
    fleet->souk = souk_start(&(struct souk_settings){.roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}});
    for (int k = 0; k < KINDS; k++) {
        fleet->fronts[k] = port_take();
        fleet->workers[k][0] = (int)ROLES[k];
        souk_set_env(fleet->souk, (int)ROLES[k], ENV);
        souk_restart(fleet->souk, (int)ROLES[k]);
        for (int p = 1; p < PLACES; p++)
            fleet->workers[k][p] = souk_add_with(fleet->souk, ROLES[k], p < 2 ? ENV : ENV + 1);
        for (int p = 2; p < PLACES && fleet->balancer != NGINX; p++)
            souk_kill(fleet->souk, fleet->workers[k][p]);
    }
}

/* A new worker takes each free place in turn; when it is ready, an old one is told to go. */
static void roll(struct fleet *fleet)
{
    for (int k = 0; k < KINDS; k++)
        for (int old = 0; old < 2; old++) {
            if (fleet->balancer != NGINX)
                souk_restart(fleet->souk, fleet->workers[k][old + 2]);
            usleep(STEP_MS * 1000);
            assert_int_equal(souk_terminate(fleet->souk, fleet->workers[k][old], EXIT_MS), 0);
        }
    usleep(STEP_MS * 1000);
}

static bool is_there(const char *program)
{
    char command[64];

    snprintf(command, sizeof(command), "command -v %s >/dev/null", program);
    return system(command) == 0;
}

static void roll_behind(enum balancer balancer)
{
    struct fleet fleet = {.balancer = balancer};

    if (!is_there(PROGRAMS[balancer])) {
        print_message("%s is not installed; deploy/local/packages test installs it\n", PROGRAMS[balancer]);
        skip();
    }
    start_fleet(&fleet);
    start_balancer(&fleet);
    start_load(&fleet);
    roll(&fleet);
    generator_end(&fleet.load);
    beside_end(fleet.balancing);
    if (generator_failures(&fleet.load))
        souk_keep(fleet.souk);
    assert_int_equal(generator_failures(&fleet.load), 0);
    assert_true(generator_count(&fleet.load, "done") > 100);
    assert_true(order_count(fleet.souk) > 30);
    souk_restart(fleet.souk, SOUK_ORDER); /* whom souk_audit asks */
    assert_true(souk_audit(fleet.souk));
    for (int k = 0; k < KINDS; k++)
        port_release(&fleet.fronts[k]);
    assert_int_equal(souk_stop(fleet.souk), 0);
}

static void test_behind_haproxy(void **state)
{
    roll_behind(HAPROXY);
}

static void test_behind_nginx(void **state)
{
    roll_behind(NGINX);
}

static void test_behind_nginx_that_repeats(void **state)
{
    roll_behind(NGINX_TOLD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_behind_haproxy),
        cmocka_unit_test(test_behind_nginx),
        cmocka_unit_test(test_behind_nginx_that_repeats),
    };

    if (!is_there("haproxy") && !is_there("nginx")) {
        printf("skipped: neither haproxy nor nginx is installed; deploy/local/packages test installs them\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
