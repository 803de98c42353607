#ifndef VIEW_H
#define VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* A pointer and a length. A view never owns; whoever hands one out says how long it stays valid. */
struct view {
    const char *at;
    size_t len;
};

/* The view of a string literal. */
#define VIEW(literal) ((struct view){"" literal "", sizeof(literal) - 1})

/* For printf's "%.*s". */
#define VIEW_ARG(v) (int)(v).len, (v).at ? (v).at : ""

static inline struct view view_of(const char *text)
{
    return (struct view){text, text ? strlen(text) : 0};
}

static inline bool view_equal(struct view a, struct view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline bool view_begins(struct view text, const char *with)
{
    size_t len = strlen(with);
    return text.len >= len && memcmp(text.at, with, len) == 0;
}

/* Reads all of ${text} as a decimal integer 0 … 2^63-1 without sign or leading zeros. Returns false if it is anything else. */
bool view_to_int(struct view text, long long *out);

#endif
