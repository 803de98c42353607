#ifndef SHARD_DISK_INTERNAL_H
#define SHARD_DISK_INTERNAL_H

#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file that the test and its server have mapped. */
struct shard_disk_facts {
    volatile uint32_t slow_ms, broken; /* said by the test */
    volatile uint64_t inode;           /* said by the server: the file that was synced last, */
    volatile int64_t synced;           /* and its length then; -1: neither is known */
    volatile int64_t hole, hole_end;   /* what is in memory only, and taken for clean, since its sync has failed; 0, 0: nothing */
};

/* What the disk has there: NULs. ${file} is open for writing; what was cut off it is not made again. */
static inline void shard_disk_fill_hole(struct shard_disk_facts *facts, int file)
{
    static const char nuls[4096];
    struct stat now;
    int64_t at = facts->hole, end = facts->hole_end;
    if (end > 0 && fstat(file, &now) == 0 && now.st_ino == facts->inode)
        for (end = end < now.st_size ? end : now.st_size; at < end; at += (int64_t)sizeof(nuls))
            if (pwrite(file, nuls, (size_t)(end - at) < sizeof(nuls) ? (size_t)(end - at) : sizeof(nuls), at) < 0)
                return;
    facts->hole = facts->hole_end = 0;
}

#endif
