#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_test_lib.h"

#include "crash.h"

/*
 * souk-crash                            every scenario, every boundary
 * souk-crash place pay                  these scenarios
 * souk-crash --only place:after:12      one run, and what came of it
 * souk-crash --calls place              the calls and allocations of a scenario
 * souk-crash --list
 *
 * Real workers, real shards, a real gateway's stand-in. A scenario (scenarios.c) is one request, or one turn of the sweep, at one worker: the victim, which
 * has a library in front of the C library (shim.c) that counts its calls across the process' border, and its allocations. A dry run counts them. Then
 * for every one of them there is one run for each thing that can happen there, with a new victim, and products and a buyer of its own:
 *
 *   before   the victim dies (kill -9) before the call       fail     the call fails; the victim must live, and answer rightly or with a clean 503
 *   after    it dies when the call is done                   short    it is carried out for one byte only; nobody may notice
 *   memory   the allocation fails; as fail, or libmicrohttpd closes the connection
 *
 *   prepare ─▶ the request at the victim ─▶ its answer, its life ─▶ (all runs) ─▶ the same request with the same key at a healthy worker until it is
 *   decided ─▶ once more: the same bytes ─▶ exactly the effect, once: stock, order, payment, gateway's journal, no hold and no duty left ─▶ the audit
 *
 * What needs time (a lost answer of the gateway is asked for after 2 s, what a dead sweep left is due after 5 s) is waited for once for all runs of a
 * scenario. Exit status 0: all runs were right; 1: not; 2: they could not be run.
 */
static const struct {
    const char *name;
    uint32_t needs; /* what a call must allow */
} ACTIONS[SHIM_ACTIONS] = {
    [SHIM_COUNT] = {"count", 0},           [SHIM_DIE_BEFORE] = {"before", 0},           [SHIM_DIE_AFTER] = {"after", 0},
    [SHIM_FAIL] = {"fail", SHIM_CAN_FAIL}, [SHIM_SHORT] = {"short", SHIM_CAN_BE_SHORT}, [SHIM_NO_MEMORY] = {"memory", 0},
};

/* Two dry runs: the larger count holds, in case that one of them was disturbed. */
#define DRY_RUNS 2

struct totals {
    unsigned calls, allocations, runs, failed, alone, unreached;
};

struct wanted {
    const char *scenario; /* NULL: all */
    enum shim_action action;
    unsigned at;
    bool one, show_calls;
};

/* ---- the list of runs ---- */

struct runs {
    struct run *at;
    unsigned count, room;
};

static void add_run(struct runs *runs, const struct scenario *scenario, enum shim_action action, unsigned at)
{
    if (runs->count == runs->room) {
        runs->room = runs->room * 2 + 64;
        runs->at = realloc(runs->at, runs->room * sizeof(*runs->at));
        if (!runs->at)
            exit(2);
    }
    runs->at[runs->count] = (struct run){.scenario = scenario, .action = action, .at = at, .number = runs->count};
    runs->count++;
}

static void add_all(struct runs *runs, const struct crash *crash)
{
    for (unsigned k = 1; k <= crash->calls; k++)
        for (enum shim_action action = SHIM_DIE_BEFORE; action <= SHIM_SHORT; action++)
            if ((crash->control->calls_seen[k - 1].allows & ACTIONS[action].needs) == ACTIONS[action].needs)
                add_run(runs, crash->scenario, action, k);
    for (unsigned k = 1; k <= crash->allocations; k++)
        add_run(runs, crash->scenario, SHIM_NO_MEMORY, k);
}

static void free_runs(struct runs *runs)
{
    for (unsigned i = 0; i < runs->count; i++) {
        response_free(runs->at[i].answer);
        response_free(runs->at[i].decided);
    }
    free(runs->at);
}

/* ---- what is printed ---- */

static void print_calls(const char *what, const struct shim_call *calls, unsigned count)
{
    printf("%u %s\n", count, what);
    for (unsigned i = 0; i < count; i++)
        printf("  %3u %-12s %-14s %-28s%s%s\n", i + 1, calls[i].name, calls[i].library, calls[i].function,
               calls[i].allows & SHIM_CAN_FAIL ? " can fail" : "", calls[i].allows & SHIM_CAN_BE_SHORT ? ", can be short" : "");
}

static void print_run(const struct run *run)
{
    printf("  %s:%s:%u (", run->scenario->name, ACTIONS[run->action].name, run->at);
    if (run->acted)
        printf("%s in %s of %s", run->call.name, run->call.function, run->call.library);
    else
        printf("not reached");
    printf("): %s\n", run->failure[0] ? run->failure : "right");
    if (run->failure[0])
        printf("    alone: souk-crash --only %s:%s:%u\n", run->scenario->name, ACTIONS[run->action].name, run->at);
}

static void print_one(const struct run *run)
{
    print_run(run);
    printf("    the victim %s", run->died ? run->alone ? "died by itself" : "died" : "lives");
    if (run->answer)
        printf("; it answered %d %s%s", run->answer->status, run->answer->error, run->answer->body);
    if (run->decided)
        printf("\n    then %d %s, with %u new keys", run->decided->status, run->decided->body, run->again);
    printf("\n");
}

/* Each reason for which a library has ended the process, how often, and the first run of it. */
static void print_deadly(const struct runs *runs)
{
    for (unsigned i = 0; i < runs->count; i++) {
        const struct run *run = &runs->at[i];
        const char *why = run_deadly(run);
        unsigned before = 0, all = 0;

        for (unsigned j = 0; why && j < runs->count; j++) {
            before += j < i && run_deadly(&runs->at[j]) == why;
            all += run_deadly(&runs->at[j]) == why;
        }
        if (why && before == 0)
            printf("  %s:%s:%u and %u more: died, for %s\n", run->scenario->name, ACTIONS[run->action].name, run->at, all - 1, why);
    }
}

static void print_scenario(const struct runs *runs, const struct crash *crash, struct totals *totals, int64_t ms)
{
    struct totals own = {.calls = crash->calls, .allocations = crash->allocations, .runs = runs->count};

    for (unsigned i = 0; i < runs->count; i++) {
        own.failed += runs->at[i].failure[0] != '\0';
        own.alone += runs->at[i].alone;
        own.unreached += !runs->at[i].acted;
    }
    printf("%-14s %4u calls %5u allocations %5u runs %4u failed %4u died by a library %4u not reached %6.1f s\n", crash->scenario->name, own.calls,
           own.allocations, own.runs, own.failed, own.alone, own.unreached, (double)ms / 1000);
    print_deadly(runs);
    for (unsigned i = 0; i < runs->count; i++)
        if (runs->at[i].failure[0])
            print_run(&runs->at[i]);
    fflush(stdout);
    totals->calls += own.calls;
    totals->allocations += own.allocations;
    totals->runs += own.runs;
    totals->failed += own.failed;
    totals->alone += own.alone;
    totals->unreached += own.unreached;
}

/* ---- one scenario ---- */

/* Counts what the scenario does when nothing happens to it. Returns false if even that is not right. */
static bool dry_run(struct crash *crash, struct runs *runs)
{
    unsigned calls = 0, allocations = 0, least = UINT_MAX;

    for (unsigned i = 0; i < DRY_RUNS; i++)
        add_run(runs, crash->scenario, SHIM_COUNT, 0);
    prepare(crash, runs->at, DRY_RUNS);
    for (unsigned i = 0; i < DRY_RUNS; i++) {
        play(crash, &runs->at[i]);
        if (runs->at[i].failure[0]) {
            print_run(&runs->at[i]);
            return false;
        }
        unsigned c = atomic_load(&crash->control->calls), a = atomic_load(&crash->control->allocations);

        calls = c > calls ? c : calls;
        allocations = a > allocations ? a : allocations;
        least = c + a < least ? c + a : least;
    }
    crash->least = least;
    crash->calls = calls < SHIM_CALLS_MAX ? calls : SHIM_CALLS_MAX;
    crash->allocations = allocations < SHIM_ALLOCATIONS_MAX ? allocations : SHIM_ALLOCATIONS_MAX;
    return crash->calls > 0;
}

static void play_all(struct crash *crash, struct runs *runs)
{
    prepare(crash, runs->at + DRY_RUNS, runs->count - DRY_RUNS);
    for (unsigned i = DRY_RUNS; i < runs->count; i++)
        play(crash, &runs->at[i]);
    play_over(crash, runs->at, runs->count);
    judge(crash, runs->at, runs->count);
}

static void run_scenario(const struct scenario *scenario, const struct wanted *wanted, struct totals *totals)
{
    int64_t started = clock_now_ms();
    struct crash crash;
    struct runs runs = {NULL, 0, 0};
    bool counted;

    crash_start(&crash, scenario);
    counted = dry_run(&crash, &runs);
    if (counted && wanted->show_calls) {
        print_calls("calls", crash.control->calls_seen, crash.calls);
        print_calls("allocations", crash.control->allocations_seen, crash.allocations);
    } else if (counted) {
        if (wanted->one)
            add_run(&runs, scenario, wanted->action, wanted->at);
        else
            add_all(&runs, &crash);
        play_all(&crash, &runs);
    }
    totals->failed += !counted || !souk_audit(crash.souk);
    totals->failed += crash_stop(&crash);
    if (counted && !wanted->show_calls) {
        struct runs real = {runs.at + DRY_RUNS, runs.count - DRY_RUNS, 0};

        print_scenario(&real, &crash, totals, clock_now_ms() - started);
        if (wanted->one)
            print_one(real.at);
    }
    free_runs(&runs);
}

/* ---- the command ---- */

/* SCENARIO:ACTION:K */
static bool read_only(char *text, struct wanted *wanted)
{
    char *action = strchr(text, ':'), *at = action ? strchr(action + 1, ':') : NULL;

    if (!at)
        return false;
    *action++ = *at++ = '\0';
    wanted->scenario = text;
    wanted->at = (unsigned)strtoul(at, NULL, 10);
    wanted->one = true;
    for (wanted->action = SHIM_DIE_BEFORE; wanted->action < SHIM_ACTIONS; wanted->action++)
        if (strcmp(ACTIONS[wanted->action].name, action) == 0)
            return wanted->at > 0;
    return false;
}

static int list(void)
{
    for (unsigned i = 0; i < SCENARIO_COUNT; i++)
        printf("%-14s %s\n", SCENARIOS[i].name, SCENARIOS[i].what);
    return 0;
}

static bool run_named(const char *name, const struct wanted *wanted, struct totals *totals)
{
    bool found = false;

    for (unsigned i = 0; i < SCENARIO_COUNT; i++) {
        if (name && strcmp(SCENARIOS[i].name, name) != 0)
            continue;
        run_scenario(&SCENARIOS[i], wanted, totals);
        found = true;
    }
    if (!found)
        fprintf(stderr, "souk-crash: there is no scenario %s; souk-crash --list names them\n", name);
    return found;
}

int main(int argc, char **argv)
{
    struct wanted wanted = {0};
    struct totals totals = {0};
    int64_t started = clock_now_ms();
    int next = 1;

    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list();
    if (argc > 1 && strcmp(argv[1], "--calls") == 0)
        wanted.show_calls = ++next > 0;
    if (argc > 1 && strcmp(argv[1], "--only") == 0) {
        if (argc != 3 || !read_only(argv[2], &wanted)) {
            fprintf(stderr, "usage: souk-crash --only SCENARIO:before|after|fail|short|memory:K\n");
            return 2;
        }
        next = argc;
    }
#ifdef SHIM_WITHOUT_MEMORY
    printf("allocations are not counted and do not fail: this build's sanitizer has its own malloc\n");
#endif
    if (next == argc && !run_named(wanted.scenario, &wanted, &totals))
        return 2;
    for (; next < argc; next++)
        if (argv[next][0] != '-' ? !run_named(argv[next], &wanted, &totals) : true)
            return 2;
    if (!wanted.show_calls)
        printf("%-14s %4u calls %5u allocations %5u runs %4u failed %4u died by a library %4u not reached %6.1f s\n", "in all", totals.calls,
               totals.allocations, totals.runs, totals.failed, totals.alone, totals.unreached, (double)(clock_now_ms() - started) / 1000);
    return totals.failed ? 1 : 0;
}
