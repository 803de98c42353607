#include "money.h"

#include "etag.h"
#include "functions.h"

#include "merge_patch.h"
#include "product.h"

/*
 *   read ─▶ If-Match? ─▶ merge ─▶ check ─▶ PRODUCT_PUT expecting what was read ─▶ 200
 *    ▲                                          │ STALE: another writer was faster
 *    └──────── If-Match allows that one too ────┘
 */
struct product_patch {
    struct flow flow;
    struct product_body patch;
    bool drops_attributes;
    int64_t version; /* that was read */
    struct view bytes;
    unsigned tries;
};

enum { TAG_READ, TAG_WRITE };

/* A null removes (RFC 7396), and all but attributes must be there. Null looks absent in a bound body, so the document is asked. */
static bool patch_read(struct product_patch *patch)
{
    struct flow *flow = &patch->flow;
    const struct value *document = flow->ask->document;
    static const struct {
        const char *name;
        struct view pointer;
    } needed[] = {{"name", {"/name", 5}}, {"price", {"/price", 6}}, {"currency", {"/currency", 9}}};
    struct faults faults;
    faults_init(&faults, flow->arena);
    shape_read(&PRODUCT_PATCH, document, &patch->patch, flow->arena, &faults);
    for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++) {
        const struct value *value = value_get(document, needed[i].name);
        if (value && value->kind == VALUE_NULL)
            faults_add(&faults, needed[i].pointer, "cannot be removed: a product has one");
    }
    const struct value *attributes = value_get(document, "attributes");
    patch->drops_attributes = attributes && attributes->kind == VALUE_NULL;
    return product_faultless(flow, &faults);
}

static void patch_ask(struct product_patch *patch)
{
    struct flow *flow = &patch->flow;
    struct call *call = product_command(flow, "HMGET", "product", flow->ask->ids[0]);
    call_arg(call, VIEW("v"));
    call_arg(call, VIEW("doc"));
    patch->tries++;
    flow_call(flow, call, TAG_READ, 0);
}

static void patch_start(struct flow *flow)
{
    struct product_patch *patch = (struct product_patch *)flow;
    int64_t expected;
    if (product_condition(flow, &expected) && patch_read(patch))
        patch_ask(patch);
    else
        flow_end(flow);
}

/* ---- merging ---- */

/*
 * What the product will be, in the form that a PUT of it would have; the price goes through its text, so that it is checked against a new currency's
 * digits.
 */
static struct product_body merge(struct product_patch *patch, const struct product *before)
{
    struct arena *arena = patch->flow.arena;
    const struct product_body *change = &patch->patch;
    char price[MONEY_TEXT_MAX];
    struct view price_now = {price, money_print(price, before->doc.price, before->digits)};
    struct product_body body = {
        .name = change->has_name ? change->name : before->doc.name,
        .price = change->has_price ? change->price : arena_copy(arena, price_now),
        .currency = change->has_currency ? change->currency : before->doc.currency,
        .has_currency = true,
        .attributes = before->doc.attributes,
        .has_attributes = before->doc.has_attributes && !patch->drops_attributes,
    };
    if (change->has_attributes) {
        body.has_attributes = true;
        merge_patch(arena, &before->doc.attributes, &change->attributes, &body.attributes);
    }
    return body;
}

static bool is_ours(struct view name)
{
    for (size_t i = 0; i < PRODUCT_DOC.count; i++)
        if (view_equal(name, view_of(PRODUCT_DOC.fields[i].name)))
            return true;
    return false;
}

/* The document to store: the new one, and behind it what a newer version of Souk wrote into the old one and we do not know. */
static struct view store(struct arena *arena, const struct product_doc *doc, const struct value *before)
{
    struct view bytes = record_store(&PRODUCT_DOC, arena, doc);
    struct value all;
    size_t others = 0;
    for (size_t i = 0; i < before->map.count; i++)
        others += !is_ours(before->map.members[i].name);
    if (others == 0 || value_read(FORMAT_MSGPACK, arena, bytes, &all) != NULL)
        return bytes;
    struct member *members = ARENA_ARRAY(arena, struct member, all.map.count + others);
    memcpy(members, all.map.members, all.map.count * sizeof(*members));
    for (size_t i = 0; i < before->map.count; i++)
        if (!is_ours(before->map.members[i].name))
            members[all.map.count++] = before->map.members[i];
    all.map.members = members;
    struct writer writer;
    writer_init(&writer, FORMAT_MSGPACK, arena);
    writer_value(&writer, &all);
    return writer_done(&writer);
}

/* Makes the new document from the stored one. Returns false after having answered. */
static bool patch_apply(struct product_patch *patch, struct view bytes)
{
    struct flow *flow = &patch->flow;
    struct product before = {.id = flow->ask->ids[0]};
    struct product_doc doc;
    struct value value;
    struct faults faults;
    faults_init(&faults, flow->arena);
    if (!product_load(flow->arena, bytes, &before) || value_read(FORMAT_MSGPACK, flow->arena, bytes, &value) != NULL) {
        product_broken(flow, "reading");
        return false;
    }
    struct product_body body = merge(patch, &before);
    if (!product_check(flow, &body, &faults, &doc))
        return false;
    doc.schema = before.doc.schema;
    patch->bytes = store(flow->arena, &doc, &value);
    return true;
}

/* ---- steps ---- */

static void patch_send(struct product_patch *patch)
{
    struct flow *flow = &patch->flow;
    struct call *call = product_function(flow, &FN_PRODUCT_PUT, flow->ask->ids[0]);
    call_arg(call, VIEW("replace"));
    call_arg_int(call, patch->version);
    call_arg(call, patch->bytes);
    call_arg(call, VIEW(""));
    flow_call(flow, call, TAG_WRITE, 0);
}

/* Returns whether the flow goes on. */
static bool got_read(struct product_patch *patch, const struct reply *reply)
{
    struct flow *flow = &patch->flow;
    if (reply->kind != REPLY_OK) {
        product_failed(flow, reply, "reading");
        return false;
    }
    if (reply_item(reply, 0)->type == ITEM_NIL) {
        product_missing(flow);
        return false;
    }
    patch->version = reply_int(reply, 0);
    if (!etag_matches(flow->ask->if_match, patch->version, ETAG_STRONG)) {
        product_stale(flow, patch->version);
        return false;
    }
    if (!patch_apply(patch, arena_copy(flow->arena, reply_text(reply, 1))))
        return false;
    patch_send(patch);
    return true;
}

static bool got_write(struct product_patch *patch, const struct reply *reply)
{
    struct flow *flow = &patch->flow;
    int64_t found = reply_int(reply, 0);
    bool allowed = reply->code == CODE_STALE && etag_matches(flow->ask->if_match, found, ETAG_STRONG);
    if (allowed && patch->tries < WRITE_TRIES_MAX) {
        patch_ask(patch);
        return true;
    }
    if (reply->kind == REPLY_OK)
        product_answer(flow, 200, flow->ask->ids[0], found, patch->bytes, false);
    else if (allowed)
        answer_refuse(flow, &OUTCOME_OVERLOADED,
                      "others changed product %lld %d times while this change was made; nothing was changed by it, try again",
                      (long long)flow->ask->ids[0], WRITE_TRIES_MAX);
    else if (reply->code == CODE_STALE)
        product_stale(flow, found);
    else if (reply->code == CODE_NOT_FOUND)
        product_missing(flow);
    else
        product_failed(flow, reply, "changing");
    return false;
}

static void patch_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct product_patch *patch = (struct product_patch *)flow;
    if (!(call->tag == TAG_READ ? got_read(patch, reply) : got_write(patch, reply)))
        flow_end(flow);
}

const struct flow_type PRODUCT_PATCH_FLOW = {
    .name = "product_patch", .size = sizeof(struct product_patch), .start = patch_start, .got_reply = patch_got_reply};
