#ifndef TOKENS_H
#define TOKENS_H

#include <stdbool.h>
#include <stddef.h>

#include "scope.h"
#include "view.h"

/*
 * Callers and what they may do, from the text of a file. It holds no token, only their SHA-256: a token is 256 random bits, so its hash gives nothing
 * away, and to look up by the hash compares nothing that a client could guess at byte by byte.
 *
 *     # a comment
 *     shopfront  catalogue:read,orders:read,orders:write,payments:write  8f43…(64 digits)
 *     ann-app    orders:read,orders:write                                a591…  user=ann
 *     anonymous  catalogue:read
 *
 * user= is the one buyer that the caller acts for, to the end of the line. `anonymous` says what callers without a token may do. A name can be on
 * several lines, which is how a token is exchanged for another: to everything behind the door they are one caller, and so act for the same buyer.
 */
#define TOKENS_BYTES_MAX (1024 * 1024)
#define TOKEN_BYTES_MAX 512 /* of one that a client sends */
#define TOKENS_WRONG_MAX 640

struct caller {
    struct view name; /* empty: callers without a token */
    struct view user; /* the one buyer it acts for; .at NULL: all */
    unsigned scopes;  /* a bit for each */
    unsigned number;  /* from 0; lines of one name share it */
};

struct tokens;

/*
 * Returns NULL if the text is not as it must be (or memory is short); ${wrong} then says on which line and what is allowed there, no full stop, and
 * nothing that could be a token. Freed by tokens_free; callers are valid until then.
 */
struct tokens *tokens_read(const char *text, char wrong[TOKENS_WRONG_MAX]);
/* NULL: does nothing. */
void tokens_free(struct tokens *tokens);

/* Who has this token; NULL: nobody. */
const struct caller *tokens_find(const struct tokens *tokens, struct view token);
/* Who has none; NULL: such callers may do nothing. */
const struct caller *tokens_anonymous(const struct tokens *tokens);
/* How many callers there are by name, so many numbers. */
unsigned tokens_count(const struct tokens *tokens);

static inline bool caller_may(const struct caller *caller, enum scope scope)
{
    return caller->scopes >> scope & 1;
}

/*
 * A new token, and its line for the file: ${scopes} "orders:read,orders:write"; ${user} NULL: for all buyers. Both are freed by the caller. Returns
 * false if such a line would not be taken, and says in ${wrong} why.
 */
bool token_make(const char *name, const char *scopes, const char *user, char **token, char **line, char wrong[TOKENS_WRONG_MAX]);

#endif
