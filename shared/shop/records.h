#ifndef RECORDS_H
#define RECORDS_H

#include <stdint.h>

#include "call.h"
#include "flow.h"
#include "shape.h"

/*
 * The nouns of the shop: what is stored of them (the field lists of their documents), and how they are shown. Stored documents are MessagePack with a
 * schema number; amounts are integers of the currency's smallest unit. The native fields of the Redis hashes stand beside the document.
 */
#define SCHEMA 1

/* The document of product:{p}:ID. */
struct product_doc {
    int64_t schema, price;
    struct view name, currency;
    struct value attributes; /* an object, or null */
    bool has_attributes;
};
extern const struct shape PRODUCT_DOC;

/* The document of order:{p}:ID: what was ordered at which price. */
struct order_line {
    int64_t product_id, quantity, price, product_version;
    struct view name;
};
struct order_doc {
    int64_t schema;
    struct items lines; /* struct order_line */
    struct view tracking, reason;
    bool has_tracking, has_reason;
};
extern const struct shape ORDER_DOC;

/* The document of payment:{p}:ID. */
struct payment_doc {
    int64_t schema;
    struct view token;
};
extern const struct shape PAYMENT_DOC;

/* Reads a stored document. Returns false if it is damaged. Texts point into ${bytes} or the arena. */
bool record_load(const struct shape *shape, struct arena *arena, struct view bytes, void *into);
/*
 * The lines of an order's stored document, and nothing else of it: the same as record_load gives, but a document that is written just as record_store
 * writes it is read without making a tree. For whoever reads all orders there are. Returns false if it is damaged.
 */
bool order_doc_lines(struct arena *arena, struct view bytes, struct items *lines);
/* Writes one, as MessagePack. */
struct view record_store(const struct shape *shape, struct arena *arena, const void *from);

/*
 * The stored document ${bytes} with its text member ${name} set: everything else in it stays as it is, also members that a newer version wrote.
 * Returns an empty view if the document is damaged.
 */
struct view record_with_text(struct arena *arena, struct view bytes, const char *name, struct view text);

/* One order as far as an answer shows it: its native fields, and those of one version. */
struct order {
    int64_t id, version, total, created_ms, expires_ms, updated_ms;
    struct view user, currency, state, payment_status;
    struct view payments; /* ids, comma-separated */
    struct view txn;      /* T */
    struct view stored;   /* the document as it is stored */
    bool owes;            /* it has a duty */
    struct order_doc doc;
};

/* How many members order_write writes, for the caller who adds more of its own. */
size_t order_members(const struct order *order);
/* Writes the order's members (the caller opens and closes the map): id, user, state, payment_status, total, currency, version, lines, times. */
void order_write(struct writer *writer, const struct order *order);

/* order_read's call, and its answer into ${order}: texts are copied to the arena. Returns false if the record is damaged. */
struct call *order_read_call(struct arena *arena, unsigned partition, int64_t id);
bool order_from_reply(struct arena *arena, const struct reply *reply, int64_t id, struct order *order);
/* The shard's time when order_read answered. */
int64_t order_reply_now_ms(const struct reply *reply);

/*
 * Turns ${order} into what it was at ${version}, from its history field eV ("state|payment_status|expires|at|…"); so that a replay of an idempotency
 * key shows the same bytes as the first answer. Returns false if the field is damaged.
 */
bool order_as_of(struct order *order, int64_t version, struct view history);

/* What stock.change writes to a product's ledger, in its order: the field m of an entry. The last may hold bars. */
enum { MOVE_KIND, MOVE_QUANTITY, MOVE_TXN, MOVE_ORDER, MOVE_ON_HAND, MOVE_HELD, MOVE_COMMITTED, MOVE_V, MOVE_REASON, MOVE_PARTS };

/* Splits "a|b|c" at bars into at most ${most} views, the last one takes the rest. Returns how many there are. */
size_t split_bars(struct view text, struct view *out, size_t most);

#endif
