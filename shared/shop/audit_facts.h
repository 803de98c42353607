#ifndef AUDIT_FACTS_H
#define AUDIT_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"

/*
 * What audit_orders has found right, as far as it can be said without ids, times and amounts: "from reserved|pending to paid|paid", "paid, by one
 * payment that succeeded as a charge, nothing refunded, no duty". There are few such facts among many orders. So the worker has no copy of the rules
 * of states and payments: an order with a fact that was not met before is asked about, and when the function has found nothing wrong with two such,
 * the fact is right, for this audit. One would not do: it can have moved between being read and being asked about.
 */
struct facts;

/* In ${arena}; nothing is known yet. Cannot fail. */
struct facts *facts_new(struct arena *arena);

/* The number of a word ("paid|paid|", "succeeded|", empty: before the first version); FACTS_NO_WORD when there are too many to be remembered. */
#define FACTS_WORDS 64
#define FACTS_NO_WORD FACTS_WORDS
unsigned facts_word(struct facts *facts, struct view text);
/* Its text, and its number in the comparison with the feed (feed_word). */
struct view facts_text(const struct facts *facts, unsigned word);
uint64_t facts_sum(const struct facts *facts, unsigned word);

/* The number of a fact: a step from one word to the next, an order without payments, or any text. FACT_NONE: it cannot be remembered. */
#define FACT_NONE UINT16_MAX
uint16_t fact_step(unsigned from, unsigned to);
uint16_t fact_unpaid(unsigned word);
uint16_t fact_text(struct facts *facts, struct view text);

/*
 * Is it known to be right; an order with it was found right; it was among those that something was wrong with, so that it says nothing to ask about
 * one and wait for the answer.
 */
bool fact_right(const struct facts *facts, uint16_t fact);
void fact_learn(struct facts *facts, uint16_t fact);
bool fact_doubted(const struct facts *facts, uint16_t fact);
void fact_doubt(struct facts *facts, uint16_t fact);

#endif
