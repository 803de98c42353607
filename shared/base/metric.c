#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "view.h"

#include "metric.h"

const int64_t METRIC_BOUNDS_US[METRIC_BOUNDS] = {100,   250,    500,    1000,   2500,    5000,    10000,   25000,
                                                 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000};

static const char *const TYPES[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

static void add_text(struct buffer *out, const char *text)
{
    buffer_add_view(out, view_of(text));
}

/* ---- samples ---- */

/* A label's value may be anything that an operator has called a shard. */
static void add_value(struct buffer *out, const char *value)
{
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            buffer_add(out, "\\", 1);
        buffer_add(out, *value == '\n' ? "\\n" : value, *value == '\n' ? 2 : 1);
    }
}

/* The row's labels with these values, without the braces; empty if it has none. */
static struct view labels_of(struct metric_page *page, va_list values)
{
    struct buffer out = {.arena = page->out->arena};
    const char *at = page->row->labels;
    while (*at) {
        size_t len = strcspn(at, ",");
        buffer_add(&out, at, len);
        add_text(&out, "=\"");
        add_value(&out, va_arg(values, const char *));
        at += len + (at[len] == ',');
        add_text(&out, *at ? "\"," : "\"");
    }
    return buffer_view(&out);
}

/* NAMEsuffix{labels,le="bound"} value; ${bound} NULL: without it. */
static void add_sample(struct metric_page *page, const char *suffix, struct view labels, const char *bound, double value)
{
    struct buffer *out = page->out;
    char number[32];
    snprintf(number, sizeof(number), " %.16g\n", value);
    add_text(out, page->row->name);
    add_text(out, suffix);
    if (labels.len || bound)
        add_text(out, "{");
    buffer_add_view(out, labels);
    if (bound) {
        add_text(out, labels.len ? ",le=\"" : "le=\"");
        add_text(out, bound);
        add_text(out, "\"");
    }
    if (labels.len || bound)
        add_text(out, "}");
    add_text(out, number);
}

void metric_add(struct metric_page *page, double value, ...)
{
    va_list values;
    va_start(values, value);
    add_sample(page, "", labels_of(page, values), NULL, value);
    va_end(values);
}

uint64_t metric_number_at(const void *figures, size_t offset)
{
    return *(const uint64_t *)((const char *)figures + offset);
}

void metric_read_number(struct metric_page *page)
{
    metric_add(page, (double)metric_number_at(page->figures, page->row->offset));
}

void metric_add_times(struct metric_page *page, const struct metric_times *times, ...)
{
    uint64_t count = 0;
    va_list values;
    CHECK(page->row->type == METRIC_HISTOGRAM);
    va_start(values, times);
    struct view labels = labels_of(page, values);
    va_end(values);
    for (size_t i = 0; i < METRIC_BOUNDS; i++) {
        char bound[32];
        count += times->buckets[i];
        snprintf(bound, sizeof(bound), "%g", (double)METRIC_BOUNDS_US[i] / 1e6);
        add_sample(page, "_bucket", labels, bound, (double)count);
    }
    count += times->buckets[METRIC_BOUNDS];
    add_sample(page, "_bucket", labels, "+Inf", (double)count);
    add_sample(page, "_sum", labels, NULL, (double)times->total_us / 1e6);
    add_sample(page, "_count", labels, NULL, (double)count);
}

/* ---- tables ---- */

void metric_page_add(struct metric_page *page, const struct metric_row *rows)
{
    for (page->row = rows; page->row->name; page->row++) {
        add_text(page->out, "# HELP ");
        add_text(page->out, page->row->name);
        add_text(page->out, " ");
        add_text(page->out, page->row->text);
        add_text(page->out, "\n# TYPE ");
        add_text(page->out, page->row->name);
        add_text(page->out, " ");
        add_text(page->out, TYPES[page->row->type]);
        add_text(page->out, "\n");
        page->row->read(page);
    }
}

void metric_print(const struct metric_row *rows)
{
    for (const struct metric_row *row = rows; row->name; row++)
        printf("%s%s%s%s %s: %s\n", row->name, *row->labels ? "{" : "", row->labels, *row->labels ? "}" : "", TYPES[row->type], row->text);
}

/* ---- figures ---- */

void figures_publish(atomic_uint_fast64_t *words, const void *figures, size_t size)
{
    const uint64_t *numbers = figures;
    CHECK(size % sizeof(uint64_t) == 0);
    for (size_t i = 0; i < FIGURES_WORDS(size); i++)
        atomic_store_explicit(&words[i], numbers[i], memory_order_relaxed);
}

void figures_add(const atomic_uint_fast64_t *words, void *sum, size_t size)
{
    uint64_t *numbers = sum;
    for (size_t i = 0; i < FIGURES_WORDS(size); i++)
        numbers[i] += atomic_load_explicit(&words[i], memory_order_relaxed);
}
