#ifndef VERDICT_H
#define VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "evidence.h"
#include "history.h"

/*
 * Whether what the clients were told (history) and what is there in the end (evidence) can both be true. No I/O: a test can hand in any history and
 * any evidence.
 *
 *   verdict_stock.c    conservation, no oversell, all or nothing: the ledgers, the counters and the orders
 *   verdict_orders.c   charges, terminal states, versions, what is stuck
 *   verdict_answers.c  acknowledged, refused, one effect for each key, linearizable, replays
 */
enum rule {
    RULE_CONSERVATION,
    RULE_OVERSELL,
    RULE_ALL_OR_NOTHING,
    RULE_CHARGE,
    RULE_REFUND,
    RULE_TERMINAL,
    RULE_VERSIONS,
    RULE_EVENTS,
    RULE_ACKNOWLEDGED,
    RULE_REFUSED,
    RULE_ONE_EFFECT,
    RULE_LINEARIZABLE,
    RULE_REPLAYS,
    RULE_ANSWERS,
    RULE_STUCK,
    RULE_AUDIT,
    RULE_PROCESSES,
};
#define RULES 17
#define TEXTS_MAX 12

struct verdict {
    struct {
        uint64_t checked, violations;
        char *texts[TEXTS_MAX]; /* of the first violations */
    } rules[RULES];
};

void verdict_init(struct verdict *verdict);
void verdict_free(struct verdict *verdict);
const char *rule_name(enum rule rule);
/* Counts one check of the rule; unless it is ${right}, a violation, told by the format. Returns ${right}. */
bool verdict_want(struct verdict *verdict, enum rule rule, bool right, const char *format, ...) __attribute__((format(printf, 4, 5)));
uint64_t verdict_violations(const struct verdict *verdict);

/* What the catalogue began with: each product with this many units at this price. */
struct beginning {
    int64_t units, price;
};

/* All rules but RULE_AUDIT and RULE_PROCESSES, which only the running system can tell. */
void verdict_judge(struct verdict *verdict, const struct history *history, const struct evidence *evidence, const struct beginning *beginning);

#endif
