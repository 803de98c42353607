#ifndef TXN_H
#define TXN_H

#include <stdint.h>

#include "flow.h"
#include "hash.h"

/*
 * Names that are the same on every retry: the idempotency record of a request, its fingerprint, and the transaction T = HASH.FP.attempt.
 */
#define FINGERPRINT_HEX 16
struct txn_key {
    char hash[HASH128_HEX + 1];            /* of caller, scope and Idempotency-Key: the record's key is idem:{p}:hash */
    char fingerprint[FINGERPRINT_HEX + 1]; /* of the request: its scope and its document */
};

/*
 * The names for this request. ${scope} says what the key belongs to beside the caller (the route, and the record it acts on: "POST /payments 4369"),
 * so that one key may be used for different things without meeting itself. White space in a JSON body does not count; the order of members does.
 */
struct txn_key txn_key(struct arena *arena, const struct ask *ask, struct view scope);

/* HASH.FP.attempt */
struct view txn_name(struct arena *arena, const struct txn_key *key, int64_t attempt);

/* Reads T apart. Returns false if it is no T. */
struct txn {
    struct view hash, fingerprint;
    int64_t attempt;
};
bool txn_parse(struct view name, struct txn *out);

/* The partition in which a POST that creates a product keeps its record: of the key's hash, so that it is found again by the key alone. */
unsigned txn_partition(const struct topology *topology, const struct txn_key *key);

#endif
