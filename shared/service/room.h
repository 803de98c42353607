#ifndef ROOM_H
#define ROOM_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How many requests may be inside so that none waits much longer than SOUK_QUEUE_MS for those before it. Pure; door.c has its use.
 *
 * Looked at once in every SOUK_QUEUE_MS. When calls stand in line, only as many may be inside as were answered in that time, which makes them wait
 * about that long. When the line is short again the bound is not lifted but raised at each look: lifted, it would let in three times what can be done
 * until the next one, and then nobody for as long, and the shards would have too much and nothing to do by turns.
 */
#define ROOM_MIN 64       /* never fewer, or a moment without an answer would shut the door */
#define ROOM_FORGOTTEN 10 /* after so many times SOUK_QUEUE_MS without a request, what was before says nothing */

struct room {
    int64_t looked_us;
    unsigned answered; /* since then */
    unsigned bound;    /* so many may be inside; before the first look: 0 */
};

static inline bool room_is_due(const struct room *room, int64_t now_us, int64_t queue_us)
{
    return now_us - room->looked_us >= queue_us;
}

/* ${queued}: do calls stand in line for longer than ${queue_us}? Only when it is due. */
void room_look(struct room *room, int64_t now_us, int64_t queue_us, bool queued, unsigned inside_max);

#endif
