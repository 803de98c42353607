#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <pthread.h>

#include <cmocka.h>

#include "clock.h"
#include "port.h"
#include "proxy.h"

/* The fault proxy between a client of this test and a server that sends everything back. */
struct echo {
    struct port port;
    int listener;
    pthread_t thread;
    struct proxy *proxy;
    int line;
};

static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* One connection after another, until the listener is shut. */
static void *serve(void *cookie)
{
    struct echo *echo = cookie;
    char bytes[4096];
    int client;
    while ((client = accept(echo->listener, NULL, NULL)) >= 0) {
        ssize_t len;
        while ((len = recv(client, bytes, sizeof(bytes), 0)) > 0)
            if (send(client, bytes, (size_t)len, MSG_NOSIGNAL) != len)
                break;
        close(client);
    }
    return NULL;
}

static int setup(void **state)
{
    struct echo *echo = calloc(1, sizeof(*echo));
    int yes = 1;
    echo->port = port_take();
    const struct sockaddr_in address = local(echo->port.number);
    echo->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(echo->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(echo->listener, (const struct sockaddr *)&address, sizeof(address)) != 0 || listen(echo->listener, 8) != 0)
        return -1;
    pthread_create(&echo->thread, NULL, serve, echo);
    echo->proxy = proxy_start();
    echo->line = proxy_add(echo->proxy, echo->port.number);
    *state = echo;
    return 0;
}

static int teardown(void **state)
{
    struct echo *echo = *state;
    proxy_stop(echo->proxy);
    shutdown(echo->listener, SHUT_RDWR);
    pthread_join(echo->thread, NULL);
    close(echo->listener);
    port_release(&echo->port);
    free(echo);
    return 0;
}

/* A connection through the proxy; -1: refused. Reads give up after 5 s. */
static int dial(const struct echo *echo)
{
    const struct sockaddr_in address = local(proxy_port(echo->proxy, echo->line));
    const struct timeval patience = {5, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Sends ${len} bytes and reads what comes back until it is as much, or the end. Returns how much came. */
static size_t round_trip(int fd, size_t len)
{
    char *bytes = malloc(len + 1), *back = malloc(len + 1);
    size_t got = 0;
    ssize_t n = 1;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)('a' + i % 26);
    for (size_t sent = 0; sent < len && (n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL)) > 0;)
        sent += (size_t)n;
    while (got < len && (n = recv(fd, back + got, len - got, 0)) > 0)
        got += (size_t)n;
    assert_memory_equal(bytes, back, got);
    free(bytes);
    free(back);
    return got;
}

static void test_good(void **state)
{
    int fd = dial(*state);
    assert_int_equal(round_trip(fd, 5), 5);
    assert_int_equal(round_trip(fd, 100000), 100000);
    close(fd);
}

static void test_delay(void **state)
{
    struct echo *echo = *state;
    int fd = dial(echo);
    proxy_set(echo->proxy, echo->line, &(struct line_faults){.delay_ms = 60});
    int64_t since = clock_us();
    assert_int_equal(round_trip(fd, 5), 5);
    assert_true(clock_us() - since >= 120000); /* both ways */
    close(fd);
}

static void test_slow(void **state)
{
    struct echo *echo = *state;
    int fd = dial(echo);
    proxy_set(echo->proxy, echo->line, &(struct line_faults){.bytes_per_s = 10000});
    int64_t since = clock_us();
    assert_int_equal(round_trip(fd, 2000), 2000);
    assert_true(clock_us() - since >= 150000);
    close(fd);
}

static void test_cut(void **state)
{
    struct echo *echo = *state;
    int fd = dial(echo);
    assert_int_equal(round_trip(fd, 5), 5);
    proxy_cut(echo->proxy, echo->line);
    assert_int_equal(round_trip(fd, 5), 0);
    close(fd);
    fd = dial(echo);
    assert_int_equal(round_trip(fd, 5), 5); /* the next one is as good as any */
    close(fd);
}

static void test_cut_after(void **state)
{
    struct echo *echo = *state;
    int fd = dial(echo);
    proxy_set(echo->proxy, echo->line, &(struct line_faults){.cut_after = 12});
    assert_int_equal(round_trip(fd, 5), 5);
    assert_true(round_trip(fd, 100) <= 7);
    close(fd);
}

/* Half-open: nothing comes, nothing ends; when the line is good again, the connection is lost, because TCP never goes on behind a hole. */
static void test_swallow(void **state)
{
    struct echo *echo = *state;
    const struct line_faults ways[] = {{.swallow_out = true}, {.swallow_back = true}};
    for (int i = 0; i < 2; i++) {
        const struct timeval moment = {0, 100000};
        char byte;
        int fd = dial(echo);
        assert_int_equal(round_trip(fd, 5), 5);
        proxy_set(echo->proxy, echo->line, &ways[i]);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof(moment));
        assert_int_equal(send(fd, "x", 1, 0), 1);
        assert_int_equal(recv(fd, &byte, 1, 0), -1);
        proxy_set(echo->proxy, echo->line, NULL);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){5, 0}, sizeof(moment));
        assert_true(recv(fd, &byte, 1, 0) <= 0);
        close(fd);
    }
}

static void test_refuse(void **state)
{
    struct echo *echo = *state;
    proxy_set(echo->proxy, echo->line, &(struct line_faults){.refuse = true});
    assert_int_equal(dial(echo), -1);
    proxy_set(echo->proxy, echo->line, NULL);
    int fd = dial(echo);
    assert_int_equal(round_trip(fd, 5), 5);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, setup, teardown),      cmocka_unit_test_setup_teardown(test_delay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow, setup, teardown),      cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_after, setup, teardown), cmocka_unit_test_setup_teardown(test_swallow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refuse, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
