#ifndef FAULT_TEST_LIB_H
#define FAULT_TEST_LIB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "client.h"
#include "redis_fixture.h"
#include "souk_fixture.h"

/*
 * What the tests of death and crowds share: requests that can be made by the hundred, records that live on a shard of the test's choice, and looks
 * into Redis that do not go through the code under test.
 */

/*
 * A setting for tests in which a stopped shard stands for the moment between two steps: what needs it waits, however long a busy machine takes to ask
 * for it, and is not refused because the shard is behind.
 */
#define FAULT_PATIENT "SOUK_SHARD_BEHIND_MS=2000"

/* A POST with everything it needs in one piece. It must not move once it is set. */
struct post {
    struct client_request request;
    char url[160], key[160], body[512];
    const char *headers[3];
};
void post_set(struct post *post, const char *base, const char *path, const char *key, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same request to another worker. */
void post_to(struct post *post, const char *base, const char *path);
struct response *post_send(struct client *client, const struct post *post);
/* On a connection of its own, without waiting for the answer. */
struct raw *post_raw(int port, const char *path, const struct post *post);

/* The n-th product id (from 1000 on) that lives on this shard, and the n-th buyer. */
int64_t product_on(const struct souk *souk, unsigned shard, int n);
void user_on(const struct souk *souk, unsigned shard, int n, char user[32]);
/* Creates a product with so many units. */
void product_put(struct souk *souk, int64_t id, int64_t stock);

/* By redis: a field of the record ${kind}:{p}:ID in its id's partition. Freed by the caller; "(nil)" if there is none, NULL: no answer. */
char *record_field(struct souk *souk, const char *kind, int64_t id, const char *field);
/* By redis: a counter of a product's stock (0 if there is none), and does it become ${want} within ${ms}? The shard must answer. */
int64_t stock_of(struct souk *souk, int64_t product, const char *field);
bool stock_becomes(struct souk *souk, int64_t product, const char *field, int64_t want, int ms);
/* By redis: a field of an order. Freed by the caller. */
char *order_field(struct souk *souk, int64_t order, const char *field);
bool order_becomes(struct souk *souk, int64_t order, const char *state, int ms);
/* By redis: has the order a duty, and does it go within ${ms}? */
bool order_has_duty(struct souk *souk, int64_t order);
bool duty_goes(struct souk *souk, int64_t order, int ms);
/* By redis: how many orders are there in all. */
int64_t order_count(struct souk *souk);

/* The id in an answer, 0 if none; does its problem have this code? */
int64_t id_in(const struct response *response);
bool code_is(const struct response *response, const char *code);
size_t count_status(struct response *const *responses, size_t count, int status);
void responses_free(struct response **responses, size_t count);
/* Fails the test, with the whole answer, unless it has this status. */
void assert_status(const struct response *response, int status);

int64_t clock_now_ms(void);

/*
 * A buyer in a thread of his own who orders one unit of a product again and again, each with a new key, until he is told to stop. With ${retries}, a
 * request that found nobody, or 503, is sent again with its key, to his workers in turn, until it is decided. What became of each request is in
 * ${records}. He needs nothing of his test's: when that fails he goes on, while its frame and its souk are gone.
 */
#define LOAD_RECORDS_MAX 20000
struct load_record {
    int64_t id;        /* of the order; 0: none */
    int status, tries; /* the last answer's, and how often it was sent */
    double took_ms;    /* the longest of them */
};
struct load {
    char user[32], name[32];
    char urls[2][64];
    int64_t product;
    bool retries;

    pthread_t thread;
    struct client *client;
    atomic_bool stop;
    atomic_size_t count, placed, failed;
    struct load_record *records;
};
/* The fields above the thread are the caller's to set; load_aim sets both urls. */
struct load *loads_new(size_t count);
void load_aim(struct load *load, const char *first, const char *second);
void load_start(struct load *load);
/* Tells them all to stop, and waits until they have. */
void loads_stop(struct load *loads, size_t count);
/* Behind loads_stop. */
void loads_free(struct load *loads, size_t count);
/* Waits until these have together placed ${placed} orders and failed ${failed} times. Fails the test after ${ms}. */
void loads_reach(struct load *loads, size_t count, size_t placed, size_t failed, int ms);
/* Asks for every order that was answered with 201: how many are not there? All must be, for loads_check. */
size_t loads_missing(struct souk *souk, int worker, struct load *loads, size_t count);
void loads_check(struct souk *souk, int worker, struct load *loads, size_t count);

/* Many clients who ask two order workers at once. crowd_setup and crowd_teardown are a cmocka group's. */
#define CROWD_MAX 200
struct crowd {
    struct souk *souk;
    int second; /* the other order worker */
    struct post posts[CROWD_MAX];
    struct client_request requests[CROWD_MAX];
    struct response *responses[CROWD_MAX];
};
int crowd_setup(void **state);
int crowd_teardown(void **state);

#endif
