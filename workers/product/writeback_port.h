#ifndef WRITEBACK_PORT_H
#define WRITEBACK_PORT_H

#include "service.h"
#include "writeback.h"

/*
 * The write-back buffer on a thread: takes errands, lets them wait for room, and starts the flush flows.
 */
struct writeback_port;

struct product_settings {
    int writeback_ms, writeback_mb;
};

/* Returns NULL if memory is short. */
struct writeback_port *writeback_port_new(struct service_thread *thread);

/* struct outside's send, with the port as cookie: every errand must be a struct writeback_errand. Completes exactly once, in a later turn. */
void writeback_port_send(void *cookie, struct errand *errand);

/* The worker leaves although changes wait: says how many are lost. */
void writeback_port_abandon(const struct writeback_port *port);

struct writeback_figures *writeback_port_figures(const struct writeback_port *port);

/* No errand may wait and no flush may run. NULL: does nothing. */
void writeback_port_free(struct writeback_port *port);

#endif
