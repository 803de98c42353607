#ifndef SHARD_DISK_INTERNAL_H
#define SHARD_DISK_INTERNAL_H

#include <stdint.h>

/* The file that the test and its server have mapped. */
struct shard_disk_facts {
    volatile uint32_t slow_ms, broken; /* said by the test */
    volatile uint64_t inode;           /* said by the server: the file that was synced last, */
    volatile int64_t synced;           /* and its length then; -1: neither is known */
};

#endif
