#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "verdict_internal.h"

static const char *const NAMES[RULES] = {
    [RULE_CONSERVATION] = "units are conserved",
    [RULE_OVERSELL] = "nothing is oversold",
    [RULE_ALL_OR_NOTHING] = "an order has all its lines or none",
    [RULE_CHARGE] = "one charge for each order",
    [RULE_REFUND] = "money agrees with the gateway",
    [RULE_TERMINAL] = "one terminal state",
    [RULE_VERSIONS] = "versions rise by one",
    [RULE_EVENTS] = "one event for each version",
    [RULE_ACKNOWLEDGED] = "no acknowledged write is lost",
    [RULE_REFUSED] = "no refused write is effective",
    [RULE_ONE_EFFECT] = "one effect for each key",
    [RULE_LINEARIZABLE] = "each record is linearizable",
    [RULE_REPLAYS] = "replays have the same bytes",
    [RULE_ANSWERS] = "every answer is one of the interface",
    [RULE_STUCK] = "nothing is stuck",
    [RULE_AUDIT] = "the audit is clean",
    [RULE_PROCESSES] = "no process ends by itself",
};

void verdict_init(struct verdict *verdict)
{
    *verdict = (struct verdict){.rules = {{0}}};
}

void verdict_free(struct verdict *verdict)
{
    for (int i = 0; i < RULES; i++)
        for (int n = 0; n < TEXTS_MAX; n++)
            free(verdict->rules[i].texts[n]);
}

const char *rule_name(enum rule rule)
{
    return NAMES[rule];
}

bool verdict_want(struct verdict *verdict, enum rule rule, bool right, const char *format, ...)
{
    verdict->rules[rule].checked++;
    if (right)
        return true;
    uint64_t n = verdict->rules[rule].violations++;
    va_list args;
    va_start(args, format);
    if (n < TEXTS_MAX && vasprintf(&verdict->rules[rule].texts[n], format, args) < 0)
        verdict->rules[rule].texts[n] = NULL;
    va_end(args);
    return false;
}

uint64_t verdict_violations(const struct verdict *verdict)
{
    uint64_t sum = 0;
    for (int i = 0; i < RULES; i++)
        sum += verdict->rules[i].violations;
    return sum;
}

const struct op *op_at(const struct history *history, uint32_t number)
{
    return number >= 1 && number <= history->op_count ? history->ops[number - 1] : NULL;
}

void verdict_judge(struct verdict *verdict, const struct history *history, const struct evidence *evidence, const struct beginning *beginning)
{
    verdict_want(verdict, RULE_VERSIONS, evidence->unreadable == 0, "%u entries could not be understood, the first is %s", evidence->unreadable,
                 evidence->first_unreadable);
    judge_stock(verdict, history, evidence, beginning);
    judge_orders(verdict, history, evidence);
    judge_answers(verdict, history, evidence);
}
