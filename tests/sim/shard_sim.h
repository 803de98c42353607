#ifndef SHARD_SIM_H
#define SHARD_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "call.h"
#include "keyspace.h"
#include "lua_host.h"
#include "topology.h"

/*
 * One simulated shard: a keyspace, the real function library, a clock, and a disk that is behind.
 *
 *   shard_sim_run ─▶ done, not on disk yet (its answer must wait) ─ shard_sim_sync ─▶ on disk
 *                                 └─ shard_sim_crash: the latest of these are lost, the process begins anew
 *
 * So it is a redis-server with appendfsync always: no answer leaves before what it tells is on disk, and what was not answered may be lost, the
 * latest first, each call whole.
 */
struct shard_sim;

/* The function library, from a file or, ${path} NULL, the built one. Ends the process, saying why, if the file cannot be read. */
struct lua_library *shard_sim_library(const char *path);

/* ${library} is shared, and outlives the shard. */
struct shard_sim *shard_sim_new(const struct topology *topology, unsigned index, struct lua_library *library);
void shard_sim_free(struct shard_sim *shard);
/* An empty shard of this ring, on disk. Its clock is as it was. */
void shard_sim_clear(struct shard_sim *shard);

/* What TIME will say. The shard's clock is the caller's to move. */
void shard_sim_set_clock(struct shard_sim *shard, int64_t now_us);
int64_t shard_sim_now_us(const struct shard_sim *shard);
int64_t shard_sim_now_ms(const struct shard_sim *shard);

/*
 * Carries out ${call}. A function that writes is told ${limit_ms}, the latest time of this shard at which it may act. The answer is made in ${arena}.
 * Every run is a step that a crash can lose.
 */
const struct item *shard_sim_run(struct shard_sim *shard, const struct call *call, int64_t limit_ms, struct arena *arena);

/* The same by another process' clock and tap, and no step of this shard's: for whoever takes it back by the keyspace. */
const struct item *shard_sim_try(struct shard_sim *shard, struct lua_host *host, const struct call *call, int64_t limit_ms, struct arena *arena);

/* See lua_host_read_late. */
bool shard_sim_read_late(const struct shard_sim *shard);

/* How many runs are not on disk; all are from here on; the latest ${lost} of them are lost and the process begins anew. */
unsigned shard_sim_behind(const struct shard_sim *shard);
void shard_sim_sync(struct shard_sim *shard);
void shard_sim_crash(struct shard_sim *shard, unsigned lost);

/* With the search's clock that stands still: each call is told the same time. */
void shard_sim_stand_still(struct shard_sim *shard);

struct keyspace *shard_sim_keyspace(struct shard_sim *shard);

#endif
