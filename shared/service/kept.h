#ifndef KEPT_H
#define KEPT_H

#include <stdbool.h>
#include <stddef.h>

#include "http.h"
#include "near_cache.h"
#include "options.h"

/*
 * Answers that are kept near: what the store's near cache (near_cache.h) holds for the door. One belongs to one path and query in one format, and is
 * an answer of libmicrohttpd that was made once: with its body, and without it (304) for who has it already.
 *
 *   kept_answer ── a hit: answered, nothing is allocated          ─▶ X-Cache: hit
 *   kept_begin  ── no hit: the mark of a read is planted          ─▶ X-Cache: miss
 *               │          or another request is reading the same: this one waits for it
 *               └─ no-cache, or the shards do not tell of changes ─▶ X-Cache: bypass
 *   kept_end    ── the flow has answered: kept, if its mark still stands; who waits is answered too
 */
struct request;
struct worker_thread;
struct store_settings;
struct flow;
struct answer;

/* What a request has to do with it. */
enum kept_way { KEPT_NOT, KEPT_BYPASS, KEPT_MISS };
struct kept_part {
    enum kept_way way;
    struct near_mark *mark;  /* MISS: this request reads, and others may wait for it */
    struct request *waiting; /* the next of those who wait for the same */
};

/* The rows of SOUK_CACHE_MB and SOUK_CACHE_AGE_MS, for programs that keep answers. */
extern const struct option_row KEPT_OPTIONS[];
extern const size_t KEPT_OPTION_COUNT;

/* Fills in what the store is to know of it. ${kind}: service_program's; NULL: nothing is kept. */
struct service_settings;
void kept_settings(struct store_settings *store, const struct service_settings *settings, const char *kind);

/* Answers it from what is kept, if that can be; returns whether it did. */
bool kept_answer(struct worker_thread *thread, struct exchange *exchange);

/* Before a flow of a ROUTE_NEAR is started. Returns false if the request need not start one: it will be answered by door_answer. */
bool kept_begin(struct request *request);
/* Its flow has answered, which is not yet sent. */
void kept_end(struct request *request, struct flow *flow, struct answer *answer);

/* The headers of an answer of a ROUTE_NEAR that say so. Returns how many. */
#define KEPT_HEADERS_MAX 4
size_t kept_headers(const struct request *request, struct http_header out[KEPT_HEADERS_MAX]);

#endif
