#ifndef REPLY_H
#define REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "view.h"

/*
 * What became of a call, in one of four kinds. "We do not know" is a different answer from "no".
 *   OK        it was done (or read), and here is what it said
 *   REFUSED   it was understood and declined: an outcome, with its code; nothing was written
 *   NOT_SENT  it was certainly not carried out: safe to repeat
 *   UNKNOWN   it may or may not have been carried out: repeat only what is idempotent
 */
enum reply_kind { REPLY_OK, REPLY_REFUSED, REPLY_NOT_SENT, REPLY_UNKNOWN };

/*
 * What kind of fault it was, for whoever counts them. NOT_SENT: the shard is not usable, is behind, has too many calls under way, broke before the
 * call was written, or answered that it did not carry it out. UNKNOWN: the connection broke, was silent for too long, replicas did not confirm, or
 * the answer leaves it open.
 */
enum reply_fault {
    REPLY_NONE,
    REPLY_NOT_READY,
    REPLY_BEHIND,
    REPLY_TOO_MANY,
    REPLY_UNWRITTEN,
    REPLY_DECLINED,
    REPLY_LOST,
    REPLY_NO_ANSWER,
    REPLY_UNCONFIRMED,
    REPLY_UNCLEAR,
    REPLY_FAULTS
};
const char *reply_fault_name(enum reply_fault fault); /* "not_ready" */

/* One node of what Redis sent. Valid until the callback that got it returns. */
enum item_type { ITEM_NIL, ITEM_INT, ITEM_TEXT, ITEM_LIST, ITEM_ERROR };
struct item {
    enum item_type type;
    int64_t integer;
    struct view text; /* TEXT, ERROR */
    struct item *items;
    size_t count;
};

struct reply {
    enum reply_kind kind;
    enum reply_fault fault;  /* of a reply that the store has made in place of an answer */
    int code;                /* a function's first integer: 0 for OK, its outcome for REFUSED */
    const char *why;         /* NOT_SENT, UNKNOWN: one sentence for people (static) */
    const struct item *root; /* all that was sent; NULL if nothing came */
    size_t first;            /* the item of a listed root that reply_item(reply, 0) is: 1 behind a function's code, 0 for a plain command */
};

/*
 * Did the call fail by what it asks for: inside the function, by an argument that the function does not take, or by an error that nobody knows? Then
 * it would fail again, and only it; a shard's "not now" meets every call.
 */
bool reply_is_own_fault(const struct reply *reply);

/*
 * The n-th item behind the code of a function's answer (0 is the first), or a nil item if there are fewer. For a plain command: of the list;
 * an answer that is no list counts as a list of one.
 */
const struct item *reply_item(const struct reply *reply, size_t n);
int64_t reply_int(const struct reply *reply, size_t n);      /* integers, and texts that are integers; 0 otherwise */
struct view reply_text(const struct reply *reply, size_t n); /* texts; empty otherwise */
/* The same for the items of a nested list. */
const struct item *item_at(const struct item *list, size_t n);
int64_t item_int(const struct item *item);
struct view item_text(const struct item *item);

#endif
