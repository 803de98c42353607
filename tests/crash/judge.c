#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fault_test_lib.h"

#include "crash.h"

/* How long a victim that lives may need to serve again: a lost shard is tried again within a second. */
#define SERVES_MS 6000
/*
 * How long everything may take to come right: a lost answer of the gateway is asked for 2 s after its time, what a dead sweep left is due 5 s later.
 */
#define RIGHT_MS 30000
/* How long the disk may delay the last call of a sweep; what this one leaves would be done by another one only 5 s later. */
#define SWEPT_MS 2000
#define PAUSE_MS 50
#define PAUSE_LONG_MS 20000
#define AGAIN_MAX 3

bool run_fail(struct run *run, const char *format, ...)
{
    va_list args;

    if (run->failure[0])
        return false;
    va_start(args, format);
    vsnprintf(run->failure, sizeof(run->failure), format, args);
    va_end(args);
    return false;
}

void wait_ms(int ms)
{
    struct timespec moment = {ms / 1000, ms % 1000 * 1000000L};

    nanosleep(&moment, NULL);
}

/* ---- answers ---- */

static const char *code_of(const struct response *response)
{
    const char *code = json_string_value(json_at(response->json, "code"));

    return code ? code : "";
}

static bool is_in_flight(const struct response *response)
{
    return response->status == 409 && (code_is(response, "idempotency_in_flight") || code_is(response, "payment_open"));
}

/* An import with lines that are to be sent again. */
static bool is_import_in_part(const struct response *response)
{
    return response->status == 200 && strstr(response->body, "\"retryable\":true");
}

bool is_undecided(const struct response *response)
{
    return is_import_in_part(response) || response->status == 0 || response->status == 503 || response->status == 504 || is_in_flight(response);
}

/* Is it what the act may be answered with as the last word: the wanted status, or 202 of a payment that the gateway has not spoken about? */
static bool is_right(const struct run *run, const struct response *response)
{
    return response->status == run->scenario->act.want || (run->scenario->gateway && response->status == 202);
}

/* A shortage is said as such: 503 or 504, with a code that says whether anything was done. */
static bool is_clean_refusal(const struct response *response)
{
    return (response->status == 503 || response->status == 504) && *code_of(response);
}

static void want_when(struct run *run, const char *who, const struct response *response)
{
    if (!response_says_when(response))
        run_fail(run, "%s: %d without Retry-After, %s", who, response->status, response->body);
}

/* ---- the victim ---- */

/*
 * Where a library ends the process, or breaks it, when a call or an allocation of its fails. That is a death like another: harmless, and told apart.
 */
static const struct {
    enum shim_action action;
    const char *library, *call, *function; /* NULL: any */
    int signal;
    const char *why;
} DEADLY[] = {
    {SHIM_FAIL, "libuv", "epoll_ctl", NULL, SIGABRT, "libuv aborts when the kernel takes no new watch (uv__io_poll)"},
    {SHIM_NO_MEMORY, "libhiredis", NULL, "sdsnewlen", SIGSEGV,
     "hiredis 0.14 uses the new, empty output buffer that it did not get (redisBufferWrite)"},
    {SHIM_NO_MEMORY, "libcurl", NULL, NULL, SIGFPE, "libcurl 7.88 leaves a destroyed table of a socket's transfers in use (singlesocket)"},
};

const char *run_deadly(const struct run *run)
{
    for (size_t i = 0; i < sizeof(DEADLY) / sizeof(*DEADLY); i++)
        if (run->alone && run->action == DEADLY[i].action && run->signal == DEADLY[i].signal && strcmp(run->call.library, DEADLY[i].library) == 0 &&
            (!DEADLY[i].call || strcmp(run->call.name, DEADLY[i].call) == 0) &&
            (!DEADLY[i].function || strcmp(run->call.function, DEADLY[i].function) == 0))
            return DEADLY[i].why;
    return NULL;
}

/* Where no answer is an answer: the client's own connection was to be served by the call that failed, or there was no memory even for a refusal. */
static bool may_be_silent(const struct run *run)
{
    return run->died || run->action == SHIM_NO_MEMORY || (run->action == SHIM_FAIL && strcmp(run->call.library, "libmicrohttpd") == 0);
}

static void judge_answer(struct run *run)
{
    const struct response *answer = run->answer;
    bool shortage = run->acted && (run->action == SHIM_FAIL || run->action == SHIM_NO_MEMORY);

    if (answer)
        want_when(run, "the victim", answer);
    if (!answer || is_right(run, answer) || (shortage && is_clean_refusal(answer)))
        return;
    if (answer->status == 0 && run->acted && may_be_silent(run) && answer->silence != OUT_OF_TIME)
        return;
    run_fail(run, "the victim: expected %d%s, came %d %s%s", run->scenario->act.want, shortage ? " or a clean 503" : "", answer->status,
             answer->error, answer->body);
}

/* A worker that lives serves the next request: the same one again, or, where its sweep was the act, whether it is ready. */
static void judge_next(struct crash *crash, struct run *run)
{
    static const struct step READY = {.method = "GET", .path = "/readyz", .want = 200};
    const struct step *step = run->scenario->sweep ? &READY : &run->scenario->act;
    int64_t until = clock_now_ms() + SERVES_MS;
    struct request request;
    char last[TEXT_MAX] = "not asked";
    bool served = false;

    request_make(&request, run, step, souk_url(crash->souk, crash->victim), 0);
    while (!served && !victim_is_dead(crash, run) && clock_now_ms() < until) {
        struct response *response = request_raw(&request, souk_worker_port(crash->souk, crash->victim), ANSWER_MS);

        served = response->status == step->want || is_in_flight(response) ||
                 (!run->scenario->sweep && (is_right(run, response) || (run->scenario->repeat && response->status == run->scenario->repeat)));
        snprintf(last, sizeof(last), "%d %s%.200s", response->status, response->error, response->body);
        if (!served && !is_undecided(response))
            run_fail(run, "the victim's next answer: expected %d, came %s", step->want, last);
        if (step != &READY) /* who only asks whether a worker is ready does not ask it to do anything again */
            want_when(run, "the victim's next answer", response);
        response_free(response);
        if (!served)
            wait_ms(5);
    }
    if (!served && !run->died)
        run_fail(run, "the victim does not serve again within %d ms: %s", SERVES_MS, last);
}

/* With the last line of its log, where a failed CHECK or assert stands. */
static void fail_dead(struct crash *crash, struct run *run)
{
    char *log = souk_log(crash->souk, crash->victim), *end = log + strlen(log), *line;

    while (end > log && end[-1] == '\n')
        *--end = '\0';
    line = strrchr(log, '\n');
    run_fail(run, "the victim died of signal %d; the last line of its log: %.300s", run->signal, line ? line + 1 : log);
    free(log);
}

static bool is_swept(struct crash *crash, const struct run *run)
{
    for (int ms = 0; duty_due(crash, run) >= 0; ms += 5) {
        if (ms >= SWEPT_MS)
            return false;
        wait_ms(5);
    }
    return true;
}

void judge_victim(struct crash *crash, struct run *run)
{
    bool deadly = run->action == SHIM_DIE_BEFORE || run->action == SHIM_DIE_AFTER;

    /* The next answer first: a process that is about to die has closed its connections before it is dead, and this waits for one or the other. */
    if (!run->died && (!deadly || !run->acted))
        judge_next(crash, run);
    judge_answer(run);
    if (run->scenario->sweep && !run->died && (run->action == SHIM_COUNT || run->action == SHIM_SHORT) && !is_swept(crash, run))
        run_fail(run, "the victim's sweep has not done it");
    if (run->alone && !run_deadly(run))
        fail_dead(crash, run);
    if (deadly && run->acted && !run->died)
        run_fail(run, "the victim was to die and lives");
}

/* ---- another worker finishes ---- */

static struct response *ask_healthy(struct crash *crash, const struct run *run)
{
    const struct step *act = &run->scenario->act;
    struct request request;

    request_make(&request, run, act, souk_url(crash->souk, (int)act->role), run->again);
    return client_send(souk_client(crash->souk), &request.request);
}

static bool same(const struct response *a, const struct response *b)
{
    return a->status == b->status && a->body_len == b->body_len && memcmp(a->body, b->body, a->body_len) == 0;
}

/* The first answer stands: every repeat of the request has the same bytes. An act without a key has no such promise. */
static void compare(struct run *run, const char *who, const struct response *first, const struct response *repeat)
{
    if (run->scenario->act.key && !same(first, repeat))
        run_fail(run, "%s was answered %d %s; a repeat: %d %s", who, first->status, first->body, repeat->status, repeat->body);
}

/* The payment's status now, without one that is still under way: "". */
static void payment_status(struct crash *crash, const struct run *run, char status[32])
{
    int64_t id = strtoll(run->payment, NULL, 10);
    char key[64], *text, *due;

    snprintf(key, sizeof(key), "txn:{%lld}:pay", (long long)id % SOUK_PARTITIONS);
    due = REDIS(souk_shard(crash->souk, souk_shard_of(crash->souk, id)), "ZSCORE", key, run->payment);
    text = record_field(crash->souk, "payment", id, "status");
    snprintf(status, 32, "%s", due && text && strcmp(due, "(nil)") == 0 ? text : "");
    free(due);
    free(text);
}

/*
 * A request that went to the gateway is decided when the payment is. When the gateway was never asked its key is closed, and the payment is as
 * before: the client is told (402), or finds out behind a 202, and asks again under a new key.
 */
static void settle_payment(struct crash *crash, struct run *run, const struct response *response)
{
    char status[32];

    payment_status(crash, run, status);
    if (!status[0])
        return;
    run->settled = strcmp(status, run->scenario->want.payment) == 0;
    if (run->settled && response->status == 402 && run->scenario->act.want != 402)
        run_fail(run, "payment %s is %s, and its request was answered %d %s", run->payment, status, response->status, response->body);
    if (!run->settled && ++run->again > AGAIN_MAX)
        run->settled = run_fail(run, "payment %s is %s after %d new keys", run->payment, status, AGAIN_MAX);
}

/* One more try. */
static void settle_run(struct crash *crash, struct run *run)
{
    const struct scenario *scenario = run->scenario;
    struct response *response = ask_healthy(crash, run);
    bool right = is_right(run, response) || (scenario->repeat && response->status == scenario->repeat);

    want_when(run, "the healthy worker", response);
    if (!is_undecided(response) && !right && !(scenario->gateway && response->status == 402))
        run->settled = !run_fail(run, "the healthy worker: expected %d, came %d %s", scenario->act.want, response->status, response->body);
    if (is_undecided(response) || run->settled) {
        response_free(response);
        return;
    }
    request_save(run, &scenario->act, response);
    if (run->again == 0 && run->answer && !is_undecided(run->answer))
        compare(run, "the client of the victim", run->answer, response);
    response_free(run->decided);
    run->decided = response;
    if (scenario->gateway)
        settle_payment(crash, run, response);
    else
        run->settled = true;
}

/* Once more, now that it is decided. */
static void repeat_run(struct crash *crash, struct run *run)
{
    struct response *response;

    if (!run->decided)
        return;
    response = ask_healthy(crash, run);
    compare(run, "the client of the healthy worker", run->decided, response);
    response_free(response);
}

static void settle_all(struct crash *crash, struct run *runs, unsigned count)
{
    int64_t until = clock_now_ms() + RIGHT_MS;
    bool all = false;

    while (!all && clock_now_ms() < until) {
        all = true;
        for (unsigned i = 0; i < count; i++) {
            if (!runs[i].settled)
                settle_run(crash, &runs[i]);
            all = all && runs[i].settled;
        }
        if (!all)
            wait_ms(PAUSE_MS);
    }
    for (unsigned i = 0; i < count; i++) {
        if (!runs[i].settled)
            run_fail(&runs[i], "not decided within %d ms", RIGHT_MS);
        repeat_run(crash, &runs[i]);
    }
}

/* ---- what must be true then ---- */

/* One look: what it found first that is not as wanted is in ${why}. */
struct look {
    struct crash *crash;
    const struct run *run;
    const char *journal;
    char why[TEXT_MAX];
};

static bool is_number(struct look *look, const char *what, int64_t found, int64_t want)
{
    if (found != want && !look->why[0])
        snprintf(look->why, sizeof(look->why), "%s: expected %lld, is %lld", what, (long long)want, (long long)found);
    return found == want;
}

/* Takes ${found}. */
static bool is_text(struct look *look, const char *what, char *found, const char *want)
{
    bool is = found && strcmp(found, want) == 0;

    if (!is && !look->why[0])
        snprintf(look->why, sizeof(look->why), "%s: expected %s, is %s", what, want, found ? found : "not readable");
    free(found);
    return is;
}

static bool stock_is_right(struct look *look, const char *which, int64_t product, const int64_t want[3])
{
    static const char *const FIELDS[] = {"on_hand", "held", "committed"};
    char what[64];
    bool right = true;

    for (int i = 0; i < 3 && right; i++) {
        snprintf(what, sizeof(what), "%s of the %s product %lld", FIELDS[i], which, (long long)product);
        right = is_number(look, what, stock_of(look->crash->souk, product, FIELDS[i]), want[i]);
    }
    return right;
}

static int64_t orders_of(struct crash *crash, const char *user)
{
    unsigned shard = souk_shard_of_text(crash->souk, user);
    static const char SUM[] =
        "local n = 0 for p = 0, ARGV[2] - 1 do n = n + redis.call('ZCARD', 'orders:{' .. p .. '}:user:' .. ARGV[1]) end return n";
    char partitions[16], *sum;
    int64_t count;

    snprintf(partitions, sizeof(partitions), "%d", SOUK_PARTITIONS);
    sum = REDIS(souk_shard(crash->souk, shard), "EVAL", SUM, "0", user, partitions);
    count = sum ? strtoll(sum, NULL, 10) : -1;
    free(sum);
    return count;
}

/* Entries of this operation about the payments with these ids (with commas between them) in the gateway's journal. */
static int journalled(const char *journal, const char *payments, const char *op)
{
    char key[64], kind[32];
    int count = 0;

    snprintf(kind, sizeof(kind), "\"op\":\"%s\"", op);
    for (const char *id = payments; *id; id += strcspn(id, ",") + (id[strcspn(id, ",")] == ',')) {
        snprintf(key, sizeof(key), "\"key\":\"souk-%.*s-", (int)strcspn(id, ","), id);
        for (const char *at = journal; (at = strstr(at, key)); at++) {
            const char *found = strstr(at, kind), *end = strchr(at, '\n');

            count += found && (!end || found < end);
        }
    }
    return count;
}

static bool money_is_right(struct look *look, int64_t order)
{
    const struct effect *want = &look->run->scenario->want;
    char *payments = record_field(look->crash->souk, "order", order, "payments");
    const char *last = payments ? strrchr(payments, ',') : NULL;
    int64_t id = payments ? strtoll(last ? last + 1 : payments, NULL, 10) : 0;
    bool right = payments && is_number(look, "charges in the gateway's journal", journalled(look->journal, payments, "charge"), want->charges) &&
                 is_number(look, "captures in the gateway's journal", journalled(look->journal, payments, "capture"), want->captures) &&
                 is_number(look, "voids in the gateway's journal", journalled(look->journal, payments, "void"), want->voids) &&
                 is_number(look, "refunds in the gateway's journal", journalled(look->journal, payments, "refund"), want->refunds) &&
                 (!want->payment || is_text(look, "status of the payment", record_field(look->crash->souk, "payment", id, "status"), want->payment));
    char key[64], text[24];

    if (right && want->payment) {
        snprintf(key, sizeof(key), "txn:{%lld}:pay", (long long)id % SOUK_PARTITIONS);
        snprintf(text, sizeof(text), "%lld", (long long)id);
        right = is_text(look, "duty of the payment", REDIS(souk_shard(look->crash->souk, souk_shard_of(look->crash->souk, id)), "ZSCORE", key, text),
                        "(nil)");
    }
    free(payments);
    return right;
}

static bool order_is_right(struct look *look)
{
    const struct effect *want = &look->run->scenario->want;
    struct souk *souk = look->crash->souk;
    int64_t order = strtoll(look->run->order, NULL, 10);

    return is_text(look, "state of the order", order_field(souk, order, "state"), want->state) &&
           is_text(look, "payment_status of the order", order_field(souk, order, "payment_status"), want->payment_status) &&
           is_number(look, "duty of the order", order_has_duty(souk, order), strcmp(want->state, "reserved") == 0) && money_is_right(look, order);
}

static bool version_is_right(struct look *look)
{
    char *text = record_field(look->crash->souk, "product", look->run->left, "v");
    int64_t version = text ? strtoll(text, NULL, 10) : 0;

    free(text);
    return is_number(look, "version of the product", version, look->run->scenario->want.version);
}

static bool is_as_wanted(struct look *look)
{
    const struct run *run = look->run;
    const struct effect *want = &run->scenario->want;

    look->why[0] = '\0';
    return is_number(look, "orders of the buyer", orders_of(look->crash, run->user), want->orders) &&
           stock_is_right(look, "left", run->left, want->left) && stock_is_right(look, "right", run->right, want->right) &&
           (!want->version || version_is_right(look)) && (!want->state || order_is_right(look));
}

/*
 * What the gateway declined, also because the key was closed after a worker's death, is tried again after more than a minute: that is not waited for.
 */
static void skip_pause(struct crash *crash, const struct run *run)
{
    static const char NOW[] = "local t = redis.call('TIME') return t[1] * 1000";
    char *now = REDIS(souk_shard(crash->souk, 0), "EVAL", NOW, "0");

    if (now && duty_due(crash, run) > strtoll(now, NULL, 10) + PAUSE_LONG_MS)
        duty_now(crash, run);
    free(now);
}

static void look_at_all(struct crash *crash, struct run *runs, unsigned count)
{
    int64_t until = clock_now_ms() + RIGHT_MS;
    struct look look = {.crash = crash};
    unsigned next = 0;

    while (next < count) {
        char *journal = souk_journal(crash->souk);

        look.journal = journal;
        look.run = &runs[next];
        /* Those that have failed are not waited for. */
        while (next < count && (is_as_wanted(&look) || runs[next].failure[0] || clock_now_ms() > until)) {
            if (look.why[0])
                run_fail(&runs[next], "%s", look.why);
            if (++next < count)
                look.run = &runs[next];
        }
        free(journal);
        for (unsigned i = next; crash->scenario->sweep && i < count; i++)
            skip_pause(crash, &runs[i]);
        if (next < count)
            wait_ms(PAUSE_MS);
    }
}

void judge(struct crash *crash, struct run *runs, unsigned count)
{
    if (!crash->scenario->sweep)
        settle_all(crash, runs, count);
    look_at_all(crash, runs, count);
}
