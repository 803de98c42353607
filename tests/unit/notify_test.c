#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "notify.h"
#include "scratch_dir.h"

/* The service manager's end: a datagram socket of this name, where @ is an abstract one. */
static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memcpy(address.sun_path, path, strlen(path));
    if (*path == '@')
        address.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))), 0);
    setenv("NOTIFY_SOCKET", path, 1);
    return fd;
}

static void hears(int fd, const char *want)
{
    char heard[1024] = "";
    ssize_t len = recv(fd, heard, sizeof(heard) - 1, 0);
    if (want)
        assert_string_equal(heard, want);
    else
        assert_int_equal(len, -1);
}

static void test_a_named_and_an_abstract_socket(void **state)
{
    char folder[80], path[100], name[64], many[2000], want[512]; /* a socket's path has at most 107 characters */
    assert_true(scratch_dir(folder, sizeof(folder), "souk-notify"));
    snprintf(path, sizeof(path), "%s/socket", folder);
    snprintf(name, sizeof(name), "@souk-notify-%d", (int)getpid());
    const char *const places[] = {path, name};
    memset(many, 'x', sizeof(many));
    many[sizeof(many) - 1] = '\0';
    memset(want, 0, sizeof(want));
    memcpy(want, many, sizeof(want) - 1);
    for (size_t i = 0; i < 2; i++) {
        int fd = listen_at(places[i]);
        assert_true(notify_wanted());
        notify_send("READY=1\nSTATUS=%s", "ready on port 1");
        hears(fd, "READY=1\nSTATUS=ready on port 1");
        notify_send("%s", many);
        hears(fd, want);
        hears(fd, NULL);
        close(fd);
        notify_send("STOPPING=1"); /* nobody is there any more: no harm */
    }
    unlink(path);
    rmdir(folder);
}

static void test_a_full_socket_does_not_block(void **state)
{
    char name[64];
    snprintf(name, sizeof(name), "@souk-notify-%d", (int)getpid());
    int fd = listen_at(name);
    for (int i = 0; i < 5000; i++)
        notify_send("WATCHDOG=1");
    hears(fd, "WATCHDOG=1");
    close(fd);
}

static void test_nobody_asked(void **state)
{
    static const char *const cases[] = {NULL, "", "relative", "vsock:2:1234"};
    char too_long[200] = "/";
    memset(too_long + 1, 'x', sizeof(too_long) - 2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (cases[i])
            setenv("NOTIFY_SOCKET", cases[i], 1);
        else
            unsetenv("NOTIFY_SOCKET");
        assert_false(notify_wanted());
        notify_send("READY=1");
    }
    setenv("NOTIFY_SOCKET", too_long, 1);
    assert_false(notify_wanted());
}

static void test_watchdog(void **state)
{
    static const struct {
        const char *usec, *pid;
        int64_t want;
    } cases[] = {
        {NULL, NULL, 0}, {"30000000", NULL, 30000000}, {"30000000", "ours", 30000000}, {"30000000", "1", 0}, {"0", NULL, 0}, {"-5", NULL, 0},
        {"x", NULL, 0},
    };
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("NOTIFY_SOCKET", "@souk", 1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsetenv("WATCHDOG_USEC");
        unsetenv("WATCHDOG_PID");
        if (cases[i].usec)
            setenv("WATCHDOG_USEC", cases[i].usec, 1);
        if (cases[i].pid)
            setenv("WATCHDOG_PID", strcmp(cases[i].pid, "ours") == 0 ? pid : cases[i].pid, 1);
        assert_int_equal(notify_watchdog_us(), cases[i].want);
    }
    setenv("WATCHDOG_USEC", "1", 1);
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(notify_watchdog_us(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_named_and_an_abstract_socket),
        cmocka_unit_test(test_a_full_socket_does_not_block),
        cmocka_unit_test(test_nobody_asked),
        cmocka_unit_test(test_watchdog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
