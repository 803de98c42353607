#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fleet.h"

/*
 * What happens to the fleet, and when: a schedule thrown by seeded dice, in three streams (kills of workers, kills of shards, all else), so that
 * the same seed makes the same plan. What the processes are doing at those moments is theirs: real processes cannot be replayed.
 *
 * All of it runs in the thread that calls it. That must be the main thread: processes die with the thread that started them.
 */
struct pace {
    int worker_kill_ms, shard_kill_ms, other_ms; /* mean time between two; 0: never */
    int down_ms;                                 /* longest time that something killed stays dead */
    size_t lose_bytes;                           /* cut so much off the end of a killed shard's file: a fault that Souk does not promise to survive */
};

struct faults;

/* The market's history is told of each time in which a worker was dead or stopped; its file notes each fault among what the clients saw. */
struct faults *faults_new(struct fleet *fleet, const struct pace *pace, const struct market *market);
void faults_free(struct faults *faults);

/* Does what is due. To be called every few milliseconds. */
void faults_step(struct faults *faults);
/* Ends all that is under way: everything runs again, lines are good, clock and disk are as they were. */
void faults_mend(struct faults *faults);

/* For reports: the n-th kind of fault and how often it was done; NULL: there are no more. */
const char *faults_name(const struct faults *faults, unsigned n, unsigned long *count);
/* How many bytes were lost since they were not synced when a shard's power failed. */
size_t faults_unsynced(const struct faults *faults);
unsigned long faults_worker_kills(const struct faults *faults);
unsigned long faults_shard_kills(const struct faults *faults);

#endif
