#ifndef HISTORY_H
#define HISTORY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "client.h"
#include "conversation.h"

/*
 * What the clients asked, when, and what they were told. In memory for the checks, and as one line for each attempt in a file for whoever looks for
 * the cause of a violation. Times are microseconds of this process's monotonic clock, so all clients' times can be compared.
 *
 * An operation is what a shopper wants: one Idempotency-Key, sent as often as it takes, to any worker. Its number is in the key, and at the head of
 * every attempt's X-Request-Id, which Souk keeps in the history of each record that the request changed. So each change in the store names the
 * operation it comes from, without any code of Souk's having to be trusted for it.
 */
enum op_kind {
    OP_PLACE,
    OP_PAY,
    OP_CAPTURE,
    OP_VOID,
    OP_CANCEL,
    OP_FULFIL,
    OP_REFUND,
    OP_ADJUST,
    OP_IMPORT, /* some new products, one on each line */
    OP_GET_ORDER,
    OP_GET_PAYMENT,
    OP_GET_STOCK,
    OP_PATCH /* Prefer: respond-async: what is answered 202 may be lost with its worker, so nothing is asked of it but that it is nobody else's */
};
#define OP_KINDS 13

enum decision {
    UNDECIDED, /* no answer, or one that says: again with the same key */
    NOT_NOW,   /* a refusal that asks to be repeated: nothing was done, the key is free */
    NO,        /* a refusal that is not kept with the key, since time cannot undo it: the same request will never be done */
    KEPT_NO,   /* a refusal that stays with the key: every repeat gets the same bytes */
    DONE,      /* 2xx, which stays with the key too */
};
#define DECISIONS 5

struct op_line {
    int64_t product;
    int quantity;
};
#define LINES_MAX 4

struct op {
    uint32_t number; /* from 1 */
    enum op_kind kind;
    int64_t target; /* the order, payment or product that it acts on; 0 for OP_PLACE and OP_IMPORT */
    struct op_line lines[LINES_MAX];
    unsigned line_count;
    int64_t units;  /* OP_ADJUST: the difference; OP_IMPORT: its lines */
    int64_t amount; /* OP_REFUND: 0 is all */
    char user[16];
    char path[64], body[320];

    unsigned attempts;
    int64_t first_sent_us, decided_us;
    bool lost_sight; /* an attempt got no answer, or "not known": something of it may still be under way when the decision came */
    enum decision decision;
    int status;
    char code[32];
    int64_t id, version; /* of what the answer shows; a refund's number */
    uint64_t content;    /* hash of the words that the store has for that version; 0: the answer shows none */
    uint64_t body_hash;
    char *answer; /* the body, as long as the operation may be replayed */
};

/* A record in some version, seen by a client in an answer between two moments. */
enum record_kind { RECORD_ORDER, RECORD_PAYMENT, RECORD_STOCK };
struct sight {
    enum record_kind record;
    bool read; /* by a GET: the version was the present one at some moment between the two. Else it had been reached by the later one */
    uint32_t op;
    int64_t id, version, sent_us, got_us;
    uint64_t content;
};

/* A request that a worker took and left without an answer until its client's time was over, or hung up on. */
struct unanswered {
    char what[48];
    int worker;
    enum silence silence;
    int64_t sent_us, until_us;
};
/* A time in which a worker was dead or stopped by us. */
struct disturbance {
    int worker;
    int64_t from_us, until_us;
};

#define MISMATCHES_MAX 20
struct history {
    pthread_mutex_t lock;
    FILE *file;
    struct op **ops;
    size_t op_count, op_room;
    struct sight *sights;
    size_t sight_count, sight_room;
    struct unanswered *unanswered;
    size_t unanswered_count, unanswered_room;
    struct disturbance *disturbances;
    size_t disturbance_count, disturbance_room;
    uint64_t attempts, silent, replays, twins;
    uint64_t bad_requests;           /* those that nobody should send */
    uint64_t rushed, rushed_not_now; /* requests of rushes, and those among them that were told to come later */
    uint64_t mismatches;             /* repeats of a decided request whose answer had other bytes */
    char *mismatch[MISMATCHES_MAX];  /* the first of them, in words */
    uint64_t insisted, taken_back;   /* repeats of a request that was told "no", and those among them that were then told something else */
    char *taken_back_text[MISMATCHES_MAX];
    uint64_t broken; /* answers that no client should ever get: 500, a status or code that the interface does not name, a 503 without Retry-After */
    char *broken_text[MISMATCHES_MAX];
};

/* ${path} of the file, NULL: none. */
void history_init(struct history *history, const char *path);
void history_free(struct history *history);

const char *op_kind_name(enum op_kind kind);
const char *decision_name(enum decision decision);
/* Is it a POST with a key? */
bool op_is_post(enum op_kind kind);

/* A new operation; the caller fills in what it acts on. Belongs to the history; only the shopper who made it changes it. */
struct op *history_op(struct history *history, enum op_kind kind);
/* What attempt ${n} of it is called in X-Request-Id, and which operation such a name means (0: none). */
void op_request_id(const struct op *op, unsigned n, char text[32]);
uint32_t op_of_request_id(const char *text);

/*
 * An attempt came to an end with ${response} (status 0: no answer). Decides the operation if it is the first definite answer; a later one is compared
 * with it. "Not now" leaves the key free, so any other decision wins over it; one that wins over a "no" is taken back.
 */
void history_answer(struct history *history, struct op *op, unsigned n, int worker, int64_t sent_us, int64_t got_us, const struct response *response);
/* The worker was dead or stopped between these two moments, so its silence says nothing about it. */
void history_disturb(struct history *history, int worker, int64_t from_us, int64_t until_us);
/*
 * Request ${listed} of the list of those that nobody should send came to an end. It is to be refused as the list says, or for a shortage. An effect
 * names the operation NOBODYS_OPERATION, which there is not, so it is one that nobody has asked for.
 */
#define NOBODYS_OPERATION 4000000000U
void history_bad_request(struct history *history, const struct listed *listed, int worker, int64_t sent_us, int64_t got_us,
                         const struct response *response);
/*
 * What came of a rush (rush.h) at ${worker} between these two moments. Every answer of 5xx has to be 503 or 504 and to say when to come again;
 * ${worst}: one of the worst, in a line. ${cut}: requests whose connection ended without an answer; ${silent}: those that had none at the end.
 */
struct rush_counts {
    int worker;
    int64_t from_us, until_us;
    uint64_t requests, not_now, without_retry_after, server_errors, cut, silent;
    const char *worst;
};
void history_rush(struct history *history, const struct rush_counts *counts);
/* For tests of the checks: a sight without a request. */
void history_see(struct history *history, struct sight sight);

/* The content of a record's words, "paid|refunded". Never 0. */
uint64_t content_of(const char *words);

#endif
