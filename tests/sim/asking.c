#include "check.h"

#include "functions.h"
#include "records.h"

#include "asking.h"

void asking_make(struct arena *arena, const struct asking *asking, struct ask *ask)
{
    *ask = (struct ask){.method = METHOD_POST, .route = asking->route, .format = FORMAT_JSON, .key = view_of(asking->key)};
    ask->ids[0] = asking->id;
    ask->request_id = asking->request_id ? view_of(asking->request_id) : VIEW("r");
    if (!asking->shape) {
        ask->raw_body = view_of(asking->json);
        return;
    }
    struct value *document = ARENA_NEW(arena, struct value);
    struct faults faults;
    void *body = arena_alloc(arena, asking->shape->size);
    faults_init(&faults, arena);
    CHECK(value_read(FORMAT_JSON, arena, view_of(asking->json), document) == NULL);
    CHECK(shape_read(asking->shape, document, body, arena, &faults));
    ask->document = document;
    ask->body = body;
}

struct call *asking_product(struct arena *arena, const struct topology *topology, int64_t id, int64_t price, int64_t stock)
{
    unsigned partition = topology_partition_of_id(topology, id);
    const struct product_doc doc = {.schema = SCHEMA, .price = price, .name = VIEW("thing"), .currency = VIEW("USD")};
    struct call *call = call_function(arena, &FN_PRODUCT_PUT, partition);
    call_keyf(call, "product:{%u}:%lld", partition, (long long)id);
    call_arg_int(call, partition);
    call_arg_int(call, id);
    call_arg(call, VIEW("create"));
    call_arg(call, VIEW(""));
    call_arg(call, record_store(&PRODUCT_DOC, arena, &doc));
    call_arg_int(call, stock);
    return call;
}
