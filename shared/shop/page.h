#ifndef PAGE_H
#define PAGE_H

#include <stdint.h>

#include "flow.h"

/*
 * One page of a list over many partitions: read the parameters, ask every shard for its best rows (function `list`), merge them, cut, and say where
 * the next page begins. A page costs the same whatever the store holds, and nearly the same on however many shards.
 *
 *   page_read(f, page, …)  ──▶ page_ask(f, page, kind, order, keys …)  ──▶ per reply: page_got(…) ──▶ when it returns PAGE_WHOLE: rows ──▶ page_link
 *
 * Each shard is asked for its share of the page and some more, not for all of it: rows are spread evenly as a rule. Behind the last look of a shard
 * that has more, no row may be shown, whoever it is from. If the page is short by that, those shards are asked once more, now for all that is
 * missing: then it is full, unless one of them had to look at too many entries that the filters leave out. Then the page stays short, even empty,
 * and has a next one.
 *
 * A list that is not spread over shards (a stream) uses page_read and page_link alone, and sets ${more} and ${next} itself.
 *
 * A cursor is the sort position of the last row, a hash of the list's path and filters, and a checksum: "score.member.filter.check", opaque to
 * clients. One that is damaged or belongs to another list is refused with 400.
 */
#define PAGE_LIMIT_MAX 1000
#define PAGE_FIELDS_MAX 16

/* Where a row stands: by score, and among equal ones by the member's text. All scores are integers below 2^53. */
struct page_place {
    int64_t score;
    struct view member; /* the record's id as text */
};
struct page_row {
    struct page_place place;
    struct view *fields; /* in the order asked for; empty if the record lacks one */
};
/* One shard's part. */
struct page_shard {
    bool more;                /* something is left behind its last look, */
    struct page_place looked; /* which was here: at an id of its own */
};
typedef struct view page_key_of(void *cookie, struct arena *arena, unsigned partition, unsigned n);
struct page {
    int limit;
    bool newest_first;
    struct page_place after; /* member empty: from the start */
    uint32_t filter_hash;
    struct page_row *rows; /* merged, at most limit */
    size_t row_count;
    bool more;              /* there is a next page, */
    struct page_place next; /* and it begins behind this */

    /* The question, as page_ask got it, and what has come of it. */
    const char *kind;
    int tag, partition;
    page_key_of *key_of;
    void *cookie;
    struct view state, payment_status;
    const char *const *fields;
    size_t field_count;
    struct page_shard *shards; /* of the topology */
    unsigned waiting;          /* shards that have not answered */
    bool again;                /* shards were asked a second time */
    bool cut;                  /* rows behind the limit were left out */
};

/*
 * Reads limit (1 … 1000, default 100) and cursor from the query. ${filter}: whatever tells this list from others of its path. Returns false after
 * having answered 400.
 */
bool page_read(struct flow *flow, struct page *page, bool newest_first, struct view filter);

/*
 * Asks every shard that has one of the index keys. ${key_of}(cookie, arena, partition, n) gives the n-th index key of a partition (0, 1, …), an
 * empty view when there are no more; ${partition} -1 for all, else only that one. ${state}, ${payment_status}: filters on the records, or empty.
 * Calls get ${tag}. At least one key must exist. Everything given stays valid until the page is whole.
 */
void page_ask(struct flow *flow, struct page *page, int tag, const char *kind, int partition, page_key_of *key_of, void *cookie, struct view state,
              struct view payment_status, const char *const *fields, size_t field_count);

enum page_step { PAGE_WAITING, PAGE_WHOLE, PAGE_FAILED };
/* Takes one shard's answer; may ask for more. PAGE_FAILED: the flow was answered with 503 (a shard is away, so the page would have holes); end it. */
enum page_step page_got(struct flow *flow, struct page *page, const struct reply *reply);

/* The Link header with rel="next", if there is a next page. Call between answer_begin and answer_send. */
void page_link(struct flow *flow, const struct page *page);

#endif
