#ifndef FLOW_H
#define FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "call.h"
#include "http.h"
#include "outcome.h"
#include "topology.h"
#include "value.h"

/*
 * A flow: one request, duty or sweep as a state machine without I/O.
 *
 *        start ─┐                        ┌─▶ flow_call     a call to a shard      ──▶ got_reply
 *    got_reply ─┤                        ├─▶ flow_errand   a call to the outside  ──▶ got_errand
 *   got_errand ─┼─▶ the flow's step ─────┼─▶ flow_spawn    a child flow           ──▶ got_child
 *    got_child ─┤   (pure)               ├─▶ flow_sleep    some milliseconds      ──▶ got_wake
 *     got_wake ─┘                        ├─▶ flow_answer   to the client, once; the flow may go on after it
 *                                        └─▶ flow_end      nothing more to do
 *
 * A step only changes the flow and fills its outbox. Whoever runs it (engine.c in a worker, a test, a simulator) empties the outbox and feeds
 * back exactly one event for each thing asked. A step must ask for something, have something still owed, or end: a flow that does none of these
 * would hang, and flow_check_step stops the process.
 */
struct flow;
struct errand;
struct flow_type {
    const char *name;
    size_t size; /* of the struct that begins with struct flow */
    void (*start)(struct flow *flow);
    void (*got_reply)(struct flow *flow, struct call *call, const struct reply *reply);
    void (*got_child)(struct flow *flow, struct flow *child);
    void (*got_wake)(struct flow *flow);
    void (*got_errand)(struct flow *flow, struct errand *errand);
};

/*
 * A call to the outside of the flow (the payment gateway, the write-back buffer). The concrete errand embeds this first; its port fills the result in
 * and calls done once.
 */
struct errand {
    void (*done)(struct errand *errand);
    struct flow *flow;
    struct errand *next;
    bool withheld; /* the flow's client was told that nothing is done: the port completes it without doing it */
};

/* What every flow may know: read-only. */
struct world {
    const struct topology *topology;
    const void *settings; /* the program's own */
};

/* A query parameter, percent-decoded. */
struct param {
    struct view name, value;
};

/* The client's request as the router understood it; NULL in flows that no client waits for. */
#define ASK_IDS_MAX 2
struct ask {
    enum method method;
    const char *route;          /* "/orders/{id}/cancel": the template; part of an idempotency key's scope */
    int64_t ids[ASK_IDS_MAX];   /* the {id}s of the path */
    const struct param *params; /* of the query; see ask_param */
    size_t param_count;
    enum format format;           /* what the answer is written in */
    const void *body;             /* bound to the route's shape; NULL if the route has none or none was sent */
    const struct value *document; /* the body before it was bound; NULL if none */
    struct view raw_body;
    struct view caller; /* who asks: the name of its token; empty without one, and while authentication is off */
    struct view buyer;  /* the one buyer that the caller acts for; .at NULL: all. See struct route, own */
    bool create_only;   /* If-None-Match: * */
    struct view key;    /* Idempotency-Key, empty if none */
    struct view if_match, if_none_match, cache_control, prefer, request_id, traceparent;
};

/* The value of a query parameter; .at is NULL if absent. */
struct view ask_param(const struct ask *ask, const char *name);

#define ANSWER_HEADERS_MAX 8
struct answer {
    int status;
    struct writer writer; /* the body; unused when ${body} is set or the status has none */
    struct view body;
    const char *content_type;
    const struct outcome *outcome; /* NULL: not a problem; kept for metrics and logs */
    struct http_header headers[ANSWER_HEADERS_MAX];
    size_t header_count;
    bool replayed; /* what was decided before, sent again */
    bool deferred; /* what it promises is not written yet */
    bool keep;     /* see answer_keep */
    int64_t version, rests_up_to;
};

struct flow {
    const struct flow_type *type;
    struct arena *arena;
    const struct world *world;
    const struct ask *ask;
    struct flow *parent;
    int tag, index; /* the parent's marks on this child */

    /* The outbox, emptied by the runner after each step. */
    struct call *calls, **calls_tail;
    struct errand *errands, **errands_tail;
    struct flow *children, **children_tail;
    int64_t sleep_ms;      /* -1: none asked */
    struct answer *answer; /* the one being made, or made */
    bool answer_ready;

    /* The account. */
    unsigned owed; /* events that are still to come */
    bool effects;  /* a call that writes was asked for: a lost answer is UNKNOWN, not NOT DONE */
    bool wrote;    /* one was answered with OK, here or in a child, or it has recorded what is answered now */
    const struct view *told; /* the request that was told before what is answered now; NULL: none (flow_retell) */
    bool answered, ended;
    struct flow *next; /* in the outbox of its parent; then among those that run and may be joined, or those that have joined the same one */
    int64_t join_key;  /* 0: nobody joins it */
    struct flow *joined; /* of one that runs: those that were spawned beside it, and do not run */
    void *runner;        /* the runner's own */
};

/* A flow in ${arena}, zeroed to its type's size, not started yet. Cannot fail. */
struct flow *flow_new(struct arena *arena, const struct flow_type *type, const struct world *world, const struct ask *ask);

void flow_call(struct flow *flow, struct call *call, int tag, int index);
void flow_errand(struct flow *flow, struct errand *errand);
/* The child inherits arena, world and ask; it must not answer. got_child is called when it has ended and nothing is owed to it. */
void flow_spawn(struct flow *flow, struct flow *child, int tag, int index);
/*
 * The same for a child whose work is the same whoever asks for it: while one of its type and ${key} (not 0) runs in this thread, this one does not,
 * and got_child is given that one when it has ended, with this one's tag and index. So many who need the same thing at once do it once.
 */
void flow_spawn_joined(struct flow *flow, struct flow *child, int tag, int index, int64_t key);
void flow_sleep(struct flow *flow, int64_t ms);
/* Nothing more to do. Events still owed are awaited by the runner and dropped. */
void flow_end(struct flow *flow);

/*
 * For runners: an event is about to be fed to ${flow}. Settles one debt and returns whether the flow still wants it (it has not ended).
 */
bool flow_settle(struct flow *flow);
/* For runners: what ${call} was answered is about to be fed to ${flow}. */
void flow_note(struct flow *flow, const struct call *call, const struct reply *reply);
/* Does this answer of ${flow} rest on something that was written, now or when its key was new? So a client may ask how durable that is. */
bool answer_is_written(const struct flow *flow, const struct answer *answer);
/* For runners: has the flow ended with nothing owed to it? Then its parent, or whoever started it, is told. */
static inline bool flow_over(const struct flow *flow)
{
    return flow->ended && flow->owed == 0;
}

/*
 * Answers: begin one, write its body into the returned writer, send it. A flow answers at most once.
 *
 *   struct writer *w = answer_begin(f, 200);   shape_write(&ORDER, &order, w);   answer_header(f, "ETag", "\"v%lld\"", v);   answer_send(f);
 */
struct writer *answer_begin(struct flow *flow, int status);
void answer_header(struct flow *flow, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
void answer_send(struct flow *flow);
/* It was decided before, by this key: Idempotent-Replayed. */
void answer_replayed(struct flow *flow);
/*
 * It may be kept near, on a route that says so: it shows ${version} of the route's record (0: of several), or rests on all records up to this id. It
 * has an ETag.
 */
void answer_keep(struct flow *flow, int64_t version, int64_t rests_up_to);
/* Adds an ETag made from the body and the headers so far, which are whole. */
void answer_tag_body(struct flow *flow);
/*
 * The problem that will be answered was told before, to the request with this id: it is made with that id, so that its bytes are the same, and is
 * sent with Idempotent-Replayed. An empty id is not known; then it is made with the repeat's own.
 */
void flow_retell(struct flow *flow, struct view request_id);
/* The request will be carried out: 202, Preference-Applied: respond-async. Nothing is said about how durable that is. Complete. */
void answer_deferred(struct flow *flow);
/* An answer without a body (204, 304), complete. */
void answer_empty(struct flow *flow, int status);
/* Begins an answer whose body the flow has made by itself, in the arena; headers and answer_send follow. */
void answer_made(struct flow *flow, int status, const char *content_type, struct view body);
/* An answer whose JSON text was stored with its idempotency key: sent as it is (or written again as MessagePack), with Idempotent-Replayed. */
void answer_stored(struct flow *flow, int status, struct view json);
/*
 * A problem (RFC 9457): type, title, status, detail, code, retryable, request_id, and ${more} members that the caller writes before answer_send.
 * Retry-After comes from the outcome.
 */
struct writer *answer_problem(struct flow *flow, const struct outcome *outcome, size_t more, const char *detail, ...)
    __attribute__((format(printf, 4, 5)));
/* The value of one of its headers; NULL if it has none of that name. */
const char *answer_header_of(const struct answer *answer, const char *name);
/* Takes back an answer that was begun and not sent. */
void answer_drop(struct flow *flow);
/* A problem without more members, sent. */
void answer_refuse(struct flow *flow, const struct outcome *outcome, const char *detail, ...) __attribute__((format(printf, 3, 4)));
/* The member "errors" of a problem: pointer and message of each fault. */
struct faults;
void answer_faults_write(struct writer *writer, const struct faults *faults);
/* The problem for a reply that is NOT_SENT or UNKNOWN, sent: ${what} says what was tried ("reading order 4369"). */
void answer_failed(struct flow *flow, const struct reply *reply, const char *what);

/* For runners: CHECKs that the step just taken left the flow alive (owed, asking, or ended). */
void flow_check_step(const struct flow *flow);

#endif
