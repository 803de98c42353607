#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "tokens.h"

#define HASH_BYTES crypto_hash_sha256_BYTES
#define HASH_HEX (2 * HASH_BYTES)
#define NAME_MAX_BYTES 64
#define USER_MAX_BYTES 128 /* as an order's */
#define BLANKS " \t\r"
/* So that who finds one somewhere, or a scanner of repositories, sees what it is. */
#define TOKEN_PREFIX "souk_"
#define TOKEN_RANDOM 32

/* One line of the file that has a token. */
struct holder {
    unsigned char hash[HASH_BYTES];
    struct caller caller;
    unsigned line;
};

struct tokens {
    struct holder *holders; /* by hash */
    size_t count, room;
    unsigned names;
    struct caller anonymous;
    unsigned anonymous_line; /* 0: there is none */
    char *text;              /* what the views point into */
};

/* ---- reading ---- */

struct reader {
    struct tokens *tokens;
    unsigned line;
    char *wrong;
};

/* Always returns false. */
static bool is_wrong(const struct reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool is_wrong(const struct reader *reader, const char *format, ...)
{
    va_list args;
    int len = snprintf(reader->wrong, TOKENS_WRONG_MAX, "line %u: ", reader->line);
    va_start(args, format);
    vsnprintf(reader->wrong + len, TOKENS_WRONG_MAX - (size_t)len, format, args);
    va_end(args);
    return false;
}

/* Cuts the next word off ${rest}; empty at its end. */
static struct view next_word(struct view *rest)
{
    struct view word = {rest->at, 0};
    while (word.len < rest->len && !strchr(BLANKS, word.at[word.len]))
        word.len++;
    rest->at += word.len;
    rest->len -= word.len;
    while (rest->len && strchr(BLANKS, *rest->at)) {
        rest->at++;
        rest->len--;
    }
    return word;
}

static bool consists_of(struct view text, const char *bytes)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] == '\0' || !strchr(bytes, text.at[i]))
            return false;
    return text.len > 0;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define NAME_BYTES LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

static const char *names_within(char out[320], enum reach reach)
{
    out[0] = '\0';
    for (enum scope scope = SCOPE_NONE + 1; scope < SCOPE_COUNT; scope++)
        if (scope_reach(scope) <= reach)
            snprintf(out + strlen(out), 320 - strlen(out), "%s%s", *out ? ", " : "", scope_name(scope));
    return out;
}

/* A word that is no scope is repeated only if it cannot be a token that was put in the wrong place. */
static bool read_scopes(const struct reader *reader, struct view list, enum reach reach, const char *who, unsigned *scopes)
{
    char names[320];
    *scopes = 0;
    for (size_t from = 0; from <= list.len;) {
        const char *comma = memchr(list.at + from, ',', list.len - from);
        struct view name = {list.at + from, comma ? (size_t)(comma - list.at) - from : list.len - from};
        enum scope scope = scope_of(name);
        if (scope == SCOPE_NONE || scope_reach(scope) > reach) {
            bool harmless = scope || name.len == 0 || (name.len < 24 && consists_of(name, LETTERS ":"));
            return is_wrong(reader, "\"%.*s\" is no scope that %s can have; there are, with commas and no blanks between them: %s",
                            harmless ? (int)name.len : 3, harmless ? name.at : "...", who, names_within(names, reach));
        }
        *scopes |= 1u << scope;
        from += name.len + 1;
    }
    return true;
}

static bool read_hash(const struct reader *reader, struct view text, unsigned char hash[HASH_BYTES])
{
    size_t len = 0;
    if (text.len == HASH_HEX && sodium_hex2bin(hash, HASH_BYTES, text.at, text.len, NULL, &len, NULL) == 0 && len == HASH_BYTES)
        return true;
    return is_wrong(reader, "the third word must be the SHA-256 of the token, %d hexadecimal digits; `soukctl token` makes a token and its line",
                    (int)HASH_HEX);
}

static bool begins_user(struct view rest)
{
    return rest.len >= 5 && memcmp(rest.at, "user=", 5) == 0;
}

/* What is left of the line: nothing, or user=. */
static bool read_user(const struct reader *reader, struct view rest, struct view *user)
{
    *user = (struct view){NULL, 0};
    if (rest.len == 0)
        return true;
    if (!begins_user(rest))
        return is_wrong(reader, "behind the hash there can only be user=, the one buyer that the caller acts for");
    *user = (struct view){rest.at + 5, rest.len - 5};
    if (user->len == 0 || user->len > USER_MAX_BYTES)
        return is_wrong(reader, "user= must name a buyer in 1 to %d bytes", USER_MAX_BYTES);
    return true;
}

/* Gives it the number of its name, and compares it with the lines before. */
static bool join(const struct reader *reader, struct holder *holder)
{
    struct tokens *tokens = reader->tokens;
    holder->caller.number = tokens->names;
    for (size_t i = 0; i < tokens->count; i++) {
        const struct holder *other = &tokens->holders[i];
        if (sodium_memcmp(other->hash, holder->hash, HASH_BYTES) == 0)
            return is_wrong(reader, "this is the hash of line %u; each line needs a token of its own", other->line);
        if (!view_equal(other->caller.name, holder->caller.name))
            continue;
        if ((other->caller.user.at == NULL) != (holder->caller.user.at == NULL) || !view_equal(other->caller.user, holder->caller.user))
            return is_wrong(reader, "line %u has the same name and another user=; lines of one name are one caller and act for the same buyer",
                            other->line);
        holder->caller.number = other->caller.number;
    }
    tokens->names += holder->caller.number == tokens->names;
    return true;
}

static bool add(const struct reader *reader, const struct holder *holder)
{
    struct tokens *tokens = reader->tokens;
    if (tokens->count == tokens->room) {
        size_t room = tokens->room ? tokens->room * 2 : 16;
        struct holder *more = realloc(tokens->holders, room * sizeof(*more));
        if (more == NULL)
            return is_wrong(reader, "out of memory");
        tokens->holders = more;
        tokens->room = room;
    }
    tokens->holders[tokens->count++] = *holder;
    return true;
}

static bool read_anonymous(const struct reader *reader, struct view scopes, struct view rest)
{
    struct tokens *tokens = reader->tokens;
    if (tokens->anonymous_line)
        return is_wrong(reader, "anonymous is on line %u already; put all its scopes on one line", tokens->anonymous_line);
    if (rest.len)
        return is_wrong(reader, "behind the scopes of anonymous there can be nothing: such callers have no token");
    tokens->anonymous_line = reader->line;
    return read_scopes(reader, scopes, REACH_PUBLIC, "a caller without a token", &tokens->anonymous.scopes);
}

static bool read_line(const struct reader *reader, struct view rest)
{
    struct holder holder = {.line = reader->line};
    struct view name = next_word(&rest), scopes = next_word(&rest);
    if (!consists_of(name, NAME_BYTES) || name.len > NAME_MAX_BYTES)
        return is_wrong(reader, "the first word must be the caller's name: 1 to %d letters, digits, '.', '_' and '-'", NAME_MAX_BYTES);
    if (view_equal(name, VIEW("anonymous")))
        return read_anonymous(reader, scopes, rest);
    holder.caller.name = name;
    struct view hash = next_word(&rest);
    bool bound = begins_user(rest);
    return read_scopes(reader, scopes, bound ? REACH_BUYER : REACH_SHOP, bound ? "a caller with user=" : "a caller", &holder.caller.scopes) &&
           read_hash(reader, hash, holder.hash) && read_user(reader, rest, &holder.caller.user) && join(reader, &holder) && add(reader, &holder);
}

static int holder_compare(const void *a, const void *b)
{
    return memcmp(((const struct holder *)a)->hash, ((const struct holder *)b)->hash, HASH_BYTES);
}

static bool read_lines(struct reader *reader)
{
    char *at = reader->tokens->text;
    while (*at) {
        size_t len = strcspn(at, "\n"), used = len;
        struct view line = {at, len};
        reader->line++;
        at += len + (at[len] == '\n');
        while (used && strchr(BLANKS, line.at[used - 1]))
            used--;
        line.len = used;
        if (line.len && strchr(BLANKS, *line.at))
            (void)next_word(&line); /* the blanks before the first word */
        if (line.len && *line.at != '#' && !read_line(reader, line))
            return false;
    }
    if (reader->tokens->count == 0 && reader->tokens->anonymous_line == 0)
        return is_wrong(reader, "the file ends without a caller; a line is: NAME SCOPES SHA-256 [user=BUYER], or: anonymous SCOPES");
    return true;
}

struct tokens *tokens_read(const char *text, char wrong[TOKENS_WRONG_MAX])
{
    struct tokens *tokens = calloc(1, sizeof(*tokens));
    struct reader reader = {.tokens = tokens, .wrong = wrong};
    if (tokens)
        tokens->text = strdup(text);
    if (tokens == NULL || tokens->text == NULL) {
        is_wrong(&reader, "out of memory");
        tokens_free(tokens);
        return NULL;
    }
    if (!read_lines(&reader)) {
        tokens_free(tokens);
        return NULL;
    }
    if (tokens->count)
        qsort(tokens->holders, tokens->count, sizeof(*tokens->holders), holder_compare);
    return tokens;
}

void tokens_free(struct tokens *tokens)
{
    if (tokens == NULL)
        return;
    free(tokens->holders);
    free(tokens->text);
    free(tokens);
}

/* ---- looking up ---- */

const struct caller *tokens_find(const struct tokens *tokens, struct view token)
{
    struct holder wanted;
    if (token.len == 0 || token.len > TOKEN_BYTES_MAX || tokens->count == 0)
        return NULL;
    crypto_hash_sha256(wanted.hash, (const unsigned char *)token.at, token.len);
    const struct holder *found = bsearch(&wanted, tokens->holders, tokens->count, sizeof(wanted), holder_compare);
    return found ? &found->caller : NULL;
}

const struct caller *tokens_anonymous(const struct tokens *tokens)
{
    return tokens->anonymous_line ? &tokens->anonymous : NULL;
}

unsigned tokens_count(const struct tokens *tokens)
{
    return tokens->names;
}

/* ---- making one ---- */

static char *token_text(void)
{
    unsigned char random[TOKEN_RANDOM];
    const size_t prefix = sizeof(TOKEN_PREFIX) - 1, digits = sodium_base64_ENCODED_LEN(TOKEN_RANDOM, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *text = malloc(prefix + digits);
    if (text == NULL)
        return NULL;
    randombytes_buf(random, sizeof(random));
    memcpy(text, TOKEN_PREFIX, prefix);
    sodium_bin2base64(text + prefix, digits, random, sizeof(random), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(random, sizeof(random));
    return text;
}

static char *line_text(const char *name, const char *scopes, const char *user, const char *token)
{
    unsigned char hash[HASH_BYTES];
    char hex[HASH_HEX + 1], *line;
    crypto_hash_sha256(hash, (const unsigned char *)token, strlen(token));
    sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
    return asprintf(&line, "%s %s %s%s%s", name, scopes, hex, user ? " user=" : "", user ? user : "") < 0 ? NULL : line;
}

bool token_make(const char *name, const char *scopes, const char *user, char **token, char **line, char wrong[TOKENS_WRONG_MAX])
{
    struct tokens *taken = NULL;
    snprintf(wrong, TOKENS_WRONG_MAX, "the system gives no memory or no random bytes");
    *token = sodium_init() < 0 ? NULL : token_text();
    *line = *token ? line_text(name, scopes, user, *token) : NULL;
    if (strcmp(name, "anonymous") == 0)
        snprintf(wrong, TOKENS_WRONG_MAX, "callers without a token need none; the line for them is: anonymous SCOPES");
    else if (*line && strchr(*line, '\n'))
        snprintf(wrong, TOKENS_WRONG_MAX, "a caller is one line of the file");
    else if (*line)
        taken = tokens_read(*line, wrong);
    bool made = taken != NULL;
    tokens_free(taken);
    if (!made) {
        free(*token);
        free(*line);
        *token = *line = NULL;
    }
    return made;
}
