#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "library.h"

#include "commit.h"

#include "report.h"

#define COLUMNS_MAX 5

/* One row of a table; the first column is text, the others are numbers. */
static void row(FILE *out, enum report_form form, const char *first, int count, ...)
{
    va_list args;
    va_start(args, count);
    fprintf(out, form == REPORT_TEXT ? "  %-48s" : "| %s |", first);
    for (int i = 0; i < count; i++)
        fprintf(out, form == REPORT_TEXT ? " %12" PRIu64 : " %" PRIu64 " |", va_arg(args, uint64_t));
    fprintf(out, "\n");
    va_end(args);
}

static void head(FILE *out, enum report_form form, const char *title, int count, ...)
{
    va_list args;
    va_start(args, count);
    fprintf(out, form == REPORT_TEXT ? "\n%-50s" : "\n| %s |", title);
    for (int i = 0; i < count; i++)
        fprintf(out, form == REPORT_TEXT ? " %12s" : " %s |", va_arg(args, const char *));
    fprintf(out, "\n");
    if (form == REPORT_MARKDOWN) {
        fprintf(out, "|---|");
        for (int i = 0; i < count; i++)
            fprintf(out, "--:|");
        fprintf(out, "\n");
    }
    va_end(args);
}

static void print_faults(FILE *out, enum report_form form, const struct report_facts *facts)
{
    unsigned long count;
    const char *name;
    head(out, form, "faults", 1, "times");
    for (unsigned n = 0; (name = faults_name(facts->faults, n, &count)) != NULL; n++)
        row(out, form, name, 1, (uint64_t)count);
    if (facts->fleet->no_disk)
        fprintf(out, "\n%s\n", facts->fleet->no_disk);
    if (facts->fleet->no_clock)
        fprintf(out, "\n%s\n", facts->fleet->no_clock);
}

static void print_requests(FILE *out, enum report_form form, const struct report_facts *facts)
{
    uint64_t table[OP_KINDS][DECISIONS + 1] = {{0}};
    const struct history *history = facts->history;
    for (size_t i = 0; i < history->op_count; i++) {
        const struct op *op = history->ops[i];
        table[op->kind][op->decision]++;
        table[op->kind][DECISIONS] += op->attempts;
    }
    head(out, form, "operations", 6, "done", "kept no", "no", "not now", "undecided", "attempts");
    for (int kind = 0; kind < OP_KINDS; kind++)
        row(out, form, op_kind_name((enum op_kind)kind), 6, table[kind][DONE], table[kind][KEPT_NO], table[kind][NO], table[kind][NOT_NOW],
            table[kind][UNDECIDED], table[kind][DECISIONS]);
}

static void print_rules(FILE *out, enum report_form form, const struct report_facts *facts)
{
    head(out, form, "checks", 2, "checked", "violations");
    for (int i = 0; i < RULES; i++)
        row(out, form, rule_name((enum rule)i), 2, facts->verdict->rules[i].checked, facts->verdict->rules[i].violations);
    for (int i = 0; i < RULES; i++)
        for (int n = 0; n < TEXTS_MAX && facts->verdict->rules[i].texts[n]; n++)
            fprintf(out, "%s%s: %s\n", form == REPORT_TEXT ? "  " : "* ", rule_name((enum rule)i), facts->verdict->rules[i].texts[n]);
}

void report_print(FILE *out, const struct report_facts *facts, enum report_form form)
{
    const struct history *history = facts->history;
    double rate = facts->seconds > 0 ? 60 / facts->seconds : 0;
    uint64_t violations = verdict_violations(facts->verdict);
    print_faults(out, form, facts);
    print_requests(out, form, facts);
    print_rules(out, form, facts);
    fprintf(out, "\nCommit %s, function library %.*s.\n", SOUK_COMMIT, VIEW_ARG(SOUK_LIBRARIES[0].name));
    fprintf(
        out,
        "Seed %" PRIu64 ", %.0f s of shopping by %d shoppers. %" PRIu64 " attempts, %" PRIu64 " of them without an answer; %" PRIu64
        " requests that nobody should send; %" PRIu64 " in rushes, of which %" PRIu64
        " were told to come later; %zu requests that a worker had taken and left; %" PRIu64 " repeats of decided requests, %" PRIu64
        " of refused ones; %zu answers that show a record's version. In the store: %zu orders, %zu payments; in the journal %zu "
        "entries.\n"
        "%zu operations had been left open by their shoppers and were decided in the calm. %.0f worker kills and %.1f shard kills a minute; with the "
        "shards' power %zu bytes went that were not synced.\n",
        facts->seed, facts->seconds, facts->shoppers, history->attempts, history->silent, history->bad_requests, history->rushed,
        history->rushed_not_now, history->unanswered_count, history->replays, history->insisted, history->sight_count, facts->evidence->order_count,
        facts->evidence->payment_count, facts->evidence->journal_count, facts->left_open, (double)faults_worker_kills(facts->faults) * rate,
        (double)faults_shard_kills(facts->faults) * rate, faults_unsynced(facts->faults));
    fprintf(
        out,
        "The seed makes the plan of faults and what each shopper wants; the interleaving of real processes is their own and cannot be replayed.\n");
    fprintf(out, "%sVerdict: %s%s\n", form == REPORT_TEXT ? "" : "\n**", violations ? "VIOLATED" : "no violation", form == REPORT_TEXT ? "" : "**");
}

/* "2 cores, 24 GB of memory, Linux": what a reader needs to compare. */
static void print_machine(FILE *out)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    fprintf(out, "A machine of %ld cores and %.0f GB of memory; workers, shards, gateway and shoppers all on it.\n", sysconf(_SC_NPROCESSORS_ONLN),
            (double)pages * (double)page / 1e9);
}

void report_append(const char *path, const struct report_facts *facts)
{
    char date[32];
    time_t now = time(NULL);
    FILE *out = fopen(path, "a");
    if (out == NULL) {
        fprintf(stderr, "cannot write %s: %s\n", path, strerror(errno));
        return;
    }
    strftime(date, sizeof(date), "%Y-%m-%d", gmtime(&now));
    fprintf(out, "\n## souk-nemesis, %s, seed %" PRIu64 "\n\n", date, facts->seed);
    print_machine(out);
    report_print(out, facts, REPORT_MARKDOWN);
    fclose(out);
}
