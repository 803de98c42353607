#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check.h"

#include "step.h"
#include "store.h"

#include "flow_driver.h"

/* What is behind the port of step.h here: a queue, until the test takes what waits there and feeds the event back. */
struct event {
    enum { EVENT_CALL, EVENT_ERRAND, EVENT_SLEEP } kind;
    struct flow *flow;
    struct call *call;
    struct errand *errand;
    int64_t sleep_ms;
    struct event *next;
};

struct driver {
    struct runner runner; /* first */
    struct arena *arena;
    struct world world;
    struct flow *root;
    struct event *queue, **queue_tail;
    bool over;
};

#define DRIVER_SHARDS "shard-1=127.0.0.1:1,shard-2=127.0.0.1:2,shard-3=127.0.0.1:3"
#define DRIVER_PARTITIONS 16

/* ---- the port ---- */

static void add_event(struct runner *runner, struct event event)
{
    struct driver *driver = (struct driver *)runner;
    struct event *added = ARENA_NEW(driver->arena, struct event);
    *added = event;
    *driver->queue_tail = added;
    driver->queue_tail = &added->next;
}

static void add_call(struct runner *runner, struct call *call)
{
    add_event(runner, (struct event){.kind = EVENT_CALL, .flow = call->cookie, .call = call});
}

static void add_errand(struct runner *runner, struct errand *errand)
{
    add_event(runner, (struct event){.kind = EVENT_ERRAND, .flow = errand->flow, .errand = errand});
}

static void add_nap(struct runner *runner, struct flow *flow, int64_t ms)
{
    add_event(runner, (struct event){.kind = EVENT_SLEEP, .flow = flow, .sleep_ms = ms});
}

static void got_answer(struct runner *runner, struct flow *root)
{
}

static void got_over(struct runner *runner, struct flow *root)
{
    struct driver *driver = (struct driver *)runner;
    CHECK(!driver->over);
    driver->over = true;
}

static const struct port PORT = {.call = add_call, .errand = add_errand, .nap = add_nap, .answer = got_answer, .over = got_over};

/* ---- its life ---- */

/* The ring of all drivers, which nothing changes: it is made once, since there are tests with ten thousands of drivers. */
static const struct topology *ring(void)
{
    static struct topology *made;
    const char *error = NULL;
    if (made == NULL)
        made = topology_new(DRIVER_SHARDS, DRIVER_PARTITIONS, 1, &error);
    CHECK(made);
    return made;
}

struct driver *driver_new(void)
{
    struct driver *driver = calloc(1, sizeof(*driver));
    CHECK(driver);
    driver->runner.port = &PORT;
    driver->arena = arena_new();
    driver->world.topology = ring();
    driver->queue_tail = &driver->queue;
    return driver;
}

struct flow *driver_flow(struct driver *driver, const struct flow_type *type, const struct ask *ask)
{
    CHECK(driver->root == NULL);
    driver->root = flow_new(driver->arena, type, &driver->world, ask);
    return driver->root;
}

struct driver *driver_start(const struct flow_type *type, const struct ask *ask)
{
    struct driver *driver = driver_new();
    driver_flow(driver, type, ask);
    driver_go(driver);
    return driver;
}

struct arena *driver_arena(struct driver *driver)
{
    return driver->arena;
}

struct world *driver_world(struct driver *driver)
{
    return &driver->world;
}

struct flow *driver_root(struct driver *driver)
{
    return driver->root;
}

void driver_free(struct driver *driver)
{
    if (driver == NULL)
        return;
    arena_free(driver->arena);
    free(driver);
}

void driver_go(struct driver *driver)
{
    step_start(&driver->runner, driver->root);
}

/* ---- the queue ---- */

static struct event **find_event(const struct driver *driver, int kind)
{
    struct event **link = (struct event **)&driver->queue;
    while (*link && (int)(*link)->kind != kind)
        link = &(*link)->next;
    return link;
}

static struct event *take_event(struct driver *driver, struct event **link)
{
    struct event *event = *link;
    if (event) {
        *link = event->next;
        if (event->next == NULL)
            driver->queue_tail = link;
    }
    return event;
}

struct call *driver_next_call(struct driver *driver)
{
    struct event *event = take_event(driver, find_event(driver, EVENT_CALL));
    return event ? event->call : NULL;
}

struct errand *driver_next_errand(struct driver *driver)
{
    struct event *event = take_event(driver, find_event(driver, EVENT_ERRAND));
    return event ? event->errand : NULL;
}

int64_t driver_sleep_ms(const struct driver *driver)
{
    const struct event *event = *find_event(driver, EVENT_SLEEP);
    return event ? event->sleep_ms : -1;
}

unsigned driver_waiting(const struct driver *driver)
{
    unsigned count = 0;
    for (const struct event *event = driver->queue; event; event = event->next)
        count++;
    return count;
}

/* ---- replies written as words ---- */

static const char *read_items(const char *at, struct item *list, va_list *views);

static const char *read_item(const char *at, struct item *item, va_list *views)
{
    if (*at == '[') {
        at = read_items(at + 1, item, views);
        CHECK(*at == ']');
        return at + 1;
    }
    bool quoted = *at == '\'';
    const char *end = quoted ? strchr(at + 1, '\'') : at + strcspn(at, " ]");
    CHECK(end);
    struct view word = {at + quoted, (size_t)(end - at) - quoted};
    struct view digits = *at == '-' ? (struct view){at + 1, word.len - 1} : word;
    long long number;
    item->type = ITEM_TEXT;
    item->text = word;
    if (!quoted && view_to_int(digits, &number))
        *item = (struct item){.type = ITEM_INT, .integer = *at == '-' ? -number : number};
    else if (!quoted && view_equal(word, VIEW("nil")))
        *item = (struct item){.type = ITEM_NIL};
    else if (!quoted && view_equal(word, VIEW("%")))
        item->text = va_arg(*views, struct view);
    /* A copy of exactly this size, so that the sanitizer sees who reads behind it, or later. */
    if (item->type == ITEM_TEXT) {
        char *copy = malloc(item->text.len + 1);
        CHECK(copy);
        memcpy(copy, item->text.at, item->text.len);
        copy[item->text.len] = '\0';
        item->text.at = copy;
    }
    return end + quoted;
}

static const char *read_items(const char *at, struct item *list, va_list *views)
{
    *list = (struct item){.type = ITEM_LIST};
    while (*(at += strspn(at, " ")) && *at != ']') {
        list->items = realloc(list->items, (list->count + 1) * sizeof(struct item));
        CHECK(list->items);
        list->items[list->count] = (struct item){.type = ITEM_NIL};
        at = read_item(at, &list->items[list->count++], views);
    }
    return at;
}

static void free_items(struct item *item)
{
    for (size_t i = 0; i < item->count; i++)
        free_items(&item->items[i]);
    if (item->type == ITEM_TEXT)
        free((char *)item->text.at);
    free(item->items);
}

/* ---- events ---- */

void driver_reply(struct driver *driver, struct call *call, const char *words, ...)
{
    struct item root = {.type = ITEM_NIL};
    bool unclassified = false;
    va_list views;
    va_start(views, words);
    const char *end = "";
    if (words[0] == '-' && isupper((unsigned char)words[1]))
        root = (struct item){.type = ITEM_ERROR, .text = view_of(words + 1)};
    else
        end = *words == '=' ? read_item(words + 1, &root, &views) : read_items(words, &root, &views);
    va_end(views);
    CHECK(*end == '\0');
    struct reply reply = reply_from(call->function, &root, &unclassified);
    CHECK(!unclassified);
    step_reply(call, &reply);
    free_items(&root);
}

void driver_reply_kind(struct driver *driver, struct call *call, enum reply_kind kind)
{
    const struct reply reply = {.kind = kind, .why = kind == REPLY_NOT_SENT ? "the shard is away" : "the connection broke"};
    CHECK(kind == REPLY_NOT_SENT || kind == REPLY_UNKNOWN);
    step_reply(call, &reply);
}

void driver_errand_done(struct driver *driver, struct errand *errand)
{
    step_errand(errand);
}

void driver_wake(struct driver *driver)
{
    struct event *event = take_event(driver, find_event(driver, EVENT_SLEEP));
    CHECK(event);
    step_wake(event->flow);
}

/* ---- looking ---- */

const char *driver_part(struct driver *driver, const struct call *call, unsigned n)
{
    struct view part = call_part(call, n);
    return part.at ? arena_copy(driver->arena, part).at : "";
}

bool driver_calls(const struct call *call, const struct function *function)
{
    return call->function == function;
}

const struct answer *driver_answer(const struct driver *driver)
{
    return driver->root->answered ? driver->root->answer : NULL;
}

const char *driver_body(struct driver *driver)
{
    const struct answer *answer = driver_answer(driver);
    return answer && answer->body.at ? arena_copy(driver->arena, answer->body).at : "";
}

const char *driver_header(const struct driver *driver, const char *name)
{
    const struct answer *answer = driver_answer(driver);
    for (size_t i = 0; answer && i < answer->header_count; i++)
        if (strcmp(answer->headers[i].name, name) == 0)
            return answer->headers[i].value;
    return NULL;
}

bool driver_over(const struct driver *driver)
{
    return driver->over;
}

const struct answer *driver_finish(struct driver *driver)
{
    if (!driver->over)
        fail_msg("%s has not ended: %u events wait, %u are owed", driver->root->type->name, driver_waiting(driver), driver->root->owed);
    if (driver->root->ask && driver_answer(driver) == NULL)
        fail_msg("%s has ended without an answer", driver->root->type->name);
    return driver_answer(driver);
}

/* ---- every way ---- */

/* Feeds the ${choice}-th way to go on to what waits longest. Returns false if there are fewer ways; this run is then of no more use. */
static bool explore_step(const struct exploration *exploration, struct driver *driver, unsigned choice)
{
    struct event *event = take_event(driver, &driver->queue);
    if (event == NULL)
        fail_msg("%s hangs: it has not ended and nothing is under way", driver->root->type->name);
    switch (event->kind) {
    case EVENT_CALL:
        if (choice >= 2)
            return exploration->feed(driver, event->call, choice - 2);
        driver_reply_kind(driver, event->call, choice == 0 ? REPLY_NOT_SENT : REPLY_UNKNOWN);
        return true;
    case EVENT_ERRAND:
        CHECK(exploration->fill);
        if (!exploration->fill(event->errand, choice))
            return false;
        driver_errand_done(driver, event->errand);
        return true;
    case EVENT_SLEEP:
        if (choice > 0)
            return false;
        step_wake(event->flow);
        return true;
    }
    return false;
}

/* One run along ${path}, and on by first choices. Returns at which step it ended; *whole: was it a way to the end. */
static unsigned explore_run(const struct exploration *exploration, unsigned path[EXPLORE_STEPS_MAX], unsigned length, bool *whole)
{
    struct driver *driver = driver_new();
    unsigned step = 0;
    CHECK(exploration->make(driver, exploration->cookie) == driver->root);
    driver_go(driver);
    for (*whole = true; !driver_over(driver) && *whole; step += *whole) {
        if (step == exploration->steps_max)
            fail_msg("%s has not ended after %u steps", driver->root->type->name, step);
        if (step >= length)
            path[step] = 0;
        *whole = explore_step(exploration, driver, path[step]);
    }
    if (*whole) {
        driver_finish(driver);
        if (exploration->check)
            exploration->check(driver, exploration->cookie);
    }
    driver_free(driver);
    return step;
}

/* Depth first: a way that was whole leads to the next choice at its last step, one that was not (no such choice) to the next at the step before. */
unsigned driver_explore(const struct exploration *exploration)
{
    unsigned path[EXPLORE_STEPS_MAX] = {0}, length = 0, ways = 0;
    CHECK(exploration->steps_max <= EXPLORE_STEPS_MAX);
    do {
        bool whole;
        length = explore_run(exploration, path, length, &whole);
        ways += whole;
        if (length > 0)
            path[length - 1]++;
    } while (length > 0);
    return ways;
}
