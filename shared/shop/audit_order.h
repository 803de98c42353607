#ifndef AUDIT_ORDER_H
#define AUDIT_ORDER_H

#include "audit_facts.h"
#include "reply.h"

/*
 * One order and its payments as the worker judges them, from what DUMP or HGETALL says of their records. There are three verdicts: right, as far as
 * its facts are known; right if these facts are; and to be asked about. It never says what is wrong: that says audit_orders, which sees everything
 * at one moment.
 *
 * Everything that audit_orders checks must be here: as something that makes an order one to be asked about, or as a part of a fact. What is here and
 * not there costs a question and no more.
 */
#define UNKNOWN_FACTS_MAX 12
struct order_row {
    struct view id;
    int64_t number;                              /* which it is; -1: none */
    double score, due;                           /* in orders:{p}; in txn:{p}, NAN: it is not there */
    struct view user, payments, currency, total; /* of the record; the last two only if it has payments */
    unsigned word;                               /* of its state and payment_status */
    bool suspect;                                /* it must be asked about */
    bool asked;                                  /* it was */
    unsigned unknown_count, first_payment, payment_count;
    uint16_t unknown[UNKNOWN_FACTS_MAX];
    uint64_t versions, version_sum; /* for the feed, if it is right */
};

/* The lines that must have live holds: T and the stored document, borrowed. */
struct order_lines {
    struct view txn, document;
    bool live, paid; /* it is reserved or paid; it is paid */
};

/*
 * What the record alone says, nil or an empty list if there is none, and its lines; these only if it can be read. What is kept is copied to the
 * arena. Returns false, and has judged nothing, when it is in a form that only HGETALL reads. One that moved at ${now_ms} or later is to be asked
 * about, for what is compared with it was read then.
 */
struct order_watch {
    struct arena *arena;
    struct facts *facts;
    int64_t now_ms, upto_ms;
};
bool order_judge(const struct order_watch *watch, struct order_row *row, const struct item *record, struct order_lines *lines);

struct payment_row {
    struct view id, version;
    int64_t number;           /* as above */
    double score, owed, duty; /* where it stands: payments:{p}, refund_due, txn:{p}:pay; NAN: it is not there */
    struct order_row *order;
    unsigned word;   /* of its status */
    char amounts[5]; /* what its amounts say without their size */
    struct view action;
    bool late; /* some of its places are read behind its record */
};
bool payment_judge(const struct order_watch *watch, struct payment_row *row, const struct item *record);

/* When all is known of an order and of its ${count} payments, which stand together: what is to be known of them beside the steps. */
void order_conclude(const struct order_watch *watch, struct order_row *row, const struct payment_row *payments, size_t count);

/* Is there nothing to be asked any more? */
bool order_is_right(const struct facts *facts, const struct order_row *row);

#endif
