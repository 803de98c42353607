#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault_test_lib.h"
#include "scratch_dir.h"

/*
 * A shard that is known by its name comes back at another address: the worker follows. While the resolver does not answer, what lives elsewhere goes
 * on.
 *
 * The resolver is the C library's own. The test and all its processes have an /etc/hosts, an /etc/resolv.conf and a loopback network of their own
 * (namespaces), in which port 53 belongs to nobody, or to a socket that takes questions and never answers.
 */
#define ANSWER_MS_MAX 1000
#define SKIPPED 77

struct town {
    struct souk *souk;
    char bind[16]; /* where shards listen when they are started the next time */
    const char *shard_args[3];
    char ring[200];
    const char *env[2];
    int64_t products[2];
};

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0644);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return written;
}

/* ---- a small world for this process and its children ---- */

static bool raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;

    if (fd >= 0)
        close(fd);
    return up;
}

static bool cover(const char *path, const char *text)
{
    char own[300];
    snprintf(own, sizeof(own), "%s/souk-move-XXXXXX", scratch_home());
    int fd = mkstemp(own);
    bool covered = fd >= 0 && write_file(own, text) && chmod(own, 0644) == 0 && mount(own, path, NULL, MS_BIND, NULL) == 0;

    if (fd >= 0) {
        close(fd);
        unlink(own); /* the mount keeps it */
    }
    return covered;
}

/* Returns NULL, or what this machine does not grant. */
static const char *enter_world(void)
{
    unsigned user = getuid(), group = getgid();
    char map[64];

    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) != 0)
        return "namespaces of its own";
    snprintf(map, sizeof(map), "0 %u 1", user);
    if (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/uid_map", map))
        return "a user of its own";
    snprintf(map, sizeof(map), "0 %u 1", group);
    if (!write_file("/proc/self/gid_map", map) || !raise_loopback())
        return "a loopback network of its own";
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || !cover("/etc/hosts", "") ||
        !cover("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:3 attempts:1\n"))
        return "an /etc/hosts and an /etc/resolv.conf of its own";
    return NULL;
}

/* ---- the shop in it ---- */

/* The first shard is there, or (NULL) not in the file. */
static void hosts_say(const char *address)
{
    char text[128];

    snprintf(text, sizeof(text), "127.0.0.1 two.souk.test\n%s%s", address ? address : "", address ? " one.souk.test\n" : "");
    assert_true(write_file("/etc/hosts", text));
}

static void town_start(struct town *town)
{
    *town = (struct town){.bind = "127.0.0.1", .shard_args = {"--bind", town->bind}, .env = {town->ring}};
    town->souk = souk_start(&(struct souk_settings){.shards = 2, .roles = {[SOUK_PRODUCT] = true}, .shard_args = town->shard_args});
    for (unsigned i = 0; i < 2; i++) {
        town->products[i] = product_on(town->souk, i, 0);
        product_put(town->souk, town->products[i], 10);
    }
    hosts_say("127.0.0.1");
    snprintf(town->ring, sizeof(town->ring), "SOUK_SHARDS=shard-1=one.souk.test:%d,shard-2=two.souk.test:%d", redis_port(souk_shard(town->souk, 0)),
             redis_port(souk_shard(town->souk, 1)));
    souk_set_env(town->souk, SOUK_PRODUCT, town->env);
    souk_restart(town->souk, SOUK_PRODUCT);
}

/* What is asked of the shard itself, each time. */
static struct response *ask_stock(struct town *town, unsigned shard)
{
    char url[200];

    snprintf(url, sizeof(url), "%s/products/%lld/stock", souk_url(town->souk, SOUK_PRODUCT), (long long)town->products[shard]);
    return client_send(souk_client(town->souk), &(struct client_request){.method = "GET", .url = url, .timeout_ms = 5000});
}

static void must_answer(struct town *town, unsigned shard, int status)
{
    struct response *response = ask_stock(town, shard);

    assert_status(response, status);
    assert_true(response->took_ms <= ANSWER_MS_MAX);
    response_free(response);
}

/* Does /readyz say it of the shard? (The worker itself stays ready while it reaches another one.) */
static bool shard_is(struct town *town, const char *text)
{
    char url[200];

    snprintf(url, sizeof(url), "%s/readyz", souk_url(town->souk, SOUK_PRODUCT));
    struct response *response = client_send(souk_client(town->souk), &(struct client_request){.method = "GET", .url = url, .timeout_ms = 5000});
    bool says = response->body && strstr(response->body, text);
    response_free(response);
    return says;
}

static bool is_refused(void *cookie)
{
    return shard_is(cookie, "Connection refused");
}

static void move_shard(struct town *town)
{
    souk_kill_shard(town->souk, 0);
    snprintf(town->bind, sizeof(town->bind), "127.0.0.2");
    souk_launch_shard(town->souk, 0);
}

static void test_a_moved_shard_is_found(void **state)
{
    struct town town;

    town_start(&town);
    must_answer(&town, 0, 200);
    move_shard(&town);
    assert_true(souk_wait(is_refused, &town, 5000));
    must_answer(&town, 0, 503);
    must_answer(&town, 1, 200);
    hosts_say("127.0.0.2");
    assert_true(souk_wait_ready(town.souk, SOUK_PRODUCT, 8000));
    must_answer(&town, 0, 200);
    char *log = souk_log(town.souk, SOUK_PRODUCT);
    assert_non_null(strstr(log, "is ready, found at 127.0.0.2"));
    free(log);
    assert_int_equal(souk_stop(town.souk), 0);
}

static bool waits_for_resolver(void *cookie)
{
    must_answer(cookie, 1, 200);
    return shard_is(cookie, "no answer of the resolver within two seconds");
}

static void test_a_silent_resolver_blocks_nobody(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int silent = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct town town;

    assert_int_equal(bind(silent, (struct sockaddr *)&address, sizeof(address)), 0);
    town_start(&town);
    hosts_say(NULL);
    move_shard(&town);
    assert_true(souk_wait(waits_for_resolver, &town, 8000));
    must_answer(&town, 0, 503);
    hosts_say("127.0.0.2");
    assert_true(souk_wait_ready(town.souk, SOUK_PRODUCT, 8000));
    must_answer(&town, 0, 200);
    assert_int_equal(souk_stop(town.souk), 0);
    close(silent);
}

static bool is_unknown(void *cookie)
{
    return shard_is(cookie, "the name is not resolved");
}

static void test_an_unknown_name_is_said(void **state)
{
    struct town town;

    town_start(&town);
    hosts_say(NULL);
    souk_kill_shard(town.souk, 0);
    assert_true(souk_wait(is_unknown, &town, 8000));
    must_answer(&town, 1, 200);
    hosts_say("127.0.0.1");
    souk_restart_shard(town.souk, 0);
    assert_true(souk_wait_ready(town.souk, SOUK_PRODUCT, 8000));
    assert_int_equal(souk_stop(town.souk), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_moved_shard_is_found),
        cmocka_unit_test(test_a_silent_resolver_blocks_nobody),
        cmocka_unit_test(test_an_unknown_name_is_said),
    };
    const char *missing = enter_world();

    if (missing) {
        printf("skipped: this machine does not grant a process %s\n", missing);
        return SKIPPED;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
