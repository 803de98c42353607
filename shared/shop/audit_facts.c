#include "hash.h"

#include "audit_feed.h"

#include "audit_facts.h"

#define TEXTS 512 /* places, a power of two; half of them are used */
#define UNPAID (FACTS_WORDS * FACTS_WORDS)
#define TEXT (UNPAID + FACTS_WORDS)

enum standing { UNTOLD, ONCE, RIGHT, DOUBTED };

struct facts {
    struct arena *arena;
    struct view words[FACTS_WORDS];
    uint64_t sums[FACTS_WORDS];
    unsigned word_count, text_count;
    struct view texts[TEXTS];
    uint8_t standing[TEXT + TEXTS];
};

struct facts *facts_new(struct arena *arena)
{
    struct facts *facts = ARENA_NEW(arena, struct facts);

    facts->arena = arena;
    facts->word_count = 1; /* the empty one */
    return facts;
}

/* A few dozen words, most of them of different length: a walk is as quick as a hash. */
unsigned facts_word(struct facts *facts, struct view text)
{
    for (unsigned i = 0; i < facts->word_count; i++)
        if (view_equal(facts->words[i], text))
            return i;
    if (facts->word_count == FACTS_WORDS)
        return FACTS_NO_WORD;
    facts->words[facts->word_count] = arena_copy(facts->arena, text);
    facts->sums[facts->word_count] = feed_word(text);
    return facts->word_count++;
}

struct view facts_text(const struct facts *facts, unsigned word)
{
    return facts->words[word];
}

uint64_t facts_sum(const struct facts *facts, unsigned word)
{
    return facts->sums[word];
}

uint16_t fact_step(unsigned from, unsigned to)
{
    return from < FACTS_WORDS && to < FACTS_WORDS ? (uint16_t)(from * FACTS_WORDS + to) : FACT_NONE;
}

uint16_t fact_unpaid(unsigned word)
{
    return word < FACTS_WORDS ? (uint16_t)(UNPAID + word) : FACT_NONE;
}

uint16_t fact_text(struct facts *facts, struct view text)
{
    uint32_t at = hash32(text, 0) & (TEXTS - 1);

    while (facts->texts[at].at && !view_equal(facts->texts[at], text))
        at = (at + 1) & (TEXTS - 1);
    if (!facts->texts[at].at) {
        if (facts->text_count == TEXTS / 2)
            return FACT_NONE;
        facts->text_count++;
        facts->texts[at] = arena_copy(facts->arena, text);
    }
    return (uint16_t)(TEXT + at);
}

bool fact_right(const struct facts *facts, uint16_t fact)
{
    return fact != FACT_NONE && facts->standing[fact] == RIGHT;
}

void fact_learn(struct facts *facts, uint16_t fact)
{
    if (fact == FACT_NONE || facts->standing[fact] == RIGHT)
        return;
    facts->standing[fact] = facts->standing[fact] == ONCE ? RIGHT : ONCE;
}

bool fact_doubted(const struct facts *facts, uint16_t fact)
{
    return fact == FACT_NONE || facts->standing[fact] == DOUBTED;
}

void fact_doubt(struct facts *facts, uint16_t fact)
{
    if (fact != FACT_NONE && facts->standing[fact] != RIGHT)
        facts->standing[fact] = DOUBTED;
}
