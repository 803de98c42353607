#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_test_lib.h"

#include "crash.h"

/* A sweep comes every 500 ms; this puts the victim's clock to the next one. */
#define SKIP_MS 500
/* Nothing has been counted for so long: it has nothing to do any more. */
#define QUIET_MS 25
#define QUIET_DRY_MS 150
/* And a sweep, of which one call did not do what it should, has come to its end. */
#define QUIET_SWEEP_MS 50
/* When it has done less than in the dry run there is more to come, but not for ever. */
#define PATIENCE_MS 600
#define DEATH_MS 5000
/* Before it is armed. */
#define SETTLED_MS 4

static void fail(const char *what, const char *on)
{
    fprintf(stderr, "souk-crash: cannot %s %s: %s\n", what, on, strerror(errno));
    exit(2);
}

/* A file without a place on the disk; the victim finds it among our descriptors. */
static void control_open(struct crash *crash)
{
    int fd = memfd_create("souk-crash", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, sizeof(struct shim_control)) != 0)
        fail("make", "memory for the shim");
    crash->control = mmap(NULL, sizeof(struct shim_control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (crash->control == MAP_FAILED)
        fail("map", "memory for the shim");
    crash->control_fd = fd;
}

/* A sanitizer's library wants to be the first; ours is before it and leaves its functions alone. */
static void set_victim_env(struct crash *crash)
{
    const char *asan = getenv("ASAN_OPTIONS");

    snprintf(crash->env_texts[0], sizeof(crash->env_texts[0]), "LD_PRELOAD=%s", SHIM_FILE);
    snprintf(crash->env_texts[1], sizeof(crash->env_texts[1]), "%s=/proc/%d/fd/%d", SHIM_FILE_VARIABLE, (int)getpid(), crash->control_fd);
    snprintf(crash->env_texts[2], sizeof(crash->env_texts[2]), "ASAN_OPTIONS=%s%sverify_asan_link_order=0", asan ? asan : "", asan ? ":" : "");
    for (int i = 0; i < 3; i++)
        crash->env[i] = crash->env_texts[i];
    souk_set_env(crash->souk, crash->victim, crash->env);
}

void crash_start(struct crash *crash, const struct scenario *scenario)
{
    *crash = (struct crash){.scenario = scenario,
                            .all_env = {"SOUK_THREADS=1", "SOUK_CENSUS_S=0", scenario->env ? scenario->env : "SOUK_GATEWAY_TIMEOUT_MS=1500"}};
    crash->souk =
        souk_start(&(struct souk_settings){.roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true, [SOUK_PAYMENT] = true}, .env = crash->all_env});
    crash->victim = souk_add(crash->souk, scenario->victim);
    control_open(crash);
    set_victim_env(crash);
}

unsigned crash_stop(struct crash *crash)
{
    unsigned wrong = souk_stop(crash->souk);

    munmap(crash->control, sizeof(struct shim_control));
    close(crash->control_fd);
    return wrong;
}

void victim_start(struct crash *crash, const struct run *run)
{
    struct shim_control *control = crash->control;

    atomic_store(&control->armed, 0);
    atomic_store(&control->skipping, 0);
    control->action = run->action;
    control->at = run->at;
    control->skip_ms = run->scenario->sweep ? SKIP_MS : 0;
    souk_restart(crash->souk, crash->victim);
    atomic_store(&control->calls, 0);
    atomic_store(&control->allocations, 0);
    atomic_store(&control->acted, 0);
}

/* It has said that it is ready, and is perhaps not done with saying so. That is not to be counted. */
static void let_it_settle(const struct crash *crash)
{
    int64_t since = clock_now_ms(), until = since + PATIENCE_MS;
    unsigned last = atomic_load(&crash->control->ever);

    while (clock_now_ms() - since < SETTLED_MS && clock_now_ms() < until) {
        wait_ms(1);
        if (atomic_load(&crash->control->ever) != last)
            since = clock_now_ms();
        last = atomic_load(&crash->control->ever);
    }
}

void victim_arm(struct crash *crash)
{
    let_it_settle(crash);
    atomic_store(&crash->control->skipping, 1);
    atomic_store(&crash->control->armed, 1);
}

bool victim_is_dead(struct crash *crash, struct run *run)
{
    int status;

    if (!run->died && souk_has_died(crash->souk, crash->victim, &status)) {
        run->died = true;
        run->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        run->alone = run->signal != SIGKILL;
    }
    return run->died;
}

static unsigned counted(const struct crash *crash)
{
    return atomic_load(&crash->control->calls) + atomic_load(&crash->control->allocations);
}

/* How long nothing must have been counted for the victim to have nothing to do any more. */
static int quiet_ms(const struct crash *crash, const struct run *run, unsigned count)
{
    if (run->action == SHIM_COUNT)
        return count > 0 ? QUIET_DRY_MS : PATIENCE_MS;
    if (run->acted)
        return run->scenario->sweep ? QUIET_SWEEP_MS : 0; /* of a request the answer is here already */
    return count > 0 && count >= crash->least ? QUIET_MS : PATIENCE_MS;
}

void victim_wait(struct crash *crash, struct run *run)
{
    bool deadly = run->action == SHIM_DIE_BEFORE || run->action == SHIM_DIE_AFTER;
    unsigned last = counted(crash);
    int64_t since = clock_now_ms();

    while (!victim_is_dead(crash, run)) {
        unsigned count = counted(crash);

        run->acted = atomic_load(&crash->control->acted) != 0;
        if (count != last)
            since = clock_now_ms();
        last = count;
        if (clock_now_ms() - since >= (run->acted && deadly ? DEATH_MS : quiet_ms(crash, run, count)))
            break;
        wait_ms(1);
    }
    atomic_store(&crash->control->armed, 0);
    run->acted = atomic_load(&crash->control->acted) != 0;
    run->call = crash->control->call;
}
