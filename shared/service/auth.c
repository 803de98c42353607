#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <sodium.h>

#include "bucket.h"

#include "auth.h"

/* A direct-mapped table: two callers in one place only cost each other the memory. */
#define MEMO_SLOTS 256
#define NAME_BYTES crypto_shorthash_siphashx24_BYTES

struct memo {
    unsigned char name[NAME_BYTES];
    const struct caller *caller; /* NULL: empty */
};

struct auth {
    struct keyring *keyring;
    const struct tokens *tokens;
    int rate;
    int64_t *buckets; /* one for each caller's number */
    unsigned char key[crypto_shorthash_siphashx24_KEYBYTES];
    struct memo memo[MEMO_SLOTS];
};

/* ---- life ---- */

/* Buckets begin full; who gains by that is whoever is in the middle of a second when the file changes. */
static bool take(struct auth *auth)
{
    const struct tokens *tokens = keyring_take(auth->keyring, auth->tokens);
    if (tokens == auth->tokens)
        return true;
    auth->tokens = tokens;
    memset(auth->memo, 0, sizeof(auth->memo));
    free(auth->buckets);
    auth->buckets = calloc(tokens_count(tokens) + 1, sizeof(*auth->buckets));
    return auth->buckets != NULL;
}

void auth_refresh(struct auth *auth)
{
    (void)take(auth);
}

struct auth *auth_new(struct keyring *keyring, int rate)
{
    struct auth *auth = calloc(1, sizeof(*auth));
    if (auth == NULL)
        return NULL;
    auth->keyring = keyring;
    auth->rate = rate;
    if (sodium_init() >= 0) {
        randombytes_buf(auth->key, sizeof(auth->key));
        if (take(auth))
            return auth;
    }
    auth_free(auth);
    return NULL;
}

void auth_free(struct auth *auth)
{
    if (auth == NULL)
        return;
    if (auth->tokens)
        keyring_drop(auth->keyring, auth->tokens);
    free(auth->buckets);
    sodium_memzero(auth, sizeof(*auth));
    free(auth);
}

/* ---- one request ---- */

/* What stands behind "Bearer "; .at is NULL if it is of another scheme. RFC 9110 section 11.4, RFC 6750 section 2.1. */
static struct view token_of(struct view authorization)
{
    const size_t scheme = sizeof("Bearer ") - 1;
    if (authorization.len <= scheme || strncasecmp(authorization.at, "Bearer ", scheme) != 0)
        return (struct view){NULL, 0};
    struct view token = {authorization.at + scheme, authorization.len - scheme};
    while (token.len && *token.at == ' ') {
        token.at++;
        token.len--;
    }
    return token;
}

static const struct caller *find(struct auth *auth, struct view token)
{
    unsigned char name[NAME_BYTES];
    if (token.at == NULL || token.len > TOKEN_BYTES_MAX)
        return NULL;
    crypto_shorthash_siphashx24(name, (const unsigned char *)token.at, token.len, auth->key);
    struct memo *memo = &auth->memo[name[0] % MEMO_SLOTS];
    if (memo->caller && memcmp(memo->name, name, sizeof(name)) == 0)
        return memo->caller;
    const struct caller *caller = tokens_find(auth->tokens, token);
    if (caller) { /* what is nobody's does not take a caller's place */
        memcpy(memo->name, name, sizeof(name));
        memo->caller = caller;
    }
    return caller;
}

bool auth_count(struct auth *auth, const struct caller *caller, int64_t now_us)
{
    if (auth->rate == 0 || auth->buckets == NULL || caller->name.len == 0)
        return true;
    return bucket_take(&auth->buckets[caller->number], now_us, auth->rate);
}

enum auth_verdict auth_check(struct auth *auth, struct view authorization, enum scope scope, const struct caller **caller)
{
    if (authorization.at == NULL) {
        *caller = tokens_anonymous(auth->tokens);
        return *caller && caller_may(*caller, scope) ? AUTH_GRANTED : AUTH_NO_TOKEN;
    }
    *caller = find(auth, token_of(authorization));
    if (*caller == NULL)
        return AUTH_BAD_TOKEN;
    return caller_may(*caller, scope) ? AUTH_GRANTED : AUTH_NO_SCOPE;
}
