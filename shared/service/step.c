#include "check.h"
#include "log.h"

#include "step.h"

static void drain(struct flow *flow);

static struct runner *runner_of(const struct flow *flow)
{
    return flow->runner;
}

/* ---- children that are joined ---- */

/* Has it joined one that runs? Else it is one that can be joined, from now on. */
static bool join(struct flow *child)
{
    struct joint *joint = runner_of(child)->joint;
    if (child->join_key == 0 || joint == NULL)
        return false;
    for (struct flow *running = joint->running; running; running = running->next)
        if (running->type == child->type && running->join_key == child->join_key) {
            child->next = running->joined;
            running->joined = child;
            return true;
        }
    child->next = joint->running;
    joint->running = child;
    return false;
}

/* Nobody joins it any more. Returns those who have. */
static struct flow *leave_joint(struct flow *child)
{
    struct flow **link = &runner_of(child)->joint->running;
    while (*link != child)
        link = &(*link)->next;
    *link = child->next;
    return child->joined;
}

/* ${child} has ended, for the parent of ${spawned}: that child itself, or one that has joined it. */
static void tell_parent(struct flow *child, const struct flow *spawned)
{
    struct flow *parent = spawned->parent;
    child->tag = spawned->tag;
    child->index = spawned->index;
    if (flow_settle(parent))
        parent->type->got_child(parent, child);
    drain(parent);
}

/* Its own parent comes last: the child is in that one's arena, and may be gone with it. */
static void child_finish(struct flow *child)
{
    const struct flow own = *child;
    struct flow *joined = child->join_key && runner_of(child)->joint ? leave_joint(child) : NULL, *next;
    for (; joined; joined = next) {
        const void *before = log_about(joined->ask);
        next = joined->next;
        tell_parent(child, joined);
        log_about(before);
    }
    tell_parent(child, &own);
}

static void flow_finish(struct flow *flow)
{
    if (flow->parent)
        child_finish(flow);
    else
        runner_of(flow)->port->over(flow->runner, flow);
}

/* ---- the outbox ---- */

static void drain_calls(struct flow *flow)
{
    struct call *call = flow->calls, *next;
    flow->calls = NULL;
    flow->calls_tail = &flow->calls;
    for (; call; call = next) {
        next = call->next;
        call->next = NULL;
        call->cookie = flow;
        runner_of(flow)->port->call(flow->runner, call);
    }
}

static void drain_errands(struct flow *flow)
{
    struct errand *errand = flow->errands, *next;
    flow->errands = NULL;
    flow->errands_tail = &flow->errands;
    for (; errand; errand = next) {
        next = errand->next;
        errand->next = NULL;
        runner_of(flow)->port->errand(flow->runner, errand);
    }
}

static void drain_sleep(struct flow *flow)
{
    int64_t ms = flow->sleep_ms;
    flow->sleep_ms = -1;
    runner_of(flow)->port->nap(flow->runner, flow, ms);
}

static void drain_children(struct flow *flow)
{
    struct flow *child = flow->children, *next;
    flow->children = NULL;
    flow->children_tail = &flow->children;
    for (; child; child = next) {
        next = child->next;
        child->runner = flow->runner;
        if (join(child))
            continue;
        child->type->start(child);
        drain(child);
    }
}

static void drain_answer(struct flow *flow)
{
    flow->answered = true;
    runner_of(flow)->port->answer(flow->runner, flow);
}

/*
 * After a step. A child that is over within its own start calls back into its parent from here, so the parent must not be touched after
 * drain_children: whether it is over is decided by whoever settled its last debt.
 */
static void drain(struct flow *flow)
{
    flow_check_step(flow);
    if (flow->answer_ready && !flow->answered)
        drain_answer(flow);
    if (flow->calls)
        drain_calls(flow);
    if (flow->errands)
        drain_errands(flow);
    if (flow->sleep_ms >= 0)
        drain_sleep(flow);
    if (flow->children)
        drain_children(flow);
    else if (flow_over(flow))
        flow_finish(flow);
}

/* ---- events ---- */

/* What a step logs is about the request of its flow. Behind drain the flow may be gone: only what was before is put back. */

void step_start(struct runner *runner, struct flow *root)
{
    const void *before = log_about(root->ask);
    CHECK(root->parent == NULL);
    root->runner = runner;
    root->type->start(root);
    drain(root);
    log_about(before);
}

void step_reply(struct call *call, const struct reply *reply)
{
    struct flow *flow = call->cookie;
    const void *before = log_about(flow->ask);
    flow_note(flow, call, reply);
    if (flow_settle(flow))
        flow->type->got_reply(flow, call, reply);
    drain(flow);
    log_about(before);
}

void step_errand(struct errand *errand)
{
    struct flow *flow = errand->flow;
    const void *before = log_about(flow->ask);
    if (flow_settle(flow))
        flow->type->got_errand(flow, errand);
    drain(flow);
    log_about(before);
}

void step_wake(struct flow *flow)
{
    const void *before = log_about(flow->ask);
    if (flow_settle(flow))
        flow->type->got_wake(flow);
    drain(flow);
    log_about(before);
}
