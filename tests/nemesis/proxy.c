#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

#include "port.h"

#include "proxy.h"

/*
 * epoll is edge-triggered and only wakes the thread; after each waking all connections are pumped until nothing moves. There are a few dozen of
 * them, so that is cheaper to run and to understand than a state for each.
 */
#define QUEUE_MAX 262144
#define PIECE_MAX 16384
#define TICK_MS 10

struct piece {
    struct piece *next;
    int64_t due_us;
    size_t len, sent;
    char bytes[];
};

/* One direction of one connection. */
struct pipe {
    int from, to;
    bool out;   /* towards the target */
    bool ended; /* nothing more comes */
    bool told;  /* and the other side was told so */
    bool holed; /* some of it was swallowed */
    struct piece *first, **last;
    size_t queued;
    int64_t sent_until_us; /* with a limited rate: when the next byte may go */
};

struct pair {
    struct pair *next;
    int line;
    bool dead;
    bool subscribed; /* SUBSCRIBE went towards the target */
    struct pipe pipes[2];
};

struct proxy_line {
    struct port port;
    int target, listener; /* -1: refusing */
    struct line_faults faults;
    size_t until_cut;
};

struct proxy {
    pthread_t thread;
    pthread_mutex_t lock; /* of all below; the thread holds it but when it waits */
    int epoll, wake;
    bool stop;
    struct proxy_line lines[PROXY_LINES_MAX];
    int line_count;
    struct pair *pairs;
    unsigned accepted;
};

static void fail(const char *what)
{
    fprintf(stderr, "proxy: %s: %s\n", what, strerror(errno));
    abort();
}

static void *must(void *memory)
{
    if (memory == NULL)
        fail("no memory");
    return memory;
}

static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void watch(struct proxy *proxy, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
    if (epoll_ctl(proxy->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("cannot watch a socket");
}

static void line_listen(struct proxy *proxy, struct proxy_line *line)
{
    struct sockaddr_in address = local(line->port.number);
    int yes = 1;
    line->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(line->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(line->listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(line->listener, 64) != 0)
        fail("cannot listen");
    watch(proxy, line->listener);
}

/* ---- connections ---- */

static void pipe_init(struct pipe *pipe, int from, int to, bool out)
{
    *pipe = (struct pipe){.from = from, .to = to, .out = out};
    pipe->last = &pipe->first;
}

static void pair_add(struct proxy *proxy, int line, int client)
{
    struct sockaddr_in address = local(proxy->lines[line].target);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    /* On this machine a connection is made or refused at once, also when the server is stopped: its kernel side answers. */
    if (connect(server, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(server);
        close(client);
        return;
    }
    struct pair *pair = must(calloc(1, sizeof(*pair)));
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    pair->line = line;
    pipe_init(&pair->pipes[0], client, server, true);
    pipe_init(&pair->pipes[1], server, client, false);
    pair->next = proxy->pairs;
    proxy->pairs = pair;
    proxy->accepted++;
    watch(proxy, client);
    watch(proxy, server);
}

static void accept_all(struct proxy *proxy)
{
    for (int i = 0; i < proxy->line_count; i++) {
        int client;
        while (proxy->lines[i].listener >= 0 && (client = accept4(proxy->lines[i].listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
            pair_add(proxy, i, client);
    }
}

static void drop_first(struct pipe *pipe)
{
    struct piece *piece = pipe->first;
    pipe->first = piece->next;
    if (pipe->first == NULL)
        pipe->last = &pipe->first;
    free(piece);
}

/* Closed with a reset, as by a machine that is gone: what is on its way is lost on both sides. */
static void pair_free(struct pair *pair)
{
    const struct linger at_once = {1, 0};
    for (int i = 0; i < 2; i++) {
        while (pair->pipes[i].first)
            drop_first(&pair->pipes[i]);
        if (!pair->pipes[0].told || !pair->pipes[1].told)
            setsockopt(pair->pipes[i].from, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        close(pair->pipes[i].from);
    }
    free(pair);
}

/* ---- pumping ---- */

/* Counts down to the cut; returns how many of ${len} bytes still go. */
static size_t count_down(struct proxy_line *line, struct pair *pair, size_t len)
{
    if (line->until_cut == 0)
        return len;
    if (len < line->until_cut) {
        line->until_cut -= len;
        return len;
    }
    len = line->until_cut;
    line->until_cut = line->faults.cut_after;
    pair->dead = true;
    return len;
}

/* The line's faults as they are for this connection. */
static const struct line_faults *faults_of(const struct proxy_line *line, const struct pair *pair)
{
    static const struct line_faults none = {.delay_ms = 0};
    return line->faults.only_subscribers && !pair->subscribed ? &none : &line->faults;
}

static bool is_swallowed(const struct line_faults *faults, const struct pipe *pipe)
{
    return pipe->out ? faults->swallow_out : faults->swallow_back;
}

static bool take_in(struct proxy_line *line, struct pair *pair, struct pipe *pipe, int64_t now)
{
    if (pipe->ended || pipe->queued >= QUEUE_MAX)
        return false;
    struct piece *piece = must(malloc(sizeof(*piece) + PIECE_MAX));
    ssize_t len = recv(pipe->from, piece->bytes, PIECE_MAX, MSG_DONTWAIT);
    const struct line_faults *faults = faults_of(line, pair);
    bool swallowed = is_swallowed(faults, pipe);
    pair->subscribed = pair->subscribed || (pipe->out && len > 0 && memmem(piece->bytes, (size_t)len, "SUBSCRIBE", 9));
    if (len <= 0 || swallowed) {
        pipe->ended = len == 0;
        pipe->holed = pipe->holed || len > 0;
        pair->dead = pair->dead || (len < 0 && errno != EAGAIN && errno != EINTR);
        free(piece);
        return len >= 0;
    }
    piece->len = pipe->out ? count_down(line, pair, (size_t)len) : (size_t)len;
    piece->sent = 0;
    piece->next = NULL;
    piece->due_us = now + faults->delay_ms * INT64_C(1000);
    pipe->queued += piece->len;
    *pipe->last = piece;
    pipe->last = &piece->next;
    return true;
}

/* How many bytes of the first piece may go now. */
static size_t may_go(const struct line_faults *faults, const struct pipe *pipe, int64_t now)
{
    const struct piece *piece = pipe->first;
    if (piece == NULL || piece->due_us > now)
        return 0;
    size_t left = piece->len - piece->sent, rate = (size_t)faults->bytes_per_s;
    if (rate == 0)
        return left;
    size_t burst = rate / 50 + 1; /* what goes in 20 ms */
    return pipe->sent_until_us > now ? 0 : left < burst ? left : burst;
}

static bool hand_on(const struct proxy_line *line, struct pair *pair, struct pipe *pipe, int64_t now)
{
    const struct line_faults *faults = faults_of(line, pair);
    size_t len = may_go(faults, pipe, now);
    if (len == 0)
        return false;
    struct piece *piece = pipe->first;
    ssize_t sent = send(pipe->to, piece->bytes + piece->sent, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
        pair->dead = pair->dead || (errno != EAGAIN && errno != EINTR);
        return false;
    }
    if (faults->bytes_per_s)
        pipe->sent_until_us = now + (int64_t)sent * 1000000 / faults->bytes_per_s;
    piece->sent += (size_t)sent;
    pipe->queued -= (size_t)sent;
    if (piece->sent == piece->len)
        drop_first(pipe);
    return true;
}

static void pair_pump(struct proxy *proxy, struct pair *pair)
{
    struct proxy_line *line = &proxy->lines[pair->line];
    bool moved = true;
    /* TCP never goes on behind a hole: a connection that lost something is lost when the line is good again. */
    for (int i = 0; i < 2; i++)
        pair->dead = pair->dead || (pair->pipes[i].holed && !is_swallowed(faults_of(line, pair), &pair->pipes[i]));
    while (moved && !pair->dead) {
        int64_t now = clock_us();
        moved = false;
        for (int i = 0; i < 2 && !pair->dead; i++)
            moved |= take_in(line, pair, &pair->pipes[i], now);
        for (int i = 0; i < 2; i++)
            while (hand_on(line, pair, &pair->pipes[i], now))
                moved = true;
    }
    for (int i = 0; i < 2; i++) {
        struct pipe *pipe = &pair->pipes[i];
        if (pipe->ended && pipe->first == NULL && !pipe->told) {
            shutdown(pipe->to, SHUT_WR);
            pipe->told = true;
        }
    }
    pair->dead = pair->dead || (pair->pipes[0].told && pair->pipes[1].told);
}

/* Pumps all; returns how long to wait: until something that waits is due, or for ever. */
static int pump_all(struct proxy *proxy)
{
    int wait = -1;
    for (struct pair **at = &proxy->pairs; *at;) {
        struct pair *pair = *at;
        pair_pump(proxy, pair);
        if (pair->dead) {
            *at = pair->next;
            pair_free(pair);
            continue;
        }
        if (pair->pipes[0].first || pair->pipes[1].first)
            wait = TICK_MS;
        at = &pair->next;
    }
    return wait;
}

static void *run(void *cookie)
{
    struct proxy *proxy = cookie;
    struct epoll_event events[64];
    uint64_t woken;
    pthread_mutex_lock(&proxy->lock);
    while (!proxy->stop) {
        accept_all(proxy);
        int wait = pump_all(proxy);
        pthread_mutex_unlock(&proxy->lock);
        epoll_wait(proxy->epoll, events, 64, wait);
        pthread_mutex_lock(&proxy->lock);
        if (read(proxy->wake, &woken, sizeof(woken)) < 0 && errno != EAGAIN)
            fail("cannot read the waking");
    }
    pthread_mutex_unlock(&proxy->lock);
    return NULL;
}

/* ---- what the test asks for ---- */

static void wake(struct proxy *proxy)
{
    const uint64_t one = 1;
    if (write(proxy->wake, &one, sizeof(one)) < 0)
        fail("cannot wake the thread");
}

struct proxy *proxy_start(void)
{
    struct proxy *proxy = must(calloc(1, sizeof(*proxy)));
    pthread_mutex_init(&proxy->lock, NULL);
    proxy->epoll = epoll_create1(EPOLL_CLOEXEC);
    proxy->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch(proxy, proxy->wake);
    if (pthread_create(&proxy->thread, NULL, run, proxy) != 0)
        fail("cannot start a thread");
    return proxy;
}

void proxy_stop(struct proxy *proxy)
{
    if (proxy == NULL)
        return;
    pthread_mutex_lock(&proxy->lock);
    proxy->stop = true;
    pthread_mutex_unlock(&proxy->lock);
    wake(proxy);
    pthread_join(proxy->thread, NULL);
    while (proxy->pairs) {
        struct pair *pair = proxy->pairs;
        proxy->pairs = pair->next;
        pair_free(pair);
    }
    for (int i = 0; i < proxy->line_count; i++) {
        if (proxy->lines[i].listener >= 0)
            close(proxy->lines[i].listener);
        port_release(&proxy->lines[i].port);
    }
    close(proxy->wake);
    close(proxy->epoll);
    pthread_mutex_destroy(&proxy->lock);
    free(proxy);
}

int proxy_add(struct proxy *proxy, int target)
{
    pthread_mutex_lock(&proxy->lock);
    int number = proxy->line_count;
    if (number == PROXY_LINES_MAX)
        fail("too many lines");
    struct proxy_line *line = &proxy->lines[number];
    *line = (struct proxy_line){.port = port_take(), .target = target};
    line_listen(proxy, line);
    proxy->line_count++;
    pthread_mutex_unlock(&proxy->lock);
    wake(proxy);
    return number;
}

int proxy_port(const struct proxy *proxy, int line)
{
    return proxy->lines[line].port.number;
}

void proxy_set(struct proxy *proxy, int number, const struct line_faults *faults)
{
    pthread_mutex_lock(&proxy->lock);
    struct proxy_line *line = &proxy->lines[number];
    line->faults = faults ? *faults : (struct line_faults){.delay_ms = 0};
    line->until_cut = line->faults.cut_after;
    if (line->faults.refuse && line->listener >= 0) {
        close(line->listener);
        line->listener = -1;
    } else if (!line->faults.refuse && line->listener < 0) {
        line_listen(proxy, line);
    }
    pthread_mutex_unlock(&proxy->lock);
    wake(proxy);
}

void proxy_cut(struct proxy *proxy, int line)
{
    pthread_mutex_lock(&proxy->lock);
    for (struct pair *pair = proxy->pairs; pair; pair = pair->next)
        pair->dead = pair->dead || pair->line == line;
    pthread_mutex_unlock(&proxy->lock);
    wake(proxy);
}

unsigned proxy_accepted(struct proxy *proxy)
{
    pthread_mutex_lock(&proxy->lock);
    unsigned accepted = proxy->accepted;
    pthread_mutex_unlock(&proxy->lock);
    return accepted;
}
