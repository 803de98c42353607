#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "arena.h"
#include "check.h"
#include "clock.h"
#include "log.h"
#include "loop.h"
#include "random.h"

#include "http.h"

/*
 * A real server on its own thread, raw sockets as clients. The server's paths:
 *   /sync        answered inside on_request: "<method> <path> <query> <body>"
 *   /later       the same, from a timer · /flow: the same, from a hook that runs after http's
 *   /hold        answered when /release comes
 *   /stop        the whole server stops inside on_request, until it is let go on
 *   /size        the body's length
 *   /big, /huge  a megabyte, 32 of them · /204, /304: no body · /close: closes · /stats: inside and open connections · /header: Prefer
 */
#define HEADERS_MAX 4096
#define BODY_MAX 65536
#define CONNECTIONS_MAX 2000
#define TIMEOUT_MS 400
#define WAIT_MS 5000
#define BIG_BYTES (1 << 20)
#define BULK_MAX (1 << 20)
#define HUGE_BYTES (32 << 20) /* more than the kernel's buffers take from us */

struct waiting {
    struct waiting *next;
    struct exchange *exchange;
};

struct server {
    struct loop *loop;
    struct http *http;
    struct loop_timer *timer;
    struct waiting *later, *flow, *held;
    pthread_t thread;
    int port;
    char *big;
    struct http_prepared *prepared;
    atomic_uint asked, refused, order;
    sem_t go_on;
};

enum order { ORDER_NONE, ORDER_WIND_DOWN, ORDER_DEAFEN, ORDER_QUIESCE, ORDER_STOP };

/* ---- the server's side ---- */

static void answer(struct exchange *exchange, int status, struct view body)
{
    static const struct http_header type = {"Content-Type", "text/plain"};
    struct http_response response = {.status = status, .body = body, .headers = &type, .header_count = 1};

    response.close = view_equal(exchange_path(exchange), VIEW("/close"));
    http_respond(exchange, &response);
}

static void answer_echo(struct exchange *exchange)
{
    answer(exchange, 200,
           arena_printf(exchange_arena(exchange), "%s %.*s %.*s %.*s", method_name(exchange_method(exchange)), VIEW_ARG(exchange_path(exchange)),
                        VIEW_ARG(exchange_query(exchange)), VIEW_ARG(exchange_body(exchange))));
}

static void push(struct waiting **list, struct exchange *exchange)
{
    struct waiting *waiting = ARENA_NEW(exchange_arena(exchange), struct waiting);

    waiting->exchange = exchange;
    waiting->next = *list;
    *list = waiting;
}

/* Answers all of a list; returns whether there were any. */
static bool answer_all(struct waiting **list)
{
    struct waiting *waiting = *list;
    bool any = waiting != NULL;

    *list = NULL;
    while (waiting) {
        struct waiting *next = waiting->next; /* the answer may end the arena */

        answer_echo(waiting->exchange);
        waiting = next;
    }
    return any;
}

static void rang(void *cookie)
{
    struct server *server = cookie;

    answer_all(&server->later);
}

static bool flow_hook(void *cookie)
{
    struct server *server = cookie;

    answer_all(&server->flow);
    return false; /* that another turn is needed is http's to say */
}

static void do_sync(struct server *server, struct exchange *exchange)
{
    answer_echo(exchange);
}

static void do_later(struct server *server, struct exchange *exchange)
{
    push(&server->later, exchange);
    loop_timer_set(server->timer, 1);
}

static void do_flow(struct server *server, struct exchange *exchange)
{
    push(&server->flow, exchange);
}

static void do_hold(struct server *server, struct exchange *exchange)
{
    push(&server->held, exchange);
}

static void do_release(struct server *server, struct exchange *exchange)
{
    answer_all(&server->held);
    answer_echo(exchange);
}

static void do_stop(struct server *server, struct exchange *exchange)
{
    sem_wait(&server->go_on);
    answer_echo(exchange);
}

static void do_size(struct server *server, struct exchange *exchange)
{
    answer(exchange, 200, arena_printf(exchange_arena(exchange), "%zu", exchange_body(exchange).len));
}

static void do_big(struct server *server, struct exchange *exchange)
{
    answer(exchange, 200, (struct view){server->big, BIG_BYTES});
}

static void do_huge(struct server *server, struct exchange *exchange)
{
    answer(exchange, 200, (struct view){server->big, HUGE_BYTES});
}

static void do_204(struct server *server, struct exchange *exchange)
{
    answer(exchange, 204, VIEW(""));
}

static void do_304(struct server *server, struct exchange *exchange)
{
    answer(exchange, 304, VIEW(""));
}

static void do_stats(struct server *server, struct exchange *exchange)
{
    answer(exchange, 200, arena_printf(exchange_arena(exchange), "%u %u", http_inside(server->http), http_connections(server->http)));
}

static void do_header(struct server *server, struct exchange *exchange)
{
    struct view value = exchange_header(exchange, HTTP_PREFER);

    CHECK(exchange_header(exchange, HTTP_TRACEPARENT).at == NULL);
    answer(exchange, 200, value.at ? value : VIEW("(absent)"));
}

static void do_bad_header(struct server *server, struct exchange *exchange)
{
    static const struct http_header bad = {"X-Bad", "a\r\nb"};
    struct http_response response = {.status = 200, .headers = &bad, .header_count = 1};

    http_respond(exchange, &response);
}

/* Made once, by the first who asks. */
static void do_prepared(struct server *server, struct exchange *exchange)
{
    struct http_response response = {.status = 200, .body = VIEW("prepared")};

    if (!server->prepared)
        server->prepared = http_prepare(&response, "X-Request-Id");
    CHECK(server->prepared);
    http_respond_prepared(exchange, server->prepared, VIEW("stamp"));
}

static const struct {
    const char *path;
    void (*act)(struct server *server, struct exchange *exchange);
} acts[] = {
    {"/sync", do_sync},       {"/later", do_later},
    {"/flow", do_flow},       {"/hold", do_hold},
    {"/release", do_release}, {"/stop", do_stop},
    {"/size", do_size},       {"/bulk", do_size},
    {"/big", do_big},         {"/204", do_204},
    {"/304", do_304},         {"/stats", do_stats},
    {"/header", do_header},   {"/bad-header", do_bad_header},
    {"/huge", do_huge},       {"/prepared", do_prepared},
};

static void got_request(void *cookie, struct exchange *exchange)
{
    struct server *server = cookie;
    struct view path = exchange_path(exchange);

    server->asked++;
    exchange_set_cookie(exchange, server);
    CHECK(exchange_cookie(exchange) == server);
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
        if (view_equal(path, view_of(acts[i].path))) {
            acts[i].act(server, exchange);
            return;
        }
    }
    answer_echo(exchange);
}

static void got_refusal(void *cookie, struct exchange *exchange, int status, const char *detail, struct http_response *response)
{
    struct view id = exchange_header(exchange, HTTP_X_REQUEST_ID);
    struct http_header *headers = ARENA_ARRAY(exchange_arena(exchange), struct http_header, 2);
    struct server *server = cookie;

    server->refused++;
    headers[0] = (struct http_header){"Content-Type", "text/plain"};
    headers[1] = (struct http_header){"X-Request-Id", arena_copy(exchange_arena(exchange), id).at};
    *response = (struct http_response){.status = status, .body = view_of(detail), .headers = headers, .header_count = 2};
}

static void got_order(void *cookie)
{
    struct server *server = cookie;
    unsigned order = atomic_exchange(&server->order, ORDER_NONE);

    if (order == ORDER_WIND_DOWN) {
        http_wind_down(server->http);
    } else if (order == ORDER_DEAFEN) {
        http_deafen(server->http);
        http_deafen(server->http);
    } else if (order == ORDER_QUIESCE) {
        http_quiesce(server->http);
        http_quiesce(server->http);
    } else if (order == ORDER_STOP) {
        answer_all(&server->held);
        answer_all(&server->later);
        loop_stop(server->loop);
    }
}

static void *run(void *cookie)
{
    struct server *server = cookie;

    loop_run(server->loop);
    http_stop(server->http);
    http_prepared_free(server->prepared);
    loop_timer_free(server->timer);
    loop_free(server->loop);
    arena_thread_end();
    return NULL;
}

static bool is_bulk(void *cookie, enum method method, struct view path)
{
    return method == METHOD_POST && view_equal(path, VIEW("/bulk"));
}

/* Whoever sends no Authorization may send no body to this path. */
static int may_send(void *cookie, const struct exchange *exchange)
{
    return view_equal(exchange_path(exchange), VIEW("/bulk")) && exchange_header(exchange, HTTP_AUTHORIZATION).at == NULL &&
                   exchange_header(exchange, HTTP_X_REQUEST_ID).at
               ? 401
               : 0;
}

static struct http_settings settings_of(int port, bool first)
{
    return (struct http_settings){.address = "127.0.0.1",
                                  .port = port,
                                  .first = first,
                                  .headers_max = HEADERS_MAX,
                                  .body_max = BODY_MAX,
                                  .bulk_max = BULK_MAX,
                                  .bulk_at_once = 1,
                                  .is_bulk = is_bulk,
                                  .on_head = may_send,
                                  .connections_max = CONNECTIONS_MAX,
                                  .request_timeout_ms = TIMEOUT_MS};
}

static int server_start_with(void **state, unsigned connections_max)
{
    struct server *server = calloc(1, sizeof(*server));
    struct http_settings settings = settings_of(0, true);

    settings.connections_max = connections_max;
    assert_non_null(server);
    server->big = malloc(HUGE_BYTES);
    assert_non_null(server->big);
    memset(server->big, 'b', HUGE_BYTES);
    assert_int_equal(sem_init(&server->go_on, 0, 0), 0);
    server->loop = loop_new();
    server->http = http_start(server->loop, &settings, got_request, got_refusal, server);
    assert_non_null(server->http);
    server->port = http_port(server->http);
    server->timer = loop_timer_new(server->loop, rang, server);
    loop_each_turn(server->loop, LOOP_FLOWS, flow_hook, server);
    loop_on_wake(server->loop, got_order, server);
    assert_int_equal(pthread_create(&server->thread, NULL, run, server), 0);
    *state = server;
    return 0;
}

static int server_start(void **state)
{
    return server_start_with(state, CONNECTIONS_MAX);
}

static void give_order(struct server *server, enum order order)
{
    server->order = order;
    loop_wake(server->loop);
}

static int server_stop(void **state)
{
    struct server *server = *state;

    give_order(server, ORDER_STOP);
    pthread_join(server->thread, NULL);
    sem_destroy(&server->go_on);
    free(server->big);
    free(server);
    return 0;
}

/* ---- the client's side ---- */

struct client {
    int fd;
    size_t len;
    char in[BIG_BYTES + 4096]; /* received and not yet consumed, NUL-terminated */
};

struct reply {
    int status;
    bool close;
    char head[1024];
    char body[256]; /* its beginning */
    size_t body_len;
};

/*
 * Where libuv uses io_uring (1.50), the end of a loop interrupts calls with a time limit in the thread that made it, without a signal: hence each is
 * made again.
 */
static int try_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval wait = {.tv_sec = WAIT_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    if (TEMP_FAILURE_RETRY(connect(fd, (struct sockaddr *)&address, sizeof(address))) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static struct client *client_open(const struct server *server)
{
    struct client *client = malloc(sizeof(*client));

    assert_non_null(client);
    client->len = 0;
    client->fd = try_connect(server->port);
    assert_true(client->fd >= 0);
    return client;
}

static void client_close(struct client *client)
{
    close(client->fd);
    free(client);
}

/* Returns false when the server no longer listens. */
static bool try_send(struct client *client, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = TEMP_FAILURE_RETRY(send(client->fd, bytes, len, MSG_NOSIGNAL));

        if (sent <= 0)
            return false;
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

static void say(struct client *client, const char *text)
{
    assert_true(try_send(client, text, strlen(text)));
}

/* Reads once. Returns false at the end of the stream; fails the test after WAIT_MS of silence. A reset counts as the end only if ${reset_is_end}. */
static bool receive(struct client *client, bool reset_is_end)
{
    ssize_t got = TEMP_FAILURE_RETRY(recv(client->fd, client->in + client->len, sizeof(client->in) - 1 - client->len, 0));

    if (got < 0 && !(errno == ECONNRESET && reset_is_end))
        fail_msg("no answer: %s", strerror(errno));
    client->len += got > 0 ? (size_t)got : 0;
    client->in[client->len] = '\0';
    return got > 0;
}

static void consume(struct client *client, size_t len)
{
    memmove(client->in, client->in + len, client->len - len + 1);
    client->len -= len;
}

static size_t body_length(const struct reply *reply, bool head)
{
    const char *length = strstr(reply->head, "Content-Length: ");

    return head || !length || reply->status == 304 || reply->status < 200 ? 0 : (size_t)atol(length + strlen("Content-Length: "));
}

static struct reply hear_reply(struct client *client, bool head)
{
    struct reply reply = {0};
    char *end = NULL;
    size_t head_len;

    while (client->len == 0 || !(end = strstr(client->in, "\r\n\r\n")))
        assert_true(receive(client, false));
    head_len = (size_t)(end - client->in) + 4;
    assert_true(head_len < sizeof(reply.head));
    memcpy(reply.head, client->in, head_len);
    assert_int_equal(sscanf(reply.head, "HTTP/1.1 %d ", &reply.status), 1);
    reply.close = strstr(reply.head, "Connection: close") != NULL;
    reply.body_len = body_length(&reply, head);
    while (client->len < head_len + reply.body_len)
        assert_true(receive(client, false));
    snprintf(reply.body, sizeof(reply.body), "%.*s", (int)(reply.body_len < 255 ? reply.body_len : 255), client->in + head_len);
    consume(client, head_len + reply.body_len);
    return reply;
}

static struct reply hear(struct client *client)
{
    return hear_reply(client, false);
}

static void hear_end(struct client *client)
{
    assert_int_equal(client->len, 0);
    assert_false(receive(client, false));
}

#define HOST " HTTP/1.1\r\nHost: a\r\n"
#define GET(path) "GET " path HOST "\r\n"

static void hear_ok(struct client *client, const char *body)
{
    struct reply reply = hear(client);

    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, body);
    assert_non_null(strstr(reply.head, "\r\nDate: "));
}

/* Asks until ${client} hears "<inside> <connections>". The asking request itself is inside. */
static void hear_stats(struct client *client, const char *want)
{
    int64_t until_us = clock_us() + WAIT_MS * INT64_C(1000);
    struct reply reply;

    do {
        say(client, GET("/stats"));
        reply = hear(client);
    } while (strcmp(reply.body, want) != 0 && clock_us() < until_us);
    assert_string_equal(reply.body, want);
}

/* ---- conversations ---- */

static void test_keep_alive(void **state)
{
    struct client *client = client_open(*state);

    for (int i = 0; i < 3; i++) {
        say(client, GET("/sync?a=1&b=%20"));
        hear_ok(client, "GET /sync a=1&b=%20 ");
        say(client, GET("/later"));
        hear_ok(client, "GET /later  ");
        say(client, GET("/flow?"));
        hear_ok(client, "GET /flow  ");
        say(client, "PATCH /sync" HOST "Content-Length: 5\r\n\r\nhello");
        hear_ok(client, "PATCH /sync  hello");
        say(client, "DELETE /later" HOST "Content-Length: 0\r\n\r\n");
        hear_ok(client, "DELETE /later  ");
    }
    client_close(client);
}

static void test_raw_path(void **state)
{
    struct client *client = client_open(*state);

    say(client, GET("/a%2Fb/../c+d;e=%41?x=%00&&y"));
    hear_ok(client, "GET /a%2Fb/../c+d;e=%41 x=%00&&y ");
    client_close(client);
}

static void test_headers(void **state)
{
    struct client *client = client_open(*state);

    say(client, "GET /header" HOST "Prefer: one\r\nX-Other: two\r\n\r\n");
    hear_ok(client, "one");
    say(client, "GET /header" HOST "prefer:  \r\n\r\n");
    hear_ok(client, "");
    say(client, GET("/header"));
    hear_ok(client, "(absent)");
    client_close(client);
}

static void test_bodiless_answers(void **state)
{
    struct client *client = client_open(*state);
    struct reply reply;

    say(client, "HEAD /big" HOST "\r\n");
    reply = hear_reply(client, true);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.head, "Content-Length: 1048576\r\n"));
    say(client, GET("/204"));
    assert_int_equal(hear(client).status, 204);
    say(client, GET("/304"));
    assert_int_equal(hear(client).status, 304);
    say(client, "HEAD /later" HOST "\r\n");
    reply = hear_reply(client, true);
    assert_non_null(strstr(reply.head, "Content-Length: 13\r\n"));
    say(client, GET("/sync"));
    hear_ok(client, "GET /sync  ");
    client_close(client);
}

static void test_large_answer(void **state)
{
    struct client *client = client_open(*state);

    say(client, GET("/big") GET("/sync"));
    assert_int_equal(hear(client).body_len, BIG_BYTES);
    hear_ok(client, "GET /sync  ");
    client_close(client);
}

static void test_old_version(void **state)
{
    struct client *client = client_open(*state);

    say(client, "GET /sync HTTP/1.0\r\n\r\n");
    hear_ok(client, "GET /sync  ");
    hear_end(client);
    client_close(client);
}

static void test_close(void **state)
{
    struct client *client = client_open(*state);

    say(client, GET("/close"));
    assert_true(hear(client).close);
    hear_end(client);
    client_close(client);
    client = client_open(*state);
    say(client, "GET /sync" HOST "Connection: close\r\n\r\n");
    hear_ok(client, "GET /sync  ");
    hear_end(client);
    client_close(client);
}

/* An answer that cannot be sent must not hang its client nor stop the server. */
static void test_unanswerable(void **state)
{
    struct client *client = client_open(*state);
    enum log_level before = log_level();

    log_set_level(LOG_ERROR);
    say(client, GET("/bad-header"));
    hear_end(client);
    log_set_level(before);
    client_close(client);
}

static void test_pipelined(void **state)
{
    struct client *client = client_open(*state);

    say(client, GET("/sync?1") GET("/later?2") GET("/sync?3") "POST /flow?4" HOST "Content-Length: 2\r\n\r\nhi" GET("/later?5") GET("/sync?6"));
    hear_ok(client, "GET /sync 1 ");
    hear_ok(client, "GET /later 2 ");
    hear_ok(client, "GET /sync 3 ");
    hear_ok(client, "POST /flow 4 hi");
    hear_ok(client, "GET /later 5 ");
    hear_ok(client, "GET /sync 6 ");
    client_close(client);
}

/* A query that fills the index is refused; libmicrohttpd 0.9.75 alone would fall silent over it. */
static void test_many_parameters(void **state)
{
    static const struct {
        unsigned count;
        int want;
    } cases[] = {{1, 200}, {40, 200}, {47, 200}, {48, 431}, {49, 414}, {1500, 414}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client *client = client_open(*state);
        char text[HEADERS_MAX] = "GET /size?a";

        for (unsigned more = 1; more < cases[i].count; more++)
            strcat(text, "&b");
        say(client, strcat(text, HOST "\r\n"));
        assert_int_equal(hear(client).status, cases[i].want);
        client_close(client);
    }
}

/* Every split of a request into two writes. */
static void test_split(void **state)
{
    static const char request[] = "POST /later" HOST "Content-Length: 5\r\n\r\nhello";
    struct client *client = client_open(*state);

    for (size_t at = 1; at < sizeof(request) - 1; at++) {
        assert_true(try_send(client, request, at));
        assert_true(try_send(client, request + at, sizeof(request) - 1 - at));
        hear_ok(client, "POST /later  hello");
    }
    client_close(client);
}

static void test_continue(void **state)
{
    struct client *client = client_open(*state);

    say(client, "POST /sync" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(hear(client).status, 100);
    say(client, "hello");
    hear_ok(client, "POST /sync  hello");
    say(client, "POST /sync" HOST "Content-Length: 70000\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(hear(client).status, 413);
    hear_end(client);
    client_close(client);
}

/* Without content nobody may ask for that; he and those behind him on the connection are answered all the same. */
static void test_continue_without_content(void **state)
{
    static const char *const requests[] = {"POST /sync", "POST /later", "POST /flow", "GET /later"};
    struct client *client = client_open(*state);

    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
        char text[256], answer[64];

        snprintf(text, sizeof(text), "%s" HOST "Expect: 100-continue\r\n\r\n" GET("/sync"), requests[i]);
        snprintf(answer, sizeof(answer), "%s  ", requests[i]);
        say(client, text);
        struct reply reply = hear(client);
        if (reply.status == 100)
            reply = hear(client);
        assert_int_equal(reply.status, 200);
        assert_string_equal(reply.body, answer);
        hear_ok(client, "GET /sync  ");
    }
    client_close(client);
}

static void test_chunked(void **state)
{
    struct client *client = client_open(*state);

    say(client, "POST /sync" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nTrailer: x\r\n\r\n" GET("/sync"));
    hear_ok(client, "POST /sync  hello world");
    hear_ok(client, "GET /sync  ");
    say(client, "POST /size" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    hear_ok(client, "0");
    client_close(client);
}

/* What a chunk's size is followed by says nothing to us. libmicrohttpd 1.0.1 counts it wrongly, and finds the request malformed by that. */
static void test_chunk_extension(void **state)
{
    struct client *client = client_open(*state);

    say(client, "POST /sync" HOST "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0;z\r\n\r\n");
    struct reply reply = hear(client);
    if (!REFUSED_BELOW || reply.status == 200)
        assert_string_equal(reply.body, "POST /sync  hello");
    else
        assert_int_equal(reply.status, 400);
    client_close(client);
}

static char *filled(size_t len)
{
    char *bytes = malloc(len);

    assert_non_null(bytes);
    memset(bytes, 'x', len);
    return bytes;
}

static void test_body_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 16384, 16385, BODY_MAX - 1, BODY_MAX};
    struct client *client = client_open(*state);
    char *bytes = filled(BODY_MAX);

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char text[128];

        snprintf(text, sizeof(text), "POST /size" HOST "Content-Length: %zu\r\n\r\n", sizes[i]);
        say(client, text);
        assert_true(try_send(client, bytes, sizes[i]));
        snprintf(text, sizeof(text), "%zu", sizes[i]);
        hear_ok(client, text);
        snprintf(text, sizeof(text), "POST /size" HOST "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", sizes[i]);
        say(client, text);
        assert_true(try_send(client, bytes, sizes[i]));
        say(client, sizes[i] > 0 ? "\r\n0\r\n\r\n" : "\r\n");
        snprintf(text, sizeof(text), "%zu", sizes[i]);
        hear_ok(client, text);
    }
    free(bytes);
    client_close(client);
}

static void say_bulk(struct client *client, size_t size)
{
    char text[128];

    snprintf(text, sizeof(text), "POST /bulk?x=/bulk" HOST "Content-Length: %zu\r\n\r\n", size);
    say(client, text);
}

/* Some paths take larger bodies, as many at a time as may be; one that is only promised takes no place. */
static void test_bulk(void **state)
{
    struct client *promises = client_open(*state), *first = client_open(*state), *second = client_open(*state);
    char *bytes = filled(BULK_MAX);

    say_bulk(promises, BULK_MAX);
    assert_true(try_send(promises, bytes, BODY_MAX));
    say_bulk(first, BULK_MAX);
    assert_true(try_send(first, bytes, BULK_MAX - 1));
    say_bulk(second, BODY_MAX);
    assert_true(try_send(second, bytes, BODY_MAX));
    hear_ok(second, "65536");
    say_bulk(second, BULK_MAX);
    assert_true(try_send(second, bytes, BULK_MAX));
    assert_int_equal(hear(second).status, 503);
    hear_end(second);
    assert_true(try_send(first, bytes, 1));
    hear_ok(first, "1048576");
    say_bulk(first, BULK_MAX);
    assert_true(try_send(first, bytes, BULK_MAX));
    hear_ok(first, "1048576");
    say_bulk(first, BULK_MAX + 1);
    assert_int_equal(hear(first).status, 413);
    client_close(promises);
    client_close(first);
    client_close(second);
    first = client_open(*state); /* another method on that path has no business with such a body */
    say(first, "PUT /bulk" HOST "Content-Length: 1048576\r\n\r\n");
    assert_int_equal(hear(first).status, 413);
    client_close(first);
    free(bytes);
}

/* A client that sends its whole body before it listens must still hear the refusal. */
static void test_body_too_large(void **state)
{
    static const size_t sizes[] = {BODY_MAX + 1, 1 << 20, 8 << 20};
    struct server *server = *state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *bytes = filled(sizes[i]);

        for (int chunked = 0; chunked < 2; chunked++) {
            struct client *client = client_open(server);
            struct reply reply;
            char text[128];

            snprintf(text, sizeof(text), "POST /size" HOST "Content-Length: %zu\r\n\r\n", sizes[i]);
            if (chunked)
                snprintf(text, sizeof(text), "POST /size" HOST "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", sizes[i]);
            say(client, text);
            assert_true(try_send(client, bytes, sizes[i]));
            reply = hear(client);
            assert_int_equal(reply.status, 413);
            assert_true(reply.close);
            hear_end(client);
            client_close(client);
        }
        free(bytes);
    }
    assert_int_equal(server->asked, 0);
}

/* What is refused: one answer, then the end, and nothing behind it is taken for a request. */
static const struct refusal {
    const char *name, *send;
    int want;
} refusals[] = {
    {"both framings", "POST /sync" HOST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"both framings, other order", "POST /sync" HOST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400},
    {"two lengths", "POST /sync" HOST "Content-Length: 0\r\nContent-Length: 50\r\n\r\n", 400},
    {"the same length twice", "POST /sync" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
    {"length with a plus", "POST /sync" HOST "Content-Length: +1\r\n\r\nx", 400},
    {"length in a list", "POST /sync" HOST "Content-Length: 1,1\r\n\r\nx", 400},
    {"length with letters", "POST /sync" HOST "Content-Length: 0x1\r\n\r\nx", 400},
    {"empty length", "POST /sync" HOST "Content-Length:\r\n\r\n", 400},
    {"length beyond 2^64", "POST /sync" HOST "Content-Length: 18446744073709551616\r\n\r\nx", 413},
    {"coding identity", "POST /sync" HOST "Transfer-Encoding: identity\r\n\r\n", 400},
    {"coding list", "POST /sync" HOST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400},
    {"coding xchunked", "POST /sync" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400},
    {"coding behind a vertical tab", "POST /sync" HOST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 400},
    {"coding twice", "POST /sync" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400},
    {"coding in HTTP/1.0", "POST /sync HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"space before the colon", "POST /sync" HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
    {"tab before the colon", "POST /sync" HOST "Content-Length\t: 3\r\n\r\n", 400},
    {"header without a colon", "GET /sync" HOST "Nonsense\r\n\r\n", 400},
    {"carriage return in a value", "GET /sync" HOST "X: a\rb\r\n\r\n", 400},
    {"GET with a body", "GET /sync" HOST "Content-Length: 5\r\n\r\nGET /", 400},
    {"GET chunked", "GET /sync" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"HEAD with a body", "HEAD /sync" HOST "Content-Length: 5\r\n\r\nGET /", 400},
    {"DELETE with a body", "DELETE /sync" HOST "Content-Length: 5\r\n\r\nGET /", 400},
    {"no Host", "GET /sync HTTP/1.1\r\n\r\n", 400},
    {"two Hosts", "GET /sync" HOST "Host: b\r\n\r\n", 400},
    {"HTTP/1.2", "GET /sync HTTP/1.2\r\nHost: a\r\n\r\n", 400},
    {"no version", "GET /sync\r\n\r\n", 400},
    {"space in the path", "GET /sy nc" HOST "\r\n", 400},
    {"high byte in the path", "GET /caf\xC3\xA9" HOST "\r\n", 400},
    {"%00", GET("/sync%00x"), 400},
    {"absolute target", GET("http://a/sync"), 400},
    {"asterisk", "OPTIONS *" HOST "\r\n", 400},
    {"unknown method", "BREW /sync" HOST "\r\n", 501},
    {"unknown method with a body", "BREW /sync" HOST "Content-Length: 4\r\n\r\nleaf", 501},
    {"CONNECT", "CONNECT /sync" HOST "\r\n", 501},
};

/*
 * Reads until the end and counts answers. (Where libmicrohttpd 0.9.75 itself refuses a length, it sends its answer's head twice; so what lies in the
 * announced body is not looked into.)
 */
static unsigned hear_all(struct client *client, bool head, int *status)
{
    unsigned count = 0;

    while (receive(client, true)) {
    }
    while (client->len > 0 && strncmp(client->in, "HTTP/1.1 ", 9) == 0) {
        struct reply reply = hear_reply(client, head);

        *status = count++ == 0 ? reply.status : *status;
    }
    return count;
}

/* libmicrohttpd 1.0 refuses lengths and codings that it does not understand before we see them, each version in its own way. */
static bool is_wanted(const struct refusal *refusal, int status)
{
    return status == refusal->want || (REFUSED_BELOW && (status == 400 || status == 501));
}

static void test_refusals(void **state)
{
    struct server *server = *state;

    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct client *client = client_open(server);
        char text[512];
        unsigned count;
        int status = 0;

        snprintf(text, sizeof(text), "%s%s", refusals[i].send, GET("/smuggled"));
        say(client, text);
        count = hear_all(client, strncmp(refusals[i].send, "HEAD", 4) == 0, &status);
        if (count != 1 || !is_wanted(&refusals[i], status) || server->asked != 0) {
            fail_msg("%s: %u answers, first %d, want one of %d; %u requests let through", refusals[i].name, count, status, refusals[i].want,
                     server->asked);
        }
        client_close(client);
    }
}

/* ---- requests that nobody would write ---- */

static const char *const whole[] = {
    GET("/later?a=1&b"),
    "POST /flow" HOST "Content-Length: 5\r\n\r\nhello",
    "PUT /sync" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    "POST /later" HOST "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    "GET /sync HTTP/1.0\r\nCookie: a=b; c=\"d\"; e\r\n\r\n",
    "DELETE /flow" HOST "Connection: close\r\nContent-Length: 0\r\n\r\n",
};
static const char *const bits[] = {"\r\n", "\n", "\r", ":",    " ",       ";",        "\t",    "0\r\n\r\n",
                                   "%00",  "%",  "&",  "\xff", "chunked", "HTTP/1.1", "5\r\n", "Content-Length: 3\r\n"};
#define ANY(list) ((list)[random_below(random, sizeof(list) / sizeof(*(list)))])

struct mutant {
    char text[1024];
    size_t len;
};

static void insert(struct mutant *mutant, size_t at, const char *bytes, size_t len)
{
    if (mutant->len + len > sizeof(mutant->text))
        return;
    memmove(mutant->text + at + len, mutant->text + at, mutant->len - at);
    memmove(mutant->text + at, bytes, len);
    mutant->len += len;
}

/* One or two whole requests with up to five changes: a byte, a piece cut out, something put in, the end cut off. */
static void mutate(struct mutant *mutant, struct random *random)
{
    mutant->len = 0;
    for (uint64_t requests = 1 + random_below(random, 2); requests > 0; requests--) {
        const char *request = ANY(whole);
        insert(mutant, mutant->len, request, strlen(request));
    }
    for (uint64_t changes = random_below(random, 6); changes > 0 && mutant->len > 1; changes--) {
        size_t at = random_below(random, mutant->len), cut = 1 + random_below(random, 20);
        const char *bit = ANY(bits);

        cut = cut < mutant->len - at ? cut : mutant->len - at;
        switch (random_below(random, 8)) {
        case 0:
        case 1:
            mutant->text[at] = (char)random_next(random);
            break;
        case 2:
        case 3:
            memmove(mutant->text + at, mutant->text + at + cut, mutant->len - at - cut);
            mutant->len -= cut;
            break;
        case 4:
            mutant->len = at;
            break;
        default:
            insert(mutant, at, bit, strlen(bit));
        }
    }
}

/* To the end; returns how many were told 200. */
static unsigned hear_the_rest(struct client *client)
{
    unsigned answers = 0;

    while (receive(client, true)) {
    }
    assert_null(strstr(client->in, "HTTP/1.1 500"));
    for (const char *at = client->in; (at = strstr(at, "HTTP/1.1 200 OK\r\n")); at++)
        answers++;
    return answers;
}

#define MUTANTS 200 /* at a time */

/* Whatever comes: who is let through hears so, and nothing is our fault. */
static void test_mutants(void **state)
{
    static struct mutant mutants[MUTANTS];
    struct server *server = *state;
    struct random random = {4711};

    for (unsigned round = 0; round < 5; round++) {
        struct client *clients[MUTANTS];
        unsigned asked = server->asked, answers = 0;

        for (unsigned i = 0; i < MUTANTS; i++) {
            mutate(&mutants[i], &random);
            clients[i] = client_open(server);
            try_send(clients[i], mutants[i].text, mutants[i].len);
            shutdown(clients[i]->fd, SHUT_WR);
        }
        for (unsigned i = 0; i < MUTANTS; i++) {
            answers += hear_the_rest(clients[i]);
            client_close(clients[i]);
        }
        if (answers != server->asked - asked)
            fail_msg("round %u: %u were let through, %u answered", round, server->asked - asked, answers);
    }
}

/* The same requests behind a good one: the pipeline ends there as well. */
static void test_refusals_pipelined(void **state)
{
    struct server *server = *state;

    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct client *client = client_open(server);
        unsigned asked = server->asked;
        char text[512];
        int status = 0;

        snprintf(text, sizeof(text), "%s%s%s", GET("/later"), refusals[i].send, GET("/smuggled"));
        say(client, text);
        hear_ok(client, "GET /later  ");
        unsigned count = hear_all(client, strncmp(refusals[i].send, "HEAD", 4) == 0, &status);
        if (count != 1 || !is_wanted(&refusals[i], status) || server->asked != asked + 1)
            fail_msg("%s: %d, want %d; %u requests let through", refusals[i].name, status, refusals[i].want, server->asked - asked);
        client_close(client);
    }
}

/* A refusal may echo what the client sent, and must not let it begin a header. */
static void test_refusal_echo(void **state)
{
    static const struct {
        const char *send;
        bool echoed;
    } cases[] = {{"GET /%00" HOST "X-Request-Id: abc\r\n\r\n", true}, {"GET /" HOST "X-Request-Id: abc\rX: y\r\n\r\n", false}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client *client = client_open(*state);
        struct reply reply;

        say(client, cases[i].send);
        reply = hear(client);
        assert_int_equal(reply.status, 400);
        assert_int_equal(strstr(reply.head, "X-Request-Id: abc") != NULL, cases[i].echoed);
        hear_end(client);
        client_close(client);
    }
}

/* A request line of ${path_len} bytes of path and ${count} headers of ${each} bytes. */
static char *long_request(size_t path_len, unsigned count, size_t each)
{
    char *text = malloc(path_len + count * (each + 32) + 128), *at = text;

    assert_non_null(text);
    at += sprintf(at, "GET /");
    for (size_t i = 1; i < path_len; i++)
        *at++ = 'p';
    at += sprintf(at, "%s", HOST);
    for (unsigned i = 0; i < count; i++) {
        char *name = at;

        at += sprintf(at, "X%u: ", i);
        while ((size_t)(at - name) + 2 < each)
            *at++ = 'v';
        at += sprintf(at, "\r\n");
    }
    sprintf(at, "\r\n");
    return text;
}

static void test_long_heads(void **state)
{
    /* The line and Host are 24 bytes around the path; the closing line is 2. */
    static const struct {
        const char *name;
        size_t path;
        unsigned headers;
        size_t each;
        int want;
    } cases[] = {
        {"longest path", 2048, 0, 0, 200},
        {"path one above", 2049, 0, 0, 414},
        {"path far above", 3500, 0, 0, 414},
        {"largest head", 5, 1, HEADERS_MAX - 31, 200},
        {"largest head in many", 5, 45, 90, 200},
        {"more headers than the index holds", 5, 60, 20, 431},
        {"longest path and largest head", 2048, 1, HEADERS_MAX - 2048 - 26, 200},
        {"head one above", 5, 1, HEADERS_MAX - 30, 431},
        {"head far above", 5, 1, 20000, 431},
        {"many headers", 5, 1000, 20, 431},
        {"a very long path", 20000, 0, 0, 414},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client *client = client_open(*state);
        char *text = long_request(cases[i].path, cases[i].headers, cases[i].each);
        int status;

        try_send(client, text, strlen(text));
        status = hear(client).status;
        if (status != cases[i].want)
            fail_msg("%s: %d, want %d", cases[i].name, status, cases[i].want);
        free(text);
        client_close(client);
    }
}

/* The pool must hold the largest head, a body and the answer's headers at once. */
static void test_full_pool(void **state)
{
    struct client *client = client_open(*state);
    char *pad = filled(3900);
    char text[HEADERS_MAX + 256];

    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof(text), "POST /later" HOST "Content-Length: 5\r\nX: %.3900s\r\n\r\nhello", pad);
        say(client, text);
        hear_ok(client, "POST /later  hello");
        snprintf(text, sizeof(text), "POST /later" HOST "Transfer-Encoding: chunked\r\nX: %.3900s\r\n\r\n5\r\nhello\r\n0\r\n\r\n", pad);
        say(client, text);
        hear_ok(client, "POST /later  hello");
    }
    free(pad);
    client_close(client);
}

/* Sends a byte of ${text} every few milliseconds, over and over its last byte, until the server answers or closes. */
static void drip(struct client *client, const char *text)
{
    struct pollfd readable = {.fd = client->fd, .events = POLLIN};

    do {
        if (!try_send(client, text, 1))
            return;
        text += text[1] ? 1 : 0;
    } while (poll(&readable, 1, 10) == 0);
}

static void test_drip(void **state)
{
    static const struct {
        const char *name, *send, *drip;
        bool answered;
    } cases[] = {
        {"request line", "", "GET /aaaaaaaa", false},
        {"headers", "GET /sync" HOST, "X: aaaaaaaa", true},
        {"body", "POST /sync" HOST "Content-Length: 60000\r\n\r\n", "aaaaa", true},
        {"chunked body", "POST /sync" HOST "Transfer-Encoding: chunked\r\n\r\nffff\r\n", "aaaaa", true},
        {"headers of a second request", GET("/sync") "GET /sync" HOST, "X: aaaaaa", true},
    };
    struct server *server = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client *client = client_open(server);
        int64_t start_us = clock_us();
        int64_t took_ms;
        int status = 0;

        say(client, cases[i].send);
        if (i == 4)
            hear_ok(client, "GET /sync  ");
        drip(client, cases[i].drip);
        took_ms = (clock_us() - start_us) / 1000;
        if (hear_all(client, false, &status) != cases[i].answered || (cases[i].answered && status != 408))
            fail_msg("%s: %d", cases[i].name, status);
        assert_in_range(took_ms, TIMEOUT_MS - 50, TIMEOUT_MS * 4);
        client_close(client);
    }
}

/* The limit is the request's, not its answer's. */
static void test_slow_answer(void **state)
{
    struct client *slow = client_open(*state), *other = client_open(*state);
    struct pollfd readable = {.fd = slow->fd, .events = POLLIN};

    say(slow, GET("/hold"));
    hear_stats(other, "2 2");
    assert_int_equal(poll(&readable, 1, TIMEOUT_MS * 2), 0);
    say(other, GET("/release"));
    hear_ok(other, "GET /release  ");
    hear_ok(slow, "GET /hold  ");
    client_close(slow);
    client_close(other);
}

/* Two requests come in one run of libmicrohttpd, and the second answers the first: that one has been asked and is not suspended yet. */
static void test_answered_in_the_same_run(void **state)
{
    struct server *server = *state;
    struct client *stops = client_open(server), *held = client_open(server), *releases = client_open(server);

    hear_stats(held, "1 3");
    hear_stats(releases, "1 3");
    unsigned asked = server->asked;
    say(stops, GET("/stop"));
    while (server->asked == asked)
        usleep(1000);
    say(held, GET("/hold"));
    say(releases, GET("/release"));
    sem_post(&server->go_on);
    hear_ok(stops, "GET /stop  ");
    hear_ok(releases, "GET /release  ");
    hear_ok(held, "GET /hold  ");
    hear_stats(held, "1 3");
    client_close(stops);
    client_close(held);
    client_close(releases);
}

/* Clients that leave: in the request line, the headers, the body, while their answer is awaited, and while it is sent. */
static void test_leaving_early(void **state)
{
    static const char *const beginnings[] = {
        "",
        "GE",
        "GET /sync HTTP/1.1\r\nHo",
        "POST /sync" HOST "Content-Length: 5\r\n\r\nhe",
        GET("/hold"),
        GET("/hold") GET("/later"),
        GET("/later"),
        GET("/huge"),
    };
    struct client *stays = client_open(*state);
    int held = 0;

    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        struct client *client = client_open(*state);
        char want[32];

        say(client, beginnings[i]);
        held += strstr(beginnings[i], "/hold") != NULL;
        client_close(client);
        /* Those that are held are not noticed until they are answered. */
        snprintf(want, sizeof(want), "%d %d", held + 1, held + 1);
        hear_stats(stays, want);
    }
    say(stays, GET("/release"));
    hear_ok(stays, "GET /release  ");
    hear_stats(stays, "1 1");
    client_close(stays);
}

/* The end of the stream leaves in one segment with the last of ${text}. */
static void say_last(struct client *client, const char *text)
{
    int yes = 1;

    assert_int_equal(setsockopt(client->fd, IPPROTO_TCP, TCP_CORK, &yes, sizeof(yes)), 0);
    say(client, text);
    assert_int_equal(shutdown(client->fd, SHUT_WR), 0);
}

static struct client *client_kept(const struct server *server)
{
    struct client *client = client_open(server);

    say(client, GET("/sync"));
    hear_ok(client, "GET /sync  ");
    return client;
}

/* Clients that say with their last request that they will send no more are answered all the same, and then their connection ends, on our side too. */
static void test_half_closed(void **state)
{
    static const char *const paths[] = {"/sync", "/later", "/flow", "/prepared", "/big", "/204"};
    struct client *stays = client_open(*state);

    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths) * 4; i++) {
        struct client *client = i & 1 ? client_kept(*state) : client_open(*state);
        bool two = i & 2;
        char text[256];

        snprintf(text, sizeof(text), "%sPOST %s" HOST "Content-Length: 2\r\n\r\nhi", two ? GET("/later") : "", paths[i / 4]);
        say_last(client, text);
        if (two)
            hear_ok(client, "GET /later  ");
        assert_int_equal(hear(client).status / 100, 2);
        hear_end(client);
        client_close(client);
    }
    hear_stats(stays, "1 1");
    client_close(stays);
}

/* Far more requests in one piece than libmicrohttpd has room for, and the end behind them. */
static void test_half_closed_behind_many(void **state)
{
    enum { MANY = 400 };
    static const char *const paths[] = {"/sync", "/later", "/flow"};
    struct client *client = client_open(*state);
    char text[MANY * 40] = "";
    size_t len = 0;

    for (int i = 0; i < MANY; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "GET %s" HOST "\r\n", paths[i % 3]);
    say_last(client, text);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(hear(client).status, 200);
    hear_end(client);
    client_close(client);
}

/* The same while they wait for their answer. */
static void test_half_closed_inside(void **state)
{
    struct client *with_request = client_open(*state), *kept = client_kept(*state), *behind = client_open(*state), *stays = client_open(*state);

    say_last(with_request, GET("/hold"));
    say_last(kept, GET("/hold"));
    say(behind, GET("/hold"));
    hear_stats(stays, "4 4");
    assert_int_equal(shutdown(behind->fd, SHUT_WR), 0);
    say(stays, GET("/release"));
    hear_ok(stays, "GET /release  ");
    hear_ok(with_request, "GET /hold  ");
    hear_ok(kept, "GET /hold  ");
    hear_ok(behind, "GET /hold  ");
    hear_end(with_request);
    hear_end(kept);
    hear_end(behind);
    hear_stats(stays, "1 1");
    client_close(with_request);
    client_close(kept);
    client_close(behind);
    client_close(stays);
}

/* In the middle of a request: nobody carries out what is not whole, and nobody waits for the rest for longer than a request may take. */
static void test_half_closed_too_early(void **state)
{
    static const char *const beginnings[] = {
        "GE", /* this one on a new connection only; a kept one is idle until the line is whole */
        "",
        "GET /sync HTTP/1.1\r\nHo",
        "POST /sync" HOST "Content-Length: 5\r\n\r\nhe",
        "POST /sync" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "POST /sync" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
    };
    const size_t count = sizeof(beginnings) / sizeof(*beginnings);
    unsigned asked = 0;

    for (size_t i = 0; i < count * 2 - 1; i++) {
        struct server *server = *state;
        bool kept = i >= count;
        struct client *client = kept ? client_kept(server) : client_open(server);

        asked += kept;
        say_last(client, beginnings[kept ? i - count + 1 : i]);
        while (receive(client, true)) {
        }
        assert_null(strstr(client->in, "HTTP/1.1 2"));
        assert_int_equal(server->asked, asked);
        client_close(client);
    }
}

#define CROWD 64
#define ROUNDS 16

static void test_crowd(void **state)
{
    static const char *const requests[] = {GET("/later"), GET("/flow"), GET("/sync"), "POST /later" HOST "Content-Length: 3\r\n\r\nabc"};
    struct client *clients[CROWD];
    int64_t longest_us = 0;

    for (int i = 0; i < CROWD; i++)
        clients[i] = client_open(*state);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start_us = clock_us();

        for (int i = 0; i < CROWD; i++)
            say(clients[i], requests[(i + round) % 4]);
        for (int i = 0; i < CROWD; i++)
            assert_int_equal(hear(clients[i]).status, 200);
        longest_us = clock_us() - start_us > longest_us ? clock_us() - start_us : longest_us;
    }
    assert_true(longest_us < 1000000);
    hear_stats(clients[0], "1 64");
    for (int i = 0; i < CROWD; i++)
        client_close(clients[i]);
}

static void test_quiesce(void **state)
{
    struct server *server = *state;
    struct client *idle = client_open(server), *holding = client_open(server), *asking = client_open(server), *other = client_open(server);
    int64_t until_us = clock_us() + WAIT_MS * INT64_C(1000);
    struct reply reply;
    int fd;

    say(holding, GET("/hold"));
    hear_stats(other, "2 4");
    give_order(server, ORDER_QUIESCE);
    /* A moment between two tries: many at once fill the server up, and then it gives up its idle connections, which this test needs. */
    while ((fd = try_connect(server->port)) >= 0 && clock_us() < until_us) {
        close(fd);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    assert_int_equal(fd, -1);
    say(asking, GET("/later"));
    reply = hear(asking);
    assert_int_equal(reply.status, 200);
    assert_true(reply.close);
    hear_end(asking);
    say(other, GET("/release"));
    assert_true(hear(other).close);
    assert_true(hear(holding).close);
    hear_end(holding);
    /* What is left open, idle or in the middle of a request, does not keep the server from stopping. */
    say(idle, "POST /sync" HOST "Content-Length: 9\r\n\r\nhalf");
    client_close(holding);
    client_close(asking);
    client_close(other);
    client_close(idle);
}

/* Returns when it has been carried out. */
static void order_done(struct server *server, enum order order, struct client *asking)
{
    give_order(server, order);
    while (server->order != ORDER_NONE)
        nanosleep(&(struct timespec){0, 100000}, NULL);
    say(asking, GET("/stats"));
    assert_int_equal(hear(asking).status, 200);
}

/* An answer that is made once closes like others, and those that are made later do. */
static void hear_closing(struct client *client, const char *request)
{
    struct reply reply;

    say(client, request);
    reply = hear(client);
    assert_int_equal(reply.status, 200);
    assert_true(reply.close);
    hear_end(client);
    client_close(client);
}

static void test_wind_down(void **state)
{
    struct server *server = *state;
    struct client *idle = client_open(server), *other = client_open(server), *asking = client_open(server);

    say(idle, GET("/prepared"));
    assert_false(hear(idle).close);
    order_done(server, ORDER_WIND_DOWN, asking);
    hear_closing(idle, GET("/prepared"));
    hear_closing(other, GET("/later"));
    /* Who has not heard yet that we go is served all the same. */
    hear_closing(client_open(server), GET("/sync"));
    hear_closing(client_open(server), GET("/prepared"));
    client_close(asking);
}

/* Who comes while the server is deaf is neither accepted nor refused; when it has stopped listening he is refused. */
static void test_deafen(void **state)
{
    struct server *server = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct client *before = client_open(server);
    struct pollfd late = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof(error);

    order_done(server, ORDER_DEAFEN, before);
    assert_int_equal(connect(late.fd, (struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, EINPROGRESS);
    assert_int_equal(poll(&late, 1, 200), 0);
    give_order(server, ORDER_QUIESCE);
    assert_int_equal(poll(&late, 1, WAIT_MS), 1);
    getsockopt(late.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    assert_int_equal(error, ECONNREFUSED);
    close(late.fd);
    hear_closing(before, GET("/sync"));
}

/* Stopped with answers not yet sent, and with requests on the way. */
static void test_stop_busy(void **state)
{
    static const char *const beginnings[] = {GET("/sync"), GET("/hold"), GET("/huge"), "POST /sync" HOST "Content-Le"};
    struct client *clients[20];
    void *own;

    server_start(&own);
    for (int i = 0; i < 20; i++) {
        clients[i] = client_open(own);
        say(clients[i], beginnings[i % 4]);
    }
    hear_ok(clients[0], "GET /sync  ");
    hear_stats(clients[0], "11 20"); /* five held, five on their way out, and the asking one */
    server_stop(&own);
    for (int i = 0; i < 20; i++) {
        if (i % 4 == 1)
            hear_ok(clients[i], "GET /hold  ");
        client_close(clients[i]);
    }
}

static void test_port_in_use(void **state)
{
    struct server *server = *state;
    struct http_settings mine = settings_of(server->port, true), shared = settings_of(server->port, false);
    struct http_settings nonsense = settings_of(0, true);
    struct loop *loop = loop_new();
    struct http *second;
    enum log_level before = log_level();

    nonsense.address = "no-such-address";
    assert_null(http_start(loop, &mine, got_request, got_refusal, server));
    assert_null(http_start(loop, &nonsense, got_request, got_refusal, server));
    log_set_level(before);
    second = http_start(loop, &shared, got_request, got_refusal, server);
    assert_non_null(second);
    assert_int_equal(http_port(second), server->port);
    http_stop(second);
    loop_free(loop);
}

static int descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void test_no_descriptor_left(void **state)
{
    int before = descriptors();
    void *own;
    struct client *client;

    server_start(&own);
    client = client_open(own);
    say(client, "POST /sync" HOST "Content-Length: 99999999\r\n\r\n");
    assert_int_equal(hear(client).status, 413);
    server_stop(&own); /* the refused client still lingers */
    client_close(client);
    assert_int_equal(descriptors(), before);
}

/* Whoever waits because there are as many connections as are allowed gets in when one of them closes. */
static void test_room_again(void **state)
{
    struct client *first, *second, *third;
    void *own;

    server_start_with(&own, 2);
    first = client_open(own);
    second = client_open(own);
    say(first, GET("/sync"));
    assert_int_equal(hear(first).status, 200);
    say(second, GET("/sync"));
    assert_int_equal(hear(second).status, 200);
    third = client_open(own);
    say(third, GET("/sync"));
    client_close(first);
    assert_int_equal(hear(third).status, 200);
    client_close(third);
    client_close(second);
    server_stop(&own);
}

/* Takes all descriptors that there are below ${limit}. Returns how many. */
static int take_descriptors(int taken[], int limit)
{
    int count = 0;

    while (count < limit && (taken[count] = dup(STDERR_FILENO)) >= 0)
        count++;
    return count;
}

/* Without a descriptor for a new connection one that is idle is given up. */
static void test_no_descriptors(void **state)
{
    enum { LIMIT = 64 };
    struct rlimit before, few;
    struct client *idle = client_open(*state), *next;
    int taken[LIMIT], count;

    say(idle, GET("/sync"));
    assert_int_equal(hear(idle).status, 200);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){LIMIT, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    count = take_descriptors(taken, LIMIT);
    assert_true(count > 0 && count < LIMIT);
    close(taken[--count]); /* for the client */
    next = client_open(*state);
    say(next, GET("/sync"));
    assert_int_equal(hear(next).status, 200);
    while (count > 0)
        close(taken[--count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    client_close(next);
    client_close(idle);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, server_start, server_stop)

/* Who may not send a body is told so before he has, and the connection ends; a request without a body is on_request's to judge. */
static void test_refused_at_the_head(void **state)
{
    static const char *const framings[] = {"Content-Length: 1048576", "Content-Length: 1", "Transfer-Encoding: chunked"};
    for (size_t i = 0; i < sizeof(framings) / sizeof(*framings); i++) {
        struct client *client = client_open(*state);
        char text[256];

        snprintf(text, sizeof(text), "POST /bulk" HOST "X-Request-Id: a\r\n%s\r\n\r\n", framings[i]);
        say(client, text);
        assert_int_equal(hear(client).status, 401);
        hear_end(client);
        client_close(client);
    }
    struct client *client = client_open(*state);
    say(client, "POST /bulk" HOST "X-Request-Id: a\r\nAuthorization: x\r\nContent-Length: 3\r\n\r\nabc");
    hear_ok(client, "3");
    say(client, "POST /bulk" HOST "X-Request-Id: a\r\nContent-Length: 0\r\n\r\n");
    hear_ok(client, "0");
    client_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_keep_alive),
        WITH_SERVER(test_raw_path),
        WITH_SERVER(test_headers),
        WITH_SERVER(test_bodiless_answers),
        WITH_SERVER(test_large_answer),
        WITH_SERVER(test_old_version),
        WITH_SERVER(test_close),
        WITH_SERVER(test_unanswerable),
        WITH_SERVER(test_pipelined),
        WITH_SERVER(test_split),
        WITH_SERVER(test_continue),
        WITH_SERVER(test_continue_without_content),
        WITH_SERVER(test_chunked),
        WITH_SERVER(test_chunk_extension),
        WITH_SERVER(test_body_sizes),
        WITH_SERVER(test_bulk),
        WITH_SERVER(test_refused_at_the_head),
        WITH_SERVER(test_body_too_large),
        WITH_SERVER(test_refusals),
        WITH_SERVER(test_refusals_pipelined),
        WITH_SERVER(test_mutants),
        WITH_SERVER(test_long_heads),
        WITH_SERVER(test_full_pool),
        WITH_SERVER(test_drip),
        WITH_SERVER(test_slow_answer),
        WITH_SERVER(test_answered_in_the_same_run),
        WITH_SERVER(test_leaving_early),
        WITH_SERVER(test_half_closed),
        WITH_SERVER(test_half_closed_behind_many),
        WITH_SERVER(test_half_closed_inside),
        WITH_SERVER(test_half_closed_too_early),
        WITH_SERVER(test_crowd),
        WITH_SERVER(test_quiesce),
        WITH_SERVER(test_wind_down),
        WITH_SERVER(test_deafen),
        cmocka_unit_test(test_stop_busy),
        WITH_SERVER(test_port_in_use),
        WITH_SERVER(test_many_parameters),
        WITH_SERVER(test_refusal_echo),
        cmocka_unit_test(test_no_descriptor_left),
        cmocka_unit_test(test_room_again),
        WITH_SERVER(test_no_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
