#include <stddef.h>

#include "log.h"
#include "money.h"

#include "functions.h"
#include "records.h"

#include "payment.h"

/* When the outcome is unknown, the gateway is asked this soon. */
#define ASK_AGAIN_MS 1000
/* What an errand's time is allowed to be exceeded by. */
#define ERRAND_SLACK_MS 2000

/* ---- the noun ---- */

const char *const PAYMENT_FIELD_NAMES[PAYMENT_FIELD_COUNT] = {
    "status", "v", "order_id", "amount", "currency", "captured", "refunded", "capture", "failure", "created", "updated", "gateway_ref", "refunds",
};

struct call *payment_call(struct arena *arena, unsigned partition, int64_t id, const char *more)
{
    struct call *call = call_command(arena, "HMGET", partition);
    call_arg(call, arena_printf(arena, "payment:{%u}:%lld", partition, (long long)id));
    for (int i = 0; i < PAYMENT_FIELD_COUNT; i++)
        call_arg(call, view_of(PAYMENT_FIELD_NAMES[i]));
    if (more)
        call_arg(call, view_of(more));
    return call;
}

static bool read_number(struct view text, int64_t *out)
{
    long long number;
    bool good = view_to_int(text, &number);
    *out = good ? number : 0;
    return good;
}

bool payment_from_fields(const struct view fields[PAYMENT_FIELD_COUNT], int64_t id, struct payment *payment)
{
    *payment = (struct payment){
        .id = id,
        .status = fields[PAYMENT_STATUS],
        .currency = fields[PAYMENT_CURRENCY],
        .capture = fields[PAYMENT_CAPTURE],
        .failure = fields[PAYMENT_FAILURE],
        .gateway_ref = fields[PAYMENT_GATEWAY_REF],
        .digits = money_digits(fields[PAYMENT_CURRENCY]),
    };
    return payment->digits >= 0 && read_number(fields[PAYMENT_V], &payment->version) && read_number(fields[PAYMENT_ORDER_ID], &payment->order_id) &&
           read_number(fields[PAYMENT_AMOUNT], &payment->amount) && read_number(fields[PAYMENT_CAPTURED], &payment->captured) &&
           read_number(fields[PAYMENT_REFUNDED], &payment->refunded) && read_number(fields[PAYMENT_CREATED], &payment->created_ms) &&
           read_number(fields[PAYMENT_UPDATED], &payment->updated_ms) && read_number(fields[PAYMENT_REFUNDS], &payment->refunds);
}

enum payment_found payment_from_reply(struct arena *arena, const struct reply *reply, int64_t id, struct payment *payment)
{
    struct view fields[PAYMENT_FIELD_COUNT];
    if (reply_item(reply, PAYMENT_STATUS)->type == ITEM_NIL)
        return PAYMENT_ABSENT;
    for (int i = 0; i < PAYMENT_FIELD_COUNT; i++)
        fields[i] = arena_copy(arena, reply_text(reply, (size_t)i));
    return payment_from_fields(fields, id, payment) ? PAYMENT_FOUND : PAYMENT_DAMAGED;
}

struct view payment_more(const struct reply *reply)
{
    return reply_text(reply, PAYMENT_FIELD_COUNT);
}

bool payment_as_of(struct payment *payment, int64_t version, struct view history)
{
    enum { STATUS, CAPTURED, REFUNDED, AT, CAUSE, FAILURE, REQUEST, PARTS };
    struct view parts[PARTS];
    payment->version = version;
    if (split_bars(history, parts, PARTS) != PARTS)
        return false;
    payment->status = parts[STATUS];
    payment->failure = parts[FAILURE];
    return read_number(parts[CAPTURED], &payment->captured) && read_number(parts[REFUNDED], &payment->refunded) &&
           read_number(parts[AT], &payment->updated_ms);
}

void payment_write(struct writer *w, const struct payment *payment)
{
    writer_map(w, 12);
    WRITER_INT(w, "id", payment->id);
    WRITER_INT(w, "order_id", payment->order_id);
    WRITER_TEXT(w, "status", payment->status);
    WRITER_MONEY(w, "amount", payment->amount, payment->digits);
    WRITER_TEXT(w, "currency", payment->currency);
    WRITER_MONEY(w, "captured", payment->captured, payment->digits);
    WRITER_MONEY(w, "refunded", payment->refunded, payment->digits);
    WRITER_TEXT(w, "capture", payment->capture);
    writer_name(w, VIEW("failure"));
    if (payment->failure.len)
        writer_text(w, payment->failure);
    else
        writer_null(w);
    WRITER_INT(w, "version", payment->version);
    WRITER_TIME(w, "created_at", payment->created_ms);
    WRITER_TIME(w, "updated_at", payment->updated_ms);
    writer_end(w);
}

bool is_one_of(const char *words, struct view text)
{
    for (const char *at = words; *at;) {
        size_t len = strcspn(at, "|");
        if (view_equal((struct view){at, len}, text))
            return true;
        at += len + (at[len] == '|');
    }
    return false;
}

bool payment_under_way(struct view status)
{
    return is_one_of("processing|unknown", status);
}

/* ---- answers ---- */

void end_broken(struct flow *flow, const char *what, int64_t id)
{
    log_error("%s %lld: the record or the answer makes no sense to this worker; look at it with `soukctl get`", what, (long long)id);
    answer_refuse(flow, &OUTCOME_BROKEN, "%s %lld cannot be understood by this worker", what, (long long)id);
    flow_end(flow);
}

void end_no_payment(struct flow *flow, int64_t id)
{
    answer_refuse(flow, &OUTCOME_NOT_FOUND, "there is no payment %lld", (long long)id);
    flow_end(flow);
}

void end_failed(struct flow *flow, const struct reply *reply, const char *what)
{
    answer_failed(flow, reply, what);
    flow_end(flow);
}

void end_member(struct flow *flow, const char *pointer, const char *message)
{
    struct faults faults;
    faults_init(&faults, flow->arena);
    faults_add(&faults, view_of(pointer), "%s", message);
    struct writer *w = answer_problem(flow, &OUTCOME_UNPROCESSABLE, 1, "%s %s", pointer, message);
    answer_faults_write(w, &faults);
    writer_end(w);
    answer_send(flow);
    flow_end(flow);
}

void end_key_reused(struct flow *flow)
{
    answer_refuse(flow, &OUTCOME_KEY_REUSED, "this Idempotency-Key was used for another request to this path; use a new key");
    flow_end(flow);
}

void end_in_flight(struct flow *flow)
{
    answer_refuse(flow, &OUTCOME_KEY_IN_FLIGHT,
                  "the gateway has not yet answered the first request with this key; send it again to learn the outcome");
    flow_end(flow);
}

bool amount_read(struct flow *flow, struct view text, int digits, int64_t *amount)
{
    enum money_error error = money_parse(text, digits, amount);
    if (error != MONEY_OK)
        end_member(flow, "/amount", money_error_text(error));
    return error == MONEY_OK;
}

/* ---- calls ---- */

struct call *payment_function(struct arena *arena, const struct function *function, unsigned partition, int64_t id)
{
    struct call *call = call_function(arena, function, partition);
    call_keyf(call, "payment:{%u}:%lld", partition, (long long)id);
    call_arg_int(call, partition);
    call_arg_int(call, id);
    return call;
}

static const struct payment_settings *settings_of(const struct flow *flow)
{
    return flow->world->settings;
}

int64_t due_of_errand_ms(const struct flow *flow)
{
    return settings_of(flow)->gateway_timeout_ms + ERRAND_SLACK_MS;
}

static struct view request_id_of(const struct flow *flow)
{
    return flow->ask ? flow->ask->request_id : VIEW("");
}

struct call *pay_result_call(struct flow *flow, unsigned partition, int64_t id, struct view op, const struct gateway_errand *errand, struct view hash)
{
    struct call *call = payment_function(flow->arena, &FN_PAY_RESULT, partition, id);
    call_arg(call, op);
    call_arg(call, gateway_result_text(errand->result));
    call_arg(call, errand->result_ref);
    call_arg(call, errand->failure);
    call_arg_int(call, settings_of(flow)->authorization_hold_s * INT64_C(1000));
    call_arg_int(call, ASK_AGAIN_MS);
    call_arg(call, request_id_of(flow));
    call_arg(call, hash);
    return call;
}

struct call *refund_result_call(struct flow *flow, unsigned partition, int64_t id, int64_t n, const struct gateway_errand *errand)
{
    struct call *call = payment_function(flow->arena, &FN_REFUND_RESULT, partition, id);
    bool done = errand->result == GATEWAY_SUCCEEDED || errand->result == GATEWAY_FAILED;
    call_arg_int(call, n);
    call_arg(call, done ? gateway_result_text(errand->result) : VIEW("unknown"));
    call_arg(call, errand->failure);
    call_arg(call, request_id_of(flow));
    call_arg_int(call, ASK_AGAIN_MS);
    return call;
}
