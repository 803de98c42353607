#include <stddef.h>
#include <stdio.h>

#include "log.h"
#include "money.h"

#include "etag.h"
#include "functions.h"
#include "outcomes.h"

#include "product.h"

#define FIELDS(array) .fields = (array), .count = sizeof(array) / sizeof(*(array))
#define AT(member) .offset = offsetof(struct product_body, member), .given = offsetof(struct product_body, has_##member)

/* The bounds of a currency are its list's, see product_check. */
static const struct field BODY_FIELDS[] = {
    {.name = "name", .type = FIELD_TEXT, AT(name), .required = true, .min = 1, .max = NAME_BYTES_MAX},
    {.name = "price", .type = FIELD_MONEY_TEXT, AT(price), .required = true},
    {.name = "currency", .type = FIELD_TEXT, AT(currency)},
    {.name = "stock", .type = FIELD_INT, AT(stock), .min = 0, .max = STOCK_UNITS_MAX},
    {.name = "attributes", .type = FIELD_ANY, AT(attributes)},
};
const struct shape PRODUCT_BODY = {.name = "product", FIELDS(BODY_FIELDS), .size = sizeof(struct product_body)};

static const struct field PATCH_FIELDS[] = {
    {.name = "name", .type = FIELD_TEXT, AT(name), .min = 1, .max = NAME_BYTES_MAX},
    {.name = "price", .type = FIELD_MONEY_TEXT, AT(price)},
    {.name = "currency", .type = FIELD_TEXT, AT(currency)},
    {.name = "attributes", .type = FIELD_ANY, AT(attributes)},
};
const struct shape PRODUCT_PATCH = {.name = "product", FIELDS(PATCH_FIELDS), .size = sizeof(struct product_body)};

/* ---- reading and showing ---- */

bool product_load(struct arena *arena, struct view bytes, struct product *product)
{
    if (!record_load(&PRODUCT_DOC, arena, bytes, &product->doc))
        return false;
    product->digits = money_digits(product->doc.currency);
    return product->digits >= 0;
}

void product_write(struct writer *w, const struct product *product)
{
    const struct product_doc *doc = &product->doc;
    writer_map(w, 5 + doc->has_attributes);
    WRITER_INT(w, "id", product->id);
    WRITER_TEXT(w, "name", doc->name);
    WRITER_MONEY(w, "price", doc->price, product->digits);
    WRITER_TEXT(w, "currency", doc->currency);
    WRITER_INT(w, "version", product->version);
    if (doc->has_attributes) {
        writer_name(w, VIEW("attributes"));
        writer_value(w, &doc->attributes);
    }
    writer_end(w);
}

void product_answer(struct flow *flow, int status, int64_t id, int64_t version, struct view bytes, bool replayed)
{
    struct product product = {.id = id, .version = version};
    if (!product_load(flow->arena, bytes, &product)) {
        product_broken(flow, "reading the document of");
        return;
    }
    product_write(answer_begin(flow, status), &product);
    answer_header(flow, "ETag", "\"v%lld\"", (long long)version);
    if (status == 201)
        answer_header(flow, "Location", "/products/%lld", (long long)id);
    if (replayed)
        answer_replayed(flow);
    answer_send(flow);
}

/* ---- checking ---- */

bool product_faultless(struct flow *flow, const struct faults *faults)
{
    if (faults->count == 0)
        return true;
    struct writer *w = answer_problem(flow, &OUTCOME_UNPROCESSABLE, 1, "%zu member%s of the body cannot be accepted; \"errors\" names them",
                                      faults->count, faults->count == 1 ? "" : "s");
    answer_faults_write(w, faults);
    writer_end(w);
    answer_send(flow);
    return false;
}

static void check_attributes(const struct value *attributes, struct faults *faults)
{
    struct writer w;
    writer_init(&w, FORMAT_JSON, faults->arena);
    writer_value(&w, attributes);
    size_t bytes = writer_done(&w).len;
    if (bytes > ATTRIBUTES_BYTES_MAX)
        faults_add(faults, VIEW("/attributes"), "must be an object of at most %d bytes of JSON; it is %zu", ATTRIBUTES_BYTES_MAX, bytes);
}

bool product_examine(const struct product_body *body, struct faults *faults, struct product_doc *doc)
{
    *doc = (struct product_doc){
        .schema = SCHEMA,
        .name = body->name,
        .currency = body->has_currency ? body->currency : VIEW("USD"),
        .attributes = body->attributes,
        .has_attributes = body->has_attributes,
    };
    int digits = money_digits(doc->currency);
    enum money_error wrong = money_parse(body->price, digits < 0 ? 0 : digits, &doc->price);
    if (digits < 0)
        faults_add(faults, VIEW("/currency"), "must be the code of a currency (ISO 4217), such as USD");
    else if (wrong == MONEY_TOO_PRECISE)
        faults_add(faults, VIEW("/price"), "%s: it is %.64s, and %.3s has %d", money_error_text(wrong), arena_copy(faults->arena, body->price).at,
                   doc->currency.at, digits);
    else if (wrong)
        faults_add(faults, VIEW("/price"), "%s", money_error_text(wrong));
    if (doc->has_attributes)
        check_attributes(&doc->attributes, faults);
    return faults->count == 0;
}

bool product_check(struct flow *flow, const struct product_body *body, struct faults *faults, struct product_doc *doc)
{
    return product_examine(body, faults, doc) || product_faultless(flow, faults);
}

/* ---- calls ---- */

#define KEY_MAX 64

struct call *product_command(struct flow *flow, const char *command, const char *kind, int64_t id)
{
    unsigned partition = topology_partition_of_id(flow->world->topology, id);
    struct call *call = call_command(flow->arena, command, partition);
    char key[KEY_MAX];
    int len = snprintf(key, sizeof(key), "%s:{%u}:%lld", kind, partition, (long long)id);
    call_arg(call, (struct view){key, (size_t)len});
    return call;
}

struct call *product_function(struct flow *flow, const struct function *function, int64_t id)
{
    unsigned partition = topology_partition_of_id(flow->world->topology, id);
    struct call *call = call_function(flow->arena, function, partition);
    call_keyf(call, "product:{%u}:%lld", partition, (long long)id);
    call_arg_int(call, partition);
    call_arg_int(call, id);
    return call;
}

/* ---- conditions ---- */

bool product_condition(struct flow *flow, int64_t *expected)
{
    *expected = etag_first(flow->ask->if_match);
    if (etag_well_formed(flow->ask->if_match))
        return true;
    answer_refuse(flow, &OUTCOME_BAD_REQUEST, "If-Match must be * or a list of entity tags in double quotes, such as \"v7\"");
    return false;
}

/* A header without a version of ours matches none: version 0 does not exist, and the answer STALE then brings the current one. */
void product_add_expected(struct call *call, const struct flow *flow, int64_t expected)
{
    if (etag_any(flow->ask->if_match))
        call_arg(call, VIEW("*"));
    else
        call_arg_int(call, expected);
}

bool product_may_retry(const struct flow *flow, int64_t found, unsigned tries)
{
    return tries < WRITE_TRIES_MAX && etag_matches(flow->ask->if_match, found, ETAG_STRONG);
}

/* ---- answers ---- */

void product_missing(struct flow *flow)
{
    answer_refuse(flow, &OUTCOME_NOT_FOUND, "there is no product %lld", (long long)flow->ask->ids[0]);
}

void product_stale(struct flow *flow, int64_t current)
{
    struct writer *w = answer_problem(flow, &OUTCOME_STALE, 1, "product %lld has version %lld now; read it again and decide again",
                                      (long long)flow->ask->ids[0], (long long)current);
    WRITER_INT(w, "current_version", current);
    writer_end(w);
    answer_send(flow);
}

void product_key_reused(struct flow *flow)
{
    answer_refuse(flow, &OUTCOME_KEY_REUSED, "this Idempotency-Key was used for a request with another body; send a new key with a new request");
}

void product_broken(struct flow *flow, const char *what)
{
    const struct ask *ask = flow->ask;
    log_error("%s product %lld (%s, request %.*s) gave something this version does not understand; look at it with `soukctl get product %lld`", what,
              (long long)ask->ids[0], ask->route, VIEW_ARG(ask->request_id), (long long)ask->ids[0]);
    answer_refuse(flow, &OUTCOME_BROKEN, "%s the product gave something this worker does not understand; tell the operator the request_id", what);
}

void product_failed(struct flow *flow, const struct reply *reply, const char *what)
{
    if (reply->kind == REPLY_NOT_SENT || reply->kind == REPLY_UNKNOWN)
        answer_failed(flow, reply, arena_printf(flow->arena, "%s the product", what).at);
    else
        product_broken(flow, what);
}
