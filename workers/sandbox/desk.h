#ifndef DESK_H
#define DESK_H

#include "book.h"
#include "http.h"
#include "journal.h"

/*
 * The gateway's desk: HTTP in front of the book.
 *
 *   request ─▶ understood? ─▶ book ─┬─▶ new entry ─▶ journal ─┐
 *                                   └─▶ known entry ──────────┴─(end of turn: one sync)─▶ answer
 *                                                               tok_slow: 2 s later; tok_timeout, tok_lost: never
 *
 *   POST /charges {key, op?: charge|authorize, amount, currency, token}
 *   POST /charges/{ref}/capture {key, amount}   …/void {key}   …/refunds {key, amount}
 *   POST /settle {key}          GET /journal          GET /livez
 * A decision is answered 200 {key, op, status, ref, failure}, whatever it is; 409: the key belongs to another request.
 */
struct loop;
struct desk;

struct desk *desk_new(struct loop *loop, struct book *book, struct journal *journal);
/* The two callbacks of http_start, with the desk as cookie. */
void desk_on_request(void *cookie, struct exchange *exchange);
void desk_on_refusal(void *cookie, struct exchange *exchange, int status, const char *detail, struct http_response *response);
/* Answers what is held, with 503. After it nothing new is held. */
void desk_stop(struct desk *desk);
void desk_free(struct desk *desk);

#endif
