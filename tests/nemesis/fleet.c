#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "redis_fixture.h"
#include "scratch_dir.h"
#include "shard_disk.h"

#include "fleet.h"

#define SYNC_MS 2
#define DISK_OPTIONS "size=1g,mode=700"

#define ENV_OF_ALL "SOUK_GATEWAY_TIMEOUT_MS=600", "SOUK_DEADLINE_MS=2500", "SOUK_LOG_LEVEL=warn"
static const char *const ENV[] = {ENV_OF_ALL, NULL};
static const char *const ENV_OF_UNSAFE[] = {ENV_OF_ALL, "SOUK_FSYNC=no", NULL}; /* for shards whose arguments say that they lose bytes */

static char *text_of(const char *first, const char *second)
{
    char *text;
    if (asprintf(&text, "%s%s", first, second) < 0)
        abort();
    return text;
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        fprintf(stderr, "cannot write %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* ---- the disk ---- */

static void map_id(const char *path, unsigned id)
{
    char map[64];
    snprintf(map, sizeof(map), "%u %u 1", id, id);
    write_file(path, map);
}

/* Without root the namespace is a user's own, in which he may mount; he and his group stay who they are. */
static bool leave_mounts(void)
{
    unsigned uid = getuid(), gid = getgid();
    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
            return false;
        write_file("/proc/self/setgroups", "deny"); /* without it the kernel takes no map of groups */
        map_id("/proc/self/uid_map", uid);
        map_id("/proc/self/gid_map", gid);
    }
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

void fleet_before_threads(struct fleet *fleet)
{
    *fleet = (struct fleet){.dir = text_of(scratch_home(), "/souk-fleet-XXXXXX")};
    if (mkdtemp(fleet->dir) == NULL) {
        fprintf(stderr, "cannot make %s: %s\n", fleet->dir, strerror(errno));
        abort();
    }
    char *disk = text_of(fleet->dir, "/disk");
    if (mkdir(disk, 0700) == 0 && leave_mounts() && mount("souk-nemesis", disk, "tmpfs", 0, DISK_OPTIONS) == 0) {
        fleet->disk = disk;
        return;
    }
    fleet->no_disk = "disk full is left out: this user may not mount a tmpfs";
    free(disk);
}

/* A tmpfs can be made smaller while it is in use, down to what is on it: then it is full, without a byte written. */
bool fleet_fill_disk(struct fleet *fleet)
{
    struct statfs now;
    char options[64];
    for (int tries = 0; fleet->disk && tries < 20; tries++) {
        if (statfs(fleet->disk, &now) != 0)
            return false;
        unsigned long long used = (unsigned long long)(now.f_blocks - now.f_bfree) * (unsigned long long)now.f_bsize;
        snprintf(options, sizeof(options), "size=%llu", used + (unsigned long long)now.f_bsize * (unsigned long long)tries);
        if (mount("souk-nemesis", fleet->disk, "tmpfs", MS_REMOUNT, options) == 0)
            return true;
    }
    return false;
}

bool fleet_free_disk(struct fleet *fleet)
{
    return fleet->disk && mount("souk-nemesis", fleet->disk, "tmpfs", MS_REMOUNT, "size=1g") == 0;
}

/* ---- the clock ---- */

void fleet_set_clock(struct fleet *fleet, long seconds)
{
    char text[32];
    snprintf(text, sizeof(text), "%+ld", seconds);
    if (fleet->clock)
        write_file(fleet->clock, text);
}

static char *find_faketime(void)
{
    glob_t found;
    char *path = NULL;
    if (glob("/usr/lib/*/faketime/libfaketimeMT.so.1", 0, NULL, &found) == 0) {
        path = strdup(found.gl_pathv[0]);
        globfree(&found);
    }
    return path;
}

static void remove_of_the_dead(const char *pattern)
{
    glob_t found;
    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        pid_t pid = atoi(strrchr(found.gl_pathv[i], '_') + 1);
        if (kill(pid, 0) != 0 && errno == ESRCH)
            unlink(found.gl_pathv[i]);
    }
    globfree(&found);
}

/*
 * Each process with libfaketime has a semaphore and a segment of memory of its pid's name. Of one that is killed they stay, and the next with that
 * pid ends at once ("shm_open failed: File exists").
 */
static void sweep_faketime(void)
{
    remove_of_the_dead("/dev/shm/sem.faketime_sem_*");
    remove_of_the_dead("/dev/shm/faketime_shm_*");
}

/* ---- workers ---- */

static struct fleet_worker *worker_add(struct fleet *fleet, enum souk_role role)
{
    struct fleet_worker *worker = &fleet->workers[fleet->worker_count++];
    *worker = (struct fleet_worker){.role = role};
    return worker;
}

static void env_add(struct fleet_worker *worker, const char *name, const char *value)
{
    int n = 0;
    while (worker->env[n])
        n++;
    snprintf(worker->env_text[n], sizeof(worker->env_text[n]), "%s=%s", name, value);
    worker->env[n] = worker->env_text[n];
}

static int line_add(struct fleet *fleet, int port, const char *from, const char *to)
{
    int line = proxy_add(fleet->proxy, port);
    snprintf(fleet->line_names[line], sizeof(fleet->line_names[line]), "%s to %s", from, to);
    fleet->line_count = line + 1;
    return line;
}

static void add_through_proxy(struct fleet *fleet, enum souk_role role, const char *name)
{
    struct fleet_worker *worker = worker_add(fleet, role);
    char shards[256] = "", gateway[64];
    for (unsigned i = 0; i < FLEET_SHARDS; i++) {
        char shard[16];
        size_t len = strlen(shards);
        snprintf(shard, sizeof(shard), "shard-%u", i + 1);
        int line = line_add(fleet, redis_port(souk_shard(fleet->souk, i)), name, shard);
        snprintf(shards + len, sizeof(shards) - len, "%s%s=127.0.0.1:%d", i ? "," : "", shard, proxy_port(fleet->proxy, line));
    }
    env_add(worker, "SOUK_SHARDS", shards);
    if (role == SOUK_PAYMENT) {
        int line = line_add(fleet, souk_worker_port(fleet->souk, SOUK_SANDBOX), name, "gateway");
        snprintf(gateway, sizeof(gateway), "http://127.0.0.1:%d", proxy_port(fleet->proxy, line));
        env_add(worker, "SOUK_GATEWAY_URL", gateway);
    }
    worker->number = souk_add_with(fleet->souk, role, worker->env);
}

/* Only the wall clock is faked; a monotonic clock that jumps is no clock of this world. */
static void add_with_clock(struct fleet *fleet)
{
    struct fleet_worker *worker = worker_add(fleet, SOUK_ORDER);
    char *library = find_faketime();
#ifdef SOUK_SANITIZED
    fleet->no_clock = "the jumping clock is left out: libfaketime and the sanitizers do not go together";
#else
    fleet->no_clock = library ? NULL : "the jumping clock is left out: libfaketime is not installed (package faketime)";
#endif
    if (fleet->no_clock == NULL) {
        fleet->clock = text_of(fleet->dir, "/clock");
        fleet_set_clock(fleet, 0);
        env_add(worker, "LD_PRELOAD", library);
        env_add(worker, "FAKETIME_TIMESTAMP_FILE", fleet->clock);
        env_add(worker, "FAKETIME_NO_CACHE", "1");
        env_add(worker, "FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    free(library);
    worker->number = souk_add_with(fleet->souk, SOUK_ORDER, worker->env);
}

void fleet_calm_disk(struct fleet *fleet, int shard)
{
    shard_disk_slow(fleet->disks[shard], SYNC_MS);
}

/* Each shard begins anew, with the library that stands for its disk. */
static void add_disks(struct fleet *fleet)
{
    for (unsigned i = 0; i < FLEET_SHARDS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "/disk-%u", i + 1);
        char *file = text_of(fleet->dir, name);
        fleet->disks[i] = shard_disk_new(file);
        fleet_calm_disk(fleet, (int)i);
        shard_disk_put(fleet->disks[i], souk_shard(fleet->souk, i));
        souk_restart_shard(fleet->souk, i);
        free(file);
    }
    souk_mend(fleet->souk);
}

void fleet_start(struct fleet *fleet, const char *const *shard_args)
{
    const struct souk_settings settings = {
        .shards = FLEET_SHARDS,
        .roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true, [SOUK_PAYMENT] = true},
        .env = shard_args ? ENV_OF_UNSAFE : ENV,
        .shard_home = {fleet->disk},
        .shard_args = shard_args,
    };
    fleet->souk = souk_start(&settings);
    add_disks(fleet);
    fleet->proxy = proxy_start();
    for (int role = 0; role < SOUK_SANDBOX; role++)
        worker_add(fleet, (enum souk_role)role)->number = role;
    add_through_proxy(fleet, SOUK_PRODUCT, "product");
    add_through_proxy(fleet, SOUK_ORDER, "order");
    add_through_proxy(fleet, SOUK_PAYMENT, "payment");
    add_with_clock(fleet);
}

void fleet_open(const struct fleet *fleet, struct market *market)
{
    for (unsigned i = 0; i < fleet->worker_count; i++)
        market_worker(market, fleet->workers[i].role, fleet->workers[i].number, souk_url(fleet->souk, fleet->workers[i].number));
}

void fleet_launch(struct fleet *fleet, int number)
{
    sweep_faketime();
    souk_launch(fleet->souk, number);
}

void fleet_freeze(struct fleet *fleet, bool frozen)
{
    for (unsigned i = 0; i < fleet->worker_count; i++)
        if (frozen)
            souk_pause(fleet->souk, fleet->workers[i].number);
        else
            souk_resume(fleet->souk, fleet->workers[i].number);
}

unsigned fleet_stop(struct fleet *fleet)
{
    unsigned wrong = souk_stop(fleet->souk);
    sweep_faketime();
    proxy_stop(fleet->proxy);
    for (unsigned i = 0; i < FLEET_SHARDS; i++)
        shard_disk_free(fleet->disks[i]);
    if (fleet->clock)
        unlink(fleet->clock);
    if (fleet->disk)
        umount2(fleet->disk, MNT_DETACH);
    char *disk = text_of(fleet->dir, "/disk");
    rmdir(disk);
    free(disk);
    return wrong;
}

void fleet_forget(struct fleet *fleet, bool keep)
{
    char *history = text_of(fleet->dir, FLEET_HISTORY);
    if (!keep)
        unlink(history);
    if (rmdir(fleet->dir) != 0)
        fprintf(stderr, "the history is in %s\n", history);
    free(history);
    free(fleet->disk);
    free(fleet->clock);
    free(fleet->dir);
}
