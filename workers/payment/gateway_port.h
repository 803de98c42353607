#ifndef GATEWAY_PORT_H
#define GATEWAY_PORT_H

#include <stdbool.h>

#include "engine.h"
#include "gateway.h"

/*
 * Carries errands out over HTTP on one thread: libcurl's multi interface on the thread's loop, connections kept alive.
 *
 *   gateway_port_send ─▶ queue ─▶ slot ─▶ libcurl ◀─sockets, timer─▶ loop
 *   errand->done ◀── result ◀──────────────┘        always in a later turn
 *
 * At most GATEWAY_UNDER_WAY_MAX errands are under way, GATEWAY_QUEUE_MAX wait; what comes above that completes as NOT_SENT. The timeout counts from
 * the moment of the send, waiting included.
 */
#define GATEWAY_UNDER_WAY_MAX 256
#define GATEWAY_QUEUE_MAX 4096

/* libcurl's own beginning and end, once for the process, while there is one thread. Returns false and logs if it cannot be used. */
bool gateway_library_start(void);
void gateway_library_end(void);

struct gateway_settings {
    const char *url; /* "http://127.0.0.1:8083", borrowed */
    int timeout_ms;
};
struct gateway_port;

/* Returns NULL and logs if memory is short. */
struct gateway_port *gateway_port_new(struct loop *loop, const struct gateway_settings *settings);

/* struct outside's send, with the port as cookie: every errand must be a struct gateway_errand. Completes exactly once, in a later turn. */
void gateway_port_send(void *cookie, struct errand *errand);

/* No errand may be under way. NULL: does nothing. */
void gateway_port_free(struct gateway_port *port);

#endif
