#ifndef SHOPPERS_H
#define SHOPPERS_H

#include "fleet.h"
#include "hash.h"

/*
 * Simulated shoppers and a simulated shop keeper, who counts stock and imports products. Each shopper places one order and, by chance, cancels it,
 * pays it, authorizes and captures or voids, has it fulfilled, refunded, or leaves it. As a good client does, it sends a request again, with its key,
 * until it is decided; as clients do too, it sends some twice at once, repeats some that were decided long ago, and cancels while it pays.
 *
 * What was told is kept: a decided request must be told the same, byte by byte, for ever, and what was refused is never done; the oracle compares the
 * rest with the store. Some products are not there yet when the first shoppers ask for them.
 */
enum deed_type { DEED_PLACE, DEED_CANCEL, DEED_FULFIL, DEED_PAY, DEED_CAPTURE, DEED_VOID, DEED_REFUND, DEED_ADJUST, DEED_IMPORT };
#define DEED_TYPES 9
#define SHOPPER_DEEDS_MAX 8

struct shopper;
struct deed {
    struct shopper *shopper;
    enum deed_type type;
    char key[40];
    char json[400];
    int64_t id;      /* in its path */
    int64_t made_id; /* of the order or payment in its answer */
    int64_t amount;  /* ADJUST: delta; REFUND: of the smallest unit; IMPORT: its lines */
    int status;      /* of the answer that decided it; 0: none yet */
    bool stored;     /* that answer was kept with the key */
    struct hash128 body;
    unsigned under_way, tries, replays;
    unsigned copies; /* sent so far, each with a request id of its own */
    struct view tracking;
};

/* What a shopper does once it has an order, and after it has paid. */
enum path { PATH_LEAVE, PATH_CANCEL, PATH_PAY, PATH_RACE, PATH_AUTHORIZE, PATH_ADJUST, PATH_IMPORT };
enum after { AFTER_LEAVE, AFTER_FULFIL, AFTER_CANCEL, AFTER_REFUND, AFTER_CAPTURE, AFTER_VOID };

struct shopper {
    struct shop *shop;
    unsigned number;
    enum path path;
    enum after after;
    bool over;
    struct deed deeds[SHOPPER_DEEDS_MAX];
    unsigned deed_count;
    int64_t order_id, payment_id;
};

#define PRODUCTS_MAX 12
/* A product that comes later than the shoppers. */
struct offer {
    struct shop *shop;
    unsigned product;
};

#define IMPORTED_UNITS 7 /* of each product that is imported */
struct shop {
    struct fleet *fleet;
    struct shopper *shoppers;
    unsigned shopper_count, begun, closed;
    unsigned product_count;
    int64_t product_ids[PRODUCTS_MAX], stock[PRODUCTS_MAX];
    struct offer offers[PRODUCTS_MAX];
    int64_t think_ms;      /* between two deeds of a shopper, at most about this */
    unsigned twice, again; /* of a thousand deeds: sent twice at once; repeated later */
    bool leapt;            /* marks may have been pruned since */
    uint64_t requests, placed, refused, paid, replayed;
};

/* Sets up the products. ${shoppers} shoppers will come, one about every ${every_ms}. Freed by shop_close. */
void shop_open(struct shop *shop, struct fleet *fleet, unsigned shoppers, int64_t every_ms);
/* Has every shopper come, and come to its end? */
bool shop_done(const struct shop *shop);
/* About ${permille} of the requests that were decided are sent once more, within ${ms}. */
void shop_repeat(struct shop *shop, unsigned permille, int64_t ms);
void shop_close(struct shop *shop);

#endif
