#include "functions.h"
#include "outcomes.h"
#include "txn.h"

#include "product.h"

/*
 *   POST    PRODUCT_CREATE ─▶ 201, or what it was the first time
 *   PUT     PRODUCT_PUT ─▶ 201 or 200 · STALE, but If-Match names the version found as well ─▶ PRODUCT_PUT again
 *   DELETE  PRODUCT_DELETE ─▶ 204 · STALE likewise
 *
 * Every answer shows the document as it is stored, not as it was sent, so that a replay has the same bytes: 0.10 in an attribute is stored as a
 * float64.
 */

/* ---- POST /products ---- */

struct product_create {
    struct flow flow;
    struct view bytes;
};

static void create_start(struct flow *flow)
{
    struct product_create *create = (struct product_create *)flow;
    const struct product_body *body = flow->ask->body;
    struct product_doc doc;
    struct faults faults;
    faults_init(&faults, flow->arena);
    if (!product_check(flow, body, &faults, &doc)) {
        flow_end(flow);
        return;
    }
    create->bytes = record_store(&PRODUCT_DOC, flow->arena, &doc);
    struct txn_key key = txn_key(flow->arena, flow->ask, VIEW("POST /products"));
    unsigned partition = txn_partition(flow->world->topology, &key);
    struct call *call = call_function(flow->arena, &FN_PRODUCT_CREATE, partition);
    call_keyf(call, "idem:{%u}:%s", partition, key.hash);
    call_arg_int(call, partition);
    call_arg(call, view_of(key.fingerprint));
    call_arg(call, create->bytes);
    call_arg_int(call, body->stock);
    flow_call(flow, call, 0, 0);
}

static void create_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct product_create *create = (struct product_create *)flow;
    if (reply->kind == REPLY_OK)
        product_answer(flow, 201, reply_int(reply, 0), reply_int(reply, 1), create->bytes, false);
    else if (reply->code == CODE_REPLAY)
        product_answer(flow, 201, reply_int(reply, 0), reply_int(reply, 1), reply_text(reply, 2), true);
    else if (reply->code == CODE_KEY_REUSED)
        product_key_reused(flow);
    else
        product_failed(flow, reply, "creating");
    flow_end(flow);
}

const struct flow_type PRODUCT_CREATE_FLOW = {
    .name = "product_create", .size = sizeof(struct product_create), .start = create_start, .got_reply = create_got_reply};

/* ---- PUT /products/{id} ---- */

struct product_put {
    struct flow flow;
    struct view bytes;
    int64_t expected;
    unsigned tries;
};

static void put_send(struct product_put *put)
{
    struct flow *flow = &put->flow;
    const struct product_body *body = flow->ask->body;
    struct call *call = product_function(flow, &FN_PRODUCT_PUT, flow->ask->ids[0]);
    if (flow->ask->create_only) {
        call_arg(call, VIEW("create"));
        call_arg(call, VIEW(""));
        call_arg(call, put->bytes);
        call_arg_int(call, body->stock);
    } else {
        call_arg(call, VIEW("replace"));
        product_add_expected(call, flow, put->expected);
        call_arg(call, put->bytes);
        call_arg(call, VIEW(""));
    }
    put->tries++;
    flow_call(flow, call, 0, 0);
}

static bool put_condition(struct product_put *put)
{
    const struct ask *ask = put->flow.ask;
    if (!ask->create_only)
        return product_condition(&put->flow, &put->expected);
    if (ask->if_match.at == NULL)
        return true;
    answer_refuse(&put->flow, &OUTCOME_BAD_REQUEST,
                  "If-Match and If-None-Match: * contradict each other: send the first to replace, the second to create");
    return false;
}

static bool put_read(struct product_put *put)
{
    struct flow *flow = &put->flow;
    const struct product_body *body = flow->ask->body;
    struct product_doc doc;
    struct faults faults;
    faults_init(&faults, flow->arena);
    if (body->has_stock && !flow->ask->create_only)
        faults_add(&faults, VIEW("/stock"), "can be given when the product is created; later use POST /products/%lld/stock-adjustments",
                   (long long)flow->ask->ids[0]);
    if (!put_condition(put) || !product_check(flow, body, &faults, &doc))
        return false;
    put->bytes = record_store(&PRODUCT_DOC, flow->arena, &doc);
    return true;
}

static void put_start(struct flow *flow)
{
    struct product_put *put = (struct product_put *)flow;
    if (put_read(put))
        put_send(put);
    else
        flow_end(flow);
}

static void put_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct product_put *put = (struct product_put *)flow;
    bool create = flow->ask->create_only;
    int64_t found = reply_int(reply, 0);
    if (reply->code == CODE_STALE && !create && product_may_retry(flow, found, put->tries)) {
        put->expected = found;
        put_send(put);
        return;
    }
    if (reply->kind == REPLY_OK)
        product_answer(flow, create ? 201 : 200, flow->ask->ids[0], found, put->bytes, false);
    else if (reply->code == CODE_STALE)
        product_stale(flow, found);
    else if (reply->code == CODE_NOT_FOUND && !create)
        product_missing(flow);
    else
        product_failed(flow, reply, create ? "creating" : "replacing");
    flow_end(flow);
}

const struct flow_type PRODUCT_PUT_FLOW = {.name = "product_put", .size = sizeof(struct product_put), .start = put_start, .got_reply = put_got_reply};

/* ---- DELETE /products/{id} ---- */

struct product_delete {
    struct flow flow;
    int64_t expected;
    unsigned tries;
};

static void delete_send(struct product_delete *removal)
{
    struct flow *flow = &removal->flow;
    struct call *call = product_function(flow, &FN_PRODUCT_DELETE, flow->ask->ids[0]);
    product_add_expected(call, flow, removal->expected);
    removal->tries++;
    flow_call(flow, call, 0, 0);
}

static void delete_start(struct flow *flow)
{
    struct product_delete *removal = (struct product_delete *)flow;
    if (product_condition(flow, &removal->expected))
        delete_send(removal);
    else
        flow_end(flow);
}

static void answer_held(struct flow *flow, int64_t held, int64_t committed)
{
    struct writer *w = answer_problem(flow, &OUTCOME_UNITS_HELD, 2,
                                      "%lld units of product %lld are held by orders and %lld are sold, not yet fulfilled; it can be deleted after",
                                      (long long)held, (long long)flow->ask->ids[0], (long long)committed);
    WRITER_INT(w, "held", held);
    WRITER_INT(w, "committed", committed);
    writer_end(w);
    answer_send(flow);
}

static void delete_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct product_delete *removal = (struct product_delete *)flow;
    int64_t found = reply_int(reply, 0);
    if (reply->code == CODE_STALE && product_may_retry(flow, found, removal->tries)) {
        removal->expected = found;
        delete_send(removal);
        return;
    }
    if (reply->kind == REPLY_OK)
        answer_empty(flow, 204);
    else if (reply->code == CODE_STALE)
        product_stale(flow, found);
    else if (reply->code == CODE_NOT_FOUND)
        product_missing(flow);
    else if (reply->code == CODE_HELD)
        answer_held(flow, found, reply_int(reply, 1));
    else
        product_failed(flow, reply, "deleting");
    flow_end(flow);
}

const struct flow_type PRODUCT_DELETE_FLOW = {
    .name = "product_delete", .size = sizeof(struct product_delete), .start = delete_start, .got_reply = delete_got_reply};
