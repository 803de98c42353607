#include <stdlib.h>

#include "check.h"
#include "hash.h"

#include "book.h"

/* What stands on one charge. Amounts are of the smallest unit. */
struct charge {
    struct view ref, currency;
    int64_t authorized, captured, refunded;
    bool voided;
    struct charge *next_of_bucket;
};

#define BUCKETS 65536
struct book {
    struct arena *arena; /* of all entries and charges: the book only grows */
    struct entry *first, **last;
    int64_t charge_count;
    size_t entry_count;
    struct entry *entries[BUCKETS];  /* by key */
    struct charge *charges[BUCKETS]; /* by ref */
};

static const char *const OP_NAMES[BOOK_OP_COUNT] = {
    [BOOK_CHARGE] = "charge", [BOOK_AUTHORIZE] = "authorize", [BOOK_CAPTURE] = "capture",
    [BOOK_VOID] = "void",     [BOOK_REFUND] = "refund",       [BOOK_CLOSE] = "close",
};

/* Tokens that a charge is decided by; any other fails as invalid_token. */
static const struct {
    const char *token, *failure; /* NULL: it succeeds */
} TOKENS[] = {
    {"tok_ok", NULL}, {"tok_slow", NULL}, {"tok_timeout", NULL}, {"tok_declined", "card_declined"}, {"tok_insufficient_funds", "insufficient_funds"},
};

struct book *book_new(void)
{
    struct arena *arena = arena_new();
    struct book *book = calloc(1, sizeof(*book));
    CHECK(book);
    book->arena = arena;
    book->last = &book->first;
    return book;
}

void book_free(struct book *book)
{
    if (book == NULL)
        return;
    arena_free(book->arena);
    free(book);
}

static size_t bucket_of(struct view text)
{
    return hash32(text, 0) % BUCKETS;
}

const struct entry *book_find(const struct book *book, struct view key)
{
    const struct entry *entry = book->entries[bucket_of(key)];
    while (entry && !view_equal(entry->wish.key, key))
        entry = entry->next_of_bucket;
    return entry;
}

const struct entry *book_first(const struct book *book)
{
    return book->first;
}

static struct charge *charge_find(const struct book *book, struct view ref)
{
    struct charge *charge = book->charges[bucket_of(ref)];
    while (charge && !view_equal(charge->ref, ref))
        charge = charge->next_of_bucket;
    return charge;
}

static struct charge *charge_add(struct book *book, struct view ref, struct view currency)
{
    struct charge *charge = ARENA_NEW(book->arena, struct charge);
    size_t bucket = bucket_of(ref);
    charge->ref = ref;
    charge->currency = currency;
    charge->next_of_bucket = book->charges[bucket];
    book->charges[bucket] = charge;
    book->charge_count++;
    return charge;
}

/* ---- deciding ---- */

static const char *charge_refused(const struct wish *wish)
{
    for (size_t i = 0; i < sizeof(TOKENS) / sizeof(*TOKENS); i++)
        if (view_equal(wish->token, view_of(TOKENS[i].token)))
            return TOKENS[i].failure;
    return "invalid_token";
}

static const char *capture_refused(const struct charge *charge, int64_t amount)
{
    return charge->voided ? "voided" : charge->captured ? "already_captured" : amount > charge->authorized ? "amount_above_authorized" : NULL;
}

/* Why ${wish} cannot be done now, or NULL. */
static const char *refused(const struct book *book, const struct wish *wish)
{
    const struct charge *charge = charge_find(book, wish->ref);
    switch (wish->op) {
    case BOOK_CHARGE:
    case BOOK_AUTHORIZE:
        return charge_refused(wish);
    case BOOK_CAPTURE:
        return !charge ? "no_such_charge" : capture_refused(charge, wish->amount);
    case BOOK_VOID:
        return !charge ? "no_such_charge" : charge->captured ? "already_captured" : charge->voided ? "already_voided" : NULL;
    case BOOK_REFUND:
        return !charge ? "no_such_charge" : wish->amount > charge->captured - charge->refunded ? "amount_above_captured" : NULL;
    case BOOK_CLOSE:
        break;
    }
    return "closed";
}

/* What an entry without failure changes. */
static void apply(struct book *book, const struct entry *entry)
{
    struct charge *charge = charge_find(book, entry->ref);
    int64_t amount = entry->wish.amount;
    switch (entry->wish.op) {
    case BOOK_CHARGE:
        charge_add(book, entry->ref, entry->wish.currency)->captured = amount;
        break;
    case BOOK_AUTHORIZE:
        charge_add(book, entry->ref, entry->wish.currency)->authorized = amount;
        break;
    case BOOK_CAPTURE:
        charge->captured = amount;
        break;
    case BOOK_VOID:
        charge->voided = true;
        break;
    case BOOK_REFUND:
        charge->refunded += amount;
        break;
    case BOOK_CLOSE:
        break;
    }
}

static void keep(struct book *book, struct entry *entry)
{
    size_t bucket = bucket_of(entry->wish.key);
    entry->next_of_bucket = book->entries[bucket];
    book->entries[bucket] = entry;
    *book->last = entry;
    book->last = &entry->next;
    book->entry_count++;
    if (entry->failure.len == 0)
        apply(book, entry);
}

static bool makes_charge(const struct wish *wish)
{
    return wish->op == BOOK_CHARGE || wish->op == BOOK_AUTHORIZE;
}

static struct wish wish_copy(struct arena *arena, const struct wish *wish)
{
    struct wish copy = *wish;
    copy.key = arena_copy(arena, wish->key);
    copy.ref = arena_copy(arena, wish->ref);
    copy.currency = arena_copy(arena, wish->currency);
    copy.token = arena_copy(arena, wish->token);
    return copy;
}

static const struct entry *decide(struct book *book, const struct wish *wish, int64_t at_ms)
{
    struct entry *entry = ARENA_NEW(book->arena, struct entry);
    entry->wish = wish_copy(book->arena, wish);
    entry->failure = view_of(refused(book, wish));
    entry->ref = entry->wish.ref;
    if (makes_charge(wish) && entry->failure.len == 0)
        entry->ref = arena_printf(book->arena, "ch_%lld", (long long)book->charge_count + 1);
    entry->at_ms = at_ms;
    keep(book, entry);
    return entry;
}

static bool same_wish(const struct wish *a, const struct wish *b)
{
    return a->op == b->op && a->amount == b->amount && view_equal(a->ref, b->ref) && view_equal(a->currency, b->currency) &&
           view_equal(a->token, b->token);
}

const struct entry *book_decide(struct book *book, const struct wish *wish, int64_t at_ms, bool *fresh)
{
    const struct entry *known = book_find(book, wish->key);
    *fresh = known == NULL;
    if (known == NULL)
        return decide(book, wish, at_ms);
    return known->wish.op == BOOK_CLOSE || same_wish(&known->wish, wish) ? known : NULL;
}

const struct entry *book_close(struct book *book, struct view key, int64_t at_ms, bool *fresh)
{
    const struct entry *known = book_find(book, key);
    const struct wish wish = {.op = BOOK_CLOSE, .key = key};
    *fresh = known == NULL;
    return known ? known : decide(book, &wish, at_ms);
}

const char *entry_status(const struct entry *entry)
{
    if (entry->failure.len)
        return "failed";
    return entry->wish.op == BOOK_AUTHORIZE ? "authorized" : entry->wish.op == BOOK_VOID ? "voided" : "succeeded";
}

/* ---- the journal's lines ---- */

void entry_write(const struct entry *entry, struct writer *w)
{
    const struct wish *wish = &entry->wish;
    bool declined = entry->failure.len > 0 && wish->op != BOOK_CLOSE;
    writer_map(w, declined ? 9 : 7);
    WRITER_INT(w, "at", entry->at_ms);
    WRITER_TEXT(w, "key", wish->key);
    WRITER_TEXT(w, "op", view_of(declined ? "decline" : OP_NAMES[wish->op]));
    WRITER_TEXT(w, "ref", entry->ref);
    WRITER_INT(w, "amount", wish->amount);
    WRITER_TEXT(w, "currency", wish->currency);
    WRITER_TEXT(w, "token", wish->token);
    if (declined) {
        WRITER_TEXT(w, "wanted", view_of(OP_NAMES[wish->op]));
        WRITER_TEXT(w, "failure", entry->failure);
    }
    writer_end(w);
}

static struct view text_of(const struct value *line, const char *name)
{
    const struct value *value = value_get(line, name);
    return value && value->kind == VALUE_TEXT ? value->text : (struct view){"", 0};
}

static int64_t int_of(const struct value *line, const char *name)
{
    const struct value *value = value_get(line, name);
    return value && value->kind == VALUE_INT ? value->integer : -1;
}

static bool op_of(struct view name, enum book_op *op)
{
    for (int i = 0; i < BOOK_OP_COUNT; i++)
        if (view_equal(name, view_of(OP_NAMES[i]))) {
            *op = (enum book_op)i;
            return true;
        }
    return false;
}

bool book_load(struct book *book, const struct value *line)
{
    struct wish wish = {
        .key = text_of(line, "key"),
        .amount = int_of(line, "amount"),
        .currency = text_of(line, "currency"),
        .token = text_of(line, "token"),
    };
    struct view op = text_of(line, "op"), ref = text_of(line, "ref"), failure = text_of(line, "failure");
    bool declined = view_equal(op, VIEW("decline"));
    if (wish.key.len == 0 || wish.amount < 0 || book_find(book, wish.key) || !op_of(declined ? text_of(line, "wanted") : op, &wish.op))
        return false;
    if (wish.op == BOOK_CLOSE)
        failure = VIEW("closed");
    else if (declined != (failure.len > 0) || (!declined && makes_charge(&wish) == (charge_find(book, ref) != NULL)))
        return false;
    wish.ref = makes_charge(&wish) ? VIEW("") : ref;
    struct entry *entry = ARENA_NEW(book->arena, struct entry);
    entry->wish = wish_copy(book->arena, &wish);
    entry->ref = arena_copy(book->arena, ref);
    entry->failure = arena_copy(book->arena, failure);
    entry->at_ms = int_of(line, "at");
    keep(book, entry);
    return true;
}

void book_write(const struct book *book, struct writer *w)
{
    writer_list(w, book->entry_count);
    for (const struct entry *entry = book->first; entry; entry = entry->next)
        entry_write(entry, w);
    writer_end(w);
}
