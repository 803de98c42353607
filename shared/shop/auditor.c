#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "loop.h"

#include "audit.h"

#include "auditor.h"

/* How often a worker asks for the lease, as a part of the period. */
#define ASKS 10
#define PAUSE_TIMES 9
#define LOGGED_MAX 10

struct auditor {
    struct service_thread *thread;
    struct loop_timer *timer;
    int64_t period_ms;
    char worker[64];
    bool busy;
    struct audit_figures figures;
};

/* ---- one turn as a flow ---- */

struct audit_turn {
    struct flow flow;
    struct auditor *auditor;
    int64_t began_us;
};

enum { TAG_TAKE, TAG_KEEP };

static struct call *lease_call(struct audit_turn *turn, int64_t ms)
{
    struct call *call = call_command(turn->flow.arena, "SET", 0);

    call_arg(call, VIEW("souk:lease:audit"));
    call_arg(call, view_of(turn->auditor->worker));
    call_arg(call, VIEW("PX"));
    call_arg_int(call, ms);
    return call;
}

static void turn_start(struct flow *flow)
{
    struct audit_turn *turn = (struct audit_turn *)flow;
    struct call *call = lease_call(turn, turn->auditor->period_ms);

    call_arg(call, VIEW("NX"));
    flow_call(flow, call, TAG_TAKE, 0);
}

static void turn_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct audit_turn *turn = (struct audit_turn *)flow;

    if (call->tag == TAG_TAKE && reply->kind == REPLY_OK && reply->root->type == ITEM_TEXT) {
        turn->began_us = clock_us();
        flow_spawn(flow, audit_new(flow, turn->auditor->thread), 0, 0);
    } else {
        flow_end(flow);
    }
}

static void note(struct auditor *auditor, const struct audit_report *report, int64_t took_ms)
{
    struct audit_figures *figures = &auditor->figures;

    if (!report->complete) {
        figures->failed++;
        return;
    }
    figures->audits++;
    figures->at_ms = (uint64_t)clock_wall_ms();
    figures->took_ms = (uint64_t)took_ms;
    for (int i = 0; i < AUDIT_THINGS; i++)
        figures->checked[i] = (uint64_t)report->checked[i];
    for (int i = 0; i < AUDIT_PHASES; i++)
        figures->holds[i] = (uint64_t)report->holds[i];
    for (int i = 0; i < AUDIT_KINDS; i++)
        figures->violations[i] = (uint64_t)report->by_kind[i];
    for (size_t i = 0; i < report->violation_count && i < LOGGED_MAX; i++)
        log_error("the audit found: %.*s; %zu violations in all, see GET /admin/audit", VIEW_ARG(report->violations[i]), report->violation_count);
}

static void turn_got_child(struct flow *flow, struct flow *child)
{
    struct audit_turn *turn = (struct audit_turn *)flow;
    int64_t took_ms = (clock_us() - turn->began_us) / 1000, pause_ms = took_ms * PAUSE_TIMES;

    note(turn->auditor, audit_report_of(child), took_ms);
    if (pause_ms <= turn->auditor->period_ms) {
        flow_end(flow);
        return;
    }
    flow_call(flow, lease_call(turn, pause_ms), TAG_KEEP, 0);
}

static const struct flow_type AUDIT_TURN = {
    .name = "audit turn", .size = sizeof(struct audit_turn), .start = turn_start, .got_reply = turn_got_reply, .got_child = turn_got_child};

/* ---- the timer behind it ---- */

static void got_end(void *cookie, struct flow *flow)
{
    ((struct auditor *)cookie)->busy = false;
}

static void got_timer(void *cookie)
{
    struct auditor *auditor = cookie;

    if (service_draining(auditor->thread))
        return;
    if (!auditor->busy && store_all_ready(auditor->thread->store)) {
        struct arena *arena = arena_new();
        struct flow *flow = flow_new(arena, &AUDIT_TURN, auditor->thread->world, NULL);

        ((struct audit_turn *)flow)->auditor = auditor;
        auditor->busy = true;
        engine_start(auditor->thread->engine, flow, 0, NULL, got_end, auditor);
        arena_free(arena);
    }
    loop_timer_set(auditor->timer, auditor->period_ms / ASKS);
}

struct auditor *auditor_start(struct service_thread *thread, int period_s)
{
    struct auditor *auditor = calloc(1, sizeof(*auditor));
    char host[32] = "";

    if (auditor == NULL || (auditor->timer = loop_timer_new(thread->loop, got_timer, auditor)) == NULL) {
        log_error("cannot start auditing: out of memory");
        free(auditor);
        return NULL;
    }
    gethostname(host, sizeof(host) - 1);
    snprintf(auditor->worker, sizeof(auditor->worker), "%s.%d", host, (int)getpid());
    auditor->thread = thread;
    auditor->period_ms = (int64_t)period_s * 1000;
    if (period_s > 0)
        loop_timer_set(auditor->timer, auditor->period_ms / ASKS);
    return auditor;
}

void auditor_stop(struct auditor *auditor)
{
    if (auditor == NULL)
        return;
    loop_timer_free(auditor->timer);
    free(auditor);
}

/* ---- figures ---- */

const struct audit_figures *auditor_figures(const struct auditor *auditor)
{
    return &auditor->figures;
}

/* Before the first audit nothing is said of the last. */
static const struct audit_figures *last_audit(const struct metric_page *page)
{
    const struct audit_figures *figures = page->figures;

    return figures->audits ? figures : NULL;
}

static void read_time(struct metric_page *page)
{
    if (last_audit(page))
        metric_add(page, (double)last_audit(page)->at_ms / 1000);
}

static void read_duration(struct metric_page *page)
{
    if (last_audit(page))
        metric_add(page, (double)last_audit(page)->took_ms / 1000);
}

static void read_checked(struct metric_page *page)
{
    for (int i = 0; last_audit(page) && i < AUDIT_THINGS; i++)
        metric_add(page, (double)last_audit(page)->checked[i], audit_thing_name(i));
}

static void read_holds(struct metric_page *page)
{
    for (int i = 0; last_audit(page) && i < AUDIT_PHASES; i++)
        metric_add(page, (double)last_audit(page)->holds[i], audit_phase_name(i));
}

static void read_violations(struct metric_page *page)
{
    for (int i = 0; last_audit(page) && i < AUDIT_KINDS; i++)
        metric_add(page, (double)last_audit(page)->violations[i], audit_kind_name(i));
}

#define FIGURE(member) offsetof(struct audit_figures, member)
const struct metric_row AUDIT_METRICS[] = {
    {"souk_audits_total", METRIC_COUNTER, "", "Audits that this worker has completed.", metric_read_number, FIGURE(audits)},
    {"souk_audits_failed_total", METRIC_COUNTER, "", "Audits that a shard did not let it complete.", metric_read_number, FIGURE(failed)},
    {"souk_audit_timestamp_seconds", METRIC_GAUGE, "",
     "When its last one ended, in seconds since 1970. Of all workers the latest counts.", read_time, 0},
    {"souk_audit_duration_seconds", METRIC_GAUGE, "", "How long it took.", read_duration, 0},
    {"souk_audit_checked", METRIC_GAUGE, "what", "How many it looked at: products, orders, payments, holds, events.", read_checked, 0},
    {"souk_audit_violations", METRIC_GAUGE, "kind", "What it found, and what must be 0: units, state, money, index, pair, feed.", read_violations, 0},
    {"souk_holds", METRIC_GAUGE, "state",
     "Holds of units at that audit, by state: held, committed, and ended, whose marks stay for 10 minutes.", read_holds, 0},
    {0},
};
