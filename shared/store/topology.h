#ifndef TOPOLOGY_H
#define TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "view.h"

/*
 * Which shards there are and which partition lives on which. Immutable once made; threads share it read-only.
 *
 * Each partition is placed on a consistent-hash ring (MurmurHash3 of "name#replica", 160 points per unit of weight), clockwise to the next
 * shard that is not yet full: no shard takes more than 1.1 x its weighted share, rounded up (Mirrokni, Thorup, Zadimoghaddam:
 * Consistent Hashing with Bounded Loads, 2016). Adding a shard moves about P/(n+1) partitions.
 */
#define SHARDS_MAX 256
#define PARTITIONS_MAX 16384
/* How records are laid out, as souk:shard says. Raised when a version cannot read what the one before it wrote (docs/upgrade.md). */
#define STORE_LAYOUT 2

struct shard_address {
    char name[64];
    char host[256];
    int port;
    int weight;
};
struct topology {
    struct shard_address shards[SHARDS_MAX];
    unsigned shard_count;
    unsigned partitions; /* P, a power of two */
    long epoch;          /* rises by one with every change of the ring */
    uint16_t *owner;     /* P entries: partition → index into shards */
};

/*
 * Reads "name=host:port[*weight],…". Returns NULL and sets ${error} (a sentence that names the part that is wrong; static or malloc-free buffer
 * inside the function's thread) if the text, P or epoch is not acceptable. Freed by topology_free.
 */
struct topology *topology_new(const char *shards, int partitions, long epoch, const char **error);
void topology_free(struct topology *topology);

/* The partition of an id, and of a text (a buyer, a key): murmur3 modulo P. */
static inline unsigned topology_partition_of_id(const struct topology *topology, int64_t id)
{
    return (unsigned)((uint64_t)id & (topology->partitions - 1));
}
unsigned topology_partition_of_text(const struct topology *topology, struct view text);

/* The partitions of a shard as functions take them, those from ${from} on first: "7,9,3". */
struct view topology_partitions_of(const struct topology *topology, unsigned shard, unsigned from, struct arena *arena);

#endif
