#ifndef BOOK_H
#define BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "value.h"

/*
 * The gateway's book: what was decided for every idempotency key, and what stands on every charge. No I/O.
 *
 *   wish ──▶ book_decide ──┬─ the key is new: decided by the token and the charge, one more entry
 *                          ├─ the same wish again: the entry of the first time
 *                          └─ another wish: refused (NULL)
 *   key  ──▶ book_close ───┬─ the key is known: its entry
 *                          └─ new: closed by an entry, so that a wish that arrives later changes nothing
 */
enum book_op { BOOK_CHARGE, BOOK_AUTHORIZE, BOOK_CAPTURE, BOOK_VOID, BOOK_REFUND, BOOK_CLOSE };
#define BOOK_OP_COUNT 6

/* What somebody asks for. Texts that do not belong to ${op} are empty. */
struct wish {
    enum book_op op;
    struct view key;
    struct view ref;             /* CAPTURE, VOID, REFUND: of which charge */
    int64_t amount;              /* not for VOID and CLOSE */
    struct view currency, token; /* CHARGE, AUTHORIZE */
};

/* What was decided. */
struct entry {
    struct wish wish;
    struct view ref;     /* the charge that it is about; empty if none came of it */
    struct view failure; /* empty: it has had its effect */
    int64_t at_ms;
    struct entry *next, *next_of_bucket;
};

struct book;

/* Never fails (arena.h). Everything that the book gives out is valid until book_free. */
struct book *book_new(void);
void book_free(struct book *book);

const struct entry *book_find(const struct book *book, struct view key);
/* All entries by ->next, the oldest first; NULL if there are none. */
const struct entry *book_first(const struct book *book);

/* Texts of ${wish} are copied. NULL: the key belongs to another wish. ${fresh}: this call has decided it. A closed key gives its closing entry. */
const struct entry *book_decide(struct book *book, const struct wish *wish, int64_t at_ms, bool *fresh);
const struct entry *book_close(struct book *book, struct view key, int64_t at_ms, bool *fresh);

/* "succeeded", "authorized", "voided" or "failed". */
const char *entry_status(const struct entry *entry);

/* One line of the journal: {at, key, op, ref, amount, currency, token}; of a declined wish op is "decline", with "wanted" and "failure" behind it. */
void entry_write(const struct entry *entry, struct writer *writer);
/* Takes over an entry as entry_write wrote it. Returns false if it makes no sense. */
bool book_load(struct book *book, const struct value *line);
/* All entries as a list, the oldest first. */
void book_write(const struct book *book, struct writer *writer);

#endif
