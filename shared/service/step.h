#ifndef STEP_H
#define STEP_H

#include <stdint.h>

#include "flow.h"

/*
 * Stepping flows: feeds an event to a flow and empties its outbox into a port. This is the one piece of code through which flows run, in a worker
 * (engine.c), in unit tests and in the simulator; they differ only in what is behind the port.
 *
 *    step_start ─┐                                         ┌─▶ port->call      ······▶ step_reply
 *    step_reply ─┤                                         ├─▶ port->errand    ······▶ step_errand
 *   step_errand ─┼─▶ the flow's own function ─▶ its outbox ─┼─▶ port->nap       ······▶ step_wake
 *     step_wake ─┘      ▲                                  ├─▶ child: its start, its outbox … got_child
 *                       └──────────── got_child ───────────┤
 *                                                          └─▶ port->answer, port->over (of the root)
 *
 * When a flow is over (ended, nothing owed) its parent gets got_child; when the root is over its runner is told, last of all.
 */
struct runner;
struct port {
    void (*call)(struct runner *runner, struct call *call);            /* call->cookie is the flow */
    void (*errand)(struct runner *runner, struct errand *errand);      /* errand->flow is the flow */
    void (*nap)(struct runner *runner, struct flow *flow, int64_t ms); /* ${flow} sleeps */
    void (*answer)(struct runner *runner, struct flow *root);          /* root->answer is there; at most once */
    void (*over)(struct runner *runner, struct flow *root);            /* once; the flow is not touched afterwards */
};

/* Children that run now and may be joined, of all flows of one thread (flow_spawn_joined). Zeroed before its first use. */
struct joint {
    struct flow *running;
};

/* Whoever runs a root flow begins its own struct with this. */
struct runner {
    const struct port *port;
    struct joint *joint; /* NULL: each child runs by itself */
};

/* Starts a root flow. It may be over when this returns. */
void step_start(struct runner *runner, struct flow *root);

/* The events. Each settles one debt; a flow that has ended is not told. The root may be over when this returns. */
void step_reply(struct call *call, const struct reply *reply);
void step_errand(struct errand *errand);
void step_wake(struct flow *flow);

#endif
