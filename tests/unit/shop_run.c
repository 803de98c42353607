#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "duty.h"
#include "functions.h"
#include "settle.h"

#include "shop_run.h"

#define STEPS_MAX 600

const char *const FAULT_NAMES[FAULTS] = {"none", "not sent", "lost before", "lost after", "late", "later", "death, unsent", "death, sent", "lie"};

/* Answers that functions have; the parameters fit no function well. Behind the codes some that are no answers at all. */
static const char *const LIE_WORDS[LIES] = {
    "10",
    "11 7",
    "12",
    "13 16",
    "14 '33' '1' reserved 5",
    "15 '409' '{}'",
    "16 '1' '' held",
    "20 0",
    "21 released",
    "22 0",
    "23 1 1",
    "24 1 1 1 1",
    "25",
    "26 paid paid",
    "27 '33'",
    "28 1000",
    "29 5",
    "30 '1'",
    "0",
    "0 garbage garbage garbage garbage",
};
static const char *const COMMAND_LIES[] = {"=nil", "=0", "=garbage", "", "nil nil nil nil nil", "garbage placed garbage garbage garbage"};

/* ---- asking ---- */

static void judge_place(struct run *run, const struct call *call)
{
    const char *txn = arena_copy(run->model->arena, call_part(call, 4)).at;
    for (size_t i = 0; i < run->placed_count; i++)
        if (strcmp(run->placed[i], txn) == 0)
            fail_msg("a second PLACE of %s", txn);
    assert_true(run->placed_count < RUN_PLACES_MAX);
    run->placed[run->placed_count++] = txn;
}

static void take_asked(struct run *run)
{
    struct call *call;
    while ((call = driver_next_call(run->driver))) {
        assert_true(run->pending_count < RUN_CALLS_MAX);
        run->pending[run->pending_count++] = call;
        if (call->function == &FN_PLACE)
            judge_place(run, call);
        if (call->function == &FN_RELEASE && !run->told)
            fail_msg("RELEASE before anybody said that something was decided");
        if (!run->lied)
            model_asked(run->model, call);
    }
    if (run->lied)
        run->model->wrong[0] = '\0';
    if (run->model->wrong[0])
        fail_msg("%s", run->model->wrong);
    assert_int_equal(driver_sleep_ms(run->driver), -1);
    if (!driver_over(run->driver) && run->pending_count == 0)
        fail_msg("%s hangs", driver_root(run->driver)->type->name);
    if (driver_over(run->driver))
        driver_finish(run->driver);
}

void run_start(struct run *run, struct model *model, struct driver *driver)
{
    *run = (struct run){.model = model, .driver = driver};
    driver_go(driver);
    take_asked(run);
}

bool run_over(const struct run *run)
{
    return run->dead || driver_over(run->driver);
}

/* ---- answering ---- */

static void lie(struct run *run, struct call *call, int which)
{
    run->lied = true;
    run->told = true;
    if (call->function)
        driver_reply(run->driver, call, LIE_WORDS[which % LIES]);
    else
        driver_reply(run->driver, call, COMMAND_LIES[(size_t)which % (sizeof(COMMAND_LIES) / sizeof(*COMMAND_LIES))]);
}

/* Does the answer to this call say what was decided? */
static bool tells(const struct call *call)
{
    static const struct function *const telling[] = {&FN_PLACE, &FN_REFUSE, &FN_SETTLE, &FN_EXPIRE, &FN_ORDER_READ};
    for (size_t i = 0; i < sizeof(telling) / sizeof(*telling); i++)
        if (call->function == telling[i])
            return true;
    return false;
}

static void die(struct run *run, bool sent)
{
    for (size_t i = 0; sent && i < run->pending_count; i++)
        model_act(run->model, run->pending[i]);
    run->pending_count = 0;
    run->dead = true;
}

void run_step(struct run *run, size_t which, enum fault_kind fault, int which_lie)
{
    struct call *call = run->pending[which];
    if (++run->steps > STEPS_MAX)
        fail_msg("%s does not come to an end", driver_root(run->driver)->type->name);
    if (fault == FAULT_DEATH_UNSENT || fault == FAULT_DEATH_SENT) {
        die(run, fault == FAULT_DEATH_SENT);
        return;
    }
    memmove(&run->pending[which], &run->pending[which + 1], (--run->pending_count - which) * sizeof(*run->pending));
    if (fault == FAULT_LOST_AFTER)
        model_act(run->model, call);
    if (fault == FAULT_LATE || fault == FAULT_LATER)
        run->late[run->late_count++] = call;
    if (fault == FAULT_NONE) {
        run->told |= tells(call);
        model_answer(run->model, run->driver, call);
    } else if (fault == FAULT_LIE) {
        lie(run, call, which_lie);
    } else {
        driver_reply_kind(run->driver, call, fault == FAULT_NOT_SENT ? REPLY_NOT_SENT : REPLY_UNKNOWN);
    }
    take_asked(run);
}

bool run_on(struct run *run, const struct plan *plan)
{
    bool reached = false;
    while (!run_over(run)) {
        bool now = plan->fault != FAULT_NONE && run->steps == plan->at;
        reached |= now;
        run_step(run, 0, now ? plan->fault : FAULT_NONE, plan->lie);
    }
    /* A worker that answered and then died has still answered. */
    return reached;
}

void run_late(struct run *run)
{
    for (size_t i = 0; i < run->late_count; i++)
        model_act(run->model, run->late[i]);
    run->late_count = 0;
    if (run->model->wrong[0])
        fail_msg("%s", run->model->wrong);
}

void run_end(struct run *run)
{
    driver_free(run->driver);
    run->driver = NULL;
}

struct seen run_seen(struct run *run)
{
    static const int sane[] = {200, 201, 304, 404, 409, 422, 500, 503};
    const struct answer *answer = driver_answer(run->driver);
    if (answer == NULL)
        return (struct seen){0, ""};
    for (size_t i = 0; i < sizeof(sane) / sizeof(*sane); i++)
        if (answer->status == sane[i])
            return (struct seen){answer->status, arena_copy(run->model->arena, view_of(driver_body(run->driver))).at};
    fail_msg("the answer's status is %d", answer->status);
    return (struct seen){0, ""};
}

/* ---- children ---- */

struct host {
    struct flow flow;
    make_child *make;
    int64_t id;
    struct flow *child;
};

static void host_start(struct flow *flow)
{
    struct host *host = (struct host *)flow;
    host->child = host->make(flow, host->id);
    flow_spawn(flow, host->child, 0, 0);
}

static void host_got_child(struct flow *flow, struct flow *child)
{
    flow_end(flow);
}

static const struct flow_type HOST = {.name = "host", .size = sizeof(struct host), .start = host_start, .got_child = host_got_child};

bool run_child_and(struct model *model, make_child *make, int64_t id, const struct plan *plan, void (*look)(const struct flow *child, void *cookie),
                   void *cookie)
{
    struct driver *driver = driver_new();
    struct host *host = (struct host *)driver_flow(driver, &HOST, NULL);
    struct run run;
    host->make = make;
    host->id = id;
    run_start(&run, model, driver);
    bool reached = run_on(&run, plan);
    run_late(&run);
    if (look && !run.dead)
        look(host->child, cookie);
    run_end(&run);
    return reached;
}

bool run_child(struct model *model, make_child *make, int64_t id, const struct plan *plan)
{
    return run_child_and(model, make, id, plan, NULL, NULL);
}

/* ---- afterwards ---- */

void run_calm(struct model *model)
{
    static const struct plan fine = {.fault = FAULT_NONE};
    for (int round = 0; round < 3; round++) {
        model->now += 12000;
        for (size_t i = 0; i < model->product_count; i++)
            run_child(model, settle_new, model->products[i].id, &fine);
        for (size_t i = 0; i < model->order_count; i++)
            if (model->orders[i].due && model->orders[i].due <= model->now)
                run_child(model, duty_new, model->orders[i].id, &fine);
    }
    model_check_settled(model);
    if (model->wrong[0])
        fail_msg("%s", model->wrong);
}
