#ifndef PRODUCT_H
#define PRODUCT_H

#include "flow.h"
#include "records.h"

/*
 * What the files of the catalogue service share.
 *
 *   product.c        a product as it is read, checked, shown; answers that several flows give
 *   product_read.c   GET /products, GET /products/{id}
 *   product_write.c  POST, PUT, DELETE
 *   product_patch.c  PATCH
 *   product_import.c POST /products/import
 *   product_change.c what a patch makes of a product
 *   merge_patch.c    RFC 7396
 *   writeback.c      changes that are answered 202 and written later; writeback_port.c has it on a thread
 *   stock.c          the stock of a product and its ledger
 */
extern const struct flow_type PRODUCT_LIST_FLOW, PRODUCT_READ_FLOW, PRODUCT_CREATE_FLOW, PRODUCT_PUT_FLOW, PRODUCT_PATCH_FLOW, PRODUCT_DELETE_FLOW,
    PRODUCT_IMPORT_FLOW;
extern const struct flow_type STOCK_READ_FLOW, STOCK_ADJUST_FLOW, STOCK_MOVES_FLOW;

#define STOCK_UNITS_MAX 1000000000
#define ATTRIBUTES_BYTES_MAX (16 * 1024) /* as JSON */
#define NAME_BYTES_MAX 255

/* What POST and PUT read. PATCH reads the same without stock, and nothing is required. */
struct product_body {
    struct view name, price, currency; /* the price as it was written */
    struct value attributes;
    int64_t stock;
    bool has_name, has_price, has_currency, has_stock, has_attributes;
};
extern const struct shape PRODUCT_BODY, PRODUCT_PATCH;

/* What a stock adjustment reads. */
struct adjust_body {
    int64_t delta, set, expected;
    struct view reason;
    bool has_delta, has_set, has_expected;
};
extern const struct shape ADJUST_BODY;

/* One product as an answer shows it. */
struct product {
    int64_t id, version;
    int digits; /* of its currency */
    struct product_doc doc;
};

/*
 * Reads the document into ${product}, whose id and version are the caller's. Texts point into ${bytes} or the arena. Returns false if it is damaged.
 */
bool product_load(struct arena *arena, struct view bytes, struct product *product);
/* Writes it as one object. */
void product_write(struct writer *writer, const struct product *product);
/* Answers with it: ETag, Location with 201, Idempotent-Replayed. A damaged document is answered as broken. */
void product_answer(struct flow *flow, int status, int64_t id, int64_t version, struct view bytes, bool replayed);

/*
 * Turns what a client sent into a document: the price in the digits of its currency, exactly. What is wrong is added to ${faults}. product_examine
 * returns false if there are any; product_check does after having answered 422 with all of them.
 */
bool product_examine(const struct product_body *body, struct faults *faults, struct product_doc *doc);
bool product_check(struct flow *flow, const struct product_body *body, struct faults *faults, struct product_doc *doc);
/* Answers 422 and returns false if there are faults. */
bool product_faultless(struct flow *flow, const struct faults *faults);

/*
 * Calls about one product: a plain command with the key of a kind of record ("stock"), and a function with the product's record as key and p, id as
 * first arguments.
 */
struct call *product_command(struct flow *flow, const char *command, const char *kind, int64_t id);
struct call *product_function(struct flow *flow, const struct function *function, int64_t id);

/*
 * If-Match. product_condition returns false after having answered 400 to a malformed one. product_add_expected adds what a function expects: * or a
 * version, which is at first the one that the header names; when the function says STALE, product_may_retry tells whether the version it found is
 * one of those the header allows too, and it is not yet the last try.
 */
#define WRITE_TRIES_MAX 5
bool product_condition(struct flow *flow, int64_t *expected);
void product_add_expected(struct call *call, const struct flow *flow, int64_t expected);
bool product_may_retry(const struct flow *flow, int64_t found, unsigned tries);

/* Answers. */
void product_missing(struct flow *flow);
void product_stale(struct flow *flow, int64_t current);
void product_key_reused(struct flow *flow);
/* A record or an answer that makes no sense: logged, answered 500. */
void product_broken(struct flow *flow, const char *what);
/* A reply that the flow has no own answer for: NOT_SENT and UNKNOWN are said to be that, any other is broken. */
void product_failed(struct flow *flow, const struct reply *reply, const char *what);

#endif
