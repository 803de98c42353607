#include <getopt.h>
#include <stdio.h>

#include "log.h"

#include "audit.h"
#include "jobs.h"
#include "oracle.h"

/*
 * The simulator: souk-sim [--seed N] [--orders N] [--jobs N] [--one] …
 *
 * One seed is one shop: a fleet of some size, some products, a few hundred shoppers, and an own mixture of faults. It goes through
 *
 *   safety     shoppers come and go, everything may go wrong
 *   liveness   nothing goes wrong any more: every request must be decided, every duty done, every hold settled
 *   (leap      in some seeds: minutes to hours pass, then requests of long ago come again, with faults; then liveness again)
 *   verdict    the oracle, and the audit of the code under test
 *
 * All the while somebody follows the feed.
 *
 * Seeds are run one after another until so many orders were placed. The same seed and build give the same history.
 */
#define PARTITIONS 16
#define LIVENESS_MAX_US (INT64_C(6) * 3600 * 1000000)
#define LOOK_EVERY_US INT64_C(20000000)
#define FEED_EVERY_MS 3000
#define FEED_REST_US INT64_C(300000000) /* a clock that was set back has caught up */
#define LIVENESS_SWEEP_MS \
    5000 /* what a worker does every half second, it may as well do every five: most of a history's calls are sweeps that find nothing */

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
        .not_now = random_chance(random, 700) ? 0 : (unsigned)random_between(random, 1, 50),
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
static void leap(struct shop *shop, struct subscriber *subscriber, struct random *random)
{
    struct fleet *fleet = shop->fleet;
    int64_t sweep_ms = random_tailed(random, 500, 3);
    struct faults_plan plan = plan_of(random);
    fleet_sweep_every(fleet, 300000);
    subscriber->every_ms = 300000;
    go_until(fleet, fleet_now_us(fleet) + random_tailed(random, INT64_C(660000000), 6));
    fleet_sweep_every(fleet, sweep_ms);
    subscriber->every_ms = FEED_EVERY_MS;
    fleet_plan(fleet, &plan);
    shop->leapt = true;
    shop_repeat(shop, 300, 20000);
    go_until(fleet, fleet_now_us(fleet) + INT64_C(30000000));
    liveness(shop);
}

/* All events are old enough to be told, and the subscriber asks until there are no more: he may have slept through the leap. */
static void let_follow(struct fleet *fleet, const struct subscriber *subscriber)
{
    go_until(fleet, fleet_now_us(fleet) + FEED_REST_US);
    int64_t rest_us = fleet_now_us(fleet);
    while (subscriber->followed_us < rest_us && fleet_now_us(fleet) < rest_us + LIVENESS_MAX_US && !fleet_wrong(fleet)[0])
        go_until(fleet, fleet_now_us(fleet) + LOOK_EVERY_US);
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

static const struct request_kind AUDIT = {
    .role = ROLE_ORDER, .flow = &AUDIT_FLOW, .deadline_ms = 60000, .make = audit_make, .got_answer = audit_got};

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

/*
 * A shard is away for longer than marks are kept, while the shop goes on; then at once the audit, when nothing is settled yet: it must not take what
 * sweeps have still to do for what is wrong.
 */
static void outage(struct shop *shop, struct random *random)
{
    struct fleet *fleet = shop->fleet;
    int64_t away_us = random_between(random, INT64_C(610000000), INT64_C(900000000));
    fleet_plan(fleet, NULL);
    shop->leapt = true;
    fleet_shard_away(fleet, (unsigned)random_below(random, fleet_topology(fleet)->shard_count), away_us);
    go_until(fleet, fleet_now_us(fleet) + away_us + random_tailed(random, 1000000, 6));
    check_by_audit(fleet);
}

static struct totals totals_of(const struct shop *shop, int64_t simulated_us)
{
    return (struct totals){
        .seeds = 1,
        .placed = shop->placed,
        .refused = shop->refused,
        .paid = shop->paid,
        .requests = shop->requests,
        .replayed = shop->replayed,
        .simulated_s = (uint64_t)simulated_us / 1000000,
        .counts = fleet_counts(shop->fleet),
    };
}

static struct fleet *fleet_of(struct fleet *fleets[FLEET_SHARDS_MAX], unsigned shards, struct lua_library *library)
{
    if (fleets[shards - 1] == NULL)
        fleets[shards - 1] = fleet_new(shards, PARTITIONS, library);
    return fleets[shards - 1];
}

static void run_traced(struct fleet *fleets[FLEET_SHARDS_MAX], struct lua_library *library, uint64_t seed, bool trace, struct seed_report *report)
{
    struct random random = {seed};
    struct fleet *fleet = fleet_of(fleets, (unsigned)random_between(&random, 1, FLEET_SHARDS_MAX), library);
    struct fleet_settings settings = settings_of(&random, seed);
    bool long_outage = random_chance(&random, 10); /* of few: whoever is not served asks again and again */
    unsigned shoppers = long_outage ? (unsigned)random_between(&random, 10, 60) : (unsigned)random_between(&random, 200, 1500);
    int64_t every_ms = random_tailed(&random, 2, 5), begin_us;
    struct shop shop;
    struct subscriber subscriber;
    settings.trace = trace;
    fleet_begin(fleet, &settings);
    begin_us = fleet_now_us(fleet);
    shop_open(&shop, fleet, shoppers, every_ms);
    subscriber_begin(&subscriber, fleet, FEED_EVERY_MS);
    int64_t coming_us = (int64_t)shoppers * every_ms * 1000;
    go_until(fleet, begin_us + (long_outage ? coming_us / 2 : coming_us + random_between(&random, 0, 20000000)));
    if (long_outage)
        outage(&shop, &random);
    liveness(&shop);
    if (random_chance(&random, 100))
        leap(&shop, &subscriber, &random);
    let_follow(fleet, &subscriber);
    oracle_check(&shop, &subscriber);
    check_by_audit(fleet);
    report->totals = totals_of(&shop, fleet_now_us(fleet) - begin_us);
    snprintf(report->wrong, sizeof(report->wrong), "%s", fleet_wrong(fleet));
    subscriber_end(&subscriber);
    shop_close(&shop);
    fleet_end(fleet);
}

static void run_seed(struct fleet *fleets[FLEET_SHARDS_MAX], struct lua_library *library, uint64_t seed, struct seed_report *report)
{
    run_traced(fleets, library, seed, false, report);
}

static void run_and_trace(struct fleet *fleets[FLEET_SHARDS_MAX], struct lua_library *library, uint64_t seed, struct seed_report *report)
{
    run_traced(fleets, library, seed, true, report);
}

/* ---- the command ---- */

static int usage(int status)
{
    printf("souk-sim [--seed N] [--seeds N] [--orders N] [--jobs N] [--progress FILE] [--one] [--trace] [--library FILE] [--quiet]\n"
           "  --seed N         the first seed (1)\n"
           "  --seeds N        so many seeds\n"
           "  --orders N       seeds are run until so many orders were placed (100000, without --seeds)\n"
           "  --jobs N         so many processes at a time (1)\n"
           "  --progress FILE  what is done so far, kept there every 10 s; SIGTERM ends the run behind the seeds that are under way\n"
           "  --one            only that seed\n"
           "  --library FILE   a function library in the place of the built one\n"
           "  --quiet          no line a minute\n"
           "  --trace          every call and fault, for --one\n");
    return status;
}

/* A number of at least 1; 0: it is none. */
static uint64_t number_of(const char *text)
{
    long long number;
    return view_to_int(view_of(text), &number) ? (uint64_t)number : 0;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"seed", 1, NULL, 's'},    {"seeds", 1, NULL, 'n'},    {"orders", 1, NULL, 'o'}, {"jobs", 1, NULL, 'j'},
                                          {"one", 0, NULL, '1'},     {"progress", 1, NULL, 'p'}, {"quiet", 0, NULL, 'q'},  {"trace", 0, NULL, 't'},
                                          {"library", 1, NULL, 'l'}, {"help", 0, NULL, 'h'},     {NULL, 0, NULL, 0}};
    struct jobs jobs = {.first = 1, .processes = 1, .run = run_seed};
    uint64_t *numbers[128] = {['s'] = &jobs.first, ['n'] = &jobs.seeds, ['o'] = &jobs.orders};
    for (int option; (option = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (option == 'j')
            jobs.processes = (unsigned)number_of(optarg);
        else if (option == '1')
            jobs.seeds = 1;
        else if (option == 'q')
            jobs.quiet = true;
        else if (option == 't')
            jobs.run = run_and_trace;
        else if (option == 'l')
            jobs.library = optarg;
        else if (option == 'p')
            jobs.progress = optarg;
        else if (option == '?' || option == 'h')
            return usage(option == 'h' ? 0 : 2);
        else if ((*numbers[option] = number_of(optarg)) == 0)
            return usage(2);
    }
    if (jobs.processes < 1 || jobs.processes > 64)
        return usage(2);
    if (jobs.seeds == 0 && jobs.orders == 0)
        jobs.orders = 100000;
    log_start("souk-sim", LOG_ERROR);
    return jobs_run(&jobs);
}
