#ifndef GATE_H
#define GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http.h"
#include "view.h"

/*
 * The gate: decides over a request's line and headers whether it may be parsed further. Pure, no I/O. libmicrohttpd lets through what two
 * parsers can read in two ways (request smuggling); here such a request ends, before a byte of its body is read.
 *
 *   gate_open(line) ──▶ gate_header(each) ──▶ gate_close ──▶ let through, or a status and a sentence
 *
 * The first three only note facts and faults; what a fault means is one table, and the first row that applies wins.
 * libmicrohttpd 0.9.75 hides three things from any such gate: a bare LF as line end, a folded header line, and a NUL, which cuts a value. Where
 * a proxy stands before a worker it must be one that normalises these.
 */
struct gate_limits {
    size_t headers_max; /* of the request line and headers as sent */
    size_t body_max;
    size_t index_max; /* of what libmicrohttpd keeps beside the head, see gate_index_bytes */
};

struct gate {
    struct gate_limits limits;
    uint32_t faults; /* a bit for each fault met, see gate.c */
    enum method method;
    bool old_version; /* HTTP/1.0 */
    bool chunked;
    unsigned hosts, lengths, codings; /* how many Host, Content-Length and Transfer-Encoding headers came */
    uint64_t length;                  /* of the body as announced, 0 if not */
    size_t head_bytes;
    size_t index_bytes;
    struct view *known; /* HTTP_KNOWN_COUNT of them, filled in as they come; the caller's */
};

/*
 * ${target} is the raw one: path and query as sent. ${known}, zeroed, gets the values of the headers that it is about; all other views need to be
 * valid during the call only. Cannot fail.
 */
void gate_open(struct gate *gate, struct gate_limits limits, struct view method, struct view target, struct view version, struct view *known);
void gate_header(struct gate *gate, struct view name, struct view value);

struct gate_verdict {
    int status;         /* 0: let through */
    const char *detail; /* a sentence, static; NULL if let through */
};
struct gate_verdict gate_close(struct gate *gate);

/* The part of a raw target before its '?'. */
struct view gate_path(struct view target);

/*
 * At most what libmicrohttpd takes from a connection's pool for the parsed query, an entry for each parameter. (It does the same for each header,
 * and copies cookies.) When its pool is empty 0.9.75 answers badly, or, over a query, not at all: so it must not come to that.
 */
size_t gate_index_bytes(struct view target);

#endif
