#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#include "history.h"

static const char *const KIND_NAMES[OP_KINDS] = {
    [OP_PLACE] = "place",
    [OP_PAY] = "pay",
    [OP_CAPTURE] = "capture",
    [OP_VOID] = "void",
    [OP_CANCEL] = "cancel",
    [OP_FULFIL] = "fulfil",
    [OP_REFUND] = "refund",
    [OP_ADJUST] = "adjust stock",
    [OP_IMPORT] = "import",
    [OP_GET_ORDER] = "GET order",
    [OP_GET_PAYMENT] = "GET payment",
    [OP_GET_STOCK] = "GET stock",
    [OP_PATCH] = "patch",
};
static const char *const SILENCE_NAMES[] = {"answered", "nobody_listens", "hung_up", "out_of_time"};
static const char *const DECISION_NAMES[DECISIONS] = {"undecided", "not now", "no", "kept no", "done"};

static void *must(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "history: no memory\n");
        abort();
    }
    return memory;
}

/* Room for one more in a list; returns where the list is then. */
static void *grown(void *list, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return list;
    *room = *room * 2 + 1024;
    return must(realloc(list, *room * size));
}

const char *op_kind_name(enum op_kind kind)
{
    return KIND_NAMES[kind];
}

const char *decision_name(enum decision decision)
{
    return DECISION_NAMES[decision];
}

bool op_is_post(enum op_kind kind)
{
    return kind < OP_GET_ORDER;
}

void history_init(struct history *history, const char *path)
{
    *history = (struct history){.file = path ? fopen(path, "w") : NULL};
    pthread_mutex_init(&history->lock, NULL);
    if (history->file)
        fprintf(history->file, "# sent_us answered_us worker operation.attempt kind target status code id version body_hash words\n");
}

void history_free(struct history *history)
{
    for (size_t i = 0; i < history->op_count; i++) {
        free(history->ops[i]->answer);
        free(history->ops[i]);
    }
    for (int i = 0; i < MISMATCHES_MAX; i++) {
        free(history->mismatch[i]);
        free(history->broken_text[i]);
        free(history->taken_back_text[i]);
    }
    free(history->ops);
    free(history->sights);
    free(history->unanswered);
    free(history->disturbances);
    if (history->file)
        fclose(history->file);
    pthread_mutex_destroy(&history->lock);
}

struct op *history_op(struct history *history, enum op_kind kind)
{
    struct op *op = must(calloc(1, sizeof(*op)));
    op->kind = kind;
    pthread_mutex_lock(&history->lock);
    history->ops = grown(history->ops, history->op_count, &history->op_room, sizeof(*history->ops));
    history->ops[history->op_count++] = op;
    op->number = (uint32_t)history->op_count;
    pthread_mutex_unlock(&history->lock);
    return op;
}

void op_request_id(const struct op *op, unsigned n, char text[32])
{
    snprintf(text, 32, "%" PRIu32 ".%u", op->number, n);
}

uint32_t op_of_request_id(const char *text)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    return end != text && *end == '.' ? (uint32_t)number : 0;
}

uint64_t content_of(const char *words)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *words; words++)
        hash = (hash ^ (unsigned char)*words) * UINT64_C(0x100000001b3);
    return hash ? hash : 1;
}

/* ---- understanding an answer ---- */

/* What one answer says. */
struct said {
    enum decision decision;
    bool not_known; /* it may have been done, or may be done yet */
    bool broken;    /* no client should get this */
    enum record_kind record;
    char code[32], words[96];
    int64_t id, version;
    uint64_t content, body_hash;
};

/* Problems that are no decision, and whether something may be under way nevertheless. */
static const struct {
    const char *code;
    bool not_known;
} AGAIN[] = {
    {"outcome_unknown", true}, {"idempotency_in_flight", true}, {"shard_unavailable", false}, {"overloaded", false},
    {"draining", false},       {"deadline_exceeded", false},    {"request_timeout", false},
};
/* Refusals that stay with the key: those for a reason that may pass. */
static const struct {
    enum op_kind kind;
    const char *code, *state; /* the order's in the problem; NULL: any */
} KEPT[] = {
    {OP_PLACE, "insufficient_stock", NULL},
    {OP_PLACE, "total_changed", NULL},
    {OP_PLACE, "unprocessable", NULL},
    {OP_ADJUST, "insufficient_stock", NULL},
    {OP_ADJUST, "stock_changed", NULL},
    {OP_ADJUST, "not_found", NULL},
    {OP_FULFIL, "illegal_transition", "reserved"},
    {OP_CAPTURE, "illegal_transition", NULL},
    {OP_CAPTURE, "unprocessable", NULL},
    {OP_VOID, "illegal_transition", NULL},
    {OP_VOID, "unprocessable", NULL},
    {OP_REFUND, "illegal_transition", NULL},
    {OP_REFUND, "unprocessable", NULL},
};
/* Refusals that stay true: there is no such record, or it has ended. */
static const char *const FINAL[] = {"not_found", "illegal_transition", "order_expired", "unprocessable", "insufficient_stock"};

static bool is_listed(const char *const *list, size_t count, const char *code)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], code) == 0)
            return true;
    return false;
}

static bool is_kept(enum op_kind kind, const char *code, const char *state)
{
    for (size_t i = 0; i < sizeof(KEPT) / sizeof(*KEPT); i++)
        if (KEPT[i].kind == kind && strcmp(KEPT[i].code, code) == 0 && (KEPT[i].state == NULL || strcmp(KEPT[i].state, state) == 0))
            return true;
    return false;
}

static void judge_problem(struct said *said, enum op_kind kind, int status, const char *state)
{
    for (size_t i = 0; i < sizeof(AGAIN) / sizeof(*AGAIN); i++)
        if (strcmp(AGAIN[i].code, said->code) == 0) {
            said->decision = UNDECIDED;
            said->not_known = AGAIN[i].not_known;
            return;
        }
    if (strcmp(said->code, "payment_open") == 0) {
        said->decision = NOT_NOW;
    } else if (is_kept(kind, said->code, state)) {
        said->decision = KEPT_NO;
    } else if (is_listed(FINAL, sizeof(FINAL) / sizeof(*FINAL), said->code)) {
        said->decision = NO;
    } else {
        said->broken = true;
        said->decision = status >= 400 && status < 500 ? NO : UNDECIDED;
        said->not_known = said->decision == UNDECIDED;
    }
}

static const char *word(const struct response *response, const char *name)
{
    const char *text = json_string_value(json_at(response->json, name));
    return text ? text : "";
}

static long long cents(const struct response *response, const char *name)
{
    return llround(json_number_value(json_at(response->json, name)) * 100);
}

static long long number(const struct response *response, const char *name)
{
    return (long long)json_integer_value(json_at(response->json, name));
}

/* The words that the store has for the version which the answer shows; none for a refund, which shows no version. */
static void read_record(const struct op *op, struct said *said, const struct response *response)
{
    said->id = number(response, "id");
    said->version = number(response, "version");
    switch (op->kind) {
    case OP_PLACE:
    case OP_CANCEL:
    case OP_FULFIL:
    case OP_GET_ORDER:
        said->record = RECORD_ORDER;
        snprintf(said->words, sizeof(said->words), "%s|%s", word(response, "state"), word(response, "payment_status"));
        break;
    case OP_PAY:
    case OP_CAPTURE:
    case OP_VOID:
    case OP_GET_PAYMENT:
        said->record = RECORD_PAYMENT;
        snprintf(said->words, sizeof(said->words), "%s|%lld|%lld", word(response, "status"), cents(response, "captured"),
                 cents(response, "refunded"));
        break;
    case OP_ADJUST:
    case OP_GET_STOCK:
        said->record = RECORD_STOCK;
        said->id = op->target;
        snprintf(said->words, sizeof(said->words), "%lld|%lld|%lld", number(response, "on_hand"), number(response, "held"),
                 number(response, "committed"));
        break;
    case OP_REFUND:
        said->id = number(response, "number");
        snprintf(said->code, sizeof(said->code), "%s", word(response, "status"));
        return;
    case OP_IMPORT:
    case OP_PATCH:
        return;
    }
    said->content = content_of(said->words);
}

static unsigned count_of(const char *text, const char *part)
{
    unsigned count = 0;
    while ((text = strstr(text, part)) != NULL) {
        count++;
        text += strlen(part);
    }
    return count;
}

/* One line of the answer for each line of the request. Those that were not done, or may have been, say 503; sent again they are done once. */
static void read_import(const struct op *op, struct said *said, const struct response *response)
{
    unsigned created = count_of(response->body, "\"status\":201"), open = count_of(response->body, "\"status\":503");
    said->not_known = open > 0;
    said->broken = created + open != op->units || count_of(response->body, "\n") != op->units;
    said->decision = open || said->broken ? UNDECIDED : DONE;
}

static struct said understand(const struct op *op, const struct response *response)
{
    struct said said = {.decision = UNDECIDED};
    if (response->status == 0) {
        said.not_known = true;
        snprintf(said.code, sizeof(said.code), "%s", SILENCE_NAMES[response->silence]);
        return said;
    }
    said.body_hash = content_of(response->body);
    if (op->kind == OP_IMPORT && response->status == 200) {
        read_import(op, &said, response);
        return said;
    }
    if (op->kind == OP_PATCH && (response->status == 202 || response->status == 200)) {
        said.decision = DONE;
        return said;
    }
    if ((response->status >= 200 && response->status < 300) || response->status == 402) {
        said.decision = response->status == 402 ? KEPT_NO : DONE;
        read_record(op, &said, response);
        said.broken = response->json == NULL || (said.content && said.version == 0);
        return said;
    }
    snprintf(said.code, sizeof(said.code), "%s", word(response, "code"));
    judge_problem(&said, op->kind, response->status, word(response, "state"));
    said.broken |= !response_says_when(response);
    return said;
}

/* ---- keeping it ---- */

static char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text_of(const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        must(NULL);
    va_end(args);
    return text;
}

static void add_sight(struct history *history, const struct sight *sight)
{
    history->sights = grown(history->sights, history->sight_count, &history->sight_room, sizeof(*history->sights));
    history->sights[history->sight_count++] = *sight;
}

/* Where nobody listens the worker is dead, or not yet there. */
static void add_unanswered(struct history *history, const char *what, int worker, int64_t sent_us, int64_t until_us, enum silence silence)
{
    if (silence != HUNG_UP && silence != OUT_OF_TIME)
        return;
    history->unanswered = grown(history->unanswered, history->unanswered_count, &history->unanswered_room, sizeof(*history->unanswered));
    struct unanswered *unanswered = &history->unanswered[history->unanswered_count++];
    *unanswered = (struct unanswered){.worker = worker, .silence = silence, .sent_us = sent_us, .until_us = until_us};
    snprintf(unanswered->what, sizeof(unanswered->what), "%s", what);
}

void history_disturb(struct history *history, int worker, int64_t from_us, int64_t until_us)
{
    pthread_mutex_lock(&history->lock);
    history->disturbances = grown(history->disturbances, history->disturbance_count, &history->disturbance_room, sizeof(*history->disturbances));
    history->disturbances[history->disturbance_count++] = (struct disturbance){worker, from_us, until_us};
    pthread_mutex_unlock(&history->lock);
}

void history_see(struct history *history, struct sight sight)
{
    pthread_mutex_lock(&history->lock);
    add_sight(history, &sight);
    pthread_mutex_unlock(&history->lock);
}

static void compare(struct history *history, const struct op *op, unsigned n, const struct said *said, const struct response *response)
{
    history->replays++;
    if (op->status == response->status && op->body_hash == said->body_hash)
        return;
    if (history->mismatches < MISMATCHES_MAX)
        history->mismatch[history->mismatches] =
            text_of("operation %" PRIu32 " (%s) was answered %d %s and, attempt %u, %d %s", op->number, KIND_NAMES[op->kind], op->status,
                    op->answer ? op->answer : "(not kept)", n, response->status, response->body);
    history->mismatches++;
}

/* A repeat of what was refused for good; ${op} is as it was. */
static void insist(struct history *history, const struct op *op, unsigned n, const struct said *said, const struct response *response)
{
    history->insisted++;
    if (said->decision <= NO)
        return;
    if (history->taken_back < MISMATCHES_MAX)
        history->taken_back_text[history->taken_back] =
            text_of("operation %" PRIu32 " (%s) was refused with %d %s and, attempt %u, answered %d %s", op->number, KIND_NAMES[op->kind], op->status,
                    op->code, n, response->status, response->body);
    history->taken_back++;
}

static void decide(struct op *op, const struct said *said, int64_t got_us, const struct response *response)
{
    op->decision = said->decision;
    op->decided_us = got_us;
    op->status = response->status;
    memcpy(op->code, said->code, sizeof(op->code));
    op->id = said->id;
    op->version = said->version;
    op->content = said->content;
    op->body_hash = said->body_hash;
    free(op->answer);
    op->answer = said->decision >= KEPT_NO && op_is_post(op->kind) ? must(strdup(response->body)) : NULL;
}

/* ${text}: belongs to the history from now on. */
static void note_broken(struct history *history, char *text)
{
    if (history->broken < MISMATCHES_MAX)
        history->broken_text[history->broken] = text;
    else
        free(text);
    history->broken++;
}

static void add_broken(struct history *history, const char *what, const struct response *response)
{
    note_broken(history, text_of("%s was answered %d%s %s", what, response->status, response_says_when(response) ? "" : " without Retry-After",
                                 response->body));
}

static void write_line(struct history *history, const struct op *op, unsigned n, int worker, int64_t sent_us, int64_t got_us, const struct said *said,
                       const struct response *response)
{
    if (history->file)
        fprintf(history->file, "%" PRId64 " %" PRId64 " %d %" PRIu32 ".%u %s %" PRId64 " %d %s %" PRId64 " %" PRId64 " %016" PRIx64 " %s\n", sent_us,
                got_us, worker, op->number, n, KIND_NAMES[op->kind], op->target, response->status, said->code[0] ? said->code : "-", said->id,
                said->version, said->body_hash, said->words[0] ? said->words : "-");
}

/* Does the answer leave open what becomes of the request? "Not now" does, if it was under way when another attempt decided. */
static bool is_open(const struct op *op, const struct said *said, int64_t sent_us)
{
    return said->decision == UNDECIDED || (said->decision == NOT_NOW && sent_us < op->decided_us);
}

void history_answer(struct history *history, struct op *op, unsigned n, int worker, int64_t sent_us, int64_t got_us, const struct response *response)
{
    struct said said = understand(op, response);
    char what[48];
    snprintf(what, sizeof(what), "operation %" PRIu32 " (%s), attempt %u", op->number, KIND_NAMES[op->kind], n);
    pthread_mutex_lock(&history->lock);
    history->attempts++;
    history->silent += response->status == 0;
    add_unanswered(history, what, worker, sent_us, got_us, response->silence);
    if (said.broken)
        add_broken(history, what, response);
    if (said.content)
        add_sight(history, &(struct sight){said.record, !op_is_post(op->kind), op->number, said.id, said.version, sent_us, got_us, said.content});
    write_line(history, op, n, worker, sent_us, got_us, &said, response);
    if (op->first_sent_us == 0 || sent_us < op->first_sent_us)
        op->first_sent_us = sent_us;
    if (op->decision < NO)
        op->lost_sight |= said.not_known;
    if (op->decision == NO && said.decision != UNDECIDED)
        insist(history, op, n, &said, response);
    if (op->decision >= KEPT_NO && !is_open(op, &said, sent_us)) /* a decision, of whatever kind: it must be the same */
        compare(history, op, n, &said, response);
    else if (said.decision > op->decision)
        decide(op, &said, got_us, response);
    pthread_mutex_unlock(&history->lock);
}

/* ---- what nobody should send ---- */

static bool is_problem(const struct response *response)
{
    const char *type = response_header(response, "Content-Type");
    return type && strcmp(type, "application/problem+json") == 0 && *word(response, "code") && number(response, "status") == response->status;
}

static bool is_listed_status(const struct listed *listed, int status)
{
    for (unsigned i = 0; i < listed->status_count; i++)
        if (listed->statuses[i] == status)
            return true;
    return false;
}

static bool is_refused(const struct listed *listed, const struct response *response)
{
    if (is_listed_status(listed, response->status))
        return !listed->problem || is_problem(response);
    return (response->status == 503 || response->status == 504) && is_problem(response) && response_says_when(response);
}

void history_bad_request(struct history *history, const struct listed *listed, int worker, int64_t sent_us, int64_t got_us,
                         const struct response *response)
{
    char what[48];
    snprintf(what, sizeof(what), "bad request %d", listed->line);
    pthread_mutex_lock(&history->lock);
    history->bad_requests++;
    if (history->file)
        fprintf(history->file, "%" PRId64 " %" PRId64 " %d bad.%d - - %d %s - - - -\n", sent_us, got_us, worker, listed->line, response->status,
                response->status ? word(response, "code") : SILENCE_NAMES[response->silence]);
    if (response->status && !is_refused(listed, response))
        add_broken(history, what, response);
    if (!is_listed_status(listed, 0))
        add_unanswered(history, what, worker, sent_us, got_us, response->silence);
    pthread_mutex_unlock(&history->lock);
}

/* ---- too many at once ---- */

static void add_rushed(struct history *history, const struct rush_counts *counts, uint64_t unanswered, enum silence silence)
{
    char what[48];
    snprintf(what, sizeof(what), "%" PRIu64 " requests of a rush", unanswered);
    if (unanswered > 0)
        add_unanswered(history, what, counts->worker, counts->from_us, counts->until_us, silence);
}

void history_rush(struct history *history, const struct rush_counts *counts)
{
    pthread_mutex_lock(&history->lock);
    history->rushed += counts->requests;
    history->rushed_not_now += counts->not_now;
    if (counts->without_retry_after + counts->server_errors > 0)
        note_broken(history, text_of("%" PRIu64 " requests of a rush were answered neither well nor when to come again: %s",
                                     counts->without_retry_after + counts->server_errors, counts->worst));
    add_rushed(history, counts, counts->cut, HUNG_UP);
    add_rushed(history, counts, counts->silent, OUT_OF_TIME);
    pthread_mutex_unlock(&history->lock);
}
