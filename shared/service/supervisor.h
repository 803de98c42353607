#ifndef SUPERVISOR_H
#define SUPERVISOR_H

/*
 * What a worker tells the service manager that started it (systemd; nobody else asks): that it serves, what it waits for, that it stops, and, while
 * every thread's loop turns, that it is alive. A shard that is away never makes it look dead: a restart of the worker would not bring it back.
 */
struct service;
struct worker_thread;

/* All threads listen. */
void supervisor_started(struct service *service);
/* Called on every thread at each of its ticks. */
void supervisor_tick(struct worker_thread *thread);
/* It drains, and may take SOUK_DRAIN_DELAY_MS and SOUK_DRAIN_MS for it. */
void supervisor_stopping(struct service *service);

#endif
