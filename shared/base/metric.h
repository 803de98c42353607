#ifndef METRIC_H
#define METRIC_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

/*
 * Metrics come from tables. A row says what a metric is called, its type, the names of its labels and one sentence; its function adds what it is at
 * the moment. The page that Prometheus reads, --metrics and docs/metrics.md are made from the rows.
 *
 *   one thread counts in plain structs of uint64_t ──(figures_publish, once in a while)──▶ atomic words ──(figures_add)──▶ sums ──▶ the page
 */
enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_page;
struct metric_row {
    const char *name; /* "souk_requests_total"; a counter's name ends in _total, a histogram's in its unit */
    enum metric_type type;
    const char *labels; /* their names, in the order of metric_add's values: "method,route,status"; empty: none */
    const char *text;   /* one sentence */
    void (*read)(struct metric_page *page); /* adds its samples; none is right too */
    size_t offset;                          /* for ${read}: where in its figures the number is */
};

/* Rows, and where the figures that they read from begin in a larger struct. Lists of tables end with one without rows. */
struct metric_table {
    const struct metric_row *rows;
    size_t offset;
};

/* A page being written. */
struct metric_page {
    struct buffer *out;
    const struct metric_row *row; /* the one whose samples are added */
    const void *figures;          /* what the rows of this table read from */
    const void *cookie;           /* what else they know */
};

/* Adds each row's description and its samples. Tables of rows end with one without a name. */
void metric_page_add(struct metric_page *page, const struct metric_row *rows);

/* For a row's function: one sample, with a text for each of the row's labels. Whole numbers below 2^53 keep all their digits. */
void metric_add(struct metric_page *page, double value, ...);

/* The number at a row's offset of its figures; a row's function that adds just that. */
uint64_t metric_number_at(const void *figures, size_t offset);
void metric_read_number(struct metric_page *page);

/* How long things took: how many of them up to each bound. */
#define METRIC_BOUNDS 16
extern const int64_t METRIC_BOUNDS_US[METRIC_BOUNDS];
struct metric_times {
    uint64_t buckets[METRIC_BOUNDS + 1], total_us;
};
static inline void metric_time(struct metric_times *times, int64_t took_us)
{
    size_t bucket = 0;
    while (bucket < METRIC_BOUNDS && took_us > METRIC_BOUNDS_US[bucket])
        bucket++;
    times->buckets[bucket]++;
    times->total_us += took_us > 0 ? (uint64_t)took_us : 0;
}
/* For a row's function: its buckets, sum and count, in seconds. */
void metric_add_times(struct metric_page *page, const struct metric_times *times, ...);

/* Prints the rows for a person, a line each: name, labels, type, sentence. */
void metric_print(const struct metric_row *rows);

/*
 * Numbers of one thread that any thread may read: a struct of nothing but uint64_t, ${size} bytes of it, is copied to as many words by its own
 * thread, and added from there to a sum. A reader may see one word newer than another; each only ever grows, or is a gauge.
 */
void figures_publish(atomic_uint_fast64_t *words, const void *figures, size_t size);
void figures_add(const atomic_uint_fast64_t *words, void *sum, size_t size);
#define FIGURES_WORDS(size) ((size) / sizeof(uint64_t))

#endif
