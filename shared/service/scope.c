#include "scope.h"

#define SCOPE_ROW(name, text, reach) [SCOPE_##name] = {text, REACH_##reach},
static const struct {
    const char *name;
    enum reach reach;
} ROWS[SCOPE_COUNT] = {[SCOPE_NONE] = {"", REACH_SHOP}, SCOPES(SCOPE_ROW)};

_Static_assert(SCOPE_COUNT <= 32, "a scope is a bit of struct caller's scopes");

const char *scope_name(enum scope scope)
{
    return ROWS[scope].name;
}

enum reach scope_reach(enum scope scope)
{
    return ROWS[scope].reach;
}

enum scope scope_of(struct view name)
{
    for (enum scope scope = SCOPE_NONE + 1; scope < SCOPE_COUNT; scope++)
        if (view_equal(name, view_of(ROWS[scope].name)))
            return scope;
    return SCOPE_NONE;
}
