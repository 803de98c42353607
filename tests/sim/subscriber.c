#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#include "order.h"

#include "subscriber.h"

#define PAGE_EVENTS 200

/* ---- what it was told ---- */

static void take_event(struct subscriber *subscriber, int64_t order_id, int64_t version)
{
    CHECK(order_id > 0);
    if ((size_t)order_id >= subscriber->room) {
        size_t room = (size_t)order_id * 2 + 1024;
        subscriber->told = realloc(subscriber->told, room * sizeof(*subscriber->told));
        CHECK(subscriber->told);
        memset(subscriber->told + subscriber->room, 0, (room - subscriber->room) * sizeof(*subscriber->told));
        subscriber->room = room;
    }
    int64_t *told = &subscriber->told[order_id];
    if (version > *told + 1)
        fleet_complain(subscriber->fleet, "the feed tells of version %lld of order %lld and left out %lld; its cursor is %s", (long long)version,
                       (long long)order_id, (long long)*told + 1, subscriber->cursor);
    *told = version > *told ? version : *told;
}

/* The number behind the next ${name} in ${text}, which becomes what is behind it. Returns false if there is none. */
static bool next_number(struct view *text, const char *name, int64_t *number)
{
    const char *found = memmem(text->at, text->len, name, strlen(name));
    if (found == NULL)
        return false;
    found += strlen(name);
    *number = strtoll(found, NULL, 10); /* ends before the bracket that ends the page */
    *text = (struct view){found, (size_t)(text->at + text->len - found)};
    return true;
}

static void take_page(struct subscriber *subscriber, const struct answer *answer)
{
    struct view body = answer->body;
    int64_t order_id, version;
    int events = 0;
    for (; next_number(&body, "\"order_id\":", &order_id); events++) {
        CHECK(next_number(&body, "\"version\":", &version));
        take_event(subscriber, order_id, version);
    }
    if (events < PAGE_EVENTS)
        subscriber->followed_us = subscriber->asked_us;
    CHECK(answer->header_count > 0 && sscanf(answer->headers[0].value, "</events?after=%511[^&]", subscriber->cursor) == 1);
}

/* ---- asking ---- */

static void page_make(struct arena *arena, struct ask *ask, void *cookie)
{
    struct subscriber *subscriber = cookie;
    struct param *params = ARENA_ARRAY(arena, struct param, 2);
    params[0] = (struct param){VIEW("limit"), arena_printf(arena, "%d", PAGE_EVENTS)};
    params[1] = (struct param){VIEW("after"), arena_copy(arena, view_of(subscriber->cursor))};
    *ask = (struct ask){.method = METHOD_GET,
                        .route = "/events",
                        .format = FORMAT_JSON,
                        .request_id = VIEW("feed"),
                        .params = params,
                        .param_count = *subscriber->cursor ? 2 : 1};
}

static void page_got(void *cookie, const struct answer *answer);

static const struct request_kind PAGE = {.role = ROLE_ORDER, .flow = &EVENTS_FLOW, .deadline_ms = 5000, .make = page_make, .got_answer = page_got};

static void page_ask(void *cookie)
{
    struct subscriber *subscriber = cookie;
    subscriber->asked_us = fleet_now_us(subscriber->fleet);
    fleet_ask(subscriber->fleet, &PAGE, subscriber);
}

static void page_ask_later(struct subscriber *subscriber)
{
    fleet_wake(subscriber->fleet, random_between(fleet_random(subscriber->fleet), 1, subscriber->every_ms * 2000), page_ask, subscriber);
}

static void page_got(void *cookie, const struct answer *answer)
{
    struct subscriber *subscriber = cookie;
    if (answer && answer->status == 200)
        take_page(subscriber, answer);
    else if (answer && !(answer->outcome && answer->outcome->retryable))
        fleet_complain(subscriber->fleet, "the feed was answered %d: %.*s", answer->status, VIEW_ARG(answer->body));
    page_ask_later(subscriber);
}

/* ---- its life ---- */

void subscriber_begin(struct subscriber *subscriber, struct fleet *fleet, int64_t every_ms)
{
    *subscriber = (struct subscriber){.fleet = fleet, .every_ms = every_ms};
    page_ask_later(subscriber);
}

int64_t subscriber_told(const struct subscriber *subscriber, int64_t order_id)
{
    return (size_t)order_id < subscriber->room ? subscriber->told[order_id] : 0;
}

void subscriber_end(struct subscriber *subscriber)
{
    free(subscriber->told);
    subscriber->told = NULL;
}
