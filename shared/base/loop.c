#include <stdlib.h>

#include <uv.h>

#include "check.h"
#include "log.h"

#include "loop.h"

/*
 * One turn, as libuv takes it (its order is why hooks are a prepare handle):
 *
 *   timers ──▶ hooks (prepare) ──▶ sleep until a descriptor, a wake or a timer ──▶ callbacks of descriptors ──▶ frees what was closed ──▶ timers ...
 *
 * A hook that wants another turn keeps an idle handle active, whose only effect is that the next sleep takes no time.
 */
struct hook {
    enum loop_order order;
    bool (*run)(void *cookie);
    void *cookie;
};

struct loop {
    uv_loop_t uv;
    uv_async_t async;
    uv_prepare_t prepare;
    uv_idle_t idle;
    void (*woken)(void *cookie);
    void *woken_cookie;
    struct hook hooks[LOOP_HOOKS_MAX];
    unsigned hook_count;
    bool ringing; /* a timer's callback is running */
};

/* In these the handle comes first, so that closing one frees the whole: see free_handle. */
struct loop_watch {
    uv_poll_t poll;
    void (*ready)(void *cookie, unsigned events);
    void *cookie;
    unsigned events;
};

struct loop_timer {
    uv_timer_t timer;
    struct loop *loop;
    void (*rang)(void *cookie);
    void *cookie;
};

struct loop_signal {
    uv_signal_t signal;
    void (*got_signal)(void *cookie, int signum);
    void *cookie;
};

struct loop_lookup {
    uv_getaddrinfo_t question;
    unsigned turn;
    void (*looked_up)(void *cookie, const char *address, const char *error); /* NULL: it was forgotten */
    void *cookie;
};

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void got_async(uv_async_t *async)
{
    struct loop *loop = async->data;

    if (loop->woken)
        loop->woken(loop->woken_cookie);
}

static void got_idle(uv_idle_t *idle)
{
}

static void got_prepare(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    bool again = false;

    for (unsigned i = 0; i < loop->hook_count; i++)
        again |= loop->hooks[i].run(loop->hooks[i].cookie);
    if (again)
        uv_idle_start(&loop->idle, got_idle);
    else
        uv_idle_stop(&loop->idle);
}

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    int error;

    if (!loop)
        goto no_memory;
    error = uv_loop_init(&loop->uv);
    if (error) {
        log_error("cannot make an event loop: %s; raise the limit of open files (ulimit -n)", uv_strerror(error));
        goto no_loop;
    }
    error = uv_async_init(&loop->uv, &loop->async, got_async);
    if (error) {
        log_error("cannot make an event loop's wake-up: %s; raise the limit of open files (ulimit -n)", uv_strerror(error));
        goto no_async;
    }
    /* These two ask nothing of the kernel and cannot fail. */
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_idle_init(&loop->uv, &loop->idle);
    loop->async.data = loop->prepare.data = loop->idle.data = loop;
    uv_prepare_start(&loop->prepare, got_prepare);
    return loop;

no_async:
    uv_loop_close(&loop->uv);
no_loop:
    free(loop);
no_memory:
    return NULL;
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

static void close_leftover(uv_handle_t *handle, void *cookie)
{
    struct loop *loop = cookie;
    bool embedded = handle == (uv_handle_t *)&loop->async || handle == (uv_handle_t *)&loop->prepare || handle == (uv_handle_t *)&loop->idle;

    if (!uv_is_closing(handle))
        uv_close(handle, embedded ? NULL : free_handle);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    uv_walk(&loop->uv, close_leftover, loop);
    /* Closing takes a turn. A stop that was asked for and not yet met ends the first run early, hence the repeat. */
    while (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0) {
    }
    CHECK(uv_loop_close(&loop->uv) == 0);
    free(loop);
}

void loop_on_wake(struct loop *loop, void (*woken)(void *cookie), void *cookie)
{
    loop->woken = woken;
    loop->woken_cookie = cookie;
}

void loop_wake(struct loop *loop)
{
    uv_async_send(&loop->async);
}

static void got_uv_signal(uv_signal_t *handle, int signum)
{
    struct loop_signal *signal = handle->data;

    signal->got_signal(signal->cookie, signum);
}

void loop_on_signal(struct loop *loop, int signum, void (*got_signal)(void *cookie, int signum), void *cookie)
{
    struct loop_signal *signal = calloc(1, sizeof(*signal));

    CHECK(signal); /* asked for at start only, when nothing is under way yet */
    signal->got_signal = got_signal;
    signal->cookie = cookie;
    CHECK(uv_signal_init(&loop->uv, &signal->signal) == 0);
    signal->signal.data = signal;
    CHECK(uv_signal_start(&signal->signal, got_uv_signal, signum) == 0);
}

void loop_each_turn(struct loop *loop, enum loop_order order, bool (*hook)(void *cookie), void *cookie)
{
    unsigned place = loop->hook_count;

    CHECK(loop->hook_count < LOOP_HOOKS_MAX);
    while (place > 0 && loop->hooks[place - 1].order > order) {
        loop->hooks[place] = loop->hooks[place - 1];
        place--;
    }
    loop->hooks[place] = (struct hook){order, hook, cookie};
    loop->hook_count++;
}

static void got_poll(uv_poll_t *poll, int status, int uv_events)
{
    struct loop_watch *watch = poll->data;
    unsigned events = 0;

    /* With a broken descriptor all that is watched is ready: the owner's read or write then meets the error itself. */
    if (status < 0)
        events = watch->events;
    if (uv_events & UV_READABLE)
        events |= LOOP_READ;
    if (uv_events & UV_WRITABLE)
        events |= LOOP_WRITE;
    watch->ready(watch->cookie, events);
}

struct loop_watch *loop_watch(struct loop *loop, int fd, unsigned events, void (*ready)(void *cookie, unsigned events), void *cookie)
{
    struct loop_watch *watch = calloc(1, sizeof(*watch));
    int error;

    if (!watch) {
        log_error("cannot watch descriptor %d: no memory", fd);
        return NULL;
    }
    error = uv_poll_init(&loop->uv, &watch->poll, fd);
    if (error) {
        log_error("cannot watch descriptor %d: %s", fd, uv_strerror(error));
        free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    watch->ready = ready;
    watch->cookie = cookie;
    loop_watch_change(watch, events);
    return watch;
}

void loop_watch_change(struct loop_watch *watch, unsigned events)
{
    int uv_events = (events & LOOP_READ ? UV_READABLE : 0) | (events & LOOP_WRITE ? UV_WRITABLE : 0);

    watch->events = events;
    CHECK(uv_poll_start(&watch->poll, uv_events, got_poll) == 0);
}

void loop_unwatch(struct loop_watch *watch)
{
    if (watch)
        uv_close((uv_handle_t *)&watch->poll, free_handle);
}

static void got_timeout(uv_timer_t *handle)
{
    struct loop_timer *timer = handle->data;
    struct loop *loop = timer->loop; /* the callback may free the timer */

    loop->ringing = true;
    timer->rang(timer->cookie);
    loop->ringing = false;
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*rang)(void *cookie), void *cookie)
{
    struct loop_timer *timer = calloc(1, sizeof(*timer));

    if (!timer)
        return NULL;
    uv_timer_init(&loop->uv, &timer->timer);
    timer->timer.data = timer;
    timer->loop = loop;
    timer->rang = rang;
    timer->cookie = cookie;
    return timer;
}

void loop_timer_set(struct loop_timer *timer, int64_t after_ms)
{
    /* libuv rings due timers until none is due; one that sets itself to "now" while it rings would keep it there for ever. */
    int64_t least = timer->loop->ringing ? 1 : 0;

    if (after_ms < least)
        after_ms = least;
    /* libuv counts from the time this turn began; a long turn would make the timer early. */
    uv_update_time(&timer->loop->uv);
    uv_timer_start(&timer->timer, got_timeout, (uint64_t)after_ms, 0);
}

void loop_timer_clear(struct loop_timer *timer)
{
    uv_timer_stop(&timer->timer);
}

void loop_timer_free(struct loop_timer *timer)
{
    if (timer)
        uv_close((uv_handle_t *)&timer->timer, free_handle);
}

/*
 * The resolver's order says what this machine would rather use; that a Redis listens on 127.0.0.1 alone is more frequent than that it listens on ::1
 * alone.
 */
static const struct sockaddr *address_at(const struct addrinfo *list, unsigned turn)
{
    static const int FAMILIES[] = {AF_INET, AF_INET6};
    const struct sockaddr *found[16];
    unsigned count = 0;

    for (size_t family = 0; family < sizeof(FAMILIES) / sizeof(*FAMILIES); family++)
        for (const struct addrinfo *one = list; one && count < sizeof(found) / sizeof(*found); one = one->ai_next)
            if (one->ai_family == FAMILIES[family])
                found[count++] = one->ai_addr;
    return count ? found[turn % count] : NULL;
}

static void got_addresses(uv_getaddrinfo_t *question, int status, struct addrinfo *list)
{
    struct loop_lookup *lookup = question->data;
    const struct sockaddr *address = status == 0 ? address_at(list, lookup->turn) : NULL;
    char text[LOOP_ADDRESS_MAX];

    if (address)
        status = uv_ip_name(address, text, sizeof(text));
    else if (status == 0)
        status = UV_EAI_NODATA;
    if (lookup->looked_up)
        lookup->looked_up(lookup->cookie, status == 0 ? text : NULL, status == 0 ? NULL : uv_strerror(status));
    uv_freeaddrinfo(list);
    free(lookup);
}

struct loop_lookup *loop_look_up(struct loop *loop, const char *host, unsigned turn,
                                 void (*looked_up)(void *cookie, const char *address, const char *error), void *cookie)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct loop_lookup *lookup = calloc(1, sizeof(*lookup));

    if (!lookup)
        return NULL;
    lookup->question.data = lookup;
    lookup->turn = turn;
    lookup->looked_up = looked_up;
    lookup->cookie = cookie;
    if (uv_getaddrinfo(&loop->uv, &lookup->question, got_addresses, host, NULL, &hints) == 0)
        return lookup;
    free(lookup);
    return NULL;
}

void loop_forget(struct loop_lookup *lookup)
{
    if (!lookup)
        return;
    lookup->looked_up = NULL;
    uv_cancel((uv_req_t *)&lookup->question); /* unless a thread is at it: then its end frees it as well */
}
