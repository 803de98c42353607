#ifndef WRITEBACK_H
#define WRITEBACK_H


#include "product_change.h"

/*
 * The write-back buffer of one thread: changes of products whose clients were answered 202 and which are written a little later, many at a time.
 *
 *   errand ─▶ room? ─▶ the shard's buffer: one entry for each product, its changes joined ─(SOUK_WRITEBACK_MS)─▶ flush flow ─▶ read, merge, write
 *               │ no: waits                        ▲                                                                │
 *               └─▶ not taken                      └──── not written (a shard is away, another was faster) ─────────┘
 *
 * Pure: writeback_port.c has the loop and starts the flows. While a buffer is not empty its flush flow runs, so a worker that stops waits for it like
 * for every other flow. What is here is lost when the worker is killed; nothing else is.
 */
#define WRITEBACK_WAIT_MS 2000  /* a change waits for room this long */
#define WRITEBACK_RETRY_MS 100  /* from a flush that could not write everything to the next */
#define WRITEBACK_BATCH_MAX 2048 /* products in one flush */

/* Nothing but uint64_t: see figures_publish. */
struct writeback_figures {
    uint64_t accepted;  /* changes that were taken */
    uint64_t coalesced; /* of these, joined with others of the same product */
    uint64_t written;   /* products that were written */
    uint64_t unchanged; /* products that were as the change would have them */
    uint64_t dropped;   /* changes that could not be applied */
    uint64_t refused;   /* changes that found no room */
    uint64_t retried;   /* products that a flush could not write */
    uint64_t bytes, products, waiting; /* at the moment */
};

struct writeback;
struct writeback_buffer; /* of one shard */

/* ${bytes_max}: of all buffers together; each shard has an equal share. Returns NULL if memory is short. */
struct writeback *writeback_new(const struct topology *topology, size_t bytes_max);
void writeback_free(struct writeback *writeback);
struct writeback_figures *writeback_figures(struct writeback *writeback);

struct writeback_buffer *writeback_buffer_of(struct writeback *writeback, int64_t id);

/* Takes a copy of the change. Returns false if there is no room for it. */
bool writeback_put(struct writeback_buffer *buffer, int64_t id, const struct product_change *change, struct view request_id);
bool writeback_is_empty(const struct writeback_buffer *buffer);

/* A flow that waits ${wait_ms} and then writes what is in the buffer; it is given these before it starts. One at a time for each buffer. */
extern const struct flow_type WRITEBACK_FLUSH_FLOW;
void writeback_flush_init(struct flow *flush, struct writeback_buffer *buffer, int64_t wait_ms);
/* When it is over: could it not write everything? */
bool writeback_flush_failed(const struct flow *flush);

/* What a flow asks the outside for: that its change is taken. All is borrowed until the errand is done. */
struct writeback_errand {
    struct errand base;
    int64_t id;
    const struct product_change *change;
    struct view request_id;
    bool taken;     /* the result */
    int64_t due_us; /* the port's */
};

#endif
