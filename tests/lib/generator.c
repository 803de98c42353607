#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "launch.h"
#include "souk_fixture_internal.h"

#include "generator.h"

/* ---- programs beside the test ---- */

pid_t beside_launch(const char *out, const char *const *command)
{
    pid_t pid = launch(&(struct launch){.command = command, .output = out, .anew = true});

    if (pid < 0)
        fixture_fail("cannot fork: %s", strerror(errno));
    return pid;
}

void beside_end(pid_t pid)
{
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

/* ---- the generator ---- */

FILE *generator_plan(struct generator *generator, struct souk *souk, const char *name)
{
    FILE *plan;

    *generator = (struct generator){0};
    snprintf(generator->plan, sizeof(generator->plan), "%s/%s.plan", souk_dir(souk), name);
    snprintf(generator->report, sizeof(generator->report), "%s/%s.report", souk_dir(souk), name);
    plan = fopen(generator->plan, "w");
    if (plan == NULL)
        fixture_fail("cannot write %s: %s", generator->plan, strerror(errno));
    return plan;
}

void generator_start(struct generator *generator, FILE *plan, const char *rate, const char *clients, const char *header)
{
    const char *command[] = {SOUK_BIN "/souk-bench-load", "-r", rate, "-c", clients, generator->plan, NULL, NULL, NULL};

    if (header) {
        command[5] = "-H";
        command[6] = header;
        command[7] = generator->plan;
    }
    fclose(plan);
    generator->pid = beside_launch(generator->report, command);
}

void generator_stop(struct generator *generator)
{
    kill(generator->pid, SIGTERM);
}

bool generator_ended(struct generator *generator)
{
    if (generator->pid && waitpid(generator->pid, NULL, WNOHANG) == generator->pid)
        generator->pid = 0;
    return generator->pid == 0;
}

void generator_end(struct generator *generator)
{
    beside_end(generator->pid);
    generator->pid = 0;
}

/* What the report says of ${name}, or false if it says nothing. */
static bool generator_fact(const struct generator *generator, const char *name, char *value, size_t size)
{
    char line[2048];
    FILE *report = fopen(generator->report, "r");
    size_t len = strlen(name);
    bool found = false;

    while (report && !found && fgets(line, sizeof(line), report)) {
        found = strncmp(line, name, len) == 0 && line[len] == '=';
        if (found)
            snprintf(value, size, "%s", line + len + 1);
    }
    if (report)
        fclose(report);
    return found;
}

bool generator_reported(const struct generator *generator)
{
    char value[32];

    return generator_fact(generator, "requests", value, sizeof(value));
}

long long generator_count(const struct generator *generator, const char *name)
{
    char value[32];

    if (!generator_fact(generator, name, value, sizeof(value)))
        fixture_fail("the generator did not count \"%s\"; see %s", name, generator->report);
    return atoll(value);
}

long long generator_failures(const struct generator *generator)
{
    static const char *const NAMES[] = {"refused", "conflicts", "server_errors", "others", "broken", "unanswered", "unsent"};
    long long sum = 0;
    char worst[2048];

    for (size_t i = 0; i < sizeof(NAMES) / sizeof(*NAMES); i++) {
        long long count = generator_count(generator, NAMES[i]);

        if (count)
            printf("%s: %lld of %lld requests\n", NAMES[i], count, generator_count(generator, "jobs"));
        sum += count;
    }
    generator_worst(generator, worst, sizeof(worst));
    if (worst[0])
        printf("one of them: %s\n", worst);
    return sum;
}

void generator_worst(const struct generator *generator, char *text, size_t size)
{
    if (!generator_fact(generator, "worst_failure", text, size))
        text[0] = '\0';
    text[strcspn(text, "\n")] = '\0';
}
