#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#include "client.h"

#include "faults.h"
#include "heckler.h"
#include "report.h"
#include "sabotage.h"

/*
 * souk-nemesis: real shoppers, real workers and shards, and everything that can happen to them.
 *
 *   start ─▶ shopping under faults ─▶ mend ─▶ decide what is open ─▶ wait until nothing is due ─▶ audit ─▶ read all ─▶ judge ─▶ report
 *
 * The seed makes the plan of faults and what each shopper wants. It does not make the interleaving of the processes: a run cannot be replayed, only
 * repeated.
 */
#define UNITS 300
#define PRICE_CENTS 1050
#define PRODUCTS_OF_SHARD 4
#define SHARDS 3
#define SHOPPERS_MAX 64
#define SABOTAGE_WAIT_US 60000000

struct options {
    uint64_t seed;
    int seconds, shoppers;
    unsigned long worker_kills, shard_kills; /* run until so many; 0: by seconds */
    struct pace pace;
    const char *report, *history;
    bool sabotage, natural;
    int expect; /* a rule that must be violated, for runs with a fault that Souk does not promise to survive; -1: none */
};

static void usage(void)
{
    printf("souk-nemesis [--seconds N] [--seed N] [--kills WORKERS,SHARDS] [--dense | --few] [--shoppers N] [--report FILE] [--history FILE]\n"
           "             [--sabotage] [--lose BYTES --expect-lost]\n"
           "  --seconds N       how long the shoppers shop (180)\n"
           "  --seed N          of the plan of faults and of the shoppers (the time)\n"
           "  --kills W,S       shop until so many workers and shards were killed, however long it takes\n"
           "  --dense, --few    more than 6 worker kills and 0.6 shard kills a second; or few faults\n"
           "  --report FILE     adds a report in Markdown to the file\n"
           "  --history FILE    where what every client asked and was told is written; without it that is kept only after a violation\n"
           "  --sabotage        afterwards breaks one thing after another and wants the checks to notice\n"
           "  --lose BYTES      cuts so much off the file of each killed shard; with --expect-lost a lost write must be found\n");
}

static const struct pace NORMAL = {.worker_kill_ms = 700, .shard_kill_ms = 4000, .other_ms = 450, .down_ms = 500};
static const struct pace DENSE = {.worker_kill_ms = 130, .shard_kill_ms = 1300, .other_ms = 900, .down_ms = 120};
static const struct pace FEW = {.worker_kill_ms = 900, .shard_kill_ms = 2500, .other_ms = 600, .down_ms = 300};

static bool read_options(int argc, char **argv, struct options *options)
{
    static const struct option LONG[] = {
        {"seconds", required_argument, NULL, 's'}, {"seed", required_argument, NULL, 'n'},    {"kills", required_argument, NULL, 'k'},
        {"dense", no_argument, NULL, 'd'},         {"few", no_argument, NULL, 'f'},           {"shoppers", required_argument, NULL, 'c'},
        {"report", required_argument, NULL, 'r'},  {"history", required_argument, NULL, 'h'}, {"sabotage", no_argument, NULL, 'b'},
        {"lose", required_argument, NULL, 'l'},    {"expect-lost", no_argument, NULL, 'e'},   {NULL, 0, NULL, 0},
    };
    *options = (struct options){.seed = (uint64_t)time(NULL), .seconds = 180, .shoppers = 24, .pace = NORMAL, .expect = -1};
    size_t lose = 0;
    for (int c; (c = getopt_long(argc, argv, "", LONG, NULL)) != -1;) {
        switch (c) {
        case 's':
            options->seconds = atoi(optarg);
            break;
        case 'n':
            options->seed = strtoull(optarg, NULL, 10);
            break;
        case 'k':
            if (sscanf(optarg, "%lu,%lu", &options->worker_kills, &options->shard_kills) != 2)
                return false;
            break;
        case 'd':
            options->pace = DENSE;
            break;
        case 'f':
            options->pace = FEW;
            break;
        case 'c':
            options->shoppers = atoi(optarg);
            break;
        case 'r':
            options->report = optarg;
            break;
        case 'h':
            options->history = optarg;
            break;
        case 'b':
            options->sabotage = true;
            break;
        case 'l':
            lose = strtoull(optarg, NULL, 10);
            break;
        case 'e':
            options->expect = RULE_ACKNOWLEDGED;
            break;
        default:
            return false;
        }
    }
    options->pace.lose_bytes = lose;
    options->natural = options->seconds >= 60 || options->worker_kills;
    return options->seconds > 0 && options->shoppers > 0 && options->shoppers <= SHOPPERS_MAX && optind == argc;
}

/* ---- the catalogue ---- */

static void product_put(struct souk *souk, int64_t id)
{
    static const char *const HEADERS[] = {"Content-Type: application/json", "If-None-Match: *", NULL};
    char url[160], body[160];
    snprintf(url, sizeof(url), "%s/products/%" PRId64, souk_url(souk, SOUK_PRODUCT), id);
    int len = snprintf(body, sizeof(body), "{\"name\":\"Product %" PRId64 "\",\"price\":\"%d.%02d\",\"stock\":%d}", id, PRICE_CENTS / 100,
                       PRICE_CENTS % 100, UNITS);
    const struct client_request request = {.method = "PUT", .url = url, .headers = HEADERS, .body = body, .body_len = (size_t)len};
    struct response *response = client_send(souk_client(souk), &request);
    if (response->status != 201) {
        fprintf(stderr, "PUT %s was answered %d %s%s\n", url, response->status, response->error, response->body);
        abort();
    }
    response_free(response);
}

/* The same number of products on each shard, in turn, so that the lines of an order are on several. */
static void stock_up(struct souk *souk, struct market *market)
{
    int64_t id[SHARDS] = {1, 1, 1};
    for (int n = 0; n < PRODUCTS_OF_SHARD; n++)
        for (unsigned shard = 0; shard < SHARDS; shard++) {
            while (souk_shard_of(souk, id[shard]) != shard)
                id[shard]++;
            product_put(souk, id[shard]);
            market->products[market->product_count++] = id[shard]++;
        }
}

/* ---- the run ---- */

struct run {
    struct options options;
    struct fleet fleet;
    struct history history;
    struct market market;
    struct faults *faults;
    struct shopper *shoppers[SHOPPERS_MAX];
    struct heckler *heckler;
    struct verdict verdict;
    struct evidence evidence;
    int64_t began_us, shopped_us;
    size_t left_open;
};

static const struct beginning BEGINNING = {.units = UNITS, .price = PRICE_CENTS};

static bool is_over(struct run *run)
{
    const struct options *options = &run->options;
    if (options->worker_kills)
        return faults_worker_kills(run->faults) >= options->worker_kills && faults_shard_kills(run->faults) >= options->shard_kills;
    int64_t shopped_us = clock_us() - run->began_us;
    if (shopped_us < options->seconds * INT64_C(1000000))
        return false;
    /* On a busy machine little is done in a few seconds; then it goes on until there is something to break. */
    pthread_mutex_lock(&run->history.lock);
    bool enough = !options->sabotage || sabotage_can(&run->history) || shopped_us > SABOTAGE_WAIT_US;
    pthread_mutex_unlock(&run->history.lock);
    return enough;
}

static void say(struct run *run)
{
    struct history *history = &run->history;
    pthread_mutex_lock(&history->lock);
    printf("%5" PRId64 " s: %zu operations, %" PRIu64 " attempts (%" PRIu64 " without answer), %" PRIu64
           " replays, %lu worker kills, %lu shard kills\n",
           (clock_us() - run->began_us) / 1000000, history->op_count, history->attempts, history->silent, history->replays,
           faults_worker_kills(run->faults), faults_shard_kills(run->faults));
    pthread_mutex_unlock(&history->lock);
    fflush(stdout);
}

static void shop(struct run *run)
{
    int64_t next_us = run->began_us = clock_us();
    for (int i = 0; i < run->options.shoppers; i++)
        run->shoppers[i] = shopper_start(&run->market, (unsigned)i);
    run->heckler = heckler_start(&run->market);
    while (!is_over(run)) {
        faults_step(run->faults);
        pause_ms(5);
        if (clock_us() - next_us >= 10000000) {
            next_us += 10000000;
            say(run);
        }
    }
    atomic_store(&run->market.closing, true);
    /* Whoever waits for a worker that is stopped must not wait for ever: all is mended while the last requests come to their end. */
    faults_mend(run->faults);
    for (int i = 0; i < run->options.shoppers; i++)
        shopper_join(run->shoppers[i]);
    heckler_stop(run->heckler);
    run->shopped_us = clock_us();
    say(run);
}

/* ---- the calm ---- */

/* Long enough for what nobody asks about: 10 s until a hold may be asked about, 50 s until the sweep does, 5 s for each sweep whose worker died. */
#define CALM_MS 180000
#define YOUNG_MS 11000

static void calm_down(struct run *run)
{
    char text[200] = "";
    run->left_open = market_undecided(&run->market);
    size_t undecided = market_decide_all(&run->market, 40000);
    int64_t since = clock_us(), limit_ms = run->options.expect >= 0 ? 1000 : CALM_MS;
    printf("calm: %zu operations stay undecided\n", undecided);
    for (long due = 1; due != 0 || clock_us() - since < YOUNG_MS * INT64_C(1000);) {
        due = evidence_due(run->fleet.souk, run->market.products, run->market.product_count, text, sizeof(text));
        if (clock_us() - since > limit_ms * 1000) {
            evidence_show_due(run->fleet.souk);
            verdict_want(&run->verdict, RULE_STUCK, due == 0, "after %" PRId64 " s of calm there are still %s", limit_ms / 1000, text);
            break;
        }
        if (!run->options.natural)
            market_ask_for_too_much(&run->market);
        pause_ms(500);
    }
    printf("calm: %s after %" PRId64 " s\n", text, (clock_us() - since) / 1000000);
    market_look_around(&run->market);
}

static void judge(struct run *run)
{
    if (run->options.expect < 0)
        verdict_want(&run->verdict, RULE_AUDIT, souk_audit(run->fleet.souk), "the audit names violations; they are above");
    /* Some orders are still reserved; none of them may expire between the reading of its record and that of its holds. */
    fleet_freeze(&run->fleet, true);
    bool read = evidence_read(run->fleet.souk, run->market.products, run->market.product_count, &run->evidence);
    fleet_freeze(&run->fleet, false);
    if (verdict_want(&run->verdict, RULE_PROCESSES, read, "a shard could not be read"))
        verdict_judge(&run->verdict, &run->history, &run->evidence, &BEGINNING);
}

static unsigned try_sabotage(struct run *run)
{
    const struct scene scene = {.souk = run->fleet.souk,
                                .history = &run->history,
                                .evidence = &run->evidence,
                                .products = run->market.products,
                                .product_count = run->market.product_count,
                                .beginning = &BEGINNING};
    return sabotage_all(&scene);
}

static void run_start(struct run *run)
{
    static const char *const NO_SYNC[] = {"--appendfsync", "no", NULL};
    char path[512];
    fleet_before_threads(&run->fleet);
    snprintf(path, sizeof(path), "%s%s", run->fleet.dir, FLEET_HISTORY);
    history_init(&run->history, run->options.history ? run->options.history : path);
    market_init(&run->market, &run->history, run->options.seed);
    fleet_start(&run->fleet, run->options.pace.lose_bytes ? NO_SYNC : NULL);
    fleet_open(&run->fleet, &run->market);
    stock_up(run->fleet.souk, &run->market);
    verdict_init(&run->verdict);
    run->faults = faults_new(&run->fleet, &run->options.pace, &run->market);
}

static void run_end(struct run *run, bool keep)
{
    for (int i = 0; i < run->options.shoppers; i++)
        shopper_free(run->shoppers[i]);
    faults_free(run->faults);
    evidence_free(&run->evidence);
    history_free(&run->history);
    fleet_forget(&run->fleet, keep);
    verdict_free(&run->verdict);
}

static int conclude(struct run *run, unsigned missed)
{
    const struct report_facts facts = {
        .seed = run->options.seed,
        .seconds = (double)(run->shopped_us - run->began_us) / 1e6,
        .shoppers = run->options.shoppers,
        .left_open = run->left_open,
        .history = &run->history,
        .evidence = &run->evidence,
        .verdict = &run->verdict,
        .faults = run->faults,
        .fleet = &run->fleet,
    };
    uint64_t violations = verdict_violations(&run->verdict);
    report_print(stdout, &facts, REPORT_TEXT);
    if (run->options.report)
        report_append(run->options.report, &facts);
    if (run->options.expect >= 0) {
        bool found = run->verdict.rules[run->options.expect].violations > 0;
        printf("%s: \"%s\" %s to be violated\n", found ? "as expected" : "NOT AS EXPECTED", rule_name((enum rule)run->options.expect),
               found ? "was found" : "was not found");
        return found ? 0 : 1;
    }
    return violations || missed ? 1 : 0;
}

int main(int argc, char **argv)
{
    static struct run run;
    if (!read_options(argc, argv, &run.options)) {
        usage();
        return 2;
    }
    printf("seed %" PRIu64 "\n", run.options.seed);
    run_start(&run);
    printf("%s%s%s%s", run.fleet.no_disk ? run.fleet.no_disk : "", run.fleet.no_disk ? "\n" : "", run.fleet.no_clock ? run.fleet.no_clock : "",
           run.fleet.no_clock ? "\n" : "");
    shop(&run);
    calm_down(&run);
    judge(&run);
    bool clean = verdict_violations(&run.verdict) == 0;
    unsigned missed = run.options.sabotage && clean ? try_sabotage(&run) : 0;
    if (!clean && run.options.expect < 0)
        souk_keep(run.fleet.souk);
    unsigned wrong = fleet_stop(&run.fleet);
    if (run.options.expect < 0)
        verdict_want(&run.verdict, RULE_PROCESSES, wrong == 0, "%u things were wrong with processes; they are above", wrong);
    int status = conclude(&run, missed);
    run_end(&run, status != 0);
    return status;
}
