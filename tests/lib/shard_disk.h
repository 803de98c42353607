#ifndef SHARD_DISK_H
#define SHARD_DISK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The disk below one redis-server, for tests: it can be slow or broken, and when the power fails, all that was written to the append-only file and
 * had not been synced is gone. A library that is preloaded into the server (shard_disk_preload.c) notes how far the file was synced; kill -9 alone
 * loses nothing of it, since the kernel lives on. What a sync could not write is lost for good: the kernel takes it for clean, shows it to who reads
 * it from memory, and no later sync writes it.
 *
 * souk-shard, by which it begins, has the library as well: mend a broken disk before it is started.
 *
 *   shard_disk_put ─▶ started again ─▶ … ─▶ killed ─▶ shard_disk_lose ─▶ started again
 */
struct shard_disk;
struct redis_fixture;

/* ${file}: where the library and the test meet; made here. Aborts the test if it cannot be made. */
struct shard_disk *shard_disk_new(const char *file);
/* Removes the file. */
void shard_disk_free(struct shard_disk *disk);
/* Below this server, from its next start on. */
void shard_disk_put(struct shard_disk *disk, struct redis_fixture *redis);

/* Each sync takes so much longer; each sync fails (EIO), which ends a server with appendfsync always. */
void shard_disk_slow(struct shard_disk *disk, unsigned ms);
void shard_disk_break(struct shard_disk *disk, bool broken);
/*
 * The power has failed: the server, whose directory is ${dir}, is dead. Cuts what was not synced off its file, but for a part of it: ${torn} is a
 * random number. Returns how many bytes are lost.
 */
size_t shard_disk_lose(struct shard_disk *disk, const char *dir, unsigned torn);

#endif
