#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "check.h"
#include "log.h"

#include "audit.h"
#include "library.h"

#include "oracle.h"

/*
 * The simulator: souk-sim [--seed N] [--orders N] [--one] [--library FILE] …
 *
 * One seed is one shop: a fleet of some size, some products, a few hundred shoppers, and an own mixture of faults. It goes through
 *
 *   safety     shoppers come and go, everything may go wrong
 *   liveness   nothing goes wrong any more: every request must be decided, every duty done, every hold settled
 *   (leap      in some seeds: minutes to hours pass, then requests of long ago come again, with faults; then liveness again)
 *   verdict    the oracle, and the audit of the code under test
 *
 * Seeds are run one after another until so many orders were placed. The same seed and build give the same history.
 */
struct options {
    uint64_t seed, orders;
    bool one, quiet, trace;
    const char *library;
};

struct totals {
    uint64_t seeds, requests, placed, refused, paid, replayed, violations;
    int64_t simulated_us;
    struct fleet_counts counts;
};

#define PARTITIONS 16
#define LIVENESS_MAX_US (INT64_C(6) * 3600 * 1000000)
#define LOOK_EVERY_US INT64_C(20000000)
#define LIVENESS_SWEEP_MS \
    5000 /* what a worker does every half second, it may as well do every five: most of a history's calls are sweeps that find nothing */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- one seed ---- */

/* Each fault is there or not, and then rare or frequent: a mixture that is always the same finds always the same. */
static int64_t some_ms(struct random *random, int64_t least, int64_t most)
{
    return random_chance(random, 500) ? 0 : random_between(random, least, most);
}

static struct faults_plan plan_of(struct random *random)
{
    return (struct faults_plan){
        .worker_death_ms = some_ms(random, 300, 5000),
        .worker_pause_ms = some_ms(random, 500, 10000),
        .shard_death_ms = some_ms(random, 1000, 20000),
        .shard_pause_ms = some_ms(random, 1000, 20000),
        .cut_ms = some_ms(random, 100, 5000),
        .clock_jump_ms = some_ms(random, 5000, 60000),
        .gateway_away_ms = some_ms(random, 5000, 60000),
        .gateway_lost = random_chance(random, 500) ? 0 : (unsigned)random_between(random, 10, 300),
        .gateway_late = random_chance(random, 500) ? 0 : (unsigned)random_between(random, 10, 200),
    };
}

static struct fleet_settings settings_of(struct random *random, uint64_t seed)
{
    return (struct fleet_settings){
        .seed = seed,
        .workers =
            {[ROLE_PRODUCT] = 1, [ROLE_ORDER] = (unsigned)random_between(random, 1, 3), [ROLE_PAYMENT] = (unsigned)random_between(random, 1, 2)},
        .sweep_ms = random_tailed(random, 1000, 3),
        .faults = plan_of(random),
    };
}

static void go_until(struct fleet *fleet, int64_t until_us)
{
    while (fleet_go(fleet, until_us))
        ;
}

/* On, without faults, until all is at rest. */
static void liveness(struct shop *shop)
{
    struct fleet *fleet = shop->fleet;
    int64_t until_us = fleet_now_us(fleet) + LIVENESS_MAX_US;
    fleet_plan(fleet, NULL);
    fleet_sweep_every(fleet, LIVENESS_SWEEP_MS);
    while (!oracle_quiet(shop) && !fleet_wrong(fleet)[0]) {
        if (fleet_now_us(fleet) >= until_us) {
            fleet_complain(fleet, "six hours without faults, and not all is at rest");
            return;
        }
        go_until(fleet, fleet_now_us(fleet) + LOOK_EVERY_US);
    }
}

/* Time passes; marks are pruned; then clients repeat what they asked for long ago. */
static void leap(struct shop *shop, struct random *random)
{
    struct fleet *fleet = shop->fleet;
    int64_t sweep_ms = random_tailed(random, 500, 3);
    struct faults_plan plan = plan_of(random);
    fleet_sweep_every(fleet, 300000);
    go_until(fleet, fleet_now_us(fleet) + random_tailed(random, INT64_C(660000000), 6));
    fleet_sweep_every(fleet, sweep_ms);
    fleet_plan(fleet, &plan);
    shop->leapt = true;
    shop_repeat(shop, 300, 20000);
    go_until(fleet, fleet_now_us(fleet) + INT64_C(30000000));
    liveness(shop);
}

struct audit {
    int status;
    struct view body;
    char text[400];
};

static void audit_make(struct arena *arena, struct ask *ask, void *cookie)
{
    *ask = (struct ask){.method = METHOD_GET, .route = "/admin/audit", .format = FORMAT_JSON, .request_id = VIEW("audit")};
}

static void audit_got(void *cookie, const struct answer *answer)
{
    struct audit *audit = cookie;
    audit->status = answer ? answer->status : -1;
    if (answer)
        snprintf(audit->text, sizeof(audit->text), "%.*s", VIEW_ARG(answer->body));
}

static const struct request_kind AUDIT = {.role = ROLE_ORDER, .flow = &AUDIT_FLOW, .deadline_ms = 60000, .make = audit_make, .got_answer = audit_got};

static void audit_once(struct fleet *fleet, struct audit *audit)
{
    int64_t until_us = fleet_now_us(fleet) + 120000000;
    *audit = (struct audit){.status = 0};
    fleet_ask(fleet, &AUDIT, audit);
    while (audit->status == 0 && fleet_go(fleet, until_us))
        ;
}

/* The code under test says so too. What a fault has left behind (a shard that is still starting) goes by. */
static void check_by_audit(struct fleet *fleet)
{
    struct audit audit;
    for (int tries = 0; tries < 60; tries++) {
        audit_once(fleet, &audit);
        if (audit.status == 200 || fleet_wrong(fleet)[0])
            break;
        go_until(fleet, fleet_now_us(fleet) + 1000000);
    }
    if (audit.status != 200 || strstr(audit.text, "\"ok\":true") == NULL)
        fleet_complain(fleet, "the audit says %d: %s", audit.status, audit.text);
}

static void add_counts(struct totals *totals, const struct shop *shop)
{
    const struct fleet_counts counts = fleet_counts(shop->fleet); /* all of it is uint64_t */
    uint64_t *into = (uint64_t *)&totals->counts;
    for (size_t i = 0; i < sizeof(counts) / sizeof(uint64_t); i++)
        into[i] += ((const uint64_t *)&counts)[i];
    totals->seeds++;
    totals->requests += shop->requests;
    totals->placed += shop->placed;
    totals->refused += shop->refused;
    totals->paid += shop->paid;
    totals->replayed += shop->replayed;
}

static void run_seed(struct fleet *fleets[FLEET_SHARDS_MAX], struct lua_library *library, uint64_t seed, bool trace, struct totals *totals)
{
    struct random random = {seed};
    unsigned shards = (unsigned)random_between(&random, 1, FLEET_SHARDS_MAX);
    struct fleet_settings settings = settings_of(&random, seed);
    unsigned shoppers = (unsigned)random_between(&random, 200, 1500);
    int64_t every_ms = random_tailed(&random, 2, 5), begin_us;
    struct shop shop;
    settings.trace = trace;
    if (fleets[shards - 1] == NULL)
        fleets[shards - 1] = fleet_new(shards, PARTITIONS, library);
    struct fleet *fleet = fleets[shards - 1];
    fleet_begin(fleet, &settings);
    begin_us = fleet_now_us(fleet);
    shop_open(&shop, fleet, shoppers, every_ms);
    go_until(fleet, begin_us + (int64_t)shoppers * every_ms * 1000 + random_between(&random, 0, 20000000));
    liveness(&shop);
    if (random_chance(&random, 100))
        leap(&shop, &random);
    oracle_check(&shop);
    check_by_audit(fleet);
    totals->simulated_us += fleet_now_us(fleet) - begin_us;
    add_counts(totals, &shop);
    if (fleet_wrong(fleet)[0]) {
        totals->violations++;
        printf("seed %" PRIu64 ": %s\n", seed, fleet_wrong(fleet));
    }
    shop_close(&shop);
    fleet_end(fleet);
}

/* ---- all of them ---- */

static void print_totals(const struct totals *totals, uint64_t first, double seconds)
{
    const struct fleet_counts *counts = &totals->counts;
    printf("seeds %" PRIu64 "-%" PRIu64 ": %" PRIu64 " orders placed, %" PRIu64 " refused, %" PRIu64 " payments, %" PRIu64 " requests, %" PRIu64
           " replays compared, %.1f simulated days, %.0f s (%.0f orders/s)\n",
           first, first + totals->seeds - 1, totals->placed, totals->refused, totals->paid, totals->requests, totals->replayed,
           (double)totals->simulated_us / 86400e6, seconds, (double)totals->placed / seconds);
    printf("faults: %" PRIu64 " worker deaths, %" PRIu64 " worker pauses, %" PRIu64 " shard deaths (%" PRIu64 " calls rolled back), %" PRIu64
           " shard pauses, %" PRIu64 " connections cut, %" PRIu64 " clock jumps, %" PRIu64 " of the gateway; of %" PRIu64 " calls %" PRIu64
           " lost and %" PRIu64 " late\n",
           counts->worker_deaths, counts->worker_pauses, counts->shard_deaths, counts->rolled_back, counts->shard_pauses, counts->cuts,
           counts->clock_jumps, counts->gateway_faults, counts->calls, counts->lost_calls, counts->late_calls);
}

static int run_all(const struct options *options)
{
    struct fleet *fleets[FLEET_SHARDS_MAX] = {NULL};
    struct totals totals = {.seeds = 0};
    struct lua_library *library = shard_sim_library(options->library);
    double began = seconds_now(), said = began;
    printf("function library %.*s\n", VIEW_ARG(options->library ? view_of(options->library) : SOUK_LIBRARIES[0].name));
    for (uint64_t seed = options->seed; totals.placed < options->orders && totals.violations == 0; seed++) {
        run_seed(fleets, library, seed, options->trace, &totals);
        if (options->one)
            break;
        if (!options->quiet && seconds_now() - said >= 60) {
            said = seconds_now();
            print_totals(&totals, options->seed, said - began);
            fflush(stdout);
        }
    }
    print_totals(&totals, options->seed, seconds_now() - began);
    printf("%s\n", totals.violations ? "VIOLATION" : "no violation");
    for (unsigned i = 0; i < FLEET_SHARDS_MAX; i++)
        fleet_free(fleets[i]);
    lua_library_free(library);
    arena_thread_end();
    return totals.violations ? 1 : 0;
}

static void usage(void)
{
    printf("souk-sim [--seed N] [--orders N] [--one] [--library FILE] [--quiet]\n"
           "  --seed N        the first seed (1)\n"
           "  --orders N      seeds are run until so many orders were placed (100000)\n"
           "  --one           only that seed\n"
           "  --library FILE  a function library in the place of the built one\n"
           "  --quiet         no line a minute\n"
           "  --trace         every call and fault, for --one\n");
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"seed", 1, NULL, 's'},  {"orders", 1, NULL, 'o'}, {"one", 0, NULL, '1'},  {"library", 1, NULL, 'l'},
                                          {"quiet", 0, NULL, 'q'}, {"trace", 0, NULL, 't'},  {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
    struct options options = {.seed = 1, .orders = 100000};
    for (int option; (option = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (option) {
        case 's':
            options.seed = strtoull(optarg, NULL, 10);
            break;
        case 'o':
            options.orders = strtoull(optarg, NULL, 10);
            break;
        case '1':
            options.one = true;
            break;
        case 'l':
            options.library = optarg;
            break;
        case 'q':
            options.quiet = true;
            break;
        case 't':
            options.trace = true;
            break;
        default:
            usage();
            return option == 'h' ? 0 : 2;
        }
    }
    log_start("souk-sim", LOG_ERROR);
    return run_all(&options);
}
