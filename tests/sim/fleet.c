#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "money.h"

#include "store.h"

#include "step.h"

#include "functions.h"
#include "records.h"
#include "sweep.h"

#include "gateway.h"
#include "payment.h"

#include "fleet.h"

/*
 * Everything that will happen stands in one heap, by time. A message belongs to the arena of the flow that sent it; whatever refers to it holds that
 * arena.
 */
enum kind {
    EV_ARRIVE,
    EV_SYNC,
    EV_REPLY,
    EV_FATE,
    EV_NAP,
    EV_GATEWAY,
    EV_GATEWAY_DONE,
    EV_DEADLINE,
    EV_NO_WORKER,
    EV_SWEEP,
    EV_WAKE,
    EV_FAULT,
    EV_TIMEOUT,
    EV_RETURN_WORKER,
    EV_RETURN_SHARD,
};

struct event {
    int64_t at_us;
    uint64_t number; /* of equal times the earlier one first */
    enum kind kind;
    unsigned index, life;
    void *what;
};

struct run {
    struct runner runner; /* first */
    struct fleet *fleet;
    struct arena *arena;
    struct flow *root;
    unsigned worker, life;
    const struct request_kind *request; /* NULL: a sweep's */
    void *cookie;
    bool answered, told_nothing; /* told_nothing: 504 said that nothing was done, so nothing may be done any more */
    bool *busy;                  /* of a sweep */
    struct run *next, **link;    /* of its worker */
};

struct message {
    struct run *run;
    struct call *call, *sent; /* as its flow knows it; as the shard gets it */
    unsigned shard, shard_life;
    int64_t limit_ms, late_us; /* late: how long after its time it arrives */
    bool told, lost;           /* the worker has an answer or will have none; it will not arrive */
    const struct reply *fate;
    struct arena *reply_arena;
    const struct item *root;
    struct message *next, **link; /* under way on this connection */
    struct message *executed_next;
};

struct gateway_message {
    struct run *run;
    struct gateway_errand *errand;
    bool lost; /* the answer */
};

struct nap {
    struct run *run;
    struct flow *flow;
};

struct waker {
    void (*wake)(void *cookie);
    void *cookie;
};

struct connection {
    struct message *under_way;
    int64_t up_at_us, to_us, from_us; /* no message overtakes another */
};

struct worker {
    enum role role;
    bool up;
    unsigned life;
    int64_t paused_until_us;
    char name[24];
    struct connection connections[FLEET_SHARDS_MAX];
    bool busy[2][FLEET_SHARDS_MAX];
    unsigned prune_partition;
    struct run *runs;
    struct joint joint;
};

struct node {
    struct shard_sim *sim;
    bool up, syncing, doomed;
    unsigned life;
    int64_t paused_until_us, offset_us;
    struct message *executed, **executed_tail; /* answers that wait for the disk */
};

struct fleet {
    struct topology *topology;
    struct node nodes[FLEET_SHARDS_MAX];
    struct worker workers[FLEET_WORKERS_MAX];
    unsigned worker_count;
    struct world worlds[ROLES];
    struct payment_settings payment_settings;
    struct fleet_settings settings;
    struct random random;
    struct book *book;
    int64_t gateway_away_until_us;
    int64_t now_us;
    uint64_t number;
    struct event *heap;
    size_t count, cap;
    struct fleet_counts counts;
    bool ended;
    unsigned plan; /* ticks of an earlier plan are void */
    char wrong[512];
};

#define BEGIN_US INT64_C(1700000000000000)
#define CALL_TIMEOUT_US (STORE_CALL_TIMEOUT_MS * INT64_C(1000))
#define LATE_MAX_US INT64_C(40000000)

static const struct reply UNKNOWN = {.kind = REPLY_UNKNOWN, .why = "the connection broke"};
static const struct reply NOT_SENT = {.kind = REPLY_NOT_SENT, .why = "the shard is not ready"};

static const struct sweep_kind SWEEP_PAYMENTS = {.name = "payment", .child = reconcile_new};

/* ---- the heap ---- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->number < b->number);
}

static void heap_up(struct event *heap, size_t at)
{
    struct event moving = heap[at];
    while (at > 0 && before(&moving, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moving;
}

static void heap_down(struct event *heap, size_t count)
{
    struct event moving = heap[0];
    size_t at = 0, child;
    while ((child = at * 2 + 1) < count) {
        if (child + 1 < count && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &moving))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

static void schedule(struct fleet *fleet, int64_t at_us, enum kind kind, unsigned index, unsigned life, void *what)
{
    if (fleet->count == fleet->cap) {
        fleet->cap = fleet->cap ? fleet->cap * 2 : 1024;
        fleet->heap = realloc(fleet->heap, fleet->cap * sizeof(*fleet->heap));
        CHECK(fleet->heap);
    }
    fleet->heap[fleet->count] = (struct event){at_us > fleet->now_us ? at_us : fleet->now_us, ++fleet->number, kind, index, life, what};
    heap_up(fleet->heap, fleet->count++);
}

static struct event take_first(struct fleet *fleet)
{
    struct event first = fleet->heap[0];
    fleet->heap[0] = fleet->heap[--fleet->count];
    if (fleet->count > 0)
        heap_down(fleet->heap, fleet->count);
    return first;
}

/* ---- complaints ---- */

void fleet_complain(struct fleet *fleet, const char *format, ...)
{
    va_list args;
    if (fleet->wrong[0])
        return;
    va_start(args, format);
    vsnprintf(fleet->wrong, sizeof(fleet->wrong), format, args);
    va_end(args);
}

const char *fleet_wrong(const struct fleet *fleet)
{
    return fleet->wrong;
}

/* ---- time ---- */

static int64_t latency_us(struct fleet *fleet)
{
    return random_tailed(&fleet->random, 100, 6);
}

/* The time of the next one, when they come every ${mean_ms}. */
static int64_t next_us(struct fleet *fleet, int64_t mean_ms)
{
    return fleet->now_us + random_between(&fleet->random, 1, mean_ms * 2000);
}

static void tick_shard(struct fleet *fleet, struct node *node)
{
    shard_sim_set_clock(node->sim, fleet->now_us + node->offset_us);
}

/* ---- messages to shards ---- */

static bool is_alive(const struct run *run)
{
    const struct worker *worker = &run->fleet->workers[run->worker];
    return worker->up && worker->life == run->life && !run->fleet->ended;
}

static void message_event(struct message *message, int64_t at_us, enum kind kind)
{
    arena_hold(message->run->arena);
    schedule(message->run->fleet, at_us, kind, message->run->worker, message->run->life, message);
}

static void message_unlink(struct message *message)
{
    if (message->link == NULL)
        return;
    *message->link = message->next;
    if (message->next)
        message->next->link = message->link;
    message->link = NULL;
}

static void message_link(struct connection *connection, struct message *message)
{
    message->next = connection->under_way;
    message->link = &connection->under_way;
    if (message->next)
        message->next->link = &message->next;
    connection->under_way = message;
}

/* The worker will be told this in a later turn. */
static void message_fail(struct message *message, const struct reply *fate)
{
    message_unlink(message);
    message->told = true;
    message->fate = fate;
    message_event(message, message->run->fleet->now_us + 1000, EV_FATE);
}

static void run_call(struct runner *runner, struct call *call)
{
    struct run *run = (struct run *)runner;
    struct fleet *fleet = run->fleet;
    unsigned shard = call->shard >= 0 ? (unsigned)call->shard : fleet->topology->owner[call->partition];
    struct node *node = &fleet->nodes[shard];
    struct connection *connection = &fleet->workers[run->worker].connections[shard];
    struct message *message = ARENA_NEW(run->arena, struct message);
    *message = (struct message){.run = run, .call = call, .sent = call, .shard = shard, .shard_life = node->life};
    fleet->counts.calls++;
    bool withheld = run->told_nothing && call->function && call->function->writes;
    if (withheld || !node->up || connection->up_at_us > fleet->now_us) {
        message_fail(message, &NOT_SENT);
        return;
    }
    message->limit_ms = (fleet->now_us + node->offset_us) / 1000 + STORE_LIMIT_MS;
    message_link(connection, message);
    int64_t at_us = fleet->now_us + latency_us(fleet);
    connection->to_us = at_us > connection->to_us ? at_us : connection->to_us;
    message_event(message, connection->to_us, EV_ARRIVE);
}

/* For the shard, which may carry it out when its flow has been told UNKNOWN and has let go of it. */
static struct call *call_copy(struct arena *arena, const struct call *call)
{
    struct call *copy = ARENA_NEW(arena, struct call);
    *copy = *call;
    copy->body.at = arena_alloc(arena, call->body.len);
    memcpy(copy->body.at, call->body.at, call->body.len);
    return copy;
}

/*
 * The connection is gone. What is under way the worker is told to be UNKNOWN. What had not arrived is lost, arrives in its time, or much later;
 * ${shard_died}: it is lost.
 */
static void connection_break(struct fleet *fleet, struct worker *worker, unsigned shard, int64_t up_at_us, bool shard_died)
{
    struct connection *connection = &worker->connections[shard];
    connection->up_at_us = up_at_us;
    while (connection->under_way) {
        struct message *message = connection->under_way;
        if (shard_died || random_chance(&fleet->random, 400))
            message->lost = true;
        else if (random_chance(&fleet->random, 300))
            message->late_us = random_between(&fleet->random, 0, LATE_MAX_US);
        if (!message->lost)
            message->sent = call_copy(message->run->arena, message->call);
        fleet->counts.lost_calls += message->lost;
        fleet->counts.late_calls += message->late_us > 0;
        message_fail(message, &UNKNOWN);
    }
}

static void breaks_of_shard(struct fleet *fleet, unsigned shard, int64_t up_at_us, bool shard_died)
{
    for (unsigned i = 0; i < fleet->worker_count; i++)
        connection_break(fleet, &fleet->workers[i], shard, up_at_us + random_between(&fleet->random, 25000, 1000000), shard_died);
}

static void print_item(const struct item *item)
{
    if (item->type == ITEM_INT)
        printf(" %lld", (long long)item->integer);
    else if (item->type == ITEM_LIST)
        printf(" [");
    else
        printf(" '%.*s'", (int)(item->text.len < 100 ? item->text.len : 100), item->text.at ? item->text.at : "");
    for (size_t i = 0; i < item->count; i++)
        print_item(&item->items[i]);
    if (item->type == ITEM_LIST)
        printf(" ]");
}

static void trace_call(const struct fleet *fleet, const struct message *message)
{
    struct view part;
    printf("%10.3f worker %u.%u shard %u %s:", (double)(fleet->now_us - BEGIN_US) / 1e6, message->run->worker, message->run->life, message->shard,
           message->sent->function ? message->sent->function->name : "command");
    for (unsigned n = 0; (part = call_part(message->sent, n)).at && n < 12; n++)
        printf(" %.*s", (int)(part.len < 60 ? part.len : 60), part.at);
    printf(" ->");
    print_item(message->root);
    printf("%s\n", message->told ? " (nobody waits)" : "");
}

static struct view field_of(struct fleet *fleet, struct node *node, const char *key, const char *field)
{
    return keyspace_field(shard_sim_keyspace(node->sim), fleet->now_us + node->offset_us, key, field);
}

static int64_t counter(struct fleet *fleet, struct node *node, const char *stock, const char *field)
{
    long long number = -1;
    view_to_int(field_of(fleet, node, stock, field), &number);
    return number;
}

struct due {
    struct keyspace_visitor visitor; /* first */
    int64_t now_ms;
    bool found;
};

static void look_if_due(struct keyspace_visitor *visitor, struct view name, struct view value)
{
    struct due *due = (struct due *)visitor;
    struct view part[5];
    long long when;
    if (split_bars(value, part, 5) == 5 && view_equal(part[0], VIEW("held")) && view_to_int(part[3], &when))
        due->found |= when <= due->now_ms;
}

/* A buyer hears "too few" only when nobody holds units whose time may be over. */
static void check_short(struct fleet *fleet, struct node *node, const struct message *message, const char *stock)
{
    int64_t now_us = fleet->now_us + node->offset_us;
    struct due due = {.visitor = {.item = look_if_due}, .now_ms = now_us / 1000};
    if (message->sent->function != &FN_TRY || item_int(item_at(message->root, 0)) != CODE_SHORT)
        return;
    keyspace_visit_key(shard_sim_keyspace(node->sim), now_us, stock, &due.visitor);
    if (due.found)
        fleet_complain(fleet, "a buyer heard that %s is short while a hold of it was due", stock);
}

/* No call leaves a product oversold, not even until the next one. */
static void check_stock(struct fleet *fleet, struct node *node, const struct message *message)
{
    char stock[120];
    struct view key = call_part(message->sent, 0);
    if (message->sent->function == NULL || key.len < 6 || memcmp(key.at, "stock:", 6) != 0)
        return;
    snprintf(stock, sizeof(stock), "%.*s", VIEW_ARG(key));
    if (field_of(fleet, node, stock, "on_hand").at == NULL) /* no such product */
        return;
    int64_t on_hand = counter(fleet, node, stock, "on_hand"), held = counter(fleet, node, stock, "held"),
            committed = counter(fleet, node, stock, "committed");
    if (held < 0 || committed < 0 || held + committed > on_hand)
        fleet_complain(fleet, "%s is oversold by %s: %lld on hand, %lld held, %lld committed", stock, message->sent->function->name,
                       (long long)on_hand, (long long)held, (long long)committed);
    check_short(fleet, node, message, stock);
}

static void shard_kill(struct fleet *fleet, unsigned index);

static void turn_away(struct fleet *fleet, struct message *message)
{
    static const char *const errors[] = {
        "OOM command not allowed when used memory > 'maxmemory'.",
        "MISCONF Errors writing to the AOF file: No space left on device",
        "NOREPLICAS Not enough good replicas to write.",
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script. You can only call KILL.",
        "ERR Function not found",
    };
    struct item *root = ARENA_NEW(message->reply_arena, struct item);
    *root = (struct item){.type = ITEM_ERROR, .text = view_of(errors[random_below(&fleet->random, sizeof(errors) / sizeof(*errors))])};
    message->root = root;
    fleet->counts.turned_away++;
}

static void carry_out(struct fleet *fleet, struct node *node, struct message *message)
{
    if (fleet->settings.before)
        fleet->settings.before(fleet->settings.watch_cookie, node->sim, message->sent, message->limit_ms);
    message->root = shard_sim_run(node->sim, message->sent, message->limit_ms, message->reply_arena);
    if (message->root->type == ITEM_ERROR)
        fleet_complain(fleet, "%s answered with an error: %.*s", message->sent->function ? message->sent->function->name : "a command",
                       VIEW_ARG(message->root->text));
    if (shard_sim_read_late(node->sim))
        fleet_complain(fleet, "%s reads a key behind its first write that it had not read before", message->sent->function->name);
    check_stock(fleet, node, message);
    if (fleet->settings.watch)
        fleet->settings.watch(fleet->settings.watch_cookie, node->sim, message->sent, message->limit_ms, message->root);
}

static void execute(struct fleet *fleet, struct node *node, struct message *message)
{
    tick_shard(fleet, node);
    message->reply_arena = arena_new();
    if (random_chance(&fleet->random, fleet->settings.faults.not_now))
        turn_away(fleet, message);
    else
        carry_out(fleet, node, message);
    if (fleet->settings.trace)
        trace_call(fleet, message);
    arena_hold(message->run->arena);
    message->executed_next = NULL;
    *node->executed_tail = message;
    node->executed_tail = &message->executed_next;
    if (!node->syncing) {
        node->syncing = true;
        schedule(fleet, fleet->now_us + random_tailed(&fleet->random, 200, 8), EV_SYNC, message->shard, node->life, NULL);
    }
    if (node->doomed && random_chance(&fleet->random, 300))
        shard_kill(fleet, message->shard);
}

static void got_arrive(struct fleet *fleet, struct message *message)
{
    struct node *node = &fleet->nodes[message->shard];
    if (message->lost || !node->up || node->life != message->shard_life)
        return;
    if (message->late_us > 0 || node->paused_until_us > fleet->now_us) {
        int64_t later_us = fleet->now_us + message->late_us;
        message->late_us = 0;
        message_event(message, later_us > node->paused_until_us ? later_us : node->paused_until_us, EV_ARRIVE);
        return;
    }
    execute(fleet, node, message);
}

/* An answer that was waiting for the disk leaves, or is forgotten. */
static void message_leave(struct fleet *fleet, struct message *message, bool answer)
{
    struct connection *connection = &fleet->workers[message->run->worker].connections[message->shard];
    if (answer && !message->told && is_alive(message->run)) {
        int64_t at_us = fleet->now_us + latency_us(fleet);
        connection->from_us = at_us > connection->from_us ? at_us : connection->from_us;
        message_event(message, connection->from_us, EV_REPLY);
    } else {
        arena_free(message->reply_arena);
        message->reply_arena = NULL;
    }
    arena_free(message->run->arena);
}

static void answers_leave(struct fleet *fleet, struct node *node, bool on_disk)
{
    struct message *message = node->executed, *next;
    node->executed = NULL;
    node->executed_tail = &node->executed;
    for (; message; message = next) {
        next = message->executed_next;
        message_leave(fleet, message, on_disk);
    }
}

static void got_sync(struct fleet *fleet, struct node *node, const struct event *event)
{
    if (!node->up || node->life != event->life)
        return;
    if (node->paused_until_us > fleet->now_us) {
        schedule(fleet, node->paused_until_us, EV_SYNC, event->index, event->life, NULL);
        return;
    }
    node->syncing = false;
    shard_sim_sync(node->sim);
    answers_leave(fleet, node, true);
}

/* A stopped worker looks at nothing until it goes on. Returns whether the event was put off. */
static bool put_off(struct fleet *fleet, struct run *run, int64_t *until_us)
{
    *until_us = fleet->workers[run->worker].paused_until_us;
    return is_alive(run) && *until_us > fleet->now_us;
}

static void got_reply(struct fleet *fleet, struct message *message)
{
    int64_t until_us;
    if (!message->told && put_off(fleet, message->run, &until_us)) {
        message_event(message, until_us, EV_REPLY);
        return;
    }
    if (!message->told && is_alive(message->run)) {
        bool unclassified = false;
        message_unlink(message);
        message->told = true;
        struct reply reply = reply_from(message->call->function, message->root, &unclassified);
        if (unclassified)
            fleet_complain(fleet, "%s: an answer that no row of the table names", message->call->function->name);
        step_reply(message->call, &reply);
    }
    arena_free(message->reply_arena);
}

static void got_fate(struct fleet *fleet, struct message *message)
{
    int64_t until_us;
    if (put_off(fleet, message->run, &until_us))
        message_event(message, until_us, EV_FATE);
    else if (is_alive(message->run))
        step_reply(message->call, message->fate);
}

/* ---- naps ---- */

static void run_nap(struct runner *runner, struct flow *flow, int64_t ms)
{
    struct run *run = (struct run *)runner;
    struct nap *nap = ARENA_NEW(run->arena, struct nap);
    *nap = (struct nap){run, flow};
    arena_hold(run->arena);
    schedule(run->fleet, run->fleet->now_us + ms * 1000, EV_NAP, run->worker, run->life, nap);
}

static void got_nap(struct fleet *fleet, struct nap *nap)
{
    int64_t until_us;
    if (put_off(fleet, nap->run, &until_us)) {
        arena_hold(nap->run->arena);
        schedule(fleet, until_us, EV_NAP, nap->run->worker, nap->run->life, nap);
    } else if (is_alive(nap->run)) {
        step_wake(nap->flow);
    }
}

/* ---- the gateway ---- */

static void gateway_done(struct gateway_message *message, enum gateway_result result, int64_t after_us)
{
    struct run *run = message->run;
    message->errand->result = result;
    arena_hold(run->arena);
    schedule(run->fleet, run->fleet->now_us + after_us, EV_GATEWAY_DONE, run->worker, run->life, message);
}

static void gateway_arrive(struct gateway_message *message, int64_t after_us)
{
    struct run *run = message->run;
    arena_hold(run->arena);
    schedule(run->fleet, run->fleet->now_us + after_us, EV_GATEWAY, 0, 0, message);
}

static void run_errand(struct runner *runner, struct errand *errand)
{
    struct run *run = (struct run *)runner;
    struct fleet *fleet = run->fleet;
    const struct faults_plan *faults = &fleet->settings.faults;
    struct gateway_message *message = ARENA_NEW(run->arena, struct gateway_message);
    *message = (struct gateway_message){.run = run, .errand = (struct gateway_errand *)errand};
    int64_t timeout_us = fleet->payment_settings.gateway_timeout_ms * INT64_C(1000);
    if (fleet->gateway_away_until_us > fleet->now_us) {
        gateway_done(message, GATEWAY_NOT_SENT, 1000);
    } else if (random_chance(&fleet->random, faults->gateway_lost)) { /* the request or the answer */
        fleet->counts.gateway_faults++;
        message->lost = true;
        if (random_chance(&fleet->random, 500))
            gateway_arrive(message, latency_us(fleet));
        gateway_done(message, GATEWAY_UNKNOWN, timeout_us);
    } else if (random_chance(&fleet->random, faults->gateway_late)) {
        fleet->counts.gateway_faults++;
        message->lost = true;
        gateway_arrive(message, random_between(&fleet->random, 0, LATE_MAX_US));
        gateway_done(message, GATEWAY_UNKNOWN, timeout_us);
    } else {
        gateway_arrive(message, latency_us(fleet) * 10);
    }
}

static enum gateway_result result_of(const char *status)
{
    for (enum gateway_result result = GATEWAY_SUCCEEDED; result <= GATEWAY_FAILED; result++)
        if (view_equal(view_of(status), gateway_result_text(result)))
            return result;
    return GATEWAY_UNKNOWN;
}

static const struct entry *book_entry(struct fleet *fleet, const struct gateway_errand *errand)
{
    static const enum book_op ops[] = {
        [GATEWAY_CHARGE] = BOOK_CHARGE, [GATEWAY_AUTHORIZE] = BOOK_AUTHORIZE, [GATEWAY_CAPTURE] = BOOK_CAPTURE,
        [GATEWAY_VOID] = BOOK_VOID,     [GATEWAY_REFUND] = BOOK_REFUND,
    };
    bool fresh;
    if (errand->op == GATEWAY_SETTLE)
        return book_close(fleet->book, errand->key, fleet->now_us / 1000, &fresh);
    struct wish wish = {.op = ops[errand->op], .key = errand->key, .ref = errand->ref, .currency = errand->currency, .token = errand->token};
    wish.amount = errand->op == GATEWAY_VOID ? 0 : errand->amount;
    return book_decide(fleet->book, &wish, fleet->now_us / 1000, &fresh);
}

static void got_gateway(struct fleet *fleet, struct gateway_message *message)
{
    struct gateway_errand *errand = message->errand;
    const struct entry *entry = book_entry(fleet, errand);
    if (entry == NULL) {
        fleet_complain(fleet, "the gateway was asked for two things with the key %.*s", VIEW_ARG(errand->key));
        gateway_done(message, GATEWAY_UNKNOWN, 0);
        return;
    }
    if (message->lost)
        return;
    errand->result_ref = entry->ref; /* in the book, which stays */
    errand->failure = entry->failure;
    gateway_done(message, result_of(entry_status(entry)), latency_us(fleet));
}

static void got_gateway_done(struct fleet *fleet, struct gateway_message *message)
{
    int64_t until_us;
    if (put_off(fleet, message->run, &until_us))
        gateway_done(message, message->errand->result, until_us - fleet->now_us);
    else if (is_alive(message->run))
        step_errand(&message->errand->base);
}

/* ---- runs ---- */

static void run_answer(struct runner *runner, struct flow *root)
{
    struct run *run = (struct run *)runner;
    if (run->answered)
        return;
    run->answered = true;
    if (run->request)
        run->request->got_answer(run->cookie, root->answer);
}

static void run_free(struct run *run)
{
    *run->link = run->next;
    if (run->next)
        run->next->link = run->link;
    arena_free(run->arena);
}

static void run_over(struct runner *runner, struct flow *root)
{
    struct run *run = (struct run *)runner;
    if (run->request && !run->answered)
        fleet_complain(run->fleet, "%s ended without an answer", root->type->name);
    if (run->busy)
        *run->busy = false;
    run_free(run);
}

static const struct port PORT = {.call = run_call, .errand = run_errand, .nap = run_nap, .answer = run_answer, .over = run_over};

static struct run *run_new(struct fleet *fleet, unsigned worker, struct arena *arena)
{
    struct run *run = ARENA_NEW(arena, struct run);
    struct worker *own = &fleet->workers[worker];
    *run = (struct run){
        .runner = {&PORT, &own->joint}, .fleet = fleet, .arena = arena, .worker = worker, .life = own->life, .next = own->runs, .link = &own->runs};
    if (run->next)
        run->next->link = &run->next;
    own->runs = run;
    return run;
}

/* As the engine does: the client is told, the flow goes on. */
static void got_deadline(struct fleet *fleet, struct run *run)
{
    if (run->answered)
        return;
    run->answered = true;
    run->told_nothing = !run->root->effects;
    struct flow late = {.arena = run->arena, .ask = run->root->ask};
    answer_refuse(&late, run->root->effects ? &OUTCOME_UNKNOWN : &OUTCOME_DEADLINE, "the request's time is over");
    bool awake = is_alive(run) && fleet->workers[run->worker].paused_until_us <= fleet->now_us;
    run->request->got_answer(run->cookie, awake ? late.answer : NULL);
}

static int pick_worker(struct fleet *fleet, enum role role)
{
    unsigned first = (unsigned)random_below(&fleet->random, fleet->worker_count);
    for (unsigned i = 0; i < fleet->worker_count; i++) {
        unsigned index = (first + i) % fleet->worker_count;
        if (fleet->workers[index].role == role && fleet->workers[index].up && fleet->workers[index].paused_until_us <= fleet->now_us)
            return (int)index;
    }
    return -1;
}

void fleet_ask(struct fleet *fleet, const struct request_kind *kind, void *cookie)
{
    int worker = pick_worker(fleet, kind->role);
    struct arena *arena = arena_new();
    if (worker < 0) {
        struct run *refused = ARENA_NEW(arena, struct run);
        *refused = (struct run){.fleet = fleet, .arena = arena, .request = kind, .cookie = cookie};
        schedule(fleet, fleet->now_us + 1000, EV_NO_WORKER, 0, 0, refused);
        return;
    }
    struct run *run = run_new(fleet, (unsigned)worker, arena);
    run->request = kind;
    run->cookie = cookie;
    struct ask *ask = ARENA_NEW(arena, struct ask);
    kind->make(arena, ask, cookie);
    run->root = flow_new(arena, kind->flow, &fleet->worlds[kind->role], ask);
    arena_hold(arena); /* for the deadline */
    schedule(fleet, fleet->now_us + kind->deadline_ms * 1000, EV_DEADLINE, run->worker, run->life, run);
    step_start(&run->runner, run->root);
}

static void got_no_worker(struct run *run)
{
    run->request->got_answer(run->cookie, NULL);
}

void fleet_wake(struct fleet *fleet, int64_t delay_us, void (*wake)(void *cookie), void *cookie)
{
    struct waker *waker = malloc(sizeof(*waker));
    CHECK(waker);
    *waker = (struct waker){wake, cookie};
    schedule(fleet, fleet->now_us + delay_us, EV_WAKE, 0, 0, waker);
}

/* ---- sweeps ---- */

static void sweep_shard(struct fleet *fleet, unsigned worker, unsigned shard, const struct sweep_kind *kind, bool *busy)
{
    struct worker *own = &fleet->workers[worker];
    if (*busy || !fleet->nodes[shard].up || own->connections[shard].up_at_us > fleet->now_us)
        return;
    struct run *run = run_new(fleet, worker, arena_new());
    run->root = sweep_new(run->arena, &fleet->worlds[own->role], kind, shard, view_of(own->name), own->prune_partition);
    run->busy = busy;
    *busy = true;
    step_start(&run->runner, run->root);
}

static void got_sweep(struct fleet *fleet, const struct event *event)
{
    struct worker *worker = &fleet->workers[event->index];
    if (!worker->up || worker->life != event->life)
        return;
    if (worker->paused_until_us <= fleet->now_us) {
        worker->prune_partition = (worker->prune_partition + 1) % fleet->topology->partitions;
        for (unsigned shard = 0; shard < fleet->topology->shard_count; shard++) {
            sweep_shard(fleet, event->index, shard, &SWEEP_ORDERS, &worker->busy[0][shard]);
            if (worker->role == ROLE_PAYMENT)
                sweep_shard(fleet, event->index, shard, &SWEEP_PAYMENTS, &worker->busy[1][shard]);
        }
    }
    schedule(fleet, fleet->now_us + fleet->settings.sweep_ms * 1000, EV_SWEEP, event->index, event->life, NULL);
}

static void worker_start(struct fleet *fleet, unsigned index)
{
    struct worker *worker = &fleet->workers[index];
    worker->up = true;
    worker->life++;
    worker->paused_until_us = 0;
    worker->joint = (struct joint){.running = NULL};
    memset(worker->busy, 0, sizeof(worker->busy));
    snprintf(worker->name, sizeof(worker->name), "worker%u.%u", index, worker->life);
    for (unsigned shard = 0; shard < fleet->topology->shard_count; shard++)
        worker->connections[shard] = (struct connection){.up_at_us = fleet->now_us + latency_us(fleet)};
    if (worker->role != ROLE_PRODUCT)
        schedule(fleet, fleet->now_us + random_between(&fleet->random, 1, fleet->settings.sweep_ms * 1000), EV_SWEEP, index, worker->life, NULL);
}

/* ---- what goes wrong ---- */

enum strike_kind { WORKER_DEATH, WORKER_PAUSE, SHARD_DEATH, SHARD_PAUSE, CUT, CLOCK_JUMP, GATEWAY_AWAY, FAULT_KINDS };

static int64_t mean_of(const struct faults_plan *plan, enum strike_kind fault)
{
    const int64_t means[FAULT_KINDS] = {plan->worker_death_ms, plan->worker_pause_ms, plan->shard_death_ms, plan->shard_pause_ms,
                                        plan->cut_ms,          plan->clock_jump_ms,   plan->gateway_away_ms};
    return means[fault];
}

/* Its flows are gone; its clients see their connections close. */
static void runs_drop(struct fleet *fleet, struct worker *worker)
{
    while (worker->runs) {
        struct run *run = worker->runs;
        if (run->request && !run->answered) {
            run->answered = true;
            arena_hold(run->arena);
            schedule(fleet, fleet->now_us + latency_us(fleet), EV_NO_WORKER, 0, 0, run);
        }
        run_free(run);
    }
}

/* What it has sent may still arrive, or not. */
static void worker_kill(struct fleet *fleet, unsigned index)
{
    struct worker *worker = &fleet->workers[index];
    fleet->counts.worker_deaths++;
    for (unsigned shard = 0; shard < fleet->topology->shard_count; shard++)
        connection_break(fleet, worker, shard, 0, false);
    runs_drop(fleet, worker);
    worker->up = false;
    schedule(fleet, fleet->now_us + random_tailed(&fleet->random, 50000, 8), EV_RETURN_WORKER, index, worker->life, NULL);
}

void fleet_shard_away(struct fleet *fleet, unsigned index, int64_t us)
{
    struct node *node = &fleet->nodes[index];
    if (!node->up)
        return;
    unsigned lost = (unsigned)random_below(&fleet->random, shard_sim_behind(node->sim) + 1);
    fleet->counts.shard_deaths++;
    fleet->counts.rolled_back += lost;
    shard_sim_crash(node->sim, lost);
    node->up = node->syncing = node->doomed = false;
    node->life++;
    answers_leave(fleet, node, false);
    breaks_of_shard(fleet, index, fleet->now_us + us, true);
    schedule(fleet, fleet->now_us + us, EV_RETURN_SHARD, index, node->life, NULL);
}

static void shard_kill(struct fleet *fleet, unsigned index)
{
    fleet_shard_away(fleet, index, random_tailed(&fleet->random, 200000, 7));
}

static void shard_pause(struct fleet *fleet, unsigned index)
{
    struct node *node = &fleet->nodes[index];
    fleet->counts.shard_pauses++;
    node->paused_until_us = fleet->now_us + random_tailed(&fleet->random, 100000, 8);
    schedule(fleet, fleet->now_us + CALL_TIMEOUT_US, EV_TIMEOUT, index, node->life, NULL);
}

/* Calls that had no answer for too long: their connections are closed. The shard will find them in its sockets when it goes on. */
static void got_timeout(struct fleet *fleet, unsigned index)
{
    struct node *node = &fleet->nodes[index];
    if (node->up && node->paused_until_us > fleet->now_us)
        breaks_of_shard(fleet, index, node->paused_until_us, false);
}

static void clock_jump(struct fleet *fleet, unsigned index)
{
    struct node *node = &fleet->nodes[index];
    int64_t offset_us = node->offset_us + random_between(&fleet->random, -60000000, 60000000);
    if (llabs(offset_us) > 120000000) /* two shards' clocks differ by less than 5 minutes: DESIGN.md, "What is not promised" */
        return;
    fleet->counts.clock_jumps++;
    node->offset_us = offset_us;
}

static void strike(struct fleet *fleet, enum strike_kind fault)
{
    unsigned worker = (unsigned)random_below(&fleet->random, fleet->worker_count);
    unsigned shard = (unsigned)random_below(&fleet->random, fleet->topology->shard_count);
    struct node *node = &fleet->nodes[shard];
    static const char *const names[FAULT_KINDS] = {"worker death", "worker pause", "shard death", "shard pause", "cut", "clock jump", "gateway away"};
    if (fleet->settings.trace)
        printf("%10.3f %s: worker %u, shard %u\n", (double)(fleet->now_us - BEGIN_US) / 1e6, names[fault], worker, shard);
    bool worker_up = fleet->workers[worker].up, shard_up = node->up && node->paused_until_us <= fleet->now_us;
    if (fault == WORKER_DEATH && worker_up) {
        worker_kill(fleet, worker);
    } else if (fault == WORKER_PAUSE && worker_up) {
        fleet->counts.worker_pauses++;
        fleet->workers[worker].paused_until_us = fleet->now_us + random_tailed(&fleet->random, 100000, 9);
    } else if (fault == SHARD_DEATH && node->up && random_chance(&fleet->random, 500)) {
        shard_kill(fleet, shard);
    } else if (fault == SHARD_DEATH && node->up) {
        node->doomed = true; /* it dies behind one of its next calls, before the disk has it */
    } else if (fault == SHARD_PAUSE && shard_up) {
        shard_pause(fleet, shard);
    } else if (fault == CUT && worker_up) {
        fleet->counts.cuts++;
        connection_break(fleet, &fleet->workers[worker], shard, fleet->now_us + random_tailed(&fleet->random, 25000, 5), false);
    } else if (fault == CLOCK_JUMP) {
        clock_jump(fleet, shard);
    } else if (fault == GATEWAY_AWAY) {
        fleet->counts.gateway_faults++;
        fleet->gateway_away_until_us = fleet->now_us + random_tailed(&fleet->random, 200000, 7);
    }
}

static void next_fault(struct fleet *fleet, enum strike_kind fault)
{
    int64_t mean_ms = mean_of(&fleet->settings.faults, fault);
    if (mean_ms > 0)
        schedule(fleet, next_us(fleet, mean_ms), EV_FAULT, fault, fleet->plan, NULL);
}

static void got_fault(struct fleet *fleet, const struct event *event)
{
    if (event->life != fleet->plan)
        return;
    strike(fleet, (enum strike_kind)event->index);
    next_fault(fleet, (enum strike_kind)event->index);
}

void fleet_plan(struct fleet *fleet, const struct faults_plan *faults)
{
    fleet->plan++;
    for (unsigned i = 0; i < fleet->topology->shard_count; i++)
        fleet->nodes[i].doomed = false;
    fleet->settings.faults = faults ? *faults : (struct faults_plan){.cut_ms = 0};
    fleet->gateway_away_until_us = 0;
    for (enum strike_kind fault = 0; fault < FAULT_KINDS; fault++)
        next_fault(fleet, fault);
}

void fleet_sweep_every(struct fleet *fleet, int64_t ms)
{
    fleet->settings.sweep_ms = ms;
}

/* ---- going on ---- */

/* Lets go of what an event holds. */
static void release(const struct event *event)
{
    switch (event->kind) {
    case EV_ARRIVE:
    case EV_FATE:
    case EV_REPLY:
        arena_free(((struct message *)event->what)->run->arena);
        break;
    case EV_NAP:
        arena_free(((struct nap *)event->what)->run->arena);
        break;
    case EV_GATEWAY:
    case EV_GATEWAY_DONE:
        arena_free(((struct gateway_message *)event->what)->run->arena);
        break;
    case EV_DEADLINE:
    case EV_NO_WORKER:
        arena_free(((struct run *)event->what)->arena);
        break;
    case EV_WAKE:
        free(event->what);
        break;
    default:
        break;
    }
}

static void happen(struct fleet *fleet, const struct event *event)
{
    switch (event->kind) {
    case EV_ARRIVE:
        got_arrive(fleet, event->what);
        break;
    case EV_SYNC:
        got_sync(fleet, &fleet->nodes[event->index], event);
        break;
    case EV_REPLY:
        got_reply(fleet, event->what);
        break;
    case EV_FATE:
        got_fate(fleet, event->what);
        break;
    case EV_NAP:
        got_nap(fleet, event->what);
        break;
    case EV_GATEWAY:
        got_gateway(fleet, event->what);
        break;
    case EV_GATEWAY_DONE:
        got_gateway_done(fleet, event->what);
        break;
    case EV_DEADLINE:
        got_deadline(fleet, event->what);
        break;
    case EV_NO_WORKER:
        got_no_worker(event->what);
        break;
    case EV_SWEEP:
        got_sweep(fleet, event);
        break;
    case EV_WAKE:
        ((struct waker *)event->what)->wake(((struct waker *)event->what)->cookie);
        break;
    case EV_FAULT:
        got_fault(fleet, event);
        break;
    case EV_TIMEOUT:
        got_timeout(fleet, event->index);
        break;
    case EV_RETURN_WORKER:
        worker_start(fleet, event->index);
        break;
    case EV_RETURN_SHARD:
        fleet->nodes[event->index].up = true;
        break;
    }
}

bool fleet_go(struct fleet *fleet, int64_t until_us)
{
    if (fleet->count == 0 || fleet->heap[0].at_us > until_us || fleet->wrong[0]) {
        fleet->now_us = until_us;
        return false;
    }
    struct event event = take_first(fleet);
    fleet->now_us = event.at_us;
    fleet->counts.events++;
    happen(fleet, &event);
    release(&event);
    return true;
}

/* ---- looking ---- */

const struct item *fleet_do(struct fleet *fleet, const struct call *call, struct arena *arena)
{
    struct node *node = &fleet->nodes[call->shard >= 0 ? call->shard : fleet->topology->owner[call->partition]];
    tick_shard(fleet, node);
    int64_t limit_ms = shard_sim_now_ms(node->sim) + STORE_LIMIT_MS;
    const struct item *root = shard_sim_run(node->sim, call, limit_ms, arena);
    if (fleet->settings.watch)
        fleet->settings.watch(fleet->settings.watch_cookie, node->sim, call, limit_ms, root);
    shard_sim_sync(node->sim);
    return root;
}

int64_t fleet_now_us(const struct fleet *fleet)
{
    return fleet->now_us;
}

struct random *fleet_random(struct fleet *fleet)
{
    return &fleet->random;
}

const struct topology *fleet_topology(const struct fleet *fleet)
{
    return fleet->topology;
}

struct shard_sim *fleet_shard(struct fleet *fleet, unsigned shard)
{
    tick_shard(fleet, &fleet->nodes[shard]);
    return fleet->nodes[shard].sim;
}

const struct book *fleet_book(const struct fleet *fleet)
{
    return fleet->book;
}

struct fleet_counts fleet_counts(const struct fleet *fleet)
{
    return fleet->counts;
}

/* ---- its life ---- */

void fleet_begin(struct fleet *fleet, const struct fleet_settings *settings)
{
    fleet->settings = *settings;
    fleet->random.state = settings->seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    fleet->now_us = BEGIN_US;
    fleet->gateway_away_until_us = 0;
    fleet->ended = false;
    fleet->wrong[0] = '\0';
    fleet->counts = (struct fleet_counts){.calls = 0};
    fleet->book = book_new();
    for (unsigned i = 0; i < fleet->topology->shard_count; i++) {
        struct node *node = &fleet->nodes[i];
        *node = (struct node){.sim = node->sim, .up = true, .life = node->life + 1};
        node->executed_tail = &node->executed;
        node->offset_us = settings->faults.clock_jump_ms ? random_between(&fleet->random, -60000000, 60000000) : 0;
        shard_sim_clear(node->sim);
    }
    fleet->worker_count = 0;
    for (enum role role = 0; role < ROLES; role++)
        for (unsigned i = 0; i < settings->workers[role]; i++) {
            CHECK(fleet->worker_count < FLEET_WORKERS_MAX);
            fleet->workers[fleet->worker_count] = (struct worker){.role = role};
            worker_start(fleet, fleet->worker_count++);
        }
    fleet_plan(fleet, &settings->faults);
}

void fleet_end(struct fleet *fleet)
{
    fleet->ended = true;
    for (unsigned i = 0; i < fleet->worker_count; i++)
        runs_drop(fleet, &fleet->workers[i]);
    for (size_t i = 0; i < fleet->count; i++) {
        struct event *event = &fleet->heap[i];
        if (event->kind == EV_REPLY)
            arena_free(((struct message *)event->what)->reply_arena);
        release(event);
    }
    for (unsigned i = 0; i < fleet->topology->shard_count; i++)
        answers_leave(fleet, &fleet->nodes[i], false);
    fleet->count = 0;
    book_free(fleet->book);
    fleet->book = NULL;
}

struct fleet *fleet_new(unsigned shards, int partitions, struct lua_library *library)
{
    static const char *const rings[] = {
        "s1=h:1", "s1=h:1,s2=h:2", "s1=h:1,s2=h:2,s3=h:3", "s1=h:1,s2=h:2,s3=h:3,s4=h:4", "s1=h:1,s2=h:2,s3=h:3,s4=h:4,s5=h:5",
    };
    const char *error = NULL;
    struct fleet *fleet = calloc(1, sizeof(*fleet));
    CHECK(fleet && shards >= 1 && shards <= FLEET_SHARDS_MAX);
    fleet->topology = topology_new(rings[shards - 1], partitions, 1, &error);
    CHECK(fleet->topology);
    fleet->payment_settings = (struct payment_settings){.gateway_url = "", .gateway_timeout_ms = 5000, .authorization_hold_s = 60};
    for (enum role role = 0; role < ROLES; role++)
        fleet->worlds[role] = (struct world){.topology = fleet->topology, .settings = &fleet->payment_settings};
    for (unsigned i = 0; i < shards; i++)
        fleet->nodes[i].sim = shard_sim_new(fleet->topology, i, library);
    return fleet;
}

void fleet_free(struct fleet *fleet)
{
    if (fleet == NULL)
        return;
    for (unsigned i = 0; i < fleet->topology->shard_count; i++)
        shard_sim_free(fleet->nodes[i].sim);
    topology_free(fleet->topology);
    free(fleet->heap);
    free(fleet);
}
