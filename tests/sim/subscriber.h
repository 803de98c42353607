#ifndef SUBSCRIBER_H
#define SUBSCRIBER_H

#include "fleet.h"

/*
 * One who follows GET /events through everything that goes wrong, as a search index or a warehouse would: page after page with the cursor of the page
 * before, which is all it keeps. It complains when an order's versions come with one left out: what is behind its cursor it will never be told.
 */
struct subscriber {
    struct fleet *fleet;
    int64_t every_ms;              /* between two pages; may be changed */
    int64_t asked_us, followed_us; /* the last page; the last that ended before it was full: what was there then has been told */
    char cursor[512];
    int64_t *told; /* by order: the highest version so far */
    size_t room;
};

void subscriber_begin(struct subscriber *subscriber, struct fleet *fleet, int64_t every_ms);
/* The highest version of this order that it was told, all those before it as well; 0: none. */
int64_t subscriber_told(const struct subscriber *subscriber, int64_t order_id);
void subscriber_end(struct subscriber *subscriber);

#endif
