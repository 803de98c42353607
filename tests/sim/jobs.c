#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "check.h"
#include "hash.h"

#include "library.h"

#include "commit.h"
#include "shard_sim.h"

#include "jobs.h"

#define PROCESSES_MAX 64
#define SAY_EVERY_S 60
#define KEEP_EVERY_S 10

/* What all processes see. */
struct shared {
    _Atomic uint64_t next, placed;
    _Atomic bool stop;
    _Atomic uint64_t under_way[PROCESSES_MAX]; /* each one's seed; 0: none */
};

struct run {
    const struct jobs *jobs;
    struct shared *shared;
    struct totals totals;
    pid_t processes[PROCESSES_MAX];
    int reports;
    double began, said, kept;
    uint64_t violations;
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- one process ---- */

static bool is_enough(const struct jobs *jobs, struct shared *shared, uint64_t seed)
{
    return shared->stop || (jobs->orders && shared->placed >= jobs->orders) || (jobs->seeds && seed - jobs->first >= jobs->seeds);
}

/* The next seed that is to be run, 0 if there is none. It is under way before it is taken, so that no look at both misses it. */
static uint64_t seed_take(const struct jobs *jobs, struct shared *shared, _Atomic uint64_t *under_way)
{
    for (uint64_t seed = shared->next;;) {
        if (is_enough(jobs, shared, seed))
            break;
        *under_way = seed;
        if (atomic_compare_exchange_strong(&shared->next, &seed, seed + 1))
            return seed;
    }
    *under_way = 0;
    return 0;
}

_Static_assert(sizeof(struct seed_report) <= PIPE_BUF, "a report is written at once");

/* A report is shorter than what a pipe takes at once, so reports do not mix. */
static void work(const struct jobs *jobs, struct shared *shared, unsigned process, int reports)
{
    struct fleet *fleets[FLEET_SHARDS_MAX] = {NULL};
    struct lua_library *library = shard_sim_library(jobs->library);
    uint64_t seed;
    while ((seed = seed_take(jobs, shared, &shared->under_way[process]))) {
        struct seed_report report = {.seed = seed};
        jobs->run(fleets, library, seed, &report);
        shared->placed += report.totals.placed;
        if (report.wrong[0])
            shared->stop = true;
        CHECK(write(reports, &report, sizeof(report)) == (ssize_t)sizeof(report));
    }
    for (unsigned i = 0; i < FLEET_SHARDS_MAX; i++)
        fleet_free(fleets[i]);
    lua_library_free(library);
    arena_thread_end();
}

/* ---- what is said ---- */

/* A hash of this program, so that a report says what it is of. */
static uint64_t program_hash(void)
{
    static const size_t piece = 65536;
    char *bytes = malloc(piece);
    FILE *file = fopen("/proc/self/exe", "rb");
    CHECK(bytes && file);
    uint64_t hash = 0;
    for (size_t len; (len = fread(bytes, 1, piece, file)) > 0;)
        hash = hash * 31 + hash128((struct view){bytes, len}, 0).high;
    fclose(file);
    free(bytes);
    return hash;
}

static void print_run(const struct run *run, FILE *out)
{
    const struct jobs *jobs = run->jobs;
    fprintf(out, "program %s-%08" PRIx64 ", function library %.*s, %u processes\n", SOUK_COMMIT, program_hash() & 0xffffffff,
            VIEW_ARG(jobs->library ? view_of(jobs->library) : SOUK_LIBRARIES[0].name), jobs->processes);
}

static void print_totals(const struct run *run, FILE *out)
{
    const struct totals *totals = &run->totals;
    const struct fleet_counts *counts = &totals->counts;
    double seconds = seconds_now() - run->began;
    uint64_t first = run->jobs->first, next = run->shared->next;
    fprintf(out, "seeds %" PRIu64 "-%" PRIu64, first, next - 1);
    for (unsigned i = 0; totals->seeds < next - first && i < run->jobs->processes; i++)
        if (run->shared->under_way[i])
            fprintf(out, ", but %" PRIu64, (uint64_t)run->shared->under_way[i]);
    fprintf(out,
            ": %" PRIu64 " orders placed, %" PRIu64 " refused, %" PRIu64 " payments, %" PRIu64 " requests, %" PRIu64
            " replays compared, %.1f simulated days, %.0f s (%.0f orders/s)\n",
            totals->placed, totals->refused, totals->paid, totals->requests, totals->replayed, (double)totals->simulated_s / 86400, seconds,
            (double)totals->placed / seconds);
    fprintf(out,
            "faults: %" PRIu64 " worker deaths, %" PRIu64 " worker pauses, %" PRIu64 " shard deaths (%" PRIu64 " calls rolled back), %" PRIu64
            " shard pauses, %" PRIu64 " connections cut, %" PRIu64 " clock jumps, %" PRIu64 " of the gateway; of %" PRIu64 " calls %" PRIu64
            " lost, %" PRIu64 " late and %" PRIu64 " turned away\n",
            counts->worker_deaths, counts->worker_pauses, counts->shard_deaths, counts->rolled_back, counts->shard_pauses, counts->cuts,
            counts->clock_jumps, counts->gateway_faults, counts->calls, counts->lost_calls, counts->late_calls,
            counts->turned_away);
    fflush(out);
}

/* The file is replaced as a whole, so that whoever reads it after any end finds a true one. */
static void keep_progress(const struct run *run, const char *verdict)
{
    char beside[4096];
    const char *path = run->jobs->progress;
    if (path == NULL)
        return;
    snprintf(beside, sizeof(beside), "%s.new", path);
    FILE *file = fopen(beside, "w");
    if (file == NULL) {
        fprintf(stderr, "cannot write %s: %s; the run goes on\n", beside, strerror(errno));
        return;
    }
    print_run(run, file);
    print_totals(run, file);
    fprintf(file, "%s\n", verdict);
    if (fclose(file) != 0 || rename(beside, path) != 0)
        fprintf(stderr, "cannot write %s: %s; the run goes on\n", path, strerror(errno));
}

static void say_now_and_then(struct run *run)
{
    double now = seconds_now();
    if (now - run->kept >= KEEP_EVERY_S) {
        keep_progress(run, "under way, no violation yet");
        run->kept = now;
    }
    if (!run->jobs->quiet && now - run->said >= SAY_EVERY_S) {
        print_totals(run, stdout);
        run->said = now;
    }
}

/* ---- the parent ---- */

static void add_report(struct run *run, const struct seed_report *report)
{
    for (size_t i = 0; i < sizeof(report->totals) / sizeof(uint64_t); i++)
        ((uint64_t *)&run->totals)[i] += ((const uint64_t *)&report->totals)[i];
    if (report->wrong[0] == '\0')
        return;
    run->violations++;
    printf("seed %" PRIu64 ": %s\n", report->seed, report->wrong);
}

/* SIGTERM and SIGINT are blocked, and looked for here: the processes are told to begin no other seed. */
static bool wants_stop(void)
{
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT);
}

/* Until every process has closed its end. */
static void listen_to(struct run *run)
{
    struct pollfd ready = {.fd = run->reports, .events = POLLIN};
    for (;;) {
        struct seed_report report;
        if (wants_stop())
            run->shared->stop = true;
        if (poll(&ready, 1, 200) > 0) {
            ssize_t len = read(run->reports, &report, sizeof(report));
            if (len == 0)
                return;
            CHECK(len == (ssize_t)sizeof(report));
            add_report(run, &report);
        }
        say_now_and_then(run);
    }
}

static void begin_processes(struct run *run)
{
    int ends[2];
    pid_t parent = getpid();
    CHECK(pipe(ends) == 0);
    fflush(stdout);
    for (unsigned i = 0; i < run->jobs->processes; i++) {
        run->processes[i] = fork();
        CHECK(run->processes[i] >= 0);
        if (run->processes[i] > 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(ends[0]);
        work(run->jobs, run->shared, i, ends[1]);
        exit(0);
    }
    close(ends[1]);
    run->reports = ends[0];
}

/* A process that ended by itself is a violation: its seed says how to repeat it. */
static void end_processes(struct run *run)
{
    for (unsigned i = 0; i < run->jobs->processes; i++) {
        int status;
        CHECK(waitpid(run->processes[i], &status, 0) == run->processes[i]);
        if (status == 0)
            continue;
        run->violations++;
        printf("seed %" PRIu64 ": its process ended with status %d\n", (uint64_t)run->shared->under_way[i], status);
    }
    close(run->reports);
}

int jobs_run(const struct jobs *jobs)
{
    struct run run = {.jobs = jobs, .began = seconds_now()};
    sigset_t stops;
    CHECK(jobs->processes >= 1 && jobs->processes <= PROCESSES_MAX && jobs->first > 0);
    run.said = run.kept = run.began;
    run.shared = mmap(NULL, sizeof(*run.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(run.shared != MAP_FAILED);
    run.shared->next = jobs->first;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    print_run(&run, stdout);
    begin_processes(&run);
    listen_to(&run);
    end_processes(&run);
    const char *verdict = run.violations ? "VIOLATION" : "no violation";
    print_totals(&run, stdout);
    printf("%s\n", verdict);
    keep_progress(&run, verdict);
    munmap(run.shared, sizeof(*run.shared));
    return run.violations ? 1 : 0;
}
