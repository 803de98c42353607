#ifndef TRACKING_H
#define TRACKING_H

#include "store_internal.h"

/*
 * What one shard says about changes of its records, told to the near cache: a connection of its own beside the one for calls.
 *
 *   OFF ──tracker_begin──▶ WAITING ──timer──▶ CONNECTING ──▶ ASKING ──▶ LIVE
 *    ▲                      ▲ back-off 25 ms … 1 s             │          │ a message: near_changed · a PONG: near_lease
 *    └──tracker_end─────────┴──────────any error: near_lost────┴──────────┘
 *
 * It is for a shard whose other connection is READY, and proves that it has reached the same server process (its run_id): news of another server
 * would say nothing about what is read on that one.
 */
struct tracker;
struct shard;

/* Returns NULL if memory is short. OFF. */
struct tracker *tracker_new(struct store *store, struct shard *shard);
/* The shard is READY; is no longer. Both may be called in any state. */
void tracker_begin(struct tracker *tracker);
void tracker_end(struct tracker *tracker);
/* It is OFF. NULL: does nothing. */
void tracker_free(struct tracker *tracker);

#endif
