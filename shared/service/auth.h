#ifndef AUTH_H
#define AUTH_H

#include <stdint.h>

#include "keyring.h"

/*
 * The callers of one thread: who sends a request, may it, and does it send too many.
 *
 *   Authorization ─▶ memo: a token that was seen before ─▶ caller ─▶ its scope? ─▶ its bucket? ─▶ granted
 *                      └─ else SHA-256, the keyring ────────┘
 *
 * The memo names tokens by a keyed hash of 128 bits (SipHash, the key drawn at the thread's start): a tenth of the cost of SHA-256, and nobody
 * without the key can make a text that meets another's. Nothing is allocated for a request.
 */
struct auth;

enum auth_verdict {
    AUTH_GRANTED,
    AUTH_NO_TOKEN,  /* none was sent, and callers without one may not do this */
    AUTH_BAD_TOKEN, /* what was sent is nobody's token */
    AUTH_NO_SCOPE,
    AUTH_TOO_MANY, /* of one caller */
};

/*
 * ${rate}: requests a second of one caller on this thread, as many at once after a second's pause; 0: any number. Callers without a token cannot be
 * told apart and are not counted. Returns NULL if memory is short.
 */
struct auth *auth_new(struct keyring *keyring, int rate);
/* NULL: does nothing. */
void auth_free(struct auth *auth);

/* Takes what the keyring has by now. Callers found before are not valid any more. Call it now and then, between requests. */
void auth_refresh(struct auth *auth);

/*
 * May the sender do this? ${authorization}: the header's value, .at NULL if there is none. *caller is who it is, NULL if that is not known; valid
 * until auth_refresh. Never AUTH_TOO_MANY: that is what auth_count finds.
 */
enum auth_verdict auth_check(struct auth *auth, struct view authorization, enum scope scope, const struct caller **caller);

/* A request of ${caller} that is granted. Returns false, and does not count it, if it is one too many. */
bool auth_count(struct auth *auth, const struct caller *caller, int64_t now_us);

#endif
