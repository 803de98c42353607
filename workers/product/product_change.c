#include <string.h>

#include "money.h"

#include "merge_patch.h"
#include "product_change.h"

/* A null removes (RFC 7396), and all but attributes must be there. Null looks absent in a bound body, so the document is asked. */
bool change_read(struct product_change *change, const struct value *document, struct faults *faults)
{
    static const struct {
        const char *name;
        struct view pointer;
    } needed[] = {{"name", {"/name", 5}}, {"price", {"/price", 6}}, {"currency", {"/currency", 9}}};
    shape_read(&PRODUCT_PATCH, document, &change->body, faults->arena, faults);
    for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++) {
        const struct value *value = value_get(document, needed[i].name);
        if (value && value->kind == VALUE_NULL)
            faults_add(faults, needed[i].pointer, "cannot be removed: a product has one");
    }
    const struct value *attributes = value_get(document, "attributes");
    change->drops_attributes = attributes && attributes->kind == VALUE_NULL;
    return faults->count == 0;
}

/*
 * What the product will be, in the form that a PUT of it would have; the price goes through its text, so that it is checked against a new currency's
 * digits.
 */
static struct product_body merge(struct arena *arena, const struct product_change *change, const struct product *before)
{
    const struct product_body *to = &change->body;
    char price[MONEY_TEXT_MAX];
    struct view price_now = {price, money_print(price, before->doc.price, before->digits)};
    struct product_body body = {
        .name = to->has_name ? to->name : before->doc.name,
        .price = to->has_price ? to->price : arena_copy(arena, price_now),
        .currency = to->has_currency ? to->currency : before->doc.currency,
        .has_currency = true,
        .attributes = before->doc.attributes,
        .has_attributes = before->doc.has_attributes && !change->drops_attributes,
    };
    if (to->has_attributes) {
        body.has_attributes = true;
        merge_patch(arena, &before->doc.attributes, &to->attributes, &body.attributes);
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

enum change_result change_apply(const struct product_change *change, struct view bytes, struct view *after, struct faults *faults)
{
    struct product before = {.id = 0};
    struct product_doc doc;
    struct value value;
    if (!product_load(faults->arena, bytes, &before) || value_read(FORMAT_MSGPACK, faults->arena, bytes, &value) != NULL)
        return CHANGE_BROKEN;
    struct product_body body = merge(faults->arena, change, &before);
    if (!product_examine(&body, faults, &doc))
        return CHANGE_FAULTY;
    doc.schema = before.doc.schema;
    *after = store(faults->arena, &doc, &value);
    return CHANGE_OK;
}
