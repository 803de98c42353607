#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "dump.h"

#include "audit_places.h"

/* ---- what is held ---- */

static int by_id(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

static void turn(struct place *list, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct place place = list[i];
        list[i] = list[count - 1 - i];
        list[count - 1 - i] = place;
    }
}

/* Ids grow with time, as scores do, so mostly these are in order already, or the other way round. */
static void sort(struct place *list, size_t count)
{
    size_t rising = 0;

    for (size_t i = 1; i < count; i++)
        rising += list[i].id > list[i - 1].id;
    if (rising == 0)
        turn(list, count);
    else if (rising + 1 < count)
        qsort(list, count, sizeof(*list), by_id);
}

void places_take(struct places *places, struct arena *arena, const struct item *answer)
{
    struct dump dump;

    *places = (struct places){.held = answer->type == ITEM_NIL, .unreadable = answer->type != ITEM_NIL};
    if (answer->type != ITEM_TEXT || !dump_open(&dump, answer->text, DUMP_ZSET, arena))
        return;
    places->list = (struct place *)arena_take(arena, (dump.left + 1) * sizeof(*places->list));
    while (dump_member(&dump, &places->list[places->count].id, &places->list[places->count].score))
        places->count++;
    places->held = dump_ended(&dump);
    places->unreadable = !places->held;
    sort(places->list, places->count);
}

double places_score(struct places *places, int64_t id)
{
    const struct place wanted = {.id = id}, *found = NULL;

    if (places->next < places->count && places->list[places->next].id == id)
        found = &places->list[places->next];
    else if (places->count > 0)
        found = bsearch(&wanted, places->list, places->count, sizeof(wanted), by_id);
    if (found == NULL)
        return NAN;
    places->next = (size_t)(found - places->list) + 1;
    return found->score;
}

double score_in(const struct item *answer)
{
    char copied[40];
    long long whole;

    if (answer->type != ITEM_TEXT || answer->text.len >= sizeof(copied))
        return NAN;
    if (view_to_int(answer->text, &whole))
        return (double)whole;
    snprintf(copied, sizeof(copied), "%.*s", VIEW_ARG(answer->text));
    return strtod(copied, NULL);
}

/* ---- who must be where ---- */

void claims_begin(struct claims *claims, struct arena *arena, size_t most)
{
    *claims = (struct claims){.arena = arena, .list = ARENA_ARRAY(arena, struct claim, most)};
}

/* NAN is not equal to anything. */
static void judge(const struct claimant *claimant, double score)
{
    *claimant->suspect |= score != *claimant->score;
}

struct claim *claims_add(struct claims *claims, struct places *places, const struct claimant *claimant)
{
    if (places->held) {
        judge(claimant, places_score(places, claimant->number));
        return NULL;
    }
    if (places->claim == NULL) {
        places->claim = &claims->list[claims->count++];
        places->claim->places = places;
    }
    struct claimant *copied = ARENA_NEW(claims->arena, struct claimant);
    *copied = *claimant;
    copied->next = places->claim->claimants;
    places->claim->claimants = copied;
    return places->claim;
}

void claims_end(struct claims *claims)
{
    for (size_t i = 0; i < claims->count; i++)
        claims->list[i].places->claim = NULL;
}

bool claim_whole(struct claim *claim, struct arena *arena, const struct item *answer)
{
    places_take(claim->places, arena, answer);
    for (const struct claimant *claimant = claim->claimants; claim->places->held && claimant; claimant = claimant->next)
        judge(claimant, places_score(claim->places, claimant->number));
    return claim->places->held;
}

void claim_scores(struct claim *claim, const struct reply *reply)
{
    size_t n = 0;

    for (const struct claimant *claimant = claim->claimants; claimant; claimant = claimant->next)
        judge(claimant, score_in(reply_item(reply, n++)));
}
