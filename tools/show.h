#ifndef SHOW_H
#define SHOW_H

#include "flow.h"

/*
 * soukctl get: one record as its shard has it, as a flow that answers with text for people.
 */
struct show {
    struct flow flow;
    const char *noun; /* "order", "payment", "product", "stock" */
    int64_t id;
    unsigned partition;
    struct buffer text;
    bool found, failed;
};

/* Is this a noun that can be shown? */
bool show_knows(const char *noun);

/* After it ended: show->text has what to print; show->failed: it is a sentence about what went wrong. */
struct show *show_new(struct arena *arena, const struct world *world, const char *noun, int64_t id);

#endif
