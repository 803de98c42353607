#ifndef ASKING_H
#define ASKING_H

#include "flow.h"
#include "shape.h"

/*
 * What the door makes of a POST: its JSON read and bound, or its lines as they are. The texts are borrowed until the flow has ended. Stops the
 * process if the body is no good.
 */
struct asking {
    const char *route, *key, *json;
    const char *request_id; /* NULL: "r" */
    const struct shape *shape; /* NULL: ${json} is lines, which the flow reads by itself */
    int64_t id; /* in the path; 0: none */
};
void asking_make(struct arena *arena, const struct asking *asking, struct ask *ask);

/* The call that makes a product, for setting up. */
struct call *asking_product(struct arena *arena, const struct topology *topology, int64_t id, int64_t price, int64_t stock);

#endif
