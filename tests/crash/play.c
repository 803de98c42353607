#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fault_test_lib.h"

#include "crash.h"

/* Requests that are under way at once while runs are prepared. */
#define AT_ONCE 16
#define HOUR_MS 3600000

/* ---- the sweep's time ---- */

static void duty_key(const struct run *run, char key[64], const char **member)
{
    bool payment = strcmp(run->scenario->sweep, "payment") == 0;

    *member = payment ? run->payment : run->order;
    snprintf(key, 64, "txn:{%lld}%s", strtoll(*member, NULL, 10) % SOUK_PARTITIONS, payment ? ":pay" : "");
}

static struct redis_fixture *shard_of(struct crash *crash, const char *id)
{
    return souk_shard(crash->souk, souk_shard_of(crash->souk, strtoll(id, NULL, 10)));
}

int64_t duty_due(struct crash *crash, const struct run *run)
{
    char key[64], *score;
    const char *member;
    int64_t due;

    duty_key(run, key, &member);
    score = REDIS(shard_of(crash, member), "ZSCORE", key, member);
    due = !score || strcmp(score, "(nil)") == 0 ? -1 : strtoll(score, NULL, 10);
    free(score);
    return due;
}

/*
 * Only the run that is played is due: the others' duties, among them those that a dead victim left (due again 5 s later), would be swept with it, and
 * the calls would not be the same twice. So theirs are put off, and brought back when the scenario is over.
 */
static void duty_move(struct crash *crash, const struct run *run, int64_t by_ms)
{
    static const char SCRIPT[] = "local t = redis.call('TIME') "
                                 "return redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', t[1] * 1000 + ARGV[2]), ARGV[1])";
    char key[64], by[24], *answer;
    const char *member;

    duty_key(run, key, &member);
    snprintf(by, sizeof(by), "%lld", (long long)by_ms);
    answer = REDIS(shard_of(crash, member), "EVAL", SCRIPT, "1", key, member, by);
    free(answer);
}

void duty_now(struct crash *crash, const struct run *run)
{
    duty_move(crash, run, 0);
}

/* The worker before this one has held the lease until it died; another 2 s would pass before it is free. */
static void free_lease(struct crash *crash)
{
    char key[64], *answer;

    snprintf(key, sizeof(key), "souk:lease:%s", crash->scenario->sweep);
    for (unsigned shard = 0; shard < souk_shard_count(crash->souk); shard++) {
        answer = REDIS(souk_shard(crash->souk, shard), "DEL", key);
        free(answer);
    }
}

static int sweeper(const struct crash *crash)
{
    return strcmp(crash->scenario->sweep, "payment") == 0 ? SOUK_PAYMENT : SOUK_ORDER;
}

/* ---- before ---- */

static void run_names(struct crash *crash, struct run *run)
{
    const char *saves = run->scenario->act.saves;

    run->left = product_on(crash->souk, 0, (int)run->number);
    run->right = product_on(crash->souk, 1, (int)run->number);
    if (saves && strcmp(saves, "left") == 0)
        run->right = 0; /* where ids are given by Souk, one of them may be the one that we would choose */
    user_on(crash->souk, 2, (int)run->number * 2, run->user);
    user_on(crash->souk, 2, (int)run->number * 2 + 1, run->rival);
}

/* As a client does who was told 503: the same once more. A worker may not have come back yet to a shard that was down for the step before. */
static struct response *prepare_again(struct crash *crash, const struct client_request *asked, struct response *response, int want)
{
    const struct timespec moment = {0, 20000000};

    for (int tries = 0; tries < 250 && response->status == 503 && want != 503; tries++) {
        response_free(response);
        nanosleep(&moment, NULL);
        response = client_send(souk_client(crash->souk), asked);
    }
    return response;
}

static void prepare_some(struct crash *crash, struct run *runs, unsigned count, const struct step *step)
{
    struct request requests[AT_ONCE];
    struct client_request asked[AT_ONCE];
    struct response *responses[AT_ONCE];

    for (unsigned i = 0; i < count; i++) {
        request_make(&requests[i], &runs[i], step, souk_url(crash->souk, (int)step->role), 0);
        asked[i] = requests[i].request;
    }
    client_send_all(souk_client(crash->souk), asked, count, responses);
    for (unsigned i = 0; i < count; i++) {
        responses[i] = prepare_again(crash, &asked[i], responses[i], step->want);
        if (responses[i]->status != step->want || !request_save(&runs[i], step, responses[i])) {
            fprintf(stderr, "souk-crash: %s: preparing run %u: %s %s: expected %d, got %d %s%s\n", crash->scenario->name, runs[i].number,
                    step->method, requests[i].url, step->want, responses[i]->status, responses[i]->error, responses[i]->body);
            exit(2);
        }
        response_free(responses[i]);
    }
}

static void prepare_step(struct crash *crash, struct run *runs, unsigned count, const struct step *step, bool last)
{
    if (step->down)
        souk_kill_shard(crash->souk, (unsigned)step->down - 1);
    for (unsigned done = 0; done < count; done += AT_ONCE) {
        unsigned some = count - done < AT_ONCE ? count - done : AT_ONCE;

        prepare_some(crash, runs + done, some, step);
        for (unsigned i = done; last && crash->scenario->sweep && i < done + some; i++)
            duty_move(crash, &runs[i], HOUR_MS);
    }
    if (!step->down)
        return;
    souk_restart_shard(crash->souk, (unsigned)step->down - 1);
    for (int role = 0; role < SOUK_SANDBOX; role++)
        if ((!crash->scenario->sweep || role != sweeper(crash)) && !souk_wait_ready(crash->souk, role, 10000))
            exit(2);
}

void prepare(struct crash *crash, struct run *runs, unsigned count)
{
    const struct scenario *scenario = crash->scenario;
    int step = 0;

    if (scenario->sweep) { /* it was stopped for the runs before */
        souk_resume(crash->souk, sweeper(crash));
        if (!souk_wait_ready(crash->souk, sweeper(crash), 10000))
            exit(2);
    }
    for (unsigned i = 0; i < count; i++)
        run_names(crash, &runs[i]);
    for (; step < STEPS_MAX && scenario->prepare[step].method; step++) {
        if (scenario->sweep && step == scenario->alone_from)
            souk_pause(crash->souk, sweeper(crash));
        prepare_step(crash, runs, count, &scenario->prepare[step], step + 1 == STEPS_MAX || !scenario->prepare[step + 1].method);
    }
    if (scenario->sweep && step == scenario->alone_from)
        souk_pause(crash->souk, sweeper(crash));
    if (scenario->wait_ms)
        wait_ms(scenario->wait_ms);
}

/* ---- the run ---- */

static void ask_victim(struct crash *crash, struct run *run)
{
    struct request request;

    request_make(&request, run, &run->scenario->act, souk_url(crash->souk, crash->victim), 0);
    run->answer = request_raw(&request, souk_worker_port(crash->souk, crash->victim), ANSWER_MS);
}

void play(struct crash *crash, struct run *run)
{
    bool sweeps = run->scenario->sweep != NULL;

    victim_start(crash, run);
    if (sweeps) {
        free_lease(crash);
        duty_now(crash, run);
    }
    victim_arm(crash);
    if (!sweeps)
        ask_victim(crash, run);
    victim_wait(crash, run);
    judge_victim(crash, run);
    souk_kill(crash->souk, crash->victim);
    if (sweeps)
        duty_move(crash, run, HOUR_MS);
}

void play_over(struct crash *crash, struct run *runs, unsigned count)
{
    if (!crash->scenario->sweep)
        return;
    for (unsigned i = 0; i < count; i++)
        duty_now(crash, &runs[i]);
    souk_resume(crash->souk, sweeper(crash));
}
