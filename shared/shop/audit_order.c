#include <math.h>
#include <stdio.h>

#include "dump.h"

#include "audit_feed.h"
#include "audit_internal.h"
#include "hold.h"

#include "audit_order.h"

#define VERSIONS_MAX 64
#define REFUNDS_MAX 16                      /* of a payment; one with more is asked about */
#define SLACK_MS (CLOCKS_DIFFER_MS + 10000) /* as in audit_orders */
#define PROFILE_MAX 512

/* The fields that are judged, in the order in which a new record gets them: so each is mostly found at its own place. */
enum { O_STATE, O_PAYMENT_STATUS, O_V, O_USER, O_TOTAL, O_CURRENCY, O_CREATED, O_EXPIRES, O_T, O_DOC, O_PAYMENTS, O_UPDATED, O_FIELDS };
static const struct view ORDER_NAMES[O_FIELDS] = {
    {"state", 5},   {"payment_status", 14}, {"v", 1}, {"user", 4}, {"total", 5},    {"currency", 8},
    {"created", 7}, {"expires", 7},         {"t", 1}, {"doc", 3},  {"payments", 8}, {"updated", 7},
};
enum {
    P_STATUS,
    P_V,
    P_ORDER_ID,
    P_AMOUNT,
    P_CURRENCY,
    P_CAPTURED,
    P_REFUNDED,
    P_REFUNDING,
    P_OP,
    P_CAPTURE,
    P_CREATED,
    P_UPDATED,
    P_GATEWAY_REF,
    P_FAILURE,
    P_IKEY,
    P_REFUNDS,
    P_DOC,
    P_FIELDS
};
static const struct view PAYMENT_NAMES[P_FIELDS] = {
    {"status", 6},       {"v", 1},         {"order_id", 8}, {"amount", 6},  {"currency", 8}, {"captured", 8},
    {"refunded", 8},     {"refunding", 9}, {"op", 2},       {"capture", 7}, {"created", 7},  {"updated", 7},
    {"gateway_ref", 11}, {"failure", 7},   {"ikey", 4},     {"refunds", 7}, {"doc", 3},
};

struct record {
    struct view fields[P_FIELDS];
    struct view versions[VERSIONS_MAX]; /* e1 … */
    struct view refunds[REFUNDS_MAX];   /* refund1 … */
    size_t version_count;               /* of all e there are */
};

/* Is ${name} ${letter} and a number? 0 if not. */
static long long numbered(struct view name, const char *stem)
{
    size_t len = strlen(stem);
    long long number;

    if (name.len <= len || memcmp(name.at, stem, len) != 0 || !view_to_int((struct view){name.at + len, name.len - len}, &number))
        return 0;
    return number;
}

static void read_field(struct record *record, const struct view *names, size_t count, size_t guess, struct view name, struct view value)
{
    if (guess < count && view_equal(names[guess], name)) {
        record->fields[guess] = value;
        return;
    }
    long long n = numbered(name, "e");
    if (n > 0) {
        record->version_count++;
        if (n <= VERSIONS_MAX)
            record->versions[n - 1] = value;
        return;
    }
    n = numbered(name, "refund");
    if (n > 0 && n <= REFUNDS_MAX)
        record->refunds[n - 1] = value;
    for (size_t at = 0; at < count; at++)
        if (view_equal(names[at], name))
            record->fields[at] = value;
}

/* Of what DUMP answered, or HGETALL. Returns false if that is a dump that cannot be read. */
static bool read_record(struct record *record, struct arena *arena, const struct item *answer, const struct view *names, size_t count)
{
    struct dump dump;
    struct view name, value;

    *record = (struct record){0};
    for (size_t i = 0; i + 1 < answer->count; i += 2)
        read_field(record, names, count, i / 2, answer->items[i].text, answer->items[i + 1].text);
    if (answer->type != ITEM_TEXT)
        return true;
    if (!dump_open(&dump, answer->text, DUMP_HASH, arena))
        return false;
    for (size_t i = 0; dump_field(&dump, &name, &value); i++)
        read_field(record, names, count, i, name, value);
    return dump_ended(&dump);
}

/* The length of [%l_]+ and the bar behind it at the front of ${text}; 0: there is none. */
static size_t word_length(struct view text)
{
    size_t i = 0;

    while (i < text.len && ((text.at[i] >= 'a' && text.at[i] <= 'z') || text.at[i] == '_'))
        i++;
    return i > 0 && i < text.len && text.at[i] == '|' ? i + 1 : 0;
}

/* Takes digits and the bar behind them from the front of ${text}. */
static bool take_digits(struct view *text, struct view *out)
{
    size_t i = 0;

    while (i < text->len && text->at[i] >= '0' && text->at[i] <= '9')
        i++;
    if (i == 0 || i == text->len || text->at[i] != '|')
        return false;
    *out = (struct view){text->at, i};
    *text = (struct view){text->at + i + 1, text->len - i - 1};
    return true;
}

static void note_fact(const struct facts *facts, struct order_row *row, uint16_t fact)
{
    if (fact == FACT_NONE || row->unknown_count == UNKNOWN_FACTS_MAX)
        row->suspect = true;
    else if (!fact_right(facts, fact))
        row->unknown[row->unknown_count++] = fact;
}

/* ---- orders ---- */

/* state|payment_status|expires|at|…: its word, and the two times. */
static bool read_version(struct view text, struct view *word, struct view *expires, struct view *at)
{
    size_t first = word_length(text), second = first ? word_length((struct view){text.at + first, text.len - first}) : 0;

    if (second == 0)
        return false;
    *word = (struct view){text.at, first + second};
    text = (struct view){text.at + word->len, text.len - word->len};
    return take_digits(&text, expires) && take_digits(&text, at);
}

/* Does ${word} say state and payment_status? */
static bool word_says(struct view word, struct view state, struct view payment_status)
{
    return word.len == state.len + payment_status.len + 2 && state.len > 0 && payment_status.len > 0 && memcmp(word.at, state.at, state.len) == 0 &&
           memcmp(word.at + state.len + 1, payment_status.at, payment_status.len) == 0;
}

/* Walks e1 … eV: steps, what is compared with the feed, and the last one against the record. */
static void judge_history(const struct order_watch *watch, struct order_row *row, const struct record *record, int64_t updated_ms, int64_t v)
{
    struct facts *facts = watch->facts;
    struct view word = {0}, expires = {0}, at = {0};
    int64_t at_ms = 0;
    bool settled = updated_ms < watch->upto_ms;
    unsigned before = 0;

    row->suspect |= v == 0 || (uint64_t)v != record->version_count || v > VERSIONS_MAX;
    for (int64_t n = 1; n <= v && !row->suspect; n++) {
        if (!read_version(record->versions[n - 1], &word, &expires, &at) || !audit_number(at, &at_ms)) {
            row->suspect = true;
            return;
        }
        unsigned after = facts_word(facts, word);
        note_fact(facts, row, fact_step(before, after));
        if (after != FACTS_NO_WORD && (settled || at_ms < watch->upto_ms)) {
            row->versions++;
            row->version_sum += feed_number(row->number, n, facts_sum(facts, after));
        }
        before = after;
    }
    row->word = before;
    row->suspect |= !word_says(word, record->fields[O_STATE], record->fields[O_PAYMENT_STATUS]) || !view_equal(expires, record->fields[O_EXPIRES]) ||
                    !view_equal(at, record->fields[O_UPDATED]);
}

/* While it is reserved, expire must be due when it expires, or soon. */
static bool is_due(const struct order_watch *watch, const struct order_row *row, const struct record *record, int64_t expires_ms)
{
    int64_t limit = watch->now_ms + SLACK_MS;

    if (!view_equal(record->fields[O_STATE], VIEW("reserved")))
        return true;
    return row->due <= (double)(expires_ms > limit ? expires_ms : limit);
}

bool order_judge(const struct order_watch *watch, struct order_row *row, const struct item *answer, struct order_lines *lines)
{
    struct record record;
    int64_t v, total, created, expires, updated = INT64_MAX;

    *lines = (struct order_lines){0};
    if (!read_record(&record, watch->arena, answer, ORDER_NAMES, O_FIELDS))
        return false;
    if (record.fields[O_UPDATED].len == 0) /* it never moved */
        record.fields[O_UPDATED] = record.fields[O_CREATED];
    const struct view *f = record.fields;
    if (row->number < 0 || !audit_number(f[O_V], &v) || !audit_number(f[O_TOTAL], &total) || !audit_number(f[O_CREATED], &created) ||
        !audit_number(f[O_EXPIRES], &expires)) {
        row->suspect = true;
        return true;
    }
    row->suspect |= !audit_number(f[O_UPDATED], &updated) || updated >= watch->now_ms;
    *lines = (struct order_lines){.txn = f[O_T], .document = f[O_DOC], .paid = view_equal(f[O_STATE], VIEW("paid"))};
    lines->live = lines->paid || view_equal(f[O_STATE], VIEW("reserved"));
    judge_history(watch, row, &record, updated, v);
    row->suspect |= !is_due(watch, row, &record, expires);
    row->user = arena_copy(watch->arena, f[O_USER]);
    if (f[O_PAYMENTS].len > 0) {
        row->payments = arena_copy(watch->arena, f[O_PAYMENTS]);
        row->currency = arena_copy(watch->arena, f[O_CURRENCY]);
        row->total = arena_copy(watch->arena, f[O_TOTAL]);
    } else if (!row->suspect) {
        note_fact(watch->facts, row, fact_unpaid(row->word));
    }
    return true;
}

/* ---- payments ---- */

/* Takes what stands before the next bar, and the bar. */
static bool take_part(struct view *text)
{
    const char *bar = text->len ? memchr(text->at, '|', text->len) : NULL;

    if (bar == NULL)
        return false;
    *text = (struct view){bar + 1, text->len - (size_t)(bar - text->at) - 1};
    return true;
}

/* status|amount|created|op|ikey|updated|reason */
static bool read_refund(struct view text, struct view *status, int64_t *amount)
{
    size_t word = word_length(text);
    struct view units, at;

    *status = (struct view){text.at, word ? word - 1 : 0};
    text = (struct view){text.at + word, text.len - word};
    return word > 0 && take_digits(&text, &units) && audit_number(units, amount) && take_digits(&text, &at) && take_part(&text) && take_part(&text) &&
           take_digits(&text, &at);
}

/* Sums up its refunds. Returns false if one is missing or not readable. */
static bool sum_refunds(const struct record *record, int64_t refunds, int64_t *refunded, int64_t *refunding)
{
    *refunded = *refunding = 0;
    for (int64_t n = 0; n < refunds; n++) {
        struct view status;
        int64_t units;
        if (n == REFUNDS_MAX || record->refunds[n].len == 0 || !read_refund(record->refunds[n], &status, &units))
            return false;
        if (view_equal(status, VIEW("succeeded")))
            *refunded += units;
        else if (view_equal(status, VIEW("pending")) || view_equal(status, VIEW("unknown")))
            *refunding += units;
        else if (!view_equal(status, VIEW("failed")))
            return false;
    }
    return true;
}

/* What the amounts say of each other: captured, refunded, refunding; an order that costs nothing has none of these. */
static bool judge_amounts(struct payment_row *row, const struct record *record)
{
    const struct view *f = record->fields;
    int64_t amount, captured, refunded, refunding, refunds, succeeded, open;

    if (!audit_number(f[P_AMOUNT], &amount) || !audit_number(f[P_CAPTURED], &captured) || !audit_number(f[P_REFUNDED], &refunded) ||
        !audit_number(f[P_REFUNDING], &refunding) || !audit_number(f[P_REFUNDS], &refunds) || !sum_refunds(record, refunds, &succeeded, &open))
        return false;
    if (refunded != succeeded || refunding != open || refunded + refunding > captured || (captured != 0 && captured != amount))
        return false;
    row->amounts[0] = amount == 0 ? 'z' : captured == 0 ? 'n' : 'c';
    row->amounts[1] = refunded == 0 ? 'n' : refunded == captured ? 'a' : 'p';
    row->amounts[2] = refunding == 0 ? 'n' : 'o';
    row->amounts[3] = '\0';
    return true;
}

/* status|captured|refunded|at|…: its word, and the three numbers behind it. */
static bool read_payment_version(struct view text, struct view *word, struct view out[3])
{
    *word = (struct view){text.at, word_length(text)};
    text = (struct view){text.at + word->len, text.len - word->len};
    return word->len > 0 && take_digits(&text, &out[0]) && take_digits(&text, &out[1]) && take_digits(&text, &out[2]);
}

static bool judge_payment_history(const struct order_watch *watch, struct payment_row *row, const struct record *record, int64_t v)
{
    const struct view *f = record->fields;
    struct view word = {0}, last[3] = {{0}};
    unsigned before = 0;

    if (v == 0 || (uint64_t)v != record->version_count || v > VERSIONS_MAX)
        return false;
    for (int64_t n = 1; n <= v; n++) {
        if (!read_payment_version(record->versions[n - 1], &word, last))
            return false;
        unsigned after = facts_word(watch->facts, word);
        note_fact(watch->facts, row->order, fact_step(before, after));
        before = after;
    }
    row->word = before;
    return view_equal((struct view){word.at, word.len - 1}, f[P_STATUS]) && view_equal(last[0], f[P_CAPTURED]) &&
           view_equal(last[1], f[P_REFUNDED]) && view_equal(last[2], f[P_UPDATED]);
}

bool payment_judge(const struct order_watch *watch, struct payment_row *row, const struct item *answer)
{
    struct record record;
    int64_t v, created, updated;

    row->word = FACTS_NO_WORD;
    if (!read_record(&record, watch->arena, answer, PAYMENT_NAMES, P_FIELDS))
        return false;
    const struct view *f = record.fields;
    const char *colon = f[P_OP].len ? memchr(f[P_OP].at, ':', f[P_OP].len) : NULL;
    row->version = arena_copy(watch->arena, f[P_V]);
    if (!audit_number(f[P_V], &v) || !audit_number(f[P_CREATED], &created) || !audit_number(f[P_UPDATED], &updated) || updated >= watch->now_ms ||
        colon == NULL || !judge_amounts(row, &record) || !judge_payment_history(watch, row, &record, v) ||
        !view_equal(f[P_ORDER_ID], row->order->id) || !view_equal(f[P_CURRENCY], row->order->currency) || !view_equal(f[P_AMOUNT], row->order->total))
        row->order->suspect = true;
    else
        row->action = arena_copy(watch->arena, (struct view){f[P_OP].at, (size_t)(colon - f[P_OP].at)});
    return true;
}

void order_conclude(const struct order_watch *watch, struct order_row *row, const struct payment_row *payments, size_t count)
{
    char profile[PROFILE_MAX];
    struct view word = row->word < FACTS_WORDS ? facts_text(watch->facts, row->word) : VIEW("");
    size_t len = (size_t)snprintf(profile, sizeof(profile), "%.*s", VIEW_ARG(word));

    for (size_t i = 0; i < count && !row->suspect && len < sizeof(profile); i++) {
        const struct payment_row *payment = &payments[i];
        row->suspect |= payment->word >= FACTS_WORDS || isnan(payment->score);
        if (!row->suspect)
            len += (size_t)snprintf(profile + len, sizeof(profile) - len, " %.*s%.*s %s%c%c", VIEW_ARG(facts_text(watch->facts, payment->word)),
                                    VIEW_ARG(payment->action), payment->amounts, isnan(payment->owed) ? '-' : 'r', isnan(payment->duty) ? '-' : 'd');
    }
    if (row->suspect || len >= sizeof(profile))
        row->suspect = true;
    else
        note_fact(watch->facts, row, fact_text(watch->facts, (struct view){profile, len}));
}

bool order_is_right(const struct facts *facts, const struct order_row *row)
{
    for (unsigned i = 0; i < row->unknown_count; i++)
        if (!fact_right(facts, row->unknown[i]))
            return false;
    return !row->suspect;
}
