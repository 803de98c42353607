#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"

#include "redis_fixture.h"
#include "shard_disk.h"

#include "faults.h"
#include "rush.h"

#define ENDS_MAX 128

enum fault_kind {
    KILL_WORKER,
    KILL_SHARD,
    KILL_GATEWAY,
    STOP_WORKER,
    STOP_SHARD,
    LINE_DELAY,
    LINE_SLOW,
    LINE_CUT,
    LINE_CUT_AFTER,
    LINE_SWALLOW_OUT,
    LINE_SWALLOW_BACK,
    LINE_REFUSE,
    DISK_FULL,
    DISK_SLOW,
    DISK_BROKEN,
    MEMORY_FULL,
    FUNCTIONS_FLUSHED,
    FUNCTIONS_DELETED,
    CLIENTS_KILLED,
    CLOCK_JUMPED,
    REWRITE_AND_KILL,
    REWRITE,
    RUSH,
};
#define FAULT_KINDS 23

/* What ends something, and when. */
typedef void ender(struct faults *faults, int which);
struct end {
    int64_t at_ms;
    ender *end;
    int which;
};

enum stream { WORKER_STREAM, SHARD_STREAM, OTHER_STREAM };
#define STREAMS 3

struct faults {
    struct fleet *fleet;
    struct pace pace;
    const struct market *market;
    struct history *history;
    struct random random[STREAMS];
    int64_t next_ms[STREAMS];
    struct end ends[ENDS_MAX];
    unsigned end_count;
    bool mending;                              /* everything is being ended */
    int64_t worker_since_us[SOUK_WORKERS_MAX]; /* since when something is done to it; 0: nothing is */
    bool shard_busy[FLEET_SHARDS], line_busy[PROXY_LINES_MAX];
    struct rush rush;
    size_t unsynced; /* bytes that were lost with the power of shards */
    unsigned long counts[FAULT_KINDS];
};

static int64_t now_ms(void)
{
    return clock_us() / 1000;
}

/* ${which}: the worker, shard or line. */
static void end_later(struct faults *faults, int ms, ender *end, int which)
{
    if (faults->history->file)
        fprintf(faults->history->file, "# %lld: the next fault is of number %d and lasts %d ms\n", (long long)clock_us(), which, ms);
    if (faults->end_count < ENDS_MAX)
        faults->ends[faults->end_count++] = (struct end){now_ms() + ms, end, which};
    else
        end(faults, which);
}

static struct souk *souk_of(struct faults *faults)
{
    return faults->fleet->souk;
}

static struct redis_fixture *shard_of(struct faults *faults, int shard)
{
    return souk_shard(souk_of(faults), (unsigned)shard);
}

/* ---- workers ---- */

static void disturb(struct faults *faults, int number)
{
    faults->worker_since_us[number] = clock_us();
}

static void leave_alone(struct faults *faults, int number)
{
    history_disturb(faults->history, number, faults->worker_since_us[number], clock_us());
    faults->worker_since_us[number] = 0;
}

static void worker_starts(struct faults *faults, int number)
{
    fleet_launch(faults->fleet, number);
    leave_alone(faults, number);
}

static void worker_continues(struct faults *faults, int number)
{
    souk_resume(souk_of(faults), number);
    leave_alone(faults, number);
}

/* A worker that nothing is being done to, or -1. */
static int free_worker(struct faults *faults, struct random *random)
{
    const struct fleet *fleet = faults->fleet;
    int number = fleet->workers[random_between(random, 0, (int)fleet->worker_count - 1)].number;
    return faults->worker_since_us[number] ? -1 : number;
}

static bool kill_worker(struct faults *faults, struct random *random)
{
    int number = free_worker(faults, random), down = random_between(random, 0, faults->pace.down_ms);
    if (number < 0)
        return false;
    disturb(faults, number);
    souk_kill(souk_of(faults), number);
    end_later(faults, down, worker_starts, number);
    return true;
}

static bool kill_gateway(struct faults *faults, struct random *random)
{
    int down = random_between(random, 50, 600);
    if (faults->worker_since_us[SOUK_SANDBOX])
        return false;
    disturb(faults, SOUK_SANDBOX);
    souk_kill(souk_of(faults), SOUK_SANDBOX);
    end_later(faults, down, worker_starts, SOUK_SANDBOX);
    return true;
}

/* Mostly short; some stops are longer than a client, a lease, and a connection's patience. */
static int stop_ms(struct random *random)
{
    return random_percent(random, 70) ? random_between(random, 100, 1500) : random_between(random, 1500, 8000);
}

static bool stop_worker(struct faults *faults, struct random *random)
{
    int number = free_worker(faults, random), ms = stop_ms(random);
    if (number < 0)
        return false;
    disturb(faults, number);
    souk_pause(souk_of(faults), number);
    end_later(faults, ms, worker_continues, number);
    return true;
}

/* ---- shards ---- */

static int free_shard(struct faults *faults, struct random *random)
{
    int shard = random_between(random, 0, FLEET_SHARDS - 1);
    return faults->shard_busy[shard] ? -1 : shard;
}

static void shard_starts(struct faults *faults, int shard)
{
    souk_launch_shard(souk_of(faults), (unsigned)shard);
    faults->shard_busy[shard] = false;
}

static void shard_continues(struct faults *faults, int shard)
{
    souk_resume_shard(souk_of(faults), (unsigned)shard);
    faults->shard_busy[shard] = false;
}

/* Cuts the end off the file that the shard was writing: what no disk should do. */
static void lose_bytes(struct faults *faults, int shard)
{
    char dir[512], path[1024];
    snprintf(dir, sizeof(dir), "%s/appendonlydir", redis_dir(shard_of(faults, shard)));
    DIR *files = opendir(dir);
    struct dirent *file;
    struct stat status;
    while (files && (file = readdir(files)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", dir, file->d_name);
        if (strstr(file->d_name, ".incr.aof") == NULL || stat(path, &status) != 0)
            continue;
        off_t left = status.st_size > (off_t)faults->pace.lose_bytes ? status.st_size - (off_t)faults->pace.lose_bytes : 0;
        if (truncate(path, left) != 0)
            perror(path);
    }
    if (files)
        closedir(files);
}

/* The power fails: with the shard, which is dead, goes what it had not synced. */
static void power_fails(struct faults *faults, struct random *random, int shard)
{
    unsigned torn = (unsigned)random_between(random, 0, 1 << 20);
    if (faults->pace.lose_bytes)
        lose_bytes(faults, shard);
    else
        faults->unsynced += shard_disk_lose(faults->fleet->disks[shard], redis_dir(shard_of(faults, shard)), torn);
}

static void shard_dies(struct faults *faults, struct random *random, int shard, int down)
{
    souk_kill_shard(souk_of(faults), (unsigned)shard);
    power_fails(faults, random, shard);
    faults->shard_busy[shard] = true;
    end_later(faults, down, shard_starts, shard);
}

static bool kill_shard(struct faults *faults, struct random *random)
{
    int shard = free_shard(faults, random), down = random_between(random, 0, faults->pace.down_ms * 2);
    if (shard < 0)
        return false;
    shard_dies(faults, random, shard, down);
    return true;
}

static bool stop_shard(struct faults *faults, struct random *random)
{
    int shard = free_shard(faults, random), ms = random_percent(random, 80) ? random_between(random, 50, 1500) : random_between(random, 1500, 4000);
    if (shard < 0 || !redis_runs(shard_of(faults, shard)))
        return false;
    souk_pause_shard(souk_of(faults), (unsigned)shard);
    faults->shard_busy[shard] = true;
    end_later(faults, ms, shard_continues, shard);
    return true;
}

/* A command to a shard that answers. Returns false if it did not do it. */
static bool tell_shard(struct faults *faults, int shard, const char *const *argv)
{
    char *answer = shard < 0 || !redis_runs(shard_of(faults, shard)) ? NULL : redis_cmd(shard_of(faults, shard), argv);
    bool done = answer && answer[0] != '-';
    free(answer);
    return done;
}
#define TELL(faults, shard, ...) tell_shard((faults), (shard), (const char *const[]){__VA_ARGS__, NULL})

/* Workers may not load functions: somebody has to who may. That takes a while, and fails while a shard is away. */
static void functions_come_back(struct faults *faults, int shard)
{
    if (souk_control(souk_of(faults), "load") != 0 && !faults->mending)
        end_later(faults, 500, functions_come_back, shard);
}

static bool flush_functions(struct faults *faults, struct random *random)
{
    bool done = TELL(faults, free_shard(faults, random), "FUNCTION", "FLUSH");
    if (done)
        end_later(faults, random_between(random, 50, 1500), functions_come_back, 0);
    return done;
}

static bool delete_functions(struct faults *faults, struct random *random)
{
    int shard = free_shard(faults, random);
    char *list =
        shard < 0 || !redis_runs(shard_of(faults, shard)) ? NULL : REDIS(shard_of(faults, shard), "FUNCTION", "LIST", "LIBRARYNAME", "souk_*");
    char *name = list ? strstr(list, "souk_") : NULL;
    if (name)
        name[strcspn(name, "\n")] = '\0';
    bool done = name && TELL(faults, shard, "FUNCTION", "DELETE", name);
    if (done)
        end_later(faults, random_between(random, 50, 1500), functions_come_back, shard);
    free(list);
    return done;
}

static bool kill_clients(struct faults *faults, struct random *random)
{
    return TELL(faults, free_shard(faults, random), "CLIENT", "KILL", "TYPE", "normal");
}

static bool rewrite_and_kill(struct faults *faults, struct random *random)
{
    int shard = free_shard(faults, random), wait = random_between(random, 0, 60), down = random_between(random, 0, faults->pace.down_ms);
    if (!TELL(faults, shard, "BGREWRITEAOF"))
        return false;
    usleep((useconds_t)wait * 1000);
    shard_dies(faults, random, shard, down);
    faults->counts[KILL_SHARD]++;
    return true;
}

static bool rewrite(struct faults *faults, struct random *random)
{
    return TELL(faults, free_shard(faults, random), "BGREWRITEAOF");
}

static void memory_is_enough(struct faults *faults, int shard)
{
    faults->shard_busy[shard] = false;
    TELL(faults, shard, "CONFIG", "SET", "maxmemory", "0");
}

static bool fill_memory(struct faults *faults, struct random *random)
{
    int shard = free_shard(faults, random), ms = random_between(random, 100, 1500);
    if (!TELL(faults, shard, "CONFIG", "SET", "maxmemory", "1"))
        return false;
    faults->shard_busy[shard] = true;
    end_later(faults, ms, memory_is_enough, shard);
    return true;
}

/* The shard ends by itself when it cannot write (appendfsync always); it is started again once there is room. */
static void disk_is_large(struct faults *faults, int shard)
{
    fleet_free_disk(faults->fleet);
    faults->shard_busy[shard] = false;
    if (!redis_runs(shard_of(faults, shard)))
        souk_launch_shard(souk_of(faults), (unsigned)shard);
}

static bool fill_disk(struct faults *faults, struct random *random)
{
    int ms = random_between(random, 100, 1500);
    if (faults->shard_busy[0] || !fleet_fill_disk(faults->fleet))
        return false;
    faults->shard_busy[0] = true;
    end_later(faults, ms, disk_is_large, 0);
    return true;
}

static void disk_is_fast(struct faults *faults, int shard)
{
    fleet_calm_disk(faults->fleet, shard);
}

/* Not so slow that the half dozen calls of a payment, which may take 10 s, are longer under way than a client waits. */
static bool slow_disk(struct faults *faults, struct random *random)
{
    int shard = random_between(random, 0, FLEET_SHARDS - 1),
        sync_ms = random_percent(random, 70) ? random_between(random, 5, 50) : random_between(random, 50, 250);
    int ms = random_between(random, 200, 2500);
    shard_disk_slow(faults->fleet->disks[shard], (unsigned)sync_ms);
    end_later(faults, ms, disk_is_fast, shard);
    return true;
}

static void disk_is_whole(struct faults *faults, int shard)
{
    shard_disk_break(faults->fleet->disks[shard], false);
    faults->shard_busy[shard] = false;
    if (redis_runs(shard_of(faults, shard)))
        return;
    power_fails(faults, &faults->random[OTHER_STREAM], shard);
    souk_launch_shard(souk_of(faults), (unsigned)shard);
}

/* The shard ends by itself when it cannot sync (appendfsync always). */
static bool break_disk(struct faults *faults, struct random *random)
{
    int shard = free_shard(faults, random), ms = random_between(random, 50, 800);
    if (shard < 0)
        return false;
    shard_disk_break(faults->fleet->disks[shard], true);
    faults->shard_busy[shard] = true;
    end_later(faults, ms, disk_is_whole, shard);
    return true;
}

/* ---- lines and the clock ---- */

static void line_is_good(struct faults *faults, int line)
{
    proxy_set(faults->fleet->proxy, line, NULL);
    faults->line_busy[line] = false;
}

static bool spoil_line(struct faults *faults, struct random *random, const struct line_faults *how)
{
    int line = random_between(random, 0, faults->fleet->line_count - 1), ms = random_between(random, 200, 4000);
    if (faults->line_busy[line])
        return false;
    proxy_set(faults->fleet->proxy, line, how);
    if (how->refuse)
        proxy_cut(faults->fleet->proxy, line); /* else nobody would connect anew */
    faults->line_busy[line] = true;
    end_later(faults, ms, line_is_good, line);
    return true;
}

static bool delay_line(struct faults *faults, struct random *random)
{
    return spoil_line(faults, random, &(struct line_faults){.delay_ms = random_between(random, 5, 900)});
}

static bool slow_line(struct faults *faults, struct random *random)
{
    return spoil_line(faults, random, &(struct line_faults){.bytes_per_s = random_between(random, 200, 20000)});
}

static bool cut_line(struct faults *faults, struct random *random)
{
    proxy_cut(faults->fleet->proxy, random_between(random, 0, faults->fleet->line_count - 1));
    return true;
}

static bool cut_line_after(struct faults *faults, struct random *random)
{
    return spoil_line(faults, random, &(struct line_faults){.cut_after = (size_t)random_between(random, 1, 5000)});
}

static bool swallow_out(struct faults *faults, struct random *random)
{
    return spoil_line(faults, random, &(struct line_faults){.swallow_out = true});
}

static bool swallow_back(struct faults *faults, struct random *random)
{
    return spoil_line(faults, random, &(struct line_faults){.swallow_back = true});
}

static bool refuse_line(struct faults *faults, struct random *random)
{
    return spoil_line(faults, random, &(struct line_faults){.refuse = true});
}

static bool jump_clock(struct faults *faults, struct random *random)
{
    static const long JUMPS[] = {-86400, -3600, -5, 3, 45, 3600, 86400, 31536000};
    long jump = JUMPS[random_between(random, 0, 7)];
    if (faults->fleet->clock == NULL)
        return false;
    fleet_set_clock(faults->fleet, jump);
    return true;
}

/* ---- too many at once ---- */

static void rush_ends(struct faults *faults, int worker)
{
    while (!rush_over(&faults->rush, faults->history)) {
        if (!faults->mending) {
            end_later(faults, 100, rush_ends, worker);
            return;
        }
        pause_ms(10);
    }
}

static void rush_calms(struct faults *faults, int worker)
{
    rush_calm(&faults->rush);
    rush_ends(faults, worker);
}

static bool rush(struct faults *faults, struct random *random)
{
    const struct fleet *fleet = faults->fleet;
    const struct fleet_worker *worker = &fleet->workers[random_between(random, 0, (int)fleet->worker_count - 1)];
    int ms = random_between(random, 200, 1500);
    if (faults->rush.under_way)
        return false;
    rush_begin(&faults->rush, fleet->souk, worker, faults->market);
    end_later(faults, ms, rush_calms, worker->number);
    return true;
}

/* ---- the plan ---- */

/* weight: of the third stream; 0: this kind has a stream of its own. */
static const struct {
    const char *name;
    unsigned weight;
    bool (*begin)(struct faults *faults, struct random *random);
} KINDS[FAULT_KINDS] = {
    [KILL_WORKER] = {"worker killed (kill -9)", 0, kill_worker},
    [KILL_SHARD] = {"shard killed (kill -9, and what was not synced is lost), started from its file", 0, kill_shard},
    [KILL_GATEWAY] = {"gateway killed", 4, kill_gateway},
    [STOP_WORKER] = {"worker stopped and continued", 14, stop_worker},
    [STOP_SHARD] = {"shard stopped and continued", 8, stop_shard},
    [LINE_DELAY] = {"connection delayed", 7, delay_line},
    [LINE_SLOW] = {"connection slow", 6, slow_line},
    [LINE_CUT] = {"connections cut", 10, cut_line},
    [LINE_CUT_AFTER] = {"connections cut inside a request", 10, cut_line_after},
    [LINE_SWALLOW_OUT] = {"half-open: requests lost", 6, swallow_out},
    [LINE_SWALLOW_BACK] = {"half-open: answers lost", 10, swallow_back},
    [LINE_REFUSE] = {"connections refused", 6, refuse_line},
    [DISK_FULL] = {"disk of a shard full", 4, fill_disk},
    [DISK_SLOW] = {"disk of a shard slow", 6, slow_disk},
    [DISK_BROKEN] = {"disk of a shard does not sync", 4, break_disk},
    [MEMORY_FULL] = {"memory of a shard full (maxmemory)", 4, fill_memory},
    [FUNCTIONS_FLUSHED] = {"functions flushed", 4, flush_functions},
    [FUNCTIONS_DELETED] = {"function library deleted", 4, delete_functions},
    [CLIENTS_KILLED] = {"clients of a shard killed", 5, kill_clients},
    [CLOCK_JUMPED] = {"clock of a worker jumped", 6, jump_clock},
    [REWRITE_AND_KILL] = {"file rewritten, shard killed meanwhile", 3, rewrite_and_kill},
    [REWRITE] = {"file rewritten", 4, rewrite},
    [RUSH] = {"a worker gets more than it can do", 4, rush},
};

static unsigned pick_kind(struct random *random)
{
    int sum = 0, roll;
    for (unsigned i = 0; i < FAULT_KINDS; i++)
        sum += (int)KINDS[i].weight;
    roll = random_between(random, 0, sum - 1);
    for (unsigned i = 0;; i++) {
        roll -= (int)KINDS[i].weight;
        if (roll < 0)
            return i;
    }
}

static void run_stream(struct faults *faults, enum stream stream, int mean_ms)
{
    struct random *random = &faults->random[stream];
    if (mean_ms == 0 || now_ms() < faults->next_ms[stream])
        return;
    unsigned kind = stream == WORKER_STREAM ? KILL_WORKER : stream == SHARD_STREAM ? KILL_SHARD : pick_kind(random);
    bool done = KINDS[kind].begin(faults, random);
    faults->counts[kind] += done;
    if (done && faults->history->file)
        fprintf(faults->history->file, "# %lld: %s\n", (long long)clock_us(), KINDS[kind].name);
    /* Busy ones are passed over, at once. */
    faults->next_ms[stream] = now_ms() + (done ? random_between(random, mean_ms / 2, mean_ms * 3 / 2) : 1);
}

void faults_step(struct faults *faults)
{
    int64_t now = now_ms();
    for (unsigned i = 0; i < faults->end_count;) {
        struct end end = faults->ends[i];
        if (end.at_ms > now) {
            i++;
            continue;
        }
        faults->ends[i] = faults->ends[--faults->end_count];
        end.end(faults, end.which);
    }
    run_stream(faults, WORKER_STREAM, faults->pace.worker_kill_ms);
    run_stream(faults, SHARD_STREAM, faults->pace.shard_kill_ms);
    run_stream(faults, OTHER_STREAM, faults->pace.other_ms);
}

void faults_mend(struct faults *faults)
{
    faults->mending = true;
    while (faults->end_count) {
        struct end end = faults->ends[--faults->end_count];
        end.end(faults, end.which);
    }
    for (int line = 0; line < faults->fleet->line_count; line++)
        line_is_good(faults, line);
    fleet_free_disk(faults->fleet);
    fleet_set_clock(faults->fleet, 0);
    for (int shard = 0; shard < FLEET_SHARDS; shard++)
        memory_is_enough(faults, shard);
    souk_mend(souk_of(faults));
    faults->mending = false;
}

struct faults *faults_new(struct fleet *fleet, const struct pace *pace, const struct market *market)
{
    struct faults *faults = calloc(1, sizeof(*faults));
    faults->fleet = fleet;
    faults->pace = *pace;
    faults->market = market;
    faults->history = market->history;
    for (unsigned i = 0; i < STREAMS; i++)
        faults->random[i] = random_of(market->seed, i);
    const int means[STREAMS] = {pace->worker_kill_ms, pace->shard_kill_ms, pace->other_ms};
    for (unsigned i = 0; i < STREAMS; i++)
        faults->next_ms[i] = now_ms() + means[i];
    return faults;
}

void faults_free(struct faults *faults)
{
    free(faults);
}

const char *faults_name(const struct faults *faults, unsigned n, unsigned long *count)
{
    if (n >= FAULT_KINDS)
        return NULL;
    *count = faults->counts[n];
    return KINDS[n].name;
}

size_t faults_unsynced(const struct faults *faults)
{
    return faults->unsynced;
}

unsigned long faults_worker_kills(const struct faults *faults)
{
    return faults->counts[KILL_WORKER];
}

unsigned long faults_shard_kills(const struct faults *faults)
{
    return faults->counts[KILL_SHARD];
}
