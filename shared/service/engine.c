#include <stdlib.h>

#include "check.h"
#include "clock.h"
#include "loop.h"

#include "store.h"

#include "step.h"

#include "engine.h"

/*
 * What is behind the port of step.h in a worker:
 *
 *   call ──▶ store_send ······▶ step_reply        nap ────▶ the engine's timer ····▶ step_wake
 *   errand ▶ outside.send ····▶ step_errand       answer ─▶ run.got_answer     over ─▶ run_finish
 */
struct run {
    struct runner runner; /* first */
    struct engine *engine;
    struct flow *root;
    int64_t deadline_us; /* 0: none, or passed */
    bool answer_given;
    bool told_nothing; /* the client was told that nothing was done, so nothing may be done any more */
    void (*got_answer)(void *cookie, struct flow *flow, struct answer *answer);
    void (*got_end)(void *cookie, struct flow *flow);
    void *cookie;
    struct run *next, **link;
};

/* A sleeping flow, in its arena: to sleep needs no memory that could be refused. */
struct nap {
    struct flow *flow;
    int64_t until_us;
    struct nap *next;
};

struct engine {
    struct loop *loop;
    struct store *store;
    const struct outside *outside;
    struct run *runs;
    unsigned running;
    struct joint joint;
    struct loop_timer *deadlines;
    bool deadlines_set;
    struct nap *naps, *last_nap; /* who wakes first stands first */
    struct loop_timer *wakes;
};

/* Deadlines are looked at this often: a request is answered at most this much later than its deadline. */
#define DEADLINE_STEP_MS 50

static void engine_got_deadlines(void *cookie);
static void engine_got_wakes(void *cookie);

struct engine *engine_new(struct loop *loop, struct store *store, const struct outside *outside)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL)
        return NULL;
    engine->loop = loop;
    engine->store = store;
    engine->outside = outside;
    engine->deadlines = loop_timer_new(loop, engine_got_deadlines, engine);
    engine->wakes = loop_timer_new(loop, engine_got_wakes, engine);
    if (engine->deadlines == NULL || engine->wakes == NULL) {
        engine_free(engine);
        return NULL;
    }
    return engine;
}

/* ---- the port ---- */

static void got_reply(struct call *call, const struct reply *reply)
{
    step_reply(call, reply);
}

static void run_call(struct runner *runner, struct call *call)
{
    const struct run *run = (const struct run *)runner;
    call->done = got_reply;
    if (run->told_nothing && call->function && call->function->writes)
        store_withhold(run->engine->store, call);
    else
        store_send(run->engine->store, call);
}

static void got_errand(struct errand *errand)
{
    step_errand(errand);
}

static void run_errand(struct runner *runner, struct errand *errand)
{
    const struct run *run = (const struct run *)runner;
    const struct outside *outside = run->engine->outside;
    CHECK(outside && outside->send);
    errand->done = got_errand;
    errand->withheld = run->told_nothing;
    outside->send(outside->cookie, errand);
}

static void engine_watch_naps(struct engine *engine)
{
    if (engine->naps)
        loop_timer_set(engine->wakes, (engine->naps->until_us - clock_us() + 999) / 1000);
}

static void engine_got_wakes(void *cookie)
{
    struct engine *engine = cookie;
    int64_t now = clock_us();
    for (struct nap *nap; (nap = engine->naps) && nap->until_us <= now;) {
        engine->naps = nap->next;
        if (engine->naps == NULL)
            engine->last_nap = NULL;
        step_wake(nap->flow);
    }
    engine_watch_naps(engine);
}

/* Most sleep as long as those before them, so the place is looked for from the end first. */
static void run_nap(struct runner *runner, struct flow *flow, int64_t ms)
{
    struct engine *engine = ((struct run *)runner)->engine;
    struct nap *nap = ARENA_NEW(flow->arena, struct nap), **place = &engine->naps;
    *nap = (struct nap){.flow = flow, .until_us = clock_us() + ms * 1000};
    if (engine->last_nap && engine->last_nap->until_us <= nap->until_us)
        place = &engine->last_nap->next;
    while (*place && (*place)->until_us <= nap->until_us)
        place = &(*place)->next;
    nap->next = *place;
    *place = nap;
    if (nap->next == NULL)
        engine->last_nap = nap;
    if (engine->naps == nap)
        engine_watch_naps(engine);
}

static void run_answer(struct runner *runner, struct flow *root)
{
    struct run *run = (struct run *)runner;
    run->deadline_us = 0;
    if (run->answer_given)
        return;
    run->answer_given = true;
    if (run->got_answer)
        run->got_answer(run->cookie, root, root->answer);
}

static void run_finish(struct runner *runner, struct flow *root)
{
    struct run *run = (struct run *)runner;
    *run->link = run->next;
    if (run->next)
        run->next->link = run->link;
    run->engine->running--;
    if (run->got_end)
        run->got_end(run->cookie, root);
    arena_free(root->arena);
}

static const struct port PORT = {.call = run_call, .errand = run_errand, .nap = run_nap, .answer = run_answer, .over = run_finish};

/* ---- deadlines ---- */

static void run_expire(struct run *run)
{
    struct flow *flow = run->root;
    run->deadline_us = 0;
    run->answer_given = true;
    run->told_nothing = !flow->effects;
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
    *run = (struct run){
        .runner = {&PORT, &engine->joint}, .engine = engine, .root = flow, .got_answer = answered, .got_end = ended, .cookie = cookie};
    run->deadline_us = deadline_ms ? clock_us() + deadline_ms * 1000 : 0;
    run->next = engine->runs;
    run->link = &engine->runs;
    if (run->next)
        run->next->link = &run->next;
    engine->runs = run;
    engine->running++;
    if (run->deadline_us)
        engine_watch_deadlines(engine);
    step_start(&run->runner, flow);
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
    loop_timer_free(engine->wakes);
    loop_timer_free(engine->deadlines);
    free(engine);
}
