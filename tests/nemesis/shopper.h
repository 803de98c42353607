#ifndef SHOPPER_H
#define SHOPPER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "souk_fixture.h"

#include "random.h"
#include "history.h"

/*
 * Simulated shoppers, each in a thread of his own with random numbers of his own. They share a small catalogue and a pool of recent orders and
 * payments, so that several of them are at one order, and products sell out.
 */
#define POOL_MAX 96
#define PRODUCTS_MAX 32
#define WORKERS_OF_ROLE_MAX 8

struct market {
    struct history *history;
    uint64_t seed;
    int think_ms; /* longest pause between two things that a shopper does */
    int64_t products[PRODUCTS_MAX];
    unsigned product_count;
    struct {
        int numbers[WORKERS_OF_ROLE_MAX];
        const char *urls[WORKERS_OF_ROLE_MAX];
        unsigned count;
    } workers[SOUK_ROLES];
    atomic_bool closing;

    pthread_mutex_t lock; /* of the pool */
    int64_t orders[POOL_MAX], payments[POOL_MAX];
    unsigned order_count, payment_count;
};
void market_init(struct market *market, struct history *history, uint64_t seed);
void market_worker(struct market *market, enum souk_role role, int number, const char *url);

/* How long any client waits for an answer. */
#define TIMEOUT_MS 4000
void pause_ms(int ms);
/* More units than there ever are of any product. */
#define TOO_MANY 10000

struct shopper;
struct shopper *shopper_start(struct market *market, unsigned number);
/* Waits until the thread has ended, which it does soon after market->closing. */
void shopper_join(struct shopper *shopper);
void shopper_free(struct shopper *shopper);

/* How many operations are undecided. */
size_t market_undecided(const struct market *market);
/*
 * When nobody is shopping any more: sends each operation that is still undecided again with its key. Returns how many stay undecided when none was
 * decided for ${ms}.
 */
size_t market_decide_all(struct market *market, int ms);
/* Asks for more units of every product than there can be: who is refused makes the holds that are due be looked at. */
void market_ask_for_too_much(struct market *market);
/* Reads every record that is known once more, in its last version. */
void market_look_around(struct market *market);

#endif
