#ifndef ERRAND_LINE_H
#define ERRAND_LINE_H

#include "flow.h"

/*
 * Errands in the order in which they came: what a port has to do, or to complete in its next turn. It owns none; an errand stands in one line at a
 * time.
 */
struct errand_line {
    struct errand *first, **last;
    unsigned count;
};

static inline void errand_line_init(struct errand_line *line)
{
    *line = (struct errand_line){.last = &line->first};
}

static inline void errand_line_add(struct errand_line *line, struct errand *errand)
{
    errand->next = NULL;
    *line->last = errand;
    line->last = &errand->next;
    line->count++;
}

/* The first one, which then stands in no line; NULL if there is none. */
static inline struct errand *errand_line_take(struct errand_line *line)
{
    struct errand *errand = line->first;
    if (errand == NULL)
        return NULL;
    line->first = errand->next;
    if (line->first == NULL)
        line->last = &line->first;
    line->count--;
    return errand;
}

/* All that stand in ${from} stand in ${to} then, which had none. Those that come to ${from} afterwards are not among them. */
static inline void errand_line_move(struct errand_line *to, struct errand_line *from)
{
    *to = *from;
    if (to->first == NULL)
        to->last = &to->first;
    errand_line_init(from);
}

#endif
