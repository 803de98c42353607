#include <stdlib.h>

#include "check.h"
#include "clock.h"
#include "loop.h"

#include "store.h"

#include "engine.h"

/*
 *  engine_start ──▶ step ──▶ drain ──┬─▶ store_send ······▶ got_reply ──┐
 *                    ▲               ├─▶ outside.send ····▶ got_errand ─┤
 *                    │               ├─▶ timer ···········▶ got_wake ───┤
 *                    │               ├─▶ child: step, drain … got_child ┤
 *                    │               └─▶ run.got_answer                 │
 *                    └──────────────────────────────────────────────────┘
 *  When a flow is over (ended, nothing owed) its parent gets got_child; when a root is over its run is finished.
 */
struct run {
    struct engine *engine;
    struct flow *root;
    int64_t deadline_us; /* 0: none, or passed */
    bool answer_given;
    void (*got_answer)(void *cookie, struct flow *flow, struct answer *answer);
    void (*got_end)(void *cookie, struct flow *flow);
    void *cookie;
    struct run *next, **link;
};

/* One timer of a sleeping flow. */
struct nap {
    struct flow *flow;
    struct loop_timer *timer;
};

struct engine {
    struct loop *loop;
    struct store *store;
    const struct outside *outside;
    struct run *runs;
    unsigned running;
    struct loop_timer *deadlines;
    bool deadlines_set;
};

/* Deadlines are looked at this often: a request is answered at most this much later than its deadline. */
#define DEADLINE_STEP_MS 50

static void drain(struct engine *engine, struct flow *flow);
static void engine_got_deadlines(void *cookie);

static struct engine *engine_of(const struct flow *flow)
{
    return ((struct run *)flow->runner)->engine;
}

struct engine *engine_new(struct loop *loop, struct store *store, const struct outside *outside)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL)
        return NULL;
    engine->loop = loop;
    engine->store = store;
    engine->outside = outside;
    engine->deadlines = loop_timer_new(loop, engine_got_deadlines, engine);
    if (engine->deadlines == NULL) {
        free(engine);
        return NULL;
    }
    return engine;
}

/* ---- the end of things ---- */

static void run_finish(struct run *run)
{
    struct flow *root = run->root;
    struct engine *engine = run->engine;
    *run->link = run->next;
    if (run->next)
        run->next->link = run->link;
    engine->running--;
    if (run->got_end)
        run->got_end(run->cookie, root);
    arena_free(root->arena);
}

static void flow_finish(struct flow *flow)
{
    struct engine *engine = engine_of(flow);
    struct flow *parent = flow->parent;
    if (parent == NULL) {
        run_finish(flow->runner);
        return;
    }
    if (flow_settle(parent))
        parent->type->got_child(parent, flow);
    drain(engine, parent);
}

/* ---- events ---- */

static void got_reply(struct call *call, const struct reply *reply)
{
    struct flow *flow = call->cookie;
    struct engine *engine = engine_of(flow);
    flow_note(flow, call, reply);
    if (flow_settle(flow))
        flow->type->got_reply(flow, call, reply);
    drain(engine, flow);
}

static void got_errand(struct errand *errand)
{
    struct flow *flow = errand->flow;
    struct engine *engine = engine_of(flow);
    if (flow_settle(flow))
        flow->type->got_errand(flow, errand);
    drain(engine, flow);
}

static void got_wake(void *cookie)
{
    struct nap *nap = cookie;
    struct flow *flow = nap->flow;
    struct engine *engine = engine_of(flow);
    loop_timer_free(nap->timer);
    if (flow_settle(flow))
        flow->type->got_wake(flow);
    drain(engine, flow);
}

/* ---- the outbox ---- */

static void drain_calls(struct engine *engine, struct flow *flow)
{
    struct call *call = flow->calls, *next;
    flow->calls = NULL;
    flow->calls_tail = &flow->calls;
    for (; call; call = next) {
        next = call->next;
        call->done = got_reply;
        call->cookie = flow;
        store_send(engine->store, call);
    }
}

static void drain_errands(struct engine *engine, struct flow *flow)
{
    struct errand *errand = flow->errands, *next;
    flow->errands = NULL;
    flow->errands_tail = &flow->errands;
    for (; errand; errand = next) {
        next = errand->next;
        errand->done = got_errand;
        CHECK(engine->outside && engine->outside->send);
        engine->outside->send(engine->outside->cookie, errand);
    }
}

static void drain_sleep(struct engine *engine, struct flow *flow)
{
    int64_t ms = flow->sleep_ms;
    flow->sleep_ms = -1;
    struct nap *nap = ARENA_NEW(flow->arena, struct nap);
    nap->flow = flow;
    nap->timer = loop_timer_new(engine->loop, got_wake, nap);
    CHECK(nap->timer);
    loop_timer_set(nap->timer, ms);
}

static void drain_children(struct engine *engine, struct flow *flow)
{
    struct flow *child = flow->children, *next;
    flow->children = NULL;
    flow->children_tail = &flow->children;
    for (; child; child = next) {
        next = child->next;
        child->runner = flow->runner;
        child->type->start(child);
        drain(engine, child);
    }
}

static void drain_answer(struct flow *flow)
{
    struct run *run = flow->runner;
    flow->answered = true;
    run->deadline_us = 0;
    if (run->answer_given)
        return;
    run->answer_given = true;
    if (run->got_answer)
        run->got_answer(run->cookie, flow, flow->answer);
}

/*
 * After a step. A child that is over within its own start calls back into its parent from here, so the parent must not be touched after
 * drain_children: whether it is over is decided by whoever settled its last debt.
 */
static void drain(struct engine *engine, struct flow *flow)
{
    flow_check_step(flow);
    if (flow->answer_ready && !flow->answered)
        drain_answer(flow);
    if (flow->calls)
        drain_calls(engine, flow);
    if (flow->errands)
        drain_errands(engine, flow);
    if (flow->sleep_ms >= 0)
        drain_sleep(engine, flow);
    if (flow->children)
        drain_children(engine, flow);
    else if (flow_over(flow))
        flow_finish(flow);
}

/* ---- deadlines ---- */

static void run_expire(struct run *run)
{
    struct flow *flow = run->root;
    run->deadline_us = 0;
    run->answer_given = true;
    struct flow late = {.arena = flow->arena, .ask = flow->ask};
    if (flow->effects)
        answer_refuse(&late, &OUTCOME_UNKNOWN,
                      "the request's time is over while it is being carried out; send it again with the same Idempotency-Key");
    else
        answer_refuse(&late, &OUTCOME_DEADLINE, "the request's time is over and nothing was changed; send it again");
    if (run->got_answer)
        run->got_answer(run->cookie, flow, late.answer);
}

static void engine_watch_deadlines(struct engine *engine)
{
    if (engine->deadlines_set || engine->runs == NULL)
        return;
    engine->deadlines_set = true;
    loop_timer_set(engine->deadlines, DEADLINE_STEP_MS);
}

static void engine_got_deadlines(void *cookie)
{
    struct engine *engine = cookie;
    engine->deadlines_set = false;
    int64_t now = clock_us();
    for (struct run *run = engine->runs, *next; run; run = next) {
        next = run->next;
        if (run->deadline_us && run->deadline_us <= now)
            run_expire(run);
    }
    engine_watch_deadlines(engine);
}

/* ---- start ---- */

void engine_start(struct engine *engine, struct flow *flow, int64_t deadline_ms,
                  void (*answered)(void *cookie, struct flow *flow, struct answer *answer), void (*ended)(void *cookie, struct flow *flow),
                  void *cookie)
{
    arena_hold(flow->arena);
    struct run *run = ARENA_NEW(flow->arena, struct run);
    *run = (struct run){.engine = engine, .root = flow, .got_answer = answered, .got_end = ended, .cookie = cookie};
    run->deadline_us = deadline_ms ? clock_us() + deadline_ms * 1000 : 0;
    run->next = engine->runs;
    run->link = &engine->runs;
    if (run->next)
        run->next->link = &run->next;
    engine->runs = run;
    engine->running++;
    flow->runner = run;
    if (run->deadline_us)
        engine_watch_deadlines(engine);
    flow->type->start(flow);
    drain(engine, flow);
}

unsigned engine_running(const struct engine *engine)
{
    return engine->running;
}

void engine_free(struct engine *engine)
{
    if (engine == NULL)
        return;
    CHECK(engine->running == 0);
    loop_timer_free(engine->deadlines);
    free(engine);
}
