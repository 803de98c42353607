#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_test_lib.h"

#include "crash.h"

/*
 * souk-crash                            every scenario, every boundary; -j N: so many scenarios at a time (2)
 * souk-crash place pay                  these scenarios
 * souk-crash --only place:after:12      one run, and what came of it
 * souk-crash --calls place              the calls and allocations of a scenario
 * souk-crash --list
 *
 * Real workers, real shards, the test gateway. A scenario (scenarios.c) is one request, or one turn of the sweep, at one worker: the victim, which
 * has a library in front of the C library (shim.c) that counts its calls across the process' border, and its allocations. Dry runs count them. Then
 * for every one of them there is one run for each thing that can happen there, with a new victim, and products and a buyer of its own:
 *
 *   before   the victim dies (kill -9) before the call       fail     the call fails; the victim must live, and answer rightly or with a clean 503
 *   after    it dies when the call is done                   short    it is carried out for one byte only; nobody may notice
 *   memory   the allocation fails; as fail, or libmicrohttpd closes the connection
 *
 *   prepare ─▶ the request at the victim ─▶ its answer, its life
 *   and when all runs have come so far: the same request with the same key at a healthy worker until it is decided ─▶ once more: the same bytes
 *   ─▶ exactly the effect, once: stock, order, payment, the gateway's journal; no hold and no duty left ─▶ the audit
 *
 * What needs time (a lost answer of the gateway is asked for after 2 s, what a dead sweep left is due after 5 s) is waited for once for all runs of a
 * scenario. A death for which a library is known (judge.c has them) is a death like another, and counted apart. A run is "not reached" when there
 * were fewer calls than in the dry run: a read that finds nothing comes or does not come, as the answers of several shards fall together.
 * Exit status 0: all runs were right; 1: not; 2: nothing could be run.
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

/* What one scenario prints at most in one piece. */
#define PRINTED_MAX (1 << 20)

struct totals {
    unsigned calls, allocations, runs, failed, alone, unreached;
};

struct wanted {
    enum shim_action action;
    unsigned at, jobs;
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

static void print_line(const char *name, const struct totals *totals, int64_t ms)
{
    printf("%-14s %4u calls %5u allocations %5u runs %4u failed %4u died in a library %4u not reached %6.1f s\n", name, totals->calls,
           totals->allocations, totals->runs, totals->failed, totals->alone, totals->unreached, (double)ms / 1000);
}

/* In one piece, so that the lines of scenarios that run at the same time do not mix. */
static void print_scenario(const struct runs *runs, const struct crash *crash, const struct totals *totals, int64_t ms)
{
    print_line(crash->scenario->name, totals, ms);
    print_deadly(runs);
    for (unsigned i = 0; i < runs->count; i++)
        if (runs->at[i].failure[0])
            print_run(&runs->at[i]);
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

static struct totals count_runs(const struct runs *runs, const struct crash *crash)
{
    struct totals totals = {.calls = crash->calls, .allocations = crash->allocations, .runs = runs->count};

    for (unsigned i = 0; i < runs->count; i++) {
        totals.failed += runs->at[i].failure[0] != '\0';
        totals.alone += runs->at[i].alone;
        totals.unreached += !runs->at[i].acted;
    }
    return totals;
}

/* The dry runs, then those that are wanted. Returns how many things were wrong beside the runs themselves. */
static unsigned run_within(struct crash *crash, struct runs *runs, const struct wanted *wanted)
{
    if (!dry_run(crash, runs))
        return 1;
    if (wanted->show_calls) {
        print_calls("calls", crash->control->calls_seen, crash->calls);
        print_calls("allocations", crash->control->allocations_seen, crash->allocations);
        return 0;
    }
    if (wanted->one)
        add_run(runs, crash->scenario, wanted->action, wanted->at);
    else
        add_all(runs, crash);
    play_all(crash, runs);
    return !souk_audit(crash->souk);
}

static void run_scenario(const struct scenario *scenario, const struct wanted *wanted, struct totals *totals)
{
    int64_t started = clock_now_ms();
    struct crash crash;
    struct runs runs = {NULL, 0, 0}, real;
    unsigned wrong;

    crash_start(&crash, scenario);
    wrong = run_within(&crash, &runs, wanted);
    wrong += crash_stop(&crash);
    real = (struct runs){runs.at + DRY_RUNS, runs.count - DRY_RUNS, 0};
    *totals = count_runs(&real, &crash);
    totals->failed += wrong;
    if (wanted->one && real.count == 1)
        print_one(real.at);
    else if (!wanted->show_calls)
        print_scenario(&real, &crash, totals, clock_now_ms() - started);
    free_runs(&runs);
}

/*
 * Each scenario is a process of its own with a Souk of its own, so many of them at a time: most of the time goes by in waiting. One that ends by
 * itself (something could not be started) is a failure of that scenario. Everything dies with this process.
 */
static void start_scenario(unsigned i, const struct wanted *wanted, struct totals *totals)
{
    pid_t parent = getpid(), pid = fork();

    if (pid < 0) {
        perror("souk-crash: cannot fork");
        exit(2);
    }
    if (pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(2);
    setvbuf(stdout, NULL, _IOFBF, PRINTED_MAX);
    run_scenario(&SCENARIOS[i], wanted, totals);
    fflush(stdout);
    _exit(0);
}

/* Returns whether it ended as it should. */
static bool await_one(void)
{
    int status;

    return wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void add_totals(struct totals *to, const struct totals *from)
{
    to->calls += from->calls;
    to->allocations += from->allocations;
    to->runs += from->runs;
    to->failed += from->failed;
    to->alone += from->alone;
    to->unreached += from->unreached;
}

/* Those that are marked in ${which}. */
static struct totals run_all(const bool *which, const struct wanted *wanted)
{
    struct totals sum = {0}, *parts = mmap(NULL, sizeof(*parts) * SCENARIO_COUNT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned running = 0;

    if (parts == MAP_FAILED) {
        perror("souk-crash: cannot map memory");
        exit(2);
    }
    for (unsigned i = 0; i < SCENARIO_COUNT; i++) {
        if (!which[i])
            continue;
        if (running == wanted->jobs)
            sum.failed += !await_one();
        else
            running++;
        start_scenario(i, wanted, &parts[i]);
    }
    for (; running > 0; running--)
        sum.failed += !await_one();
    for (unsigned i = 0; i < SCENARIO_COUNT; i++)
        add_totals(&sum, &parts[i]);
    munmap(parts, sizeof(*parts) * SCENARIO_COUNT);
    return sum;
}

/* ---- the command ---- */

/* SCENARIO:ACTION:K */
static bool read_only(char *text, struct wanted *wanted)
{
    char *action = strchr(text, ':'), *at = action ? strchr(action + 1, ':') : NULL;

    if (!at)
        return false;
    *action++ = *at++ = '\0';
    wanted->at = (unsigned)strtoul(at, NULL, 10);
    wanted->one = true;
    for (wanted->action = SHIM_DIE_BEFORE; wanted->action < SHIM_ACTIONS; wanted->action++)
        if (strcmp(ACTIONS[wanted->action].name, action) == 0)
            return wanted->at > 0;
    return false;
}

static bool mark(bool *which, const char *name)
{
    for (unsigned i = 0; i < SCENARIO_COUNT; i++)
        if (strcmp(SCENARIOS[i].name, name) == 0)
            return which[i] = true;
    fprintf(stderr, "souk-crash: there is no scenario \"%s\"; souk-crash --list names them\n", name);
    return false;
}

static int list(void)
{
    for (unsigned i = 0; i < SCENARIO_COUNT; i++)
        printf("%-14s %s\n", SCENARIOS[i].name, SCENARIOS[i].what);
    return 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: souk-crash [-j N] [--calls] [SCENARIO …]\n"
                    "       souk-crash --only SCENARIO:before|after|fail|short|memory:K\n"
                    "       souk-crash --list\n");
    return 2;
}

/* Returns the exit status if there is nothing to run, else -1. */
static int read_arguments(int argc, char **argv, struct wanted *wanted, bool *which)
{
    bool named = false;

    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;

        if (strcmp(argv[i], "--list") == 0)
            return list();
        if (strcmp(argv[i], "--calls") == 0)
            wanted->show_calls = true;
        else if (strcmp(argv[i], "-j") == 0 && more && atoi(argv[i + 1]) > 0)
            wanted->jobs = (unsigned)atoi(argv[++i]);
        else if (strcmp(argv[i], "--only") == 0 && more && read_only(argv[i + 1], wanted))
            named = mark(which, argv[++i]);
        else if (argv[i][0] == '-')
            return usage();
        else
            named = mark(which, argv[i]);
        if (argv[i][0] != '-' && strcmp(argv[i - 1], "-j") != 0 && !named)
            return 2;
    }
    for (unsigned i = 0; !named && i < SCENARIO_COUNT; i++)
        which[i] = true;
    return -1;
}

int main(int argc, char **argv)
{
    struct wanted wanted = {.jobs = 2};
    bool which[64] = {false};
    int64_t started = clock_now_ms();
    int status = read_arguments(argc, argv, &wanted, which);
    struct totals totals;

    if (status >= 0)
        return status;
#ifdef SHIM_WITHOUT_MEMORY
    printf("allocations are not counted and do not fail: this build's sanitizer has its own malloc\n");
    fflush(stdout);
#endif
    totals = run_all(which, &wanted);
    if (!wanted.show_calls)
        print_line("in all", &totals, clock_now_ms() - started);
    return totals.failed ? 1 : 0;
}
