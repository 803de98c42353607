#include "check.h"
#include "money.h"

#include "router.h"

/* Splits "/orders/17/cancel" at its slashes. Returns the number of segments, or ROUTE_SEGMENTS_MAX + 1 if there are more than fit. */
static size_t split(struct view path, struct view segments[ROUTE_SEGMENTS_MAX])
{
    size_t count = 0;
    const char *at = path.at, *end = path.at + path.len;
    while (at < end && *at == '/') {
        const char *start = ++at;
        while (at < end && *at != '/')
            at++;
        if (count == ROUTE_SEGMENTS_MAX)
            return ROUTE_SEGMENTS_MAX + 1;
        segments[count++] = (struct view){start, (size_t)(at - start)};
    }
    return count;
}

/* Who may have it, and how it knows whose a thing is, must be said; what is kept near is given to whoever may read it. */
static void check_scope(const struct route *route)
{
    check_note(route->path);
    CHECK(route->scope > SCOPE_NONE && route->scope < SCOPE_COUNT);
    CHECK((route->own != NULL) == (scope_reach(route->scope) == REACH_BUYER));
    CHECK(!(route->flags & (ROUTE_NEAR_RECORD | ROUTE_NEAR_RANGE)) || scope_reach(route->scope) == REACH_PUBLIC);
    check_note(NULL);
}

void router_init(struct router *router, const struct route *routes, size_t count)
{
    CHECK(count <= ROUTES_MAX);
    router->routes = routes;
    router->count = count;
    for (size_t i = 0; i < count; i++) {
        check_scope(&routes[i]);
        struct view *segments = router->compiled[i].segments;
        router->compiled[i].segment_count = split(view_of(routes[i].path), segments);
        CHECK(router->compiled[i].segment_count <= ROUTE_SEGMENTS_MAX);
        for (size_t n = 0; n < router->compiled[i].segment_count; n++)
            if (view_equal(segments[n], VIEW("{id}")))
                segments[n].at = NULL;
    }
}

static bool segments_match(const struct view *want, const struct view *have, size_t count, int64_t ids[ASK_IDS_MAX])
{
    size_t id_count = 0;
    for (size_t n = 0; n < count; n++) {
        if (want[n].at) {
            if (!view_equal(want[n], have[n]))
                return false;
            continue;
        }
        long long id;
        if (id_count == ASK_IDS_MAX || !view_to_int(have[n], &id) || id < 1 || id > MONEY_MAX)
            return false;
        ids[id_count++] = id;
    }
    return true;
}

const struct route *router_find(const struct router *router, enum method method, struct view path, int64_t ids[ASK_IDS_MAX], unsigned *allowed)
{
    struct view segments[ROUTE_SEGMENTS_MAX];
    size_t count = split(path, segments);
    enum method want = method == METHOD_HEAD ? METHOD_GET : method;
    *allowed = 0;
    for (size_t i = 0; i < router->count; i++) {
        if (router->compiled[i].segment_count != count || !segments_match(router->compiled[i].segments, segments, count, ids))
            continue;
        if (router->routes[i].method == want)
            return &router->routes[i];
        *allowed |= 1u << router->routes[i].method;
    }
    return NULL;
}
