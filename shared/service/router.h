#ifndef ROUTER_H
#define ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http.h"
#include "service.h"
#include "view.h"

/*
 * Which route a path belongs to. A template's {id} stands for an integer 1 … 2^53-1 (a path with another text there is no route's). Routes are
 * compiled once; a look-up compares the path's segments with each route of as many segments.
 */
#define ROUTE_SEGMENTS_MAX 4
#define ROUTES_MAX 32
struct router {
    const struct route *routes;
    size_t count;
    struct {
        struct view segments[ROUTE_SEGMENTS_MAX]; /* .at NULL: {id} */
        size_t segment_count;
    } compiled[ROUTES_MAX];
};

/* CHECKs that the table fits, and that each route says who may have it. */
void router_init(struct router *router, const struct route *routes, size_t count);

/*
 * Finds ${path}. Returns the route for ${method} (HEAD finds GET's) and fills ${ids}. Otherwise NULL, and ${allowed} has one bit per method that the
 * path does have: 0 means there is no such path.
 */
const struct route *router_find(const struct router *router, enum method method, struct view path, int64_t ids[ASK_IDS_MAX], unsigned *allowed);

#endif
