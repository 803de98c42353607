#ifndef EVIDENCE_H
#define EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct souk;

/* An order may be past its time by so much: a sweep looks every 500 ms, and it may have been stopped when the evidence was read. */
#define EVIDENCE_SLACK_MS 10000

/*
 * What the shards hold and what the gateway's journal says, read once everything is quiet, by hiredis and by the file, not by Souk. Words
 * ("reserved") are const texts that need not be freed. Operations are the numbers of history.h, taken from the request ids; 0: none, the store did
 * it by itself.
 */
struct order_version {
    const char *state, *payment_status, *cause;
    uint32_t op;
    bool told; /* the event feed has it, with the same words */
};
struct stored_order {
    int64_t id, v, total, expires_ms, now_ms; /* now_ms: of its shard, when it was read */
    const char *state, *payment_status;
    uint64_t txn; /* hash of T */
    struct order_version *versions;
    size_t version_count;
    unsigned events; /* entries of the feed about it */
    bool due;        /* it has a duty, and its time has come or its state is not reserved */
};

struct payment_version {
    const char *status;
    int64_t captured, refunded;
    uint32_t op;
};
struct stored_payment {
    int64_t id, order, v, amount, captured, refunded, refunding;
    const char *status;
    struct payment_version *versions;
    size_t version_count;
    const char **refunds; /* their statuses */
    size_t refund_count;
    unsigned refunds_open;
    bool due;
};

struct move {
    const char *kind;
    int64_t quantity, order, on_hand, held, committed, v;
    uint64_t txn; /* 0: none */
    uint32_t op;
};
struct stored_hold {
    uint64_t txn;
    const char *phase; /* held or committed */
    int64_t quantity;
};
struct stored_product {
    int64_t id, on_hand, held, committed, v;
    struct move *moves;
    size_t move_count;
    struct stored_hold *holds; /* live ones */
    size_t hold_count;
    uint32_t patched_by; /* the operation that its attributes name */
};
/* A product that has come into the catalogue: its name says by which import (0: by none), and which line it was. */
#define IMPORTED_UNITS 5
struct imported {
    int64_t id, on_hand;
    uint32_t op;
    unsigned line;
};

struct journal_entry {
    int64_t payment, amount;
    const char *op; /* charge authorize capture void refund decline close */
    char key[64];
};

struct evidence {
    struct stored_order *orders; /* by id */
    size_t order_count;
    struct stored_payment *payments; /* by id */
    size_t payment_count;
    struct stored_product *products;
    size_t product_count;
    struct imported *imported;
    size_t imported_count;
    struct journal_entry *journal;
    size_t journal_count;
    unsigned unreadable; /* records, entries or lines that could not be understood */
    char first_unreadable[200];
};

/* Returns false, having said why, if a shard does not answer. */
bool evidence_read(struct souk *souk, const int64_t *products, unsigned product_count, struct evidence *evidence);
void evidence_free(struct evidence *evidence);

struct stored_order *evidence_order(const struct evidence *evidence, int64_t id);
struct stored_payment *evidence_payment(const struct evidence *evidence, int64_t id);

/*
 * How much of what nobody has asked for is still to be done: duties that are due, payments at the gateway, refunds that are owed, and holds that
 * are past their time. -1: a shard does not answer. ${text} says which.
 */
long evidence_due(struct souk *souk, const int64_t *products, unsigned product_count, char *text, size_t size);
/* Prints the records of payments that have a duty, for whoever looks for the cause. */
void evidence_show_due(struct souk *souk);

#endif
