#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arena.h"
#include "metric.h"

struct numbers {
    uint64_t small, large;
    struct metric_times times;
};

static void read_labels(struct metric_page *page)
{
    metric_add(page, 1.5, "a\"b\\c\nd", "");
    metric_add(page, -2, "e", "f");
}

static void read_nothing(struct metric_page *page)
{
}

static void read_times(struct metric_page *page)
{
    metric_add_times(page, &((const struct numbers *)page->figures)->times, "x");
}

static void assert_page(const struct metric_row *rows, const struct numbers *numbers, const char *want)
{
    struct arena *arena = arena_new();
    struct buffer out = {.arena = arena};
    struct metric_page page = {.out = &out, .figures = numbers};
    metric_page_add(&page, rows);
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, want);
    arena_free(arena);
}

static void test_samples(void **state)
{
    static const struct metric_row rows[] = {
        {"a_total", METRIC_COUNTER, "", "One.", metric_read_number, offsetof(struct numbers, small)},
        {"b", METRIC_GAUGE, "", "Two.", metric_read_number, offsetof(struct numbers, large)},
        {"c", METRIC_GAUGE, "x,y", "Three.", read_labels, 0},
        {"d", METRIC_GAUGE, "", "Four.", read_nothing, 0},
        {0},
    };
    const struct numbers numbers = {.small = 0, .large = UINT64_C(9007199254740991)};
    assert_page(rows, &numbers,
                "# HELP a_total One.\n# TYPE a_total counter\na_total 0\n"
                "# HELP b Two.\n# TYPE b gauge\nb 9007199254740991\n"
                "# HELP c Three.\n# TYPE c gauge\nc{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 1.5\nc{x=\"e\",y=\"f\"} -2\n"
                "# HELP d Four.\n# TYPE d gauge\n");
}

/* Each bound itself, one more, nothing, less than nothing, and above all bounds. */
static void test_times(void **state)
{
    static const struct metric_row rows[] = {{"t_seconds", METRIC_HISTOGRAM, "l", "Times.", read_times, 0}, {0}};
    struct numbers numbers = {.small = 0};
    metric_time(&numbers.times, 0);
    metric_time(&numbers.times, -5);
    metric_time(&numbers.times, 100);
    metric_time(&numbers.times, 101);
    metric_time(&numbers.times, 10000000);
    metric_time(&numbers.times, 10000001);
    assert_page(rows, &numbers,
                "# HELP t_seconds Times.\n# TYPE t_seconds histogram\n"
                "t_seconds_bucket{l=\"x\",le=\"0.0001\"} 3\nt_seconds_bucket{l=\"x\",le=\"0.00025\"} 4\nt_seconds_bucket{l=\"x\",le=\"0.0005\"} 4\n"
                "t_seconds_bucket{l=\"x\",le=\"0.001\"} 4\nt_seconds_bucket{l=\"x\",le=\"0.0025\"} 4\nt_seconds_bucket{l=\"x\",le=\"0.005\"} 4\n"
                "t_seconds_bucket{l=\"x\",le=\"0.01\"} 4\nt_seconds_bucket{l=\"x\",le=\"0.025\"} 4\nt_seconds_bucket{l=\"x\",le=\"0.05\"} 4\n"
                "t_seconds_bucket{l=\"x\",le=\"0.1\"} 4\nt_seconds_bucket{l=\"x\",le=\"0.25\"} 4\nt_seconds_bucket{l=\"x\",le=\"0.5\"} 4\n"
                "t_seconds_bucket{l=\"x\",le=\"1\"} 4\nt_seconds_bucket{l=\"x\",le=\"2.5\"} 4\nt_seconds_bucket{l=\"x\",le=\"5\"} 4\n"
                "t_seconds_bucket{l=\"x\",le=\"10\"} 5\nt_seconds_bucket{l=\"x\",le=\"+Inf\"} 6\n"
                "t_seconds_sum{l=\"x\"} 20.000202\nt_seconds_count{l=\"x\"} 6\n");
}

static void test_figures(void **state)
{
    atomic_uint_fast64_t one[FIGURES_WORDS(sizeof(struct numbers))] = {0}, other[FIGURES_WORDS(sizeof(struct numbers))] = {0};
    struct numbers numbers = {.small = 1, .large = 10, .times.total_us = 5}, sum = {.small = 0};
    figures_publish(one, &numbers, sizeof(numbers));
    numbers.small = 2;
    figures_publish(other, &numbers, sizeof(numbers));
    figures_add(one, &sum, sizeof(sum));
    figures_add(other, &sum, sizeof(sum));
    assert_int_equal(sum.small, 3);
    assert_int_equal(sum.large, 20);
    assert_int_equal(sum.times.total_us, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_figures),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_thread_end();
    return failed;
}
