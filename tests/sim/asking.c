#include "check.h"

#include "asking.h"

void asking_make(struct arena *arena, const struct asking *asking, struct ask *ask)
{
    struct value *document = ARENA_NEW(arena, struct value);
    struct faults faults;
    *ask = (struct ask){.method = METHOD_POST, .route = asking->route, .format = FORMAT_JSON, .key = view_of(asking->key)};
    ask->ids[0] = asking->id;
    ask->request_id = VIEW("r");
    void *body = arena_alloc(arena, asking->shape->size);
    faults_init(&faults, arena);
    CHECK(value_read(FORMAT_JSON, arena, view_of(asking->json), document) == NULL);
    CHECK(shape_read(asking->shape, document, body, arena, &faults));
    ask->document = document;
    ask->body = body;
}
