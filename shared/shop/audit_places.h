#ifndef AUDIT_PLACES_H
#define AUDIT_PLACES_H

#include <stdbool.h>

#include "arena.h"
#include "reply.h"

/*
 * A sorted set of a partition, read whole by DUMP: who is in it, and at which score. Zeroed: nothing is held. It is built for questions in the order
 * of the ids.
 */
struct place {
    int64_t id;
    double score;
};
struct places {
    struct place *list; /* by id */
    size_t count, next;
    bool held, unreadable; /* the latter: it was read and could not be */
    struct claim *claim; /* that is being gathered about it */
};

/* From the answer of DUMP; nil is an empty set. Nothing is held of what cannot be read. In ${arena}. */
void places_take(struct places *places, struct arena *arena, const struct item *answer);

/* NAN: it is not in it. */
double places_score(struct places *places, int64_t id);

/* A score that Redis answered; NAN: none. */
double score_in(const struct item *answer);

/*
 * Who must be in sorted sets, each at its score. Of a set that is held that is judged at once. Of others it is gathered, one claim for each set,
 * until they are asked for: whole, to be held from then on, or for the scores of just these. Who is not where he must be becomes suspect.
 */
struct claimant {
    struct view id;
    int64_t number;
    const double *score; /* known when it is compared */
    bool *suspect;
    struct claimant *next;
};
struct claim {
    struct places *places;
    struct view key; /* of the set; the caller's to set */
    struct claimant *claimants;
};
struct claims {
    struct arena *arena; /* of the claims */
    struct claim *list;
    size_t count;
};

/* Room for claims about ${most} sets, none yet. */
void claims_begin(struct claims *claims, struct arena *arena, size_t most);
/* Returns NULL if that is judged, else the claim that it belongs to now; .key.at is NULL in a new one. */
struct claim *claims_add(struct claims *claims, struct places *places, const struct claimant *claimant);
/* No more is gathered. */
void claims_end(struct claims *claims);

/* The answer of DUMP, which is held in ${arena}. Returns false if it cannot be read: then ask for the scores. */
bool claim_whole(struct claim *claim, struct arena *arena, const struct item *answer);
/* The answer of ZMSCORE of its claimants, in their order. */
void claim_scores(struct claim *claim, const struct reply *reply);

#endif
