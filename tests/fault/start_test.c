#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault_test_lib.h"
#include "launch.h"
#include "scratch_dir.h"

/*
 * How a worker begins: with settings that cannot be right it says one clear sentence and ends; with shards that cannot be right it says which and
 * why, and is not ready; with everything right it is ready at once, and small.
 */
#define READY_MS_MAX 2000
#define RESIDENT_KB_MAX (32 * 1024)

static const char *const PROGRAMS[] = {"souk-product", "souk-order", "souk-payment"};
#define PROGRAM_COUNT (sizeof(PROGRAMS) / sizeof(PROGRAMS[0]))

/* A worker with the test's own settings, and what it says. */
struct child {
    pid_t pid;
    int output;
    char said[8192];
    size_t len;
    bool ended;
    int status;
};

/* ${settings}: "NAME=value", ended by NULL, beside the environment. */
static void child_start(struct child *child, const char *program, const char *const *settings, const char *argument)
{
    int ends[2];
    char path[512], output[64];
    struct environment environment;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    *child = (struct child){.output = ends[0]};
    fcntl(child->output, F_SETFL, O_NONBLOCK);
    snprintf(path, sizeof(path), "%s/%s", SOUK_BIN, program);
    snprintf(output, sizeof(output), "/proc/self/fd/%d", ends[1]);
    environment_copy(&environment);
    for (; *settings; settings++)
        environment_put(&environment, *settings);
    child->pid = launch(&(struct launch){.command = (const char *const[]){path, argument, NULL}, .output = output, .environment = &environment});
    assert_true(child->pid > 0);
    close(ends[1]);
    environment_free(&environment);
}

static void child_listen(struct child *child)
{
    ssize_t got;
    while ((got = read(child->output, child->said + child->len, sizeof(child->said) - 1 - child->len)) > 0)
        child->len += (size_t)got;
    child->said[child->len] = '\0';
}

static bool child_has_ended(void *cookie)
{
    struct child *child = cookie;
    if (!child->ended)
        child->ended = waitpid(child->pid, &child->status, WNOHANG) == child->pid;
    child_listen(child);
    return child->ended;
}

/* Ends it, if it lives, by a signal. Returns its exit status, or 128 + the signal. */
static int child_end(struct child *child, int signum)
{
    if (!child_has_ended(child) && signum)
        kill(child->pid, signum);
    if (!souk_wait(child_has_ended, child, 12000)) {
        kill(child->pid, SIGKILL);
        waitpid(child->pid, &child->status, 0);
    }
    child_listen(child);
    close(child->output);
    return WIFSIGNALED(child->status) ? 128 + WTERMSIG(child->status) : WEXITSTATUS(child->status);
}

static size_t lines_in(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

/* A port of 127.0.0.1; ${fd}: keeps it taken, NULL: it is free again. */
static int some_port(int *fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    if (fd)
        *fd = listener;
    else
        close(listener);
    return ntohs(address.sin_port);
}

/* ---- settings that cannot be right ---- */

/* The files that settings name, in a directory of its own, which is the present one while the test runs. */
static void write_here(const char *name, const char *text, mode_t mode)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(name, mode), 0);
}

static char before[PATH_MAX], here[64];

static int enter_directory(void **state)
{
    if (!getcwd(before, sizeof(before)) || !scratch_dir(here, sizeof(here), "souk-start") || chdir(here) != 0)
        return -1;
    write_here("open-to-all", "secret\n", 0644);
    write_here("wrong", "my caller may all\n", 0640);
    write_here("tokens", "shop orders:read 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", 0440);
    return 0;
}

static int leave_directory(void **state)
{
    unlink("open-to-all");
    unlink("wrong");
    unlink("tokens");
    unlink("journal");
    return chdir(before) == 0 && rmdir(here) == 0 ? 0 : -1;
}

static void test_bad_settings(void **state)
{
    static const struct {
        const char *setting, *want; /* in the sentence */
        const char *argument;
    } cases[] = {
        {"SOUK_HTTP_ADDRESS=0.0.0.0", "SOUK_AUTH is off and SOUK_HTTP_ADDRESS is 0.0.0.0", NULL},
        {"SOUK_HTTP_ADDRESS=192.0.2.1", "listen on 127.0.0.1", NULL},
        {"SOUK_HTTP_ADDRESS=garbage", "SOUK_HTTP_ADDRESS is \"garbage\" but must be a numeric address", NULL},
        {"SOUK_SHARDS=", "SOUK_SHARDS", NULL},
        {"SOUK_SHARDS=garbage", "SOUK_SHARDS", NULL},
        {"SOUK_SHARDS=a=127.0.0.1:1,a=127.0.0.1:2", "SOUK_SHARDS", NULL},
        {"SOUK_SHARDS=a=127.0.0.1:1,b=127.0.0.1:1", "SOUK_SHARDS", NULL},
        {"SOUK_SHARDS=a=127.0.0.1:65536", "SOUK_SHARDS", NULL},
        {"SOUK_PARTITIONS=0", "SOUK_PARTITIONS", NULL},
        {"SOUK_PARTITIONS=100", "the number of partitions is 100; it must be a power of two", NULL},
        {"SOUK_PARTITIONS=-1", "SOUK_PARTITIONS", NULL},
        {"SOUK_PARTITIONS=garbage", "SOUK_PARTITIONS is \"garbage\" but must be an integer", NULL},
        {"SOUK_RING_EPOCH=0", "SOUK_RING_EPOCH", NULL},
        {"SOUK_THREADS=0", "SOUK_THREADS", NULL},
        {"SOUK_THREADS=65", "SOUK_THREADS", NULL},
        {"SOUK_HTTP_PORT=65536", "SOUK_HTTP_PORT", NULL},
        {"SOUK_HTTP_PORT=", "SOUK_HTTP_PORT", NULL},
        {"SOUK_LOG_LEVEL=loud", "SOUK_LOG_LEVEL is \"loud\" but must be one of", NULL},
        {"SOUK_REDIS_PASSWORD_FILE=/nowhere/password", "cannot read the password for the shards from /nowhere/password", NULL},
        {"SOUK_REDIS_PASSWORD_FILE=open-to-all",
         "cannot read the password for the shards from open-to-all (SOUK_REDIS_PASSWORD_FILE): its mode is 0644", NULL},
        {"SOUK_AUTH=none", "SOUK_AUTH is \"none\" but must be one of off|tokens", NULL},
        {"SOUK_AUTH=tokens", "SOUK_AUTH is tokens and SOUK_TOKENS_FILE is empty", NULL},
        {"SOUK_TOKENS_FILE=/etc/passwd", "SOUK_TOKENS_FILE is /etc/passwd and SOUK_AUTH is off", NULL},
        {"SOUK_CALLER_RATE=5", "SOUK_CALLER_RATE is 5 and SOUK_AUTH is off", NULL},
        {"SOUK_CALLER_RATE=-1", "SOUK_CALLER_RATE", NULL},
        {"SOUK_AUTH=tokens", "cannot be taken from open-to-all (SOUK_TOKENS_FILE): its mode is 0644", "--tokens-file=open-to-all"},
        {"SOUK_AUTH=tokens", "cannot be taken from /nowhere/tokens (SOUK_TOKENS_FILE): No such file", "--tokens-file=/nowhere/tokens"},
        {"SOUK_AUTH=tokens", "cannot be taken from wrong (SOUK_TOKENS_FILE): line 1: \"caller\" is no scope that a caller can have; there are, ",
         "--tokens-file=wrong"},
        {"SOUK_FSYNC=sometimes", "SOUK_FSYNC is \"sometimes\" but must be one of always|everysec|no", NULL},
        {"SOUK_LOG_LEVEL=info", "--garbage", "--garbage=1"},
        {"SOUK_LOG_LEVEL=info", "--partitions", "--partitions=100x"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t p = 0; p < PROGRAM_COUNT; p++) {
            const char *const settings[] = {"SOUK_HTTP_PORT=0", cases[i].setting, NULL};
            struct child child;
            child_start(&child, PROGRAMS[p], settings, cases[i].argument);
            souk_wait(child_has_ended, &child, 5000);
            int status = child_end(&child, SIGTERM);
            print_message("%s: %s", cases[i].setting, child.said);
            assert_in_range(status, 1, 125);
            assert_int_equal(lines_in(child.said), 1);
            if (strstr(child.said, cases[i].want) == NULL)
                fail_msg("\"%s\" is not said", cases[i].want);
        }
}

/* ---- beyond loopback ---- */

struct answering {
    struct child child;
    struct client *client;
    char url[64];
    int status;
};

static bool answers_or_ended(void *cookie)
{
    struct answering *answering = cookie;
    const struct client_request request = {.method = "GET", .url = answering->url};
    if (child_has_ended(&answering->child))
        return true;
    struct response *response = client_send(answering->client, &request);
    answering->status = response->status;
    response_free(response);
    return answering->status != 0;
}

/* A worker listens anywhere once it asks for tokens; the gateway for tests only if it is told that this is meant. */
static void test_beyond_loopback(void **state)
{
    static const struct {
        const char *program, *settings[4], *want; /* want: it refuses; NULL: it answers on 127.0.0.1 as well */
    } cases[] = {
        {"souk-order", {"SOUK_HTTP_ADDRESS=0.0.0.0", "SOUK_AUTH=tokens", "SOUK_TOKENS_FILE=tokens"}, NULL},
        {"souk-product", {"SOUK_HTTP_ADDRESS=::", "SOUK_AUTH=tokens", "SOUK_TOKENS_FILE=tokens"}, NULL},
        {"souk-payment", {"SOUK_HTTP_ADDRESS=0.0.0.0"}, "SOUK_AUTH is off"},
        {"souk-sandbox", {"SOUK_HTTP_ADDRESS=0.0.0.0", "SOUK_JOURNAL=journal"}, "set SOUK_SANDBOX_OPEN=yes"},
        {"souk-sandbox", {"SOUK_HTTP_ADDRESS=0.0.0.0", "SOUK_JOURNAL=journal", "SOUK_SANDBOX_OPEN=yes"}, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int number = some_port(NULL);
        char port[32];
        snprintf(port, sizeof(port), "SOUK_HTTP_PORT=%d", number);
        const char *const settings[] = {port, cases[i].settings[0], cases[i].settings[1] ? cases[i].settings[1] : port,
                                        cases[i].settings[2] ? cases[i].settings[2] : port, NULL};
        struct answering answering = {.client = client_new()};
        snprintf(answering.url, sizeof(answering.url), "http://127.0.0.1:%d/livez", number);
        child_start(&answering.child, cases[i].program, settings, NULL);
        bool answers = souk_wait(answers_or_ended, &answering, 5000) && answering.status != 0;
        int status = child_end(&answering.child, SIGTERM);
        client_free(answering.client);
        print_message("%s", answering.child.said);
        assert_int_equal(answers, cases[i].want == NULL);
        if (cases[i].want) {
            assert_int_equal(status, 2);
            assert_non_null(strstr(answering.child.said, cases[i].want));
        }
    }
}

static void test_port_taken(void **state)
{
    for (size_t p = 0; p < PROGRAM_COUNT; p++) {
        int listener;
        char port[32], want[32];
        int number = some_port(&listener);
        snprintf(port, sizeof(port), "SOUK_HTTP_PORT=%d", number);
        snprintf(want, sizeof(want), "127.0.0.1:%d", number);
        const char *const settings[] = {port, "SOUK_SHARDS=a=127.0.0.1:1", NULL};
        struct child child;
        child_start(&child, PROGRAMS[p], settings, NULL);
        souk_wait(child_has_ended, &child, 5000);
        int status = child_end(&child, SIGTERM);
        print_message("%s", child.said);
        assert_in_range(status, 1, 125);
        assert_non_null(strstr(child.said, want));
        assert_int_equal(lines_in(child.said), 1);
        close(listener);
    }
}

/* ---- shards that cannot be right ---- */

struct readiness {
    struct client *client;
    char url[64], missing[512]; /* missing: what it says of its shard */
    int status;
};

static bool readyz_is(struct readiness *readiness, int status)
{
    const struct client_request request = {.method = "GET", .url = readiness->url};
    struct response *response = client_send(readiness->client, &request);
    bool is = response->status == status;
    const char *shard = json_string_value(json_at(response->json, "shards.shard-1"));
    snprintf(readiness->missing, sizeof(readiness->missing), "%s", shard ? shard : "");
    response_free(response);
    return is;
}

/* It answers, says that it is not ready, and has said why in its log. */
struct refusal {
    struct child child;
    struct readiness readiness;
    const char *want;
};

static bool is_refused(void *cookie)
{
    struct refusal *refusal = cookie;
    child_listen(&refusal->child);
    return readyz_is(&refusal->readiness, 503) && strstr(refusal->readiness.missing, refusal->want) && strstr(refusal->child.said, refusal->want);
}

/* ${redis} NULL: there is no shard. */
static void refusal_start(struct refusal *refusal, struct redis_fixture *redis, const char *program)
{
    char port[32], shards[64];
    int number = some_port(NULL);
    snprintf(port, sizeof(port), "SOUK_HTTP_PORT=%d", number);
    snprintf(shards, sizeof(shards), "SOUK_SHARDS=shard-1=127.0.0.1:%d", redis ? redis_port(redis) : some_port(NULL));
    snprintf(refusal->readiness.url, sizeof(refusal->readiness.url), "http://127.0.0.1:%d/readyz", number);
    const char *const settings[] = {port, shards, "SOUK_PARTITIONS=256", "SOUK_RING_EPOCH=1", NULL};
    child_start(&refusal->child, program, settings, NULL);
}

static void refused_by(struct redis_fixture *redis, const char *program, const char *want)
{
    struct refusal refusal = {.readiness.client = client_new(), .want = want};
    refusal_start(&refusal, redis, program);
    bool refused = souk_wait(is_refused, &refusal, 5000);
    int status = child_end(&refusal.child, SIGTERM);
    client_free(refusal.readiness.client);
    if (!refused)
        fail_msg("%s does not say \"%s\", but: %s%s", program, want, refusal.child.said, refusal.readiness.missing);
    print_message("%s", refusal.child.said);
    assert_int_equal(status, 0);
    assert_null(strstr(strstr(refusal.child.said, want) + 1, want)); /* once, not with every attempt */
}

static void test_bad_shards(void **state)
{
    static const struct {
        const char *name, *want; /* name NULL: it is no shard at all */
        int partitions;
        long epoch;
        const char *const args[6]; /* of redis-server */
    } cases[] = {
        {NULL, "souk:shard is absent", 0, 0, {NULL}},
        {"shard-2", "souk:shard has name \"shard-2\", expected \"shard-1\"", 256, 1, {NULL}},
        {"shard-1", "souk:shard has partitions \"128\", expected 256", 128, 1, {NULL}},
        {"shard-1", "souk:shard has epoch \"2\", expected 1", 256, 2, {NULL}},
        {"shard-1",
         "its maxmemory-policy is allkeys-lru, which deletes orders when memory is short: only noeviction is allowed",
         256,
         1,
         {"--maxmemory-policy", "allkeys-lru", "--appendonly", "yes"}},
        {"shard-1", "its appendonly is no, and SOUK_FSYNC=everysec wants at least that", 256, 1, {"--appendonly", "no"}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct redis_fixture *redis = redis_start(cases[i].args);
        if (cases[i].name)
            redis_make_shard(redis, cases[i].name, cases[i].partitions, cases[i].epoch);
        for (size_t p = 0; p < PROGRAM_COUNT; p++)
            refused_by(redis, PROGRAMS[p], cases[i].want);
        redis_stop(redis);
    }
}

static void test_no_shard(void **state)
{
    for (size_t p = 0; p < PROGRAM_COUNT; p++)
        refused_by(NULL, PROGRAMS[p], "Connection refused");
}

/* Who reads the log may die, and then a line is written to a pipe without a reader: the worker lives, and stops as it should when it is told to. */
static void test_nobody_reads_the_log(void **state)
{
    for (size_t p = 0; p < PROGRAM_COUNT; p++) {
        struct refusal refusal = {.readiness.client = client_new(), .want = "Connection refused"};
        refusal_start(&refusal, NULL, PROGRAMS[p]);
        bool refused = souk_wait(is_refused, &refusal, 5000);
        int nobody = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_int_equal(dup2(nobody, refusal.child.output), refusal.child.output);
        close(nobody);
        int status = child_end(&refusal.child, SIGTERM);
        client_free(refusal.readiness.client);
        assert_true(refused);
        assert_int_equal(status, 0);
    }
}

/* ---- everything right ---- */

static long resident_kb(pid_t pid)
{
    char path[64], line[256];
    long kb = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        if (sscanf(line, "VmRSS: %ld kB", &kb) == 1)
            break;
    fclose(file);
    return kb;
}

static bool is_ready(void *cookie)
{
    return readyz_is(cookie, 200);
}

static void test_ready_and_small(void **state)
{
    struct souk *souk = souk_start(&(struct souk_settings){.roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true, [SOUK_PAYMENT] = true}});
    for (int worker = SOUK_PRODUCT; worker <= SOUK_PAYMENT; worker++) {
        struct readiness readiness = {.client = client_new()};
        snprintf(readiness.url, sizeof(readiness.url), "%s/readyz", souk_url(souk, worker));
        souk_kill(souk, worker);
        int64_t begin = clock_now_ms();
        souk_launch(souk, worker);
        assert_true(souk_wait(is_ready, &readiness, READY_MS_MAX));
        int64_t took = clock_now_ms() - begin;
        long kb = resident_kb(souk_pid(souk, worker));
        print_message("%s: ready in %lld ms (asked every 5 ms), resident %ld KiB\n", PROGRAMS[worker], (long long)took, kb);
        assert_true(took <= READY_MS_MAX);
#ifndef SOUK_SANITIZED
        assert_true(kb <= RESIDENT_KB_MAX);
#endif
        client_free(readiness.client);
    }
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

/* ---- what the service manager hears ---- */

/* The service manager's end, and what came. */
struct manager {
    int fd;
    char setting[64]; /* NOTIFY_SOCKET=… */
    char heard[16384];
    size_t len;
    const char *want;
};

static void manager_open(struct manager *manager)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len = snprintf(manager->setting, sizeof(manager->setting), "NOTIFY_SOCKET=@souk-start-%d", (int)getpid()) - 14;
    memcpy(address.sun_path + 1, manager->setting + 15, (size_t)len - 1);
    manager->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(manager->fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)), 0);
}

static void manager_listen(struct manager *manager)
{
    ssize_t got;
    while ((got = recv(manager->fd, manager->heard + manager->len, sizeof(manager->heard) - 2 - manager->len, 0)) > 0) {
        manager->len += (size_t)got;
        manager->heard[manager->len++] = ';';
    }
    manager->heard[manager->len] = '\0';
}

static bool manager_has_heard(void *cookie)
{
    struct manager *manager = cookie;
    manager_listen(manager);
    return strstr(manager->heard, manager->want) != NULL;
}

/* Waits for it, and forgets it with what came before. */
static void expect_heard(struct manager *manager, const char *want)
{
    manager->want = want;
    if (!souk_wait(manager_has_heard, manager, 10000))
        fail_msg("\"%s\" was not told, but: %s", want, manager->heard);
    const char *rest = strstr(manager->heard, want) + strlen(want);
    manager->len -= (size_t)(rest - manager->heard);
    memmove(manager->heard, rest, manager->len + 1);
}

/* Stops, or lets go on, every thread of a worker but its first, as if they hung. */
static void hang_threads(pid_t pid, bool hang)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(tasks));) {
        pid_t thread = (pid_t)atoi(entry->d_name);
        if (thread == 0 || thread == pid)
            continue;
        if (hang) {
            assert_int_equal(ptrace(PTRACE_SEIZE, thread, NULL, NULL), 0);
            assert_int_equal(ptrace(PTRACE_INTERRUPT, thread, NULL, NULL), 0);
            assert_int_equal(waitpid(thread, NULL, __WALL), thread);
        } else {
            assert_int_equal(ptrace(PTRACE_DETACH, thread, NULL, NULL), 0);
        }
        count++;
    }
    closedir(tasks);
    assert_true(count > 0);
}

static bool time_is_over(void *cookie)
{
    return clock_now_ms() > *(int64_t *)cookie;
}

static void listen_for_ms(struct manager *manager, int ms)
{
    int64_t end = clock_now_ms() + ms;
    souk_wait(time_is_over, &end, ms + 1000);
    manager_listen(manager);
}

#define WATCHDOG_MS 300 /* a sign of life comes three times within it */

static void test_the_service_manager_is_told(void **state)
{
    for (size_t p = 0; p < PROGRAM_COUNT; p++) {
        struct manager manager = {.len = 0};
        manager_open(&manager);
        /* Its shard is away: that is told, and it is alive all the same. */
        const char *const settings[] = {manager.setting,  "WATCHDOG_USEC=300000",      "SOUK_HTTP_PORT=0",
                                        "SOUK_THREADS=2", "SOUK_SHARDS=a=127.0.0.1:1", NULL};
        struct child child;
        child_start(&child, PROGRAMS[p], settings, "--drain-ms=3000");
        expect_heard(&manager, "READY=1;");
        expect_heard(&manager, "not ready: a shard is not reachable;");
        expect_heard(&manager, "WATCHDOG=1;");
        expect_heard(&manager, "WATCHDOG=1;");
        hang_threads(child.pid, true);
        listen_for_ms(&manager, WATCHDOG_MS);
        manager.len = 0;
        listen_for_ms(&manager, 2 * WATCHDOG_MS);
        assert_string_equal(manager.heard, "");
        hang_threads(child.pid, false);
        expect_heard(&manager, "WATCHDOG=1;");
        kill(child.pid, SIGTERM);
        expect_heard(&manager, "STOPPING=1\nEXTEND_TIMEOUT_USEC=5000000\n");
        assert_int_equal(child_end(&child, 0), 0);
        close(manager.fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bad_settings, enter_directory, leave_directory),
        cmocka_unit_test_setup_teardown(test_beyond_loopback, enter_directory, leave_directory),
        cmocka_unit_test(test_port_taken),
        cmocka_unit_test(test_bad_shards),
        cmocka_unit_test(test_no_shard),
        cmocka_unit_test(test_nobody_reads_the_log),
        cmocka_unit_test(test_ready_and_small),
        cmocka_unit_test(test_the_service_manager_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
