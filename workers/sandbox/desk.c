#include <stddef.h>
#include <stdlib.h>

#include "check.h"
#include "clock.h"
#include "loop.h"
#include "money.h"
#include "shape.h"

#include "desk.h"

#define SLOW_MS 2000
#define NEVER_MS 60000 /* a client that does not leave is sent away */

/* One request from its arrival to its answer; lies in the exchange's arena. */
struct visit {
    struct desk *desk;
    struct exchange *exchange;
    const struct entry *entry; /* what is answered; NULL: nothing ever */
    struct loop_timer *timer;  /* while it is held */
    struct visit *next, **link;
};

struct desk {
    struct loop *loop;
    struct book *book;
    struct journal *journal;
    struct visit *decided; /* to be answered once the journal is synced */
    struct visit *held;
    bool stopping;
};

/* The body of every POST: each path takes some of it. */
struct ask_body {
    struct view key, op, currency, token;
    int64_t amount;
    bool has_amount, has_op, has_currency, has_token;
};
#define AT(field) offsetof(struct ask_body, field)
static const struct field BODY_FIELDS[] = {
    {.name = "key", .type = FIELD_TEXT, .offset = AT(key), .required = true, .min = 1, .max = 255},
    {.name = "op", .type = FIELD_TEXT, .offset = AT(op), .given = AT(has_op), .choices = "charge|authorize"},
    {.name = "amount", .type = FIELD_INT, .offset = AT(amount), .given = AT(has_amount), .min = 0, .max = MONEY_MAX},
    {.name = "currency", .type = FIELD_TEXT, .offset = AT(currency), .given = AT(has_currency), .min = 3, .max = 3},
    {.name = "token", .type = FIELD_TEXT, .offset = AT(token), .given = AT(has_token), .min = 1, .max = 255},
};
static const struct shape BODY = {
    .name = "request", .fields = BODY_FIELDS, .count = sizeof(BODY_FIELDS) / sizeof(*BODY_FIELDS), .size = sizeof(struct ask_body)};

/* ---- answers ---- */

static const struct http_header JSON_HEADER = {"Content-Type", "application/json"};

static void respond(struct exchange *exchange, int status, struct view body)
{
    const struct http_response response = {.status = status, .body = body, .headers = &JSON_HEADER, .header_count = 1, .close = status >= 500};
    http_respond(exchange, &response);
}

static struct view error_body(struct arena *arena, const char *detail)
{
    struct writer writer;
    writer_init(&writer, FORMAT_JSON, arena);
    writer_map(&writer, 1);
    WRITER_TEXT(&writer, "error", view_of(detail));
    writer_end(&writer);
    return writer_done(&writer);
}

static void refuse(struct exchange *exchange, int status, const char *detail)
{
    respond(exchange, status, error_body(exchange_arena(exchange), detail));
}

static void answer_entry(struct exchange *exchange, const struct entry *entry)
{
    static const char *const OPS[BOOK_OP_COUNT] = {"charge", "authorize", "capture", "void", "refund", "close"};
    struct writer writer, *w = &writer;
    writer_init(w, FORMAT_JSON, exchange_arena(exchange));
    writer_map(w, 5);
    WRITER_TEXT(w, "key", entry->wish.key);
    WRITER_TEXT(w, "op", view_of(OPS[entry->wish.op]));
    WRITER_TEXT(w, "status", view_of(entry_status(entry)));
    WRITER_TEXT(w, "ref", entry->ref);
    writer_name(w, VIEW("failure"));
    if (entry->failure.len)
        writer_text(w, entry->failure);
    else
        writer_null(w);
    writer_end(w);
    respond(exchange, 200, writer_done(w));
}

/* ---- visits that wait ---- */

static void link_into(struct visit **list, struct visit *visit)
{
    visit->next = *list;
    visit->link = list;
    if (visit->next)
        visit->next->link = &visit->next;
    *list = visit;
}

static void unlink_from(struct visit *visit)
{
    *visit->link = visit->next;
    if (visit->next)
        visit->next->link = visit->link;
}

static void held_answer(struct visit *visit, int status, const char *detail)
{
    unlink_from(visit);
    loop_timer_free(visit->timer);
    if (visit->entry && status == 0)
        answer_entry(visit->exchange, visit->entry);
    else
        refuse(visit->exchange, status ? status : 504, detail);
}

static void held_rang(void *cookie)
{
    held_answer(cookie, 0, "this token is never answered");
}

/* Holds the exchange: answers it after ${ms}, with the entry if there is one. */
static void hold(struct visit *visit, const struct entry *entry, int64_t ms)
{
    struct desk *desk = visit->desk;
    visit->entry = entry;
    visit->timer = loop_timer_new(desk->loop, held_rang, visit);
    CHECK(visit->timer);
    loop_timer_set(visit->timer, ms);
    link_into(&desk->held, visit);
}

/* The end of a turn: what was decided in it is made durable at once, then told. */
static bool desk_turn(void *cookie)
{
    struct desk *desk = cookie;
    journal_sync(desk->journal);
    while (desk->decided) {
        struct visit *visit = desk->decided;
        unlink_from(visit);
        answer_entry(visit->exchange, visit->entry);
    }
    return false;
}

/* ---- understanding ---- */

static bool body_read(struct exchange *exchange, struct ask_body *body)
{
    struct arena *arena = exchange_arena(exchange);
    struct value value;
    struct faults faults;
    const char *wrong = value_read(FORMAT_JSON, arena, exchange_body(exchange), &value);
    faults_init(&faults, arena);
    if (wrong)
        refuse(exchange, 400, wrong);
    else if (!shape_read(&BODY, &value, body, arena, &faults))
        refuse(exchange, 422, arena_printf(arena, "%.*s %.*s", VIEW_ARG(faults.first->pointer), VIEW_ARG(faults.first->message)).at);
    return wrong == NULL && faults.count == 0;
}

/* Which wish a path stands for: "/charges" or "/charges/{ref}/capture", … Returns false if none. */
static bool wish_of_path(struct view path, struct wish *wish)
{
    static const struct {
        const char *tail;
        enum book_op op;
    } TAILS[] = {{"/capture", BOOK_CAPTURE}, {"/void", BOOK_VOID}, {"/refunds", BOOK_REFUND}};
    const struct view head = VIEW("/charges/");
    if (view_equal(path, VIEW("/charges"))) {
        wish->op = BOOK_CHARGE;
        return true;
    }
    for (size_t i = 0; i < sizeof(TAILS) / sizeof(*TAILS); i++) {
        size_t tail = strlen(TAILS[i].tail);
        if (path.len <= head.len + tail || memcmp(path.at, head.at, head.len) || memcmp(path.at + path.len - tail, TAILS[i].tail, tail))
            continue;
        wish->op = TAILS[i].op;
        wish->ref = (struct view){path.at + head.len, path.len - head.len - tail};
        return true;
    }
    return false;
}

/* What ${body} lacks or has too much of for this wish, or NULL. */
static const char *wish_fill(struct wish *wish, const struct ask_body *body)
{
    bool charge = wish->op == BOOK_CHARGE;
    if (charge && view_equal(body->op, VIEW("authorize")))
        wish->op = BOOK_AUTHORIZE;
    if (charge ? !body->has_currency || !body->has_token : body->has_op || body->has_currency || body->has_token)
        return charge ? "a charge needs currency and token" : "op, currency and token belong to a charge";
    if (body->has_amount == (wish->op == BOOK_VOID))
        return body->has_amount ? "a void has no amount" : "the amount is missing";
    wish->key = body->key;
    wish->amount = body->amount;
    wish->currency = body->currency;
    wish->token = body->token;
    return NULL;
}

/* ---- the paths ---- */

static struct visit *visit_new(struct desk *desk, struct exchange *exchange)
{
    struct visit *visit = ARENA_NEW(exchange_arena(exchange), struct visit);
    visit->desk = desk;
    visit->exchange = exchange;
    return visit;
}

/* Behind the sync at the end of this turn. */
static void answer_later(struct desk *desk, struct exchange *exchange, const struct entry *entry, bool fresh)
{
    struct visit *visit = visit_new(desk, exchange);
    if (fresh)
        journal_add(desk->journal, entry);
    visit->entry = entry;
    link_into(&desk->decided, visit);
}

/* Tokens that are answered late or never are so only the first time: a repeat is told what was decided. */
static void carry_out(struct desk *desk, struct exchange *exchange, const struct wish *wish)
{
    bool fresh;
    if (view_equal(wish->token, VIEW("tok_lost")) && book_find(desk->book, wish->key) == NULL) {
        hold(visit_new(desk, exchange), NULL, NEVER_MS);
        return;
    }
    const struct entry *entry = book_decide(desk->book, wish, clock_wall_ms(), &fresh);
    bool slow = fresh && view_equal(wish->token, VIEW("tok_slow")), never = fresh && view_equal(wish->token, VIEW("tok_timeout"));
    if (entry == NULL) {
        refuse(exchange, 409, "this key belongs to another request");
    } else if (slow || never) {
        journal_add(desk->journal, entry);
        hold(visit_new(desk, exchange), slow ? entry : NULL, slow ? SLOW_MS : NEVER_MS);
    } else {
        answer_later(desk, exchange, entry, fresh);
    }
}

static void on_wish(struct desk *desk, struct exchange *exchange, struct wish *wish)
{
    struct ask_body body = {.amount = 0};
    if (!body_read(exchange, &body))
        return;
    const char *wrong = wish_fill(wish, &body);
    if (wrong)
        refuse(exchange, 422, wrong);
    else
        carry_out(desk, exchange, wish);
}

static void on_settle(struct desk *desk, struct exchange *exchange)
{
    struct ask_body body = {.amount = 0};
    bool fresh;
    if (!body_read(exchange, &body))
        return;
    const struct entry *entry = book_close(desk->book, body.key, clock_wall_ms(), &fresh);
    answer_later(desk, exchange, entry, fresh);
}

static void on_journal(struct desk *desk, struct exchange *exchange)
{
    struct writer writer;
    writer_init(&writer, FORMAT_JSON, exchange_arena(exchange));
    book_write(desk->book, &writer);
    respond(exchange, 200, writer_done(&writer));
}

void desk_on_request(void *cookie, struct exchange *exchange)
{
    struct desk *desk = cookie;
    struct view path = exchange_path(exchange);
    struct wish wish = {.op = BOOK_CHARGE};
    enum method method = exchange_method(exchange);
    bool get = method == METHOD_GET || method == METHOD_HEAD;
    if (desk->stopping)
        refuse(exchange, 503, "the gateway is stopping");
    else if (get && view_equal(path, VIEW("/livez")))
        respond(exchange, 200, VIEW("{\"status\":\"ok\"}"));
    else if (get && view_equal(path, VIEW("/journal")))
        on_journal(desk, exchange);
    else if (method == METHOD_POST && view_equal(path, VIEW("/settle")))
        on_settle(desk, exchange);
    else if (method == METHOD_POST && wish_of_path(path, &wish))
        on_wish(desk, exchange, &wish);
    else
        refuse(exchange, 404, "there is nothing at this path for this method");
}

void desk_on_refusal(void *cookie, struct exchange *exchange, int status, const char *detail, struct http_response *response)
{
    *response = (struct http_response){
        .status = status,
        .body = error_body(exchange_arena(exchange), detail),
        .headers = &JSON_HEADER,
        .header_count = 1,
        .close = true,
    };
}

struct desk *desk_new(struct loop *loop, struct book *book, struct journal *journal)
{
    struct desk *desk = calloc(1, sizeof(*desk));
    CHECK(desk);
    desk->loop = loop;
    desk->book = book;
    desk->journal = journal;
    loop_each_turn(loop, LOOP_FLOWS, desk_turn, desk);
    return desk;
}

void desk_stop(struct desk *desk)
{
    desk->stopping = true;
    desk_turn(desk);
    while (desk->held)
        held_answer(desk->held, 503, "the gateway is stopping");
}

void desk_free(struct desk *desk)
{
    free(desk);
}
