#ifndef CRASH_H
#define CRASH_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "souk_fixture.h"

#include "shim.h"

/*
 *   main.c        the list of runs of a scenario, what is printed
 *   scenarios.c   the table
 *   request.c     one request of a scenario, filled in for one run
 *   victim.c      the worker with the shim: arming, waiting, its death
 *   play.c        what comes before a run, and the run
 *   judge.c       what comes after it: another worker finishes, and what must be true then
 */

/* One request. In path, key, header and body stand $user, $rival, $left, $right, $order, $payment and $n: those of the run. */
struct step {
    enum souk_role role;
    const char *method, *path, *key, *header, *body; /* NULL: without; header: one, or two with a line end between them */
    int want;                                        /* the answer's status */
    const char *saves;                               /* "order", "payment" or "left": becomes the answer's id */
    int down;                                        /* 1 + the number of a shard that is dead meanwhile; 0: none */
};
#define STEPS_MAX 6

/* What must be true in the end, whoever died when. */
struct effect {
    int64_t left[3], right[3];             /* on_hand, held, committed of the two products */
    int64_t version;                       /* of the left product; 0: not looked at */
    int64_t orders;                        /* how many the buyer has */
    const char *state, *payment_status;    /* of $order; NULL: there is none */
    const char *payment;                   /* the status of the order's last payment; NULL: there is none */
    int charges, captures, voids, refunds; /* of all payments of $order, in the gateway's journal; an authorization is no charge */
};

/*
 * Shard 0 has the left product, shard 1 the right one, shard 2 the buyer, his rival and so their orders and payments. Each run has its own.
 */
struct scenario {
    const char *name, *what;
    enum souk_role victim;
    struct step prepare[STEPS_MAX]; /* for each run, at healthy workers; ended by a step without method */
    int wait_ms;                    /* after them */
    struct step act;                /* at the victim; without method: its sweep acts */
    const char *sweep;              /* "order" or "payment" */
    int alone_from;                 /* from this step of ${prepare} on the healthy worker of the sweep's kind is stopped */
    int repeat;                     /* the answer to a repeat of an act without key; 0: as the first one */
    bool gateway;                   /* it may end as "not done", with 402 or 202; then it is asked again under a new key */
    const char *env;                /* of all workers */
    struct effect want;
};
extern const struct scenario SCENARIOS[];
extern const unsigned SCENARIO_COUNT;

#define TEXT_MAX 600
struct run {
    const struct scenario *scenario;
    enum shim_action action;
    unsigned at, number; /* number: within the scenario */
    char user[32], rival[32], order[24], payment[24];
    int64_t left, right;

    /* What came of it at the victim. */
    bool acted;              /* else there were fewer calls this time */
    struct shim_call call;   /* upon which it acted */
    bool died, alone;        /* alone: it died, but not of us */
    int signal;              /* of which it died; 0: of none */
    struct response *answer; /* the victim's; NULL: not asked */

    /* And afterwards. */
    struct response *decided; /* a healthy worker's */
    unsigned again;           /* how many new keys were needed */
    bool settled;
    char failure[TEXT_MAX]; /* empty: nothing is wrong */
};

/* A Souk with a victim, for one scenario. */
struct crash {
    const struct scenario *scenario;
    struct souk *souk;
    int victim;
    struct shim_control *control;
    int control_fd;
    char env_texts[3][1024];
    const char *env[4], *all_env[4];
    unsigned calls, allocations; /* of the scenario, as the dry runs counted them: the larger count */
    unsigned least;              /* of both together, the smaller one */
};

/* Notes what is wrong with a run, if nothing was wrong before. Returns false. */
bool run_fail(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A pause between two looks. */
void wait_ms(int ms);

/* ---- request.c ---- */

struct request {
    struct client_request request;
    char url[256], key[128], header[128], body[512], bytes[2048];
    const char *path, *headers[5];
    size_t bytes_len;
};
/* The request at ${base} (a URL). It must not move once it is made. ${again} > 0: under a new key. */
void request_make(struct request *request, const struct run *run, const struct step *step, const char *base, unsigned again);
/*
 * Sends its bytes to a worker on a connection of its own, and closes that after the answer. Never NULL; status 0: none came within ${ms}, error says
 * why.
 */
struct response *request_raw(const struct request *request, int port, int ms);
/* Keeps the id that ${step} saves. Returns false if the answer has none. */
bool request_save(struct run *run, const struct step *step, const struct response *response);

/* ---- victim.c ---- */

/* Starts Souk, and the victim's file. */
void crash_start(struct crash *crash, const struct scenario *scenario);
/* Returns how many things were wrong with it. */
unsigned crash_stop(struct crash *crash);
/* A new victim, ready, not armed. */
void victim_start(struct crash *crash, const struct run *run);
void victim_arm(struct crash *crash);
/* Waits until the victim has acted, or is dead, or does nothing any more. Then it is not armed any more. */
void victim_wait(struct crash *crash, struct run *run);
/* Is it dead? Notes so in the run. */
bool victim_is_dead(struct crash *crash, struct run *run);

/* ---- play.c ---- */

#define ANSWER_MS 12000
/* What must be there before the runs. Ends the program if it cannot be had. */
void prepare(struct crash *crash, struct run *runs, unsigned count);
void play(struct crash *crash, struct run *run);
/* The healthy workers do what there is to do. */
void play_over(struct crash *crash, struct run *runs, unsigned count);
/* By redis: when is the sweep's duty of this run due; -1: never. */
int64_t duty_due(struct crash *crash, const struct run *run);
/* Makes it due now, if there is one. */
void duty_now(struct crash *crash, const struct run *run);

/* ---- judge.c ---- */

/* Why a library has ended the process, or NULL: it did not, or not for a known reason. Static. */
const char *run_deadly(const struct run *run);
/* Is an answer not the last word about a request? */
bool is_undecided(const struct response *response);
/* What the victim said, and whether it lives. */
void judge_victim(struct crash *crash, struct run *run);
/* All runs of a scenario: asked until they are decided, then looked at until what is wanted is true or will not become so. */
void judge(struct crash *crash, struct run *runs, unsigned count);

#endif
