#ifndef FLEET_H
#define FLEET_H

#include <stdbool.h>
#include <stdint.h>

#include "souk_fixture.h"

#include "proxy.h"
#include "shopper.h"

/*
 * The shop that is tortured: three shards, seven workers and the gateway, all real processes.
 *
 *   product, order, payment          straight to the shards and the gateway
 *   product, order, payment          the same through the fault proxy, each with lines of its own
 *   order                            with a wall clock that can be set (libfaketime)
 *   shard-1                          on a small disk of its own (tmpfs) that can be filled
 *   each shard                       on a disk that can be slow or broken, and whose power can fail (shard_disk.h)
 *
 * What this machine does not allow is left out, and said: fleet->no_disk, fleet->no_clock are then sentences.
 */
#define FLEET_SHARDS 3
#define FLEET_WORKERS_MAX 16
#define FLEET_ENV_MAX 6

struct fleet_worker {
    int number;
    enum souk_role role;
    char env_text[FLEET_ENV_MAX][512];
    const char *env[FLEET_ENV_MAX + 1];
};

struct fleet {
    struct souk *souk;
    struct proxy *proxy;
    int line_count;
    char line_names[PROXY_LINES_MAX][48];
    struct fleet_worker workers[FLEET_WORKERS_MAX];
    unsigned worker_count;
    char *dir;  /* of the disk and the clock's file */
    char *disk; /* mount point, NULL: there is none */
    struct shard_disk *disks[FLEET_SHARDS];
    char *clock; /* the clock's file, NULL: there is none */
    const char *no_disk, *no_clock;
};

/* For a disk of its own the process moves into a mount namespace of its own; must be called before there is any other thread. */
void fleet_before_threads(struct fleet *fleet);
/* ${shard_args}: more of redis-server's arguments, or NULL. Borrowed until fleet_stop. */
void fleet_start(struct fleet *fleet, const char *const *shard_args);
/* Names all workers to the market. */
void fleet_open(const struct fleet *fleet, struct market *market);
/* souk_launch, behind what would keep a worker with a clock of its own from starting. */
void fleet_launch(struct fleet *fleet, int worker);
/* Stops all workers, or lets them go on: in between nothing changes in the store. */
void fleet_freeze(struct fleet *fleet, bool frozen);
/* Returns how many things souk_stop found wrong. The directory stays until fleet_forget. */
unsigned fleet_stop(struct fleet *fleet);
/* Removes the directory, but for the history in it if that is to be kept, and frees what the fleet has. */
#define FLEET_HISTORY "/history"
void fleet_forget(struct fleet *fleet, bool keep);

/* Back to how long a shard's disk takes to sync: as one that is not bad does, so that something is nearly always not synced yet. */
void fleet_calm_disk(struct fleet *fleet, int shard);
/* No byte more fits on shard-1's disk, or it is large again. Returns false, and nothing changes, if that cannot be done now. */
bool fleet_fill_disk(struct fleet *fleet);
bool fleet_free_disk(struct fleet *fleet);
/* The wall clock of the one worker is off by so many seconds. */
void fleet_set_clock(struct fleet *fleet, long seconds);

#endif
