#include <stddef.h>

#include "functions.h"
#include "money.h"

#include "records.h"

#define FIELDS(array) .fields = (array), .count = sizeof(array) / sizeof(*(array))

static const struct field PRODUCT_FIELDS[] = {
    {.name = "schema", .type = FIELD_INT, .offset = offsetof(struct product_doc, schema), .required = true, .min = 1, .max = INT32_MAX},
    {.name = "name", .type = FIELD_TEXT, .offset = offsetof(struct product_doc, name), .required = true, .min = 1, .max = 1024},
    {.name = "price", .type = FIELD_INT, .offset = offsetof(struct product_doc, price), .required = true, .min = 0, .max = MONEY_MAX},
    {.name = "currency", .type = FIELD_TEXT, .offset = offsetof(struct product_doc, currency), .required = true, .min = 3, .max = 3},
    {.name = "attributes",
     .type = FIELD_ANY,
     .offset = offsetof(struct product_doc, attributes),
     .given = offsetof(struct product_doc, has_attributes)},
};
const struct shape PRODUCT_DOC = {.name = "product", FIELDS(PRODUCT_FIELDS), .size = sizeof(struct product_doc)};

static const struct field LINE_FIELDS[] = {
    {.name = "product_id", .type = FIELD_INT, .offset = offsetof(struct order_line, product_id), .required = true, .min = 1, .max = MONEY_MAX},
    {.name = "name", .type = FIELD_TEXT, .offset = offsetof(struct order_line, name), .required = true, .min = 1, .max = 1024},
    {.name = "quantity", .type = FIELD_INT, .offset = offsetof(struct order_line, quantity), .required = true, .min = 1, .max = MONEY_MAX},
    {.name = "price", .type = FIELD_INT, .offset = offsetof(struct order_line, price), .required = true, .min = 0, .max = MONEY_MAX},
    {.name = "product_version",
     .type = FIELD_INT,
     .offset = offsetof(struct order_line, product_version),
     .required = true,
     .min = 1,
     .max = MONEY_MAX},
};
static const struct shape LINE = {.name = "line", FIELDS(LINE_FIELDS), .size = sizeof(struct order_line)};

static const struct field ORDER_FIELDS[] = {
    {.name = "schema", .type = FIELD_INT, .offset = offsetof(struct order_doc, schema), .required = true, .min = 1, .max = INT32_MAX},
    {.name = "lines", .type = FIELD_LIST, .offset = offsetof(struct order_doc, lines), .required = true, .min = 1, .max = 1000, .of = &LINE},
    {.name = "tracking",
     .type = FIELD_TEXT,
     .offset = offsetof(struct order_doc, tracking),
     .given = offsetof(struct order_doc, has_tracking),
     .min = 0,
     .max = 1024},
    {.name = "reason",
     .type = FIELD_TEXT,
     .offset = offsetof(struct order_doc, reason),
     .given = offsetof(struct order_doc, has_reason),
     .min = 0,
     .max = 1024},
};
const struct shape ORDER_DOC = {.name = "order", FIELDS(ORDER_FIELDS), .size = sizeof(struct order_doc)};

static const struct field PAYMENT_FIELDS[] = {
    {.name = "schema", .type = FIELD_INT, .offset = offsetof(struct payment_doc, schema), .required = true, .min = 1, .max = INT32_MAX},
    {.name = "token", .type = FIELD_TEXT, .offset = offsetof(struct payment_doc, token), .required = true, .min = 1, .max = 255},
};
const struct shape PAYMENT_DOC = {.name = "payment", FIELDS(PAYMENT_FIELDS), .size = sizeof(struct payment_doc)};

bool record_load(const struct shape *shape, struct arena *arena, struct view bytes, void *into)
{
    struct value value;
    return value_read(FORMAT_MSGPACK, arena, bytes, &value) == NULL && shape_load(shape, &value, into, arena);
}

struct view record_store(const struct shape *shape, struct arena *arena, const void *from)
{
    struct writer writer;
    writer_init(&writer, FORMAT_MSGPACK, arena);
    shape_write(shape, from, &writer);
    return writer_done(&writer);
}

struct view record_with_text(struct arena *arena, struct view bytes, const char *name, struct view text)
{
    struct value value;
    if (value_read(FORMAT_MSGPACK, arena, bytes, &value) != NULL || value.kind != VALUE_MAP)
        return VIEW("");
    const struct value *old = value_get(&value, name);
    struct writer w;
    writer_init(&w, FORMAT_MSGPACK, arena);
    writer_map(&w, value.map.count + (old == NULL));
    for (size_t i = 0; i < value.map.count; i++) {
        const struct member *member = &value.map.members[i];
        if (&member->value == old)
            continue;
        writer_name(&w, member->name);
        writer_value(&w, &member->value);
    }
    writer_name(&w, view_of(name));
    writer_text(&w, text);
    writer_end(&w);
    return writer_done(&w);
}

/* ---- orders ---- */

static bool order_is(const struct order *order, const char *state)
{
    return view_equal(order->state, view_of(state));
}

static bool shows_tracking(const struct order *order)
{
    return order->doc.has_tracking && order_is(order, "fulfilled");
}

size_t order_members(const struct order *order)
{
    return 11 + shows_tracking(order);
}

static void lines_write(struct writer *w, const struct order *order, int digits)
{
    const struct order_line *lines = order->doc.lines.at;
    writer_name(w, VIEW("lines"));
    writer_list(w, order->doc.lines.count);
    for (size_t i = 0; i < order->doc.lines.count; i++) {
        writer_map(w, 5);
        WRITER_INT(w, "product_id", lines[i].product_id);
        WRITER_TEXT(w, "name", lines[i].name);
        WRITER_INT(w, "quantity", lines[i].quantity);
        WRITER_MONEY(w, "price", lines[i].price, digits);
        WRITER_MONEY(w, "amount", lines[i].price * lines[i].quantity, digits);
        writer_end(w);
    }
    writer_end(w);
}

void order_write(struct writer *w, const struct order *order)
{
    int digits = money_digits(order->currency);
    WRITER_INT(w, "id", order->id);
    WRITER_TEXT(w, "user", order->user);
    WRITER_TEXT(w, "state", order->state);
    WRITER_TEXT(w, "payment_status", order->payment_status);
    WRITER_MONEY(w, "total", order->total, digits);
    WRITER_TEXT(w, "currency", order->currency);
    WRITER_INT(w, "version", order->version);
    lines_write(w, order, digits);
    if (shows_tracking(order))
        WRITER_TEXT(w, "tracking", order->doc.tracking);
    WRITER_TIME(w, "created_at", order->created_ms);
    WRITER_TIME(w, "updated_at", order->updated_ms);
    writer_name(w, VIEW("expires_at"));
    if (order_is(order, "reserved"))
        writer_time(w, order->expires_ms);
    else
        writer_null(w);
}

struct call *order_read_call(struct arena *arena, unsigned partition, int64_t id)
{
    struct call *call = call_function(arena, &FN_ORDER_READ, partition);
    call_keyf(call, "order:{%u}:%lld", partition, (long long)id);
    call_arg_int(call, partition);
    call_arg_int(call, id);
    return call;
}

/* The places of order_read's answer, behind its code. */
enum {
    READ_NOW,
    READ_STATE,
    READ_PAYMENT_STATUS,
    READ_V,
    READ_USER,
    READ_TOTAL,
    READ_CURRENCY,
    READ_CREATED,
    READ_EXPIRES,
    READ_T,
    READ_PAYMENTS,
    READ_UPDATED,
    READ_DOC,
    READ_OWES
};

int64_t order_reply_now_ms(const struct reply *reply)
{
    return reply_int(reply, READ_NOW);
}

bool order_from_reply(struct arena *arena, const struct reply *reply, int64_t id, struct order *order)
{
    *order = (struct order){
        .id = id,
        .state = arena_copy(arena, reply_text(reply, READ_STATE)),
        .payment_status = arena_copy(arena, reply_text(reply, READ_PAYMENT_STATUS)),
        .version = reply_int(reply, READ_V),
        .user = arena_copy(arena, reply_text(reply, READ_USER)),
        .total = reply_int(reply, READ_TOTAL),
        .currency = arena_copy(arena, reply_text(reply, READ_CURRENCY)),
        .created_ms = reply_int(reply, READ_CREATED),
        .expires_ms = reply_int(reply, READ_EXPIRES),
        .txn = arena_copy(arena, reply_text(reply, READ_T)),
        .payments = arena_copy(arena, reply_text(reply, READ_PAYMENTS)),
        .updated_ms = reply_int(reply, READ_UPDATED),
        .stored = arena_copy(arena, reply_text(reply, READ_DOC)),
        .owes = reply_int(reply, READ_OWES) != 0,
    };
    return money_digits(order->currency) >= 0 && record_load(&ORDER_DOC, arena, order->stored, &order->doc);
}

size_t split_bars(struct view text, struct view *out, size_t most)
{
    size_t count = 0;
    while (count < most) {
        const char *bar = count + 1 < most && text.len > 0 ? memchr(text.at, '|', text.len) : NULL;
        size_t len = bar ? (size_t)(bar - text.at) : text.len;
        out[count++] = (struct view){text.at, len};
        if (bar == NULL)
            break;
        text = (struct view){bar + 1, text.len - len - 1};
    }
    return count;
}

bool order_as_of(struct order *order, int64_t version, struct view history)
{
    struct view parts[6];
    long long expires, at;
    if (split_bars(history, parts, 6) < 5 || !view_to_int(parts[2], &expires) || !view_to_int(parts[3], &at))
        return false;
    order->version = version;
    order->state = parts[0];
    order->payment_status = parts[1];
    order->expires_ms = expires;
    order->updated_ms = at;
    return true;
}
