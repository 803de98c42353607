#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "launch.h"
#include "loop.h"
#include "scratch_dir.h"

#include "gateway_port.h"

/*
 * The gateway's port against a real souk-sandbox: each token, repeats, kills, silence, and things that are no gateway.
 */
#define DEADLINE_MS 20000
/* The port's timeouts: where an answer comes, however busy the machine is; and where none comes. */
#define PATIENT_MS 10000
#define SHORT_MS 300

/* A program that listens on a port of its own and dies with the test. */
struct peer {
    pid_t pid; /* 0: it does not run */
    int port;
    char dir[128], journal[160], url[64];
};

/* The port under test on its loop, and what is owed to it. */
struct bench {
    struct loop *loop;
    struct gateway_port *port;
    struct arena *arena;
    struct loop_timer *deadline;
    unsigned owed;
};

/* An errand that knows its bench. */
struct asked {
    struct gateway_errand errand; /* first */
    struct bench *bench;
    unsigned done;
};

/* ---- the peer ---- */

static int listener(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

/* Returns -1 if nobody listens. A port of the range for clients may be given to this very socket, which then connects to itself: that is nobody. */
static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && port_of(fd) != port)
        return fd;
    close(fd);
    return -1;
}

static pid_t launch_sandbox(const struct peer *peer)
{
    const char *const command[] = {SOUK_BIN "/souk-sandbox", NULL};
    struct environment environment;
    char port[16], log[160];
    snprintf(port, sizeof(port), "%d", peer->port);
    snprintf(log, sizeof(log), "%s/log", peer->dir);
    environment_copy(&environment);
    environment_set(&environment, "SOUK_HTTP_PORT", port);
    environment_set(&environment, "SOUK_JOURNAL", peer->journal);
    pid_t pid = launch(&(struct launch){.command = command, .output = log, .environment = &environment});
    environment_free(&environment);
    return pid;
}

/* Starts it and waits until it listens. Returns its exit status if it ends instead, else -1. */
static int peer_launch(struct peer *peer)
{
    int64_t until = clock_us() + DEADLINE_MS * 1000;
    peer->pid = launch_sandbox(peer);
    assert_true(peer->pid >= 0);
    for (int fd;;) {
        int status;
        if (waitpid(peer->pid, &status, WNOHANG) == peer->pid) {
            peer->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
        }
        if ((fd = connect_to(peer->port)) >= 0) {
            close(fd);
            return -1;
        }
        assert_true(clock_us() < until);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

static void peer_end(struct peer *peer, int signum)
{
    int status;
    if (peer->pid == 0)
        return;
    kill(peer->pid, signum);
    assert_int_equal(waitpid(peer->pid, &status, 0), peer->pid);
    peer->pid = 0;
    if (signum == SIGTERM)
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void peer_make(struct peer *peer)
{
    int fd = listener(0);
    *peer = (struct peer){.port = port_of(fd)};
    close(fd);
    assert_true(scratch_dir(peer->dir, sizeof(peer->dir), "souk-gateway"));
    snprintf(peer->journal, sizeof(peer->journal), "%s/journal", peer->dir);
    snprintf(peer->url, sizeof(peer->url), "http://127.0.0.1:%d", peer->port);
}

static void peer_remove(struct peer *peer)
{
    char log[160];
    peer_end(peer, SIGTERM);
    snprintf(log, sizeof(log), "%s/log", peer->dir);
    unlink(log);
    unlink(peer->journal);
    assert_int_equal(rmdir(peer->dir), 0);
}

/* The journal's text; freed by the caller. */
static char *journal_text(const struct peer *peer)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = fopen(peer->journal, "r"), *out = open_memstream(&text, &len);
    assert_non_null(file);
    for (int c; (c = getc(file)) != EOF;)
        putc(c, out);
    fclose(file);
    fclose(out);
    return text;
}

/* How many lines of the journal hold ${text}. */
static unsigned journal_count(const struct peer *peer, const char *text)
{
    char *all = journal_text(peer), *save = NULL;
    unsigned count = 0;
    for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        count += strstr(line, text) != NULL;
    free(all);
    return count;
}

/* ---- the bench ---- */

static void out_of_time(void *cookie)
{
    fail_msg("the errands have not come back within %d ms", DEADLINE_MS);
}

static void bench_open(struct bench *bench, const char *url, int timeout_ms)
{
    const struct gateway_settings settings = {.url = url, .timeout_ms = timeout_ms};
    *bench = (struct bench){.loop = loop_new(), .arena = arena_new()};
    bench->port = gateway_port_new(bench->loop, &settings);
    bench->deadline = loop_timer_new(bench->loop, out_of_time, bench);
    assert_non_null(bench->port);
}

static void bench_close(struct bench *bench)
{
    gateway_port_free(bench->port);
    loop_timer_free(bench->deadline);
    loop_free(bench->loop);
    arena_free(bench->arena);
}

static void got_done(struct errand *base)
{
    struct asked *asked = (struct asked *)base;
    asked->done++;
    if (--asked->bench->owed == 0)
        loop_stop(asked->bench->loop);
}

static struct asked *ask_new(struct bench *bench, enum gateway_op op, const char *key)
{
    struct asked *asked = ARENA_NEW(bench->arena, struct asked);
    asked->bench = bench;
    asked->errand = (struct gateway_errand){
        .base = {.done = got_done},
        .arena = bench->arena,
        .op = op,
        .key = view_of(key),
        .amount = 1099,
        .currency = VIEW("USD"),
        .token = VIEW("tok_ok"),
        .ref = VIEW("ch_1"),
        .result = GATEWAY_UNKNOWN,
    };
    return asked;
}

static void send_one(struct asked *asked)
{
    asked->bench->owed++;
    gateway_port_send(asked->bench->port, &asked->errand.base);
    assert_int_equal(asked->done, 0); /* a later turn */
}

static void run(struct bench *bench)
{
    loop_timer_set(bench->deadline, DEADLINE_MS);
    loop_run(bench->loop);
    loop_timer_clear(bench->deadline);
}

static const struct gateway_errand *ask_one(struct asked *asked)
{
    send_one(asked);
    run(asked->bench);
    assert_int_equal(asked->done, 1);
    return &asked->errand;
}

static const struct gateway_errand *charge(struct bench *bench, const char *key, const char *token)
{
    struct asked *asked = ask_new(bench, GATEWAY_CHARGE, key);
    asked->errand.token = view_of(token);
    return ask_one(asked);
}

static void assert_result(const struct gateway_errand *errand, enum gateway_result result, const char *ref, const char *failure)
{
    if (errand->result != result)
        fail_msg("key %.*s: want %d, got %d (%.*s)", VIEW_ARG(errand->key), result, errand->result, VIEW_ARG(errand->failure));
    if (ref)
        assert_true(view_equal(errand->result_ref, view_of(ref)));
    assert_true(view_equal(errand->failure, view_of(failure)));
}

/* ---- the sandbox as it should be ---- */

static void test_tokens(void **state)
{
    static const struct {
        const char *token;
        enum gateway_op op;
        enum gateway_result want;
        const char *failure;
    } cases[] = {
        {"tok_ok", GATEWAY_CHARGE, GATEWAY_SUCCEEDED, NULL},
        {"tok_ok", GATEWAY_AUTHORIZE, GATEWAY_AUTHORIZED, NULL},
        {"tok_declined", GATEWAY_CHARGE, GATEWAY_FAILED, "card_declined"},
        {"tok_insufficient_funds", GATEWAY_AUTHORIZE, GATEWAY_FAILED, "insufficient_funds"},
        {"tok_slow", GATEWAY_CHARGE, GATEWAY_SUCCEEDED, NULL},
        {"nonsense", GATEWAY_CHARGE, GATEWAY_FAILED, "invalid_token"},
        {"tok_o", GATEWAY_CHARGE, GATEWAY_FAILED, "invalid_token"},
    };
    struct peer *peer = *state;
    struct bench bench;
    bench_open(&bench, peer->url, PATIENT_MS);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char key[32];
        snprintf(key, sizeof(key), "token-%zu", i);
        struct asked *asked = ask_new(&bench, cases[i].op, arena_copy(bench.arena, view_of(key)).at);
        asked->errand.token = view_of(cases[i].token);
        int64_t since = clock_us();
        assert_result(ask_one(asked), cases[i].want, NULL, cases[i].failure);
        assert_int_equal(asked->errand.result_ref.len > 0, cases[i].failure == NULL);
        if (strcmp(cases[i].token, "tok_slow") == 0)
            assert_true(clock_us() - since >= 1900000);
    }
    assert_int_equal(journal_count(peer, "\"op\":\"charge\""), 2);
    assert_int_equal(journal_count(peer, "\"op\":\"authorize\""), 1);
    assert_int_equal(journal_count(peer, "\"op\":\"decline\""), 4);
    bench_close(&bench);
}

/* Same key, same answer, one effect; with another body it is refused, and nothing is known. */
static void test_repeat(void **state)
{
    struct peer *peer = *state;
    struct bench bench;
    bench_open(&bench, peer->url, PATIENT_MS);
    const struct gateway_errand *first = charge(&bench, "repeat", "tok_ok"), *second = charge(&bench, "repeat", "tok_ok");
    assert_result(first, GATEWAY_SUCCEEDED, NULL, NULL);
    assert_result(second, GATEWAY_SUCCEEDED, first->result_ref.at, NULL);
    assert_result(charge(&bench, "repeat", "tok_declined"), GATEWAY_UNKNOWN, NULL, NULL);
    assert_result(charge(&bench, "declined", "tok_declined"), GATEWAY_FAILED, NULL, "card_declined");
    assert_result(charge(&bench, "declined", "tok_declined"), GATEWAY_FAILED, NULL, "card_declined");
    assert_int_equal(journal_count(peer, "\"repeat\""), 1);
    assert_int_equal(journal_count(peer, "\"declined\""), 1);
    bench_close(&bench);
}

/* One conversation about two charges, in order. */
static void test_life_of_a_charge(void **state)
{
    static const struct {
        enum gateway_op op;
        const char *key, *ref;
        int64_t amount;
        enum gateway_result want;
        const char *failure;
    } cases[] = {
        {GATEWAY_AUTHORIZE, "a1", "", 1000, GATEWAY_AUTHORIZED, NULL},
        {GATEWAY_REFUND, "r0", "ch_1", 1, GATEWAY_FAILED, "amount_above_captured"},
        {GATEWAY_CAPTURE, "c0", "ch_1", 1001, GATEWAY_FAILED, "amount_above_authorized"},
        {GATEWAY_CAPTURE, "c1", "ch_1", 1000, GATEWAY_SUCCEEDED, NULL},
        {GATEWAY_CAPTURE, "c1", "ch_1", 1000, GATEWAY_SUCCEEDED, NULL},
        {GATEWAY_CAPTURE, "c2", "ch_1", 1000, GATEWAY_FAILED, "already_captured"},
        {GATEWAY_VOID, "v0", "ch_1", 0, GATEWAY_FAILED, "already_captured"},
        {GATEWAY_REFUND, "r1", "ch_1", 400, GATEWAY_SUCCEEDED, NULL},
        {GATEWAY_REFUND, "r1", "ch_1", 400, GATEWAY_SUCCEEDED, NULL},
        {GATEWAY_REFUND, "r2", "ch_1", 601, GATEWAY_FAILED, "amount_above_captured"},
        {GATEWAY_REFUND, "r3", "ch_1", 600, GATEWAY_SUCCEEDED, NULL},
        {GATEWAY_REFUND, "r4", "ch_1", 1, GATEWAY_FAILED, "amount_above_captured"},
        {GATEWAY_AUTHORIZE, "a2", "", 1000, GATEWAY_AUTHORIZED, NULL},
        {GATEWAY_VOID, "v1", "ch_2", 0, GATEWAY_VOIDED, NULL},
        {GATEWAY_VOID, "v1", "ch_2", 0, GATEWAY_VOIDED, NULL},
        {GATEWAY_VOID, "v2", "ch_2", 0, GATEWAY_FAILED, "already_voided"},
        {GATEWAY_CAPTURE, "c3", "ch_2", 1000, GATEWAY_FAILED, "voided"},
        {GATEWAY_CAPTURE, "c4", "ch_3", 1, GATEWAY_FAILED, "no_such_charge"},
        {GATEWAY_REFUND, "r5", "ch_3", 1, GATEWAY_FAILED, "no_such_charge"},
        {GATEWAY_VOID, "v3", "ch_3", 0, GATEWAY_FAILED, "no_such_charge"},
    };
    struct peer *peer = *state;
    struct bench bench;
    bench_open(&bench, peer->url, PATIENT_MS);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct asked *asked = ask_new(&bench, cases[i].op, cases[i].key);
        asked->errand.amount = cases[i].amount;
        asked->errand.ref = view_of(cases[i].ref);
        assert_result(ask_one(asked), cases[i].want, NULL, cases[i].failure);
    }
    bench_close(&bench);
}

/* ---- silence, and what becomes of it ---- */

static void test_silence(void **state)
{
    static const struct {
        const char *token;
        enum gateway_result settled;
        const char *failure;
    } cases[] = {{"tok_timeout", GATEWAY_SUCCEEDED, NULL}, {"tok_lost", GATEWAY_FAILED, "closed"}};
    struct peer *peer = *state;
    struct bench hasty, bench;
    bench_open(&hasty, peer->url, SHORT_MS);
    bench_open(&bench, peer->url, PATIENT_MS);
    for (size_t i = 0; i < 2; i++) {
        int64_t since = clock_us();
        const char *key = cases[i].token;
        assert_result(charge(&hasty, key, cases[i].token), GATEWAY_UNKNOWN, NULL, NULL);
        assert_in_range(clock_us() - since, (SHORT_MS - 10) * 1000, DEADLINE_MS * 1000);
        /* What it says once, it says always; and a late request with the key has no other effect. */
        assert_result(ask_one(ask_new(&bench, GATEWAY_SETTLE, key)), cases[i].settled, NULL, cases[i].failure);
        assert_result(ask_one(ask_new(&bench, GATEWAY_SETTLE, key)), cases[i].settled, NULL, cases[i].failure);
        assert_result(charge(&bench, key, cases[i].token), cases[i].settled, NULL, cases[i].failure);
    }
    assert_int_equal(journal_count(peer, "\"op\":\"charge\""), 1);
    assert_int_equal(journal_count(peer, "\"op\":\"close\""), 1);
    bench_close(&hasty);
    bench_close(&bench);
}

/* kill -9, and it still knows every key, closed ones as well. What it was writing when it died was never answered. */
static void test_kill(void **state)
{
    struct peer *peer = *state;
    struct bench hasty, bench;
    bench_open(&hasty, peer->url, SHORT_MS);
    bench_open(&bench, peer->url, PATIENT_MS);
    const struct gateway_errand *first = charge(&bench, "before", "tok_ok");
    assert_result(charge(&bench, "no", "tok_declined"), GATEWAY_FAILED, NULL, "card_declined");
    assert_result(charge(&hasty, "silent", "tok_timeout"), GATEWAY_UNKNOWN, NULL, NULL);
    assert_result(ask_one(ask_new(&bench, GATEWAY_SETTLE, "closed")), GATEWAY_FAILED, NULL, "closed");
    struct asked *refund = ask_new(&bench, GATEWAY_REFUND, "refund");
    assert_result(ask_one(refund), GATEWAY_SUCCEEDED, NULL, NULL);

    peer_end(peer, SIGKILL);
    FILE *journal = fopen(peer->journal, "a");
    fputs("{\"at\":1,\"key\":\"torn\",\"op\":\"cha", journal);
    fclose(journal);
    assert_int_equal(peer_launch(peer), -1);

    assert_result(charge(&bench, "before", "tok_ok"), GATEWAY_SUCCEEDED, first->result_ref.at, NULL);
    assert_result(charge(&bench, "no", "tok_declined"), GATEWAY_FAILED, NULL, "card_declined");
    assert_result(charge(&bench, "closed", "tok_ok"), GATEWAY_FAILED, NULL, "closed");
    assert_result(ask_one(ask_new(&bench, GATEWAY_SETTLE, "silent")), GATEWAY_SUCCEEDED, NULL, NULL);
    assert_result(ask_one(ask_new(&bench, GATEWAY_REFUND, "refund")), GATEWAY_SUCCEEDED, NULL, NULL);
    assert_result(ask_one(ask_new(&bench, GATEWAY_REFUND, "another")), GATEWAY_FAILED, NULL, "amount_above_captured");
    assert_result(charge(&bench, "torn", "tok_ok"), GATEWAY_SUCCEEDED, "ch_3", NULL);
    assert_int_equal(journal_count(peer, "\"before\""), 1);
    assert_int_equal(journal_count(peer, "\"torn\""), 1);
    bench_close(&hasty);
    bench_close(&bench);
}

static void test_damaged_journal(void **state)
{
    static const char *const lines[] = {
        "garbage\n",
        "{\"at\":1,\"key\":\"\",\"op\":\"charge\",\"ref\":\"ch_1\",\"amount\":1,\"currency\":\"USD\",\"token\":\"tok_ok\"}\n",
        "{\"at\":1,\"key\":\"a\",\"op\":\"sell\",\"ref\":\"ch_1\",\"amount\":1,\"currency\":\"USD\",\"token\":\"tok_ok\"}\n",
        "{\"at\":1,\"key\":\"a\",\"op\":\"capture\",\"ref\":\"ch_1\",\"amount\":1,\"currency\":\"\",\"token\":\"\"}\n",
        "{\"at\":1,\"key\":\"a\",\"op\":\"close\",\"ref\":\"\",\"amount\":0}\n{\"at\":1,\"key\":\"a\",\"op\":\"close\",\"ref\":\"\",\"amount\":0}\n",
    };
    struct peer *peer = *state;
    peer_end(peer, SIGTERM);
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        FILE *journal = fopen(peer->journal, "w");
        fputs(lines[i], journal);
        fclose(journal);
        assert_int_equal(peer_launch(peer), 1);
    }
}

/* ---- things that are no gateway ---- */

static void test_refused(void **state)
{
    struct peer *peer = *state;
    struct bench bench;
    peer_end(peer, SIGTERM);
    bench_open(&bench, peer->url, PATIENT_MS);
    assert_result(charge(&bench, "k", "tok_ok"), GATEWAY_NOT_SENT, NULL, NULL);
    assert_string_equal(gateway_result_text(GATEWAY_NOT_SENT).at, "unknown");
    bench_close(&bench);
    bench_open(&bench, "http://no-such-host.invalid:8083", 2000);
    assert_result(charge(&bench, "k", "tok_ok"), GATEWAY_NOT_SENT, NULL, NULL);
    bench_close(&bench);
}

/* The gateway ends between two requests on one connection: the port notices, and does not take it for an outcome. */
static void test_restart_between(void **state)
{
    struct peer *peer = *state;
    struct bench bench;
    bench_open(&bench, peer->url, PATIENT_MS);
    assert_result(charge(&bench, "one", "tok_ok"), GATEWAY_SUCCEEDED, NULL, NULL);
    peer_end(peer, SIGKILL);
    assert_in_range(charge(&bench, "two", "tok_ok")->result, GATEWAY_UNKNOWN, GATEWAY_NOT_SENT);
    assert_int_equal(peer_launch(peer), -1);
    assert_result(charge(&bench, "two", "tok_ok"), GATEWAY_SUCCEEDED, NULL, NULL);
    bench_close(&bench);
}

/* In the child: answers every connection with ${text} once it has sent something, and closes it. */
static void answer_always(int fd, const char *text, pid_t test)
{
    char request[4096];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != test)
        _exit(126);
    for (;;) {
        int client = accept(fd, NULL, NULL);
        if (read(client, request, sizeof(request)) > 0 && write(client, text, strlen(text)) < 0)
            _exit(1);
        shutdown(client, SHUT_WR);
        while (read(client, request, sizeof(request)) > 0)
            ;
        close(client);
    }
}

static void assert_answer_means(const char *text, enum gateway_result want)
{
    struct bench bench;
    char url[64];
    int fd = listener(0), status;
    pid_t test = getpid(), pid;
    assert_int_equal(listen(fd, 8), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", port_of(fd));
    if ((pid = fork()) == 0)
        answer_always(fd, text, test);
    close(fd);
    bench_open(&bench, url, PATIENT_MS);
    const struct gateway_errand *errand = charge(&bench, "k", "tok_ok");
    if (errand->result != want)
        fail_msg("%.80s: want %d, got %d", text, want, errand->result);
    bench_close(&bench);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

#define ANSWER(status, body) "HTTP/1.1 " status "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" body
static void test_strange_answers(void **state)
{
    static const struct {
        const char *text;
        enum gateway_result want;
    } cases[] = {
        {ANSWER("200 OK", "{\"key\":\"k\",\"status\":\"succeeded\",\"ref\":\"x\",\"failure\":null}"), GATEWAY_SUCCEEDED},
        {ANSWER("200 OK", "{\"key\":\"k\",\"status\":\"failed\"}"), GATEWAY_FAILED},
        {ANSWER("200 OK", "{\"key\":\"other\",\"status\":\"succeeded\"}"), GATEWAY_UNKNOWN},
        {ANSWER("200 OK", "{\"status\":\"succeeded\"}"), GATEWAY_UNKNOWN},
        {ANSWER("200 OK", "{\"key\":\"k\",\"status\":\"unknown\"}"), GATEWAY_UNKNOWN},
        {ANSWER("200 OK", "{\"key\":\"k\",\"status\":7}"), GATEWAY_UNKNOWN},
        {ANSWER("200 OK", "[]"), GATEWAY_UNKNOWN},
        {ANSWER("200 OK", ""), GATEWAY_UNKNOWN},
        {ANSWER("200 OK", "<html>"), GATEWAY_UNKNOWN},
        {ANSWER("201 Created", "{\"key\":\"k\",\"status\":\"succeeded\"}"), GATEWAY_UNKNOWN},
        {ANSWER("302 Found", "{\"key\":\"k\",\"status\":\"succeeded\"}"), GATEWAY_UNKNOWN},
        {ANSWER("402 Payment Required", "{\"key\":\"k\",\"status\":\"failed\"}"), GATEWAY_UNKNOWN},
        {ANSWER("500 Internal Server Error", "{}"), GATEWAY_UNKNOWN},
        {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"key\":\"k\",\"status\":\"succeeded\"}", GATEWAY_UNKNOWN},
        {"no HTTP at all", GATEWAY_UNKNOWN},
        {"", GATEWAY_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_answer_means(cases[i].text, cases[i].want);
    char *large = calloc(1, 40000);
    strcpy(large, ANSWER("200 OK", "{\"key\":\"k\",\"status\":\"succeeded\",\"ref\":\""));
    memset(large + strlen(large), 'x', 30000);
    assert_answer_means(strcat(large, "\"}"), GATEWAY_UNKNOWN);
    free(large);
}

#define NINETY "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
static void test_failure_is_word_characters(void **state)
{
    struct bench bench;
    int fd = listener(0), status;
    char url[64];
    pid_t test = getpid(), pid;
    assert_int_equal(listen(fd, 8), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", port_of(fd));
    if ((pid = fork()) == 0)
        answer_always(fd, ANSWER("200 OK", "{\"key\":\"k\",\"status\":\"failed\",\"failure\":\"a|b c-" NINETY "\"}"), test);
    close(fd);
    bench_open(&bench, url, PATIENT_MS);
    assert_result(charge(&bench, "k", "tok_ok"), GATEWAY_FAILED, NULL, "a_b_c-0123456789012345678901234567890123456789012345678901234567");
    bench_close(&bench);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

/* ---- many ---- */

static struct asked **send_many(struct bench *bench, unsigned count, const char *token)
{
    struct asked **all = ARENA_ARRAY(bench->arena, struct asked *, count);
    for (unsigned i = 0; i < count; i++) {
        all[i] = ask_new(bench, GATEWAY_CHARGE, arena_printf(bench->arena, "many-%u", i).at);
        all[i]->errand.token = view_of(token);
        send_one(all[i]);
    }
    return all;
}

/* More than may be under way at once wait for their turn. */
static void test_many(void **state)
{
    struct peer *peer = *state;
    struct bench bench;
    const unsigned count = GATEWAY_UNDER_WAY_MAX * 3;
    bench_open(&bench, peer->url, PATIENT_MS);
    struct asked **all = send_many(&bench, count, "tok_ok");
    run(&bench);
    for (unsigned i = 0; i < count; i++)
        assert_true(all[i]->done == 1 && all[i]->errand.result == GATEWAY_SUCCEEDED);
    assert_int_equal(journal_count(peer, "\"op\":\"charge\""), count);
    bench_close(&bench);
}

/* With a gateway that says nothing the queue fills: what is beyond it, or still waits when its time is over, was certainly not sent. */
static void test_too_many(void **state)
{
    struct peer *peer = *state;
    struct bench bench;
    const unsigned room = GATEWAY_UNDER_WAY_MAX + GATEWAY_QUEUE_MAX;
    bench_open(&bench, peer->url, SHORT_MS);
    struct asked **all = send_many(&bench, room + 1, "tok_lost");
    run(&bench);
    for (unsigned i = 0; i <= room; i++) {
        assert_int_equal(all[i]->done, 1);
        /* Of those under way, some may not have been connected in time. */
        assert_in_range(all[i]->errand.result, i < GATEWAY_UNDER_WAY_MAX ? GATEWAY_UNKNOWN : GATEWAY_NOT_SENT, GATEWAY_NOT_SENT);
    }
    bench_close(&bench);
}

/* ---- the sandbox's door ---- */

/* The status of the answer to one request, by hand. */
static int status_of(const struct peer *peer, const char *method, const char *path, const char *body)
{
    char text[1024] = "";
    int fd = connect_to(peer->port), status = 0;
    assert_true(fd >= 0);
    dprintf(fd, "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", method, path, strlen(body), body);
    for (size_t len = 0; len < sizeof(text) - 1;) {
        ssize_t got = read(fd, text + len, sizeof(text) - 1 - len);
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    close(fd);
    sscanf(text, "HTTP/1.1 %d", &status);
    return status;
}

static void test_door(void **state)
{
    static const struct {
        const char *method, *path, *body;
        int want;
    } cases[] = {
        {"GET", "/livez", "", 200},
        {"GET", "/journal", "", 200},
        {"GET", "/charges", "", 404},
        {"POST", "/journal", "{\"key\":\"a\"}", 404},
        {"POST", "/charges/", "{\"key\":\"a\"}", 404},
        {"POST", "/charges//capture", "{\"key\":\"a\"}", 404},
        {"POST", "/charges", "", 400},
        {"POST", "/charges", "{", 400},
        {"POST", "/charges", "[]", 422},
        {"POST", "/charges", "{}", 422},
        {"POST", "/charges", "{\"key\":\"a\",\"amount\":1,\"currency\":\"USD\"}", 422},
        {"POST", "/charges", "{\"key\":\"a\",\"currency\":\"USD\",\"token\":\"tok_ok\"}", 422},
        {"POST", "/charges", "{\"key\":\"a\",\"amount\":-1,\"currency\":\"USD\",\"token\":\"tok_ok\"}", 422},
        {"POST", "/charges", "{\"key\":\"a\",\"amount\":1.5,\"currency\":\"USD\",\"token\":\"tok_ok\"}", 422},
        {"POST", "/charges", "{\"key\":\"a\",\"op\":\"refund\",\"amount\":1,\"currency\":\"USD\",\"token\":\"tok_ok\"}", 422},
        {"POST", "/charges", "{\"key\":\"a\",\"amount\":9007199254740992,\"currency\":\"USD\",\"token\":\"tok_ok\"}", 422},
        {"POST", "/charges/ch_1/capture", "{\"key\":\"a\"}", 422},
        {"POST", "/charges/ch_1/void", "{\"key\":\"a\",\"amount\":1}", 422},
        {"POST", "/charges/ch_1/refunds", "{\"key\":\"a\",\"amount\":1,\"token\":\"b\"}", 422},
        {"POST", "/charges", "{\"key\":\"a\",\"amount\":0,\"currency\":\"USD\",\"token\":\"tok_ok\"}", 200},
        {"POST", "/charges", "{\"key\":\"a\",\"amount\":1,\"currency\":\"USD\",\"token\":\"tok_ok\"}", 409},
        {"POST", "/charges", "{\"key\":\"b\",\"amount\":9007199254740991,\"currency\":\"USD\",\"token\":\"tok_ok\"}", 200},
        {"POST", "/settle", "{\"key\":\"c\"}", 200},
    };
    struct peer *peer = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int status = status_of(peer, cases[i].method, cases[i].path, cases[i].body);
        if (status != cases[i].want)
            fail_msg("%s %s %s: want %d, got %d", cases[i].method, cases[i].path, cases[i].body, cases[i].want, status);
    }
    assert_int_equal(journal_count(peer, "{"), 3);
}

static int setup(void **state)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    peer_make(peer);
    assert_int_equal(peer_launch(peer), -1);
    *state = peer;
    return 0;
}

static int teardown(void **state)
{
    peer_remove(*state);
    free(*state);
    return 0;
}

#define WITH_SANDBOX(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SANDBOX(test_tokens),
        WITH_SANDBOX(test_repeat),
        WITH_SANDBOX(test_life_of_a_charge),
        WITH_SANDBOX(test_silence),
        WITH_SANDBOX(test_kill),
        WITH_SANDBOX(test_damaged_journal),
        WITH_SANDBOX(test_refused),
        WITH_SANDBOX(test_restart_between),
        cmocka_unit_test(test_strange_answers),
        cmocka_unit_test(test_failure_is_word_characters),
        WITH_SANDBOX(test_many),
        WITH_SANDBOX(test_too_many),
        WITH_SANDBOX(test_door),
    };
    signal(SIGPIPE, SIG_IGN);
    if (!gateway_library_start())
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    gateway_library_end();
    arena_thread_end();
    return failed;
}
