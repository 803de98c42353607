#ifndef VERDICT_INTERNAL_H
#define VERDICT_INTERNAL_H

#include "verdict.h"

/* The operation of this number; NULL: there is none. */
const struct op *op_at(const struct history *history, uint32_t number);

void judge_stock(struct verdict *verdict, const struct history *history, const struct evidence *evidence, const struct beginning *beginning);
void judge_orders(struct verdict *verdict, const struct history *history, const struct evidence *evidence);
void judge_answers(struct verdict *verdict, const struct history *history, const struct evidence *evidence);

#endif
