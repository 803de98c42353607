#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "loop.h"
#include "option_names.h"

#include "setup.h"

#include "service_internal.h"
#include "supervisor.h"

/*
 *   main thread     settings ─▶ topology ─▶ threads made one after another ─▶ runs thread 0's loop ─▶ joins ─▶ frees
 *   each thread     loop ◀─ store, engine, http, the program's own; a tick every TICK_MS looks at readiness and at the drain
 *   SIGTERM         draining ─▶ each thread: not ready, no new sweeps, enum drain step by step ─▶ its loop stops ─▶ closes
 */
#define TICK_MS 20
#define PUBLISH_US 1000000
#define ARENA_RESERVE (512 * 1024)
#define OPTIONS_MAX 48
#define BULK_AT_ONCE 8 /* large bodies of one thread, which take some 6 MiB each with what is made of them */

#define AT(field) offsetof(struct service_settings, field)
static const struct option_row COMMON_OPTIONS[] = {
    {"http-address", OPTION_ADDRESS, AT(address), "127.0.0.1", 0, 0, NULL, "address to listen on; while auth is off only a loopback address"},
    {"http-port", OPTION_INT, AT(port), NULL, 0, 65535, NULL, "port to listen on; 0 takes any free one"},
    {"shards", OPTION_TEXT, AT(shards), "shard-1=127.0.0.1:7001,shard-2=127.0.0.1:7002,shard-3=127.0.0.1:7003", 0, 65536, NULL,
     "the ring: name=host:port[*weight],…"},
    {"partitions", OPTION_INT, AT(partitions), "256", 1, PARTITIONS_MAX, NULL, "partitions of the store, a power of two, fixed when it was made"},
    {"ring-epoch", OPTION_INT, AT(epoch), "1", 1, 1000000000, NULL, "rises by one with every change of the ring"},
    {"wait-replicas", OPTION_INT, AT(wait_replicas), "0", 0, 16, NULL, "replicas of its shard that must have a write before it is answered"},
    {"fsync", OPTION_CHOICE, AT(fsync), "everysec", 0, 0, "always|everysec|no",
     "appendfsync that a shard must have at least; no is for tests: a shard loses orders"},
    {"threads", OPTION_INT, AT(threads), "1", 1, 64, NULL, "event loops, each with its own connection to every shard"},
    {"inside-max", OPTION_INT, AT(inside_max), "4096", 1, 65536, NULL, "requests under way per thread; above it they are answered 503"},
    {"queue-ms", OPTION_INT, AT(queue_ms), "100", 0, 10000, NULL,
     "calls to shards that take longer than this are a queue: then some requests are answered 503; 0: never"},
    {"shard-behind-ms", OPTION_INT, AT(shard_behind_ms), "500", 0, 2000, NULL,
     "while the oldest call to a shard waits for longer, no more than 128 wait for it and the rest is answered 503; 0: all wait"},
    {"http-connections", OPTION_INT, AT(connections_max), "16384", 16, 1000000, NULL, "open connections per thread"},
    {"deadline-ms", OPTION_INT, AT(deadline_ms), "5000", 50, 600000, NULL, "time a request may take before it is answered 503 or 504"},
    {"drain-ms", OPTION_INT, AT(drain_ms), "9000", 0, 600000, NULL, "time that requests under way have once nobody listens any more"},
    {"drain-delay-ms", OPTION_INT, AT(drain_delay_ms), "0", 0, 600000, NULL,
     "time after SIGTERM in which the worker is not ready but still serves; behind a load balancer: longer than that needs to notice"},
    {"redis-user", OPTION_TEXT, AT(redis_user), "", 0, 0, NULL, "user for AUTH; empty: the default user"},
    {"redis-password-file", OPTION_TEXT, AT(redis_password_file), "", 0, 0, NULL, "file that holds the password for AUTH; empty: none"},
    {"auth", OPTION_CHOICE, AT(auth), "off", 0, 0, "off|tokens", "how callers are known; off: whoever reaches the worker may do everything"},
    {"tokens-file", OPTION_TEXT, AT(tokens_file), "", 0, 0, NULL,
     "with auth=tokens: the file of callers, their scopes and the hashes of their tokens"},
    {"caller-rate", OPTION_INT, AT(caller_rate), "0", 0, 1000000, NULL,
     "with auth=tokens: requests a second of one caller per thread; above it they are answered 429; 0: any number"},
    {"log-level", OPTION_CHOICE, AT(log_level), "info", 0, 0, "error|warn|info|debug",
     "least urgent level that is logged; SIGUSR1 shows more, SIGUSR2 less"},
    {"log-format", OPTION_CHOICE, AT(log_format), "text", 0, 0, "text|json", "how a line is written: for people, or as a JSON object"},
};
#define COMMON_COUNT (sizeof(COMMON_OPTIONS) / sizeof(*COMMON_OPTIONS))

/* ---- settings ---- */

/* A worker's options, and what they are read into. */
struct service_options {
    struct options options;
    struct service *service;
};

/* Half of a protection is none: who has set a part of it believes to have it. */
static bool check_auth(const struct options *options, const struct service_settings *settings)
{
    bool on = strcmp(settings->auth, "tokens") == 0;
    if (on && *settings->tokens_file)
        return true;
    if (on)
        options_say(options, "SOUK_AUTH is tokens and SOUK_TOKENS_FILE is empty: name the file of the callers' tokens there");
    else if (!http_is_loopback(settings->address))
        options_say(options,
                    "SOUK_AUTH is off and SOUK_HTTP_ADDRESS is %s: anybody who reaches it could order and refund; listen on 127.0.0.1, or set "
                    "SOUK_AUTH=tokens",
                    settings->address);
    else if (*settings->tokens_file)
        options_say(options, "SOUK_TOKENS_FILE is %s and SOUK_AUTH is off: nobody would be asked for a token; set SOUK_AUTH=tokens, or no file",
                    settings->tokens_file);
    else if (settings->caller_rate)
        options_say(options,
                    "SOUK_CALLER_RATE is %d and SOUK_AUTH is off: callers that are not known cannot be counted; set SOUK_AUTH=tokens, or no rate",
                    settings->caller_rate);
    else
        return true;
    return false;
}

static bool check_ring(const struct options *options, struct service *service)
{
    const struct service_settings *settings = &service->settings;
    const char *error = NULL;
    service->topology = topology_new(settings->shards, settings->partitions, settings->epoch, &error);
    if (service->topology == NULL)
        options_say(options, "the ring cannot be made from SOUK_SHARDS, SOUK_PARTITIONS and SOUK_RING_EPOCH: %s", error);
    return service->topology != NULL;
}

static bool check_password(const struct options *options, struct service *service)
{
    const char *error = setup_password(service->settings.redis_password_file, service->password, sizeof(service->password));
    if (error)
        options_say(options, "%s", error);
    return error == NULL;
}

static bool read_tokens(struct service *service)
{
    bool wanted = strcmp(service->settings.auth, "tokens") == 0 && *service->settings.tokens_file;
    if (wanted)
        service->keyring = keyring_open(service->settings.tokens_file);
    return service->keyring != NULL || !wanted;
}

/* What its settings mean together. Each part is checked, so that one run tells of all that is wrong; what they are made into is kept. */
static bool settings_check(void *cookie, void *settings)
{
    struct service_options *read = cookie;
    struct service *service = read->service;
    memcpy(&service->settings, settings, sizeof(service->settings));
    log_start(service->program->name, (enum log_level)log_level_of(service->settings.log_level));
    log_set_format((enum log_format)log_format_of(service->settings.log_format));
    log_describe_by(access_describe);
    bool auth = check_auth(&read->options, &service->settings);
    bool ring = check_ring(&read->options, service);
    bool password = check_password(&read->options, service);
    bool tokens = read_tokens(service);
    return auth && ring && password && tokens;
}

/* The common rows and the program's own as one table over one block of memory: the common struct first, the program's behind it. */
static enum options_result settings_read(struct service *service, int argc, char **argv)
{
    const struct service_program *program = service->program;
    struct option_row rows[OPTIONS_MAX];
    CHECK(COMMON_COUNT + KEPT_OPTION_COUNT + program->option_count <= OPTIONS_MAX);
    char port[8];
    snprintf(port, sizeof(port), "%d", program->preset_port);
    size_t count = 0;
    for (size_t i = 0; i < COMMON_COUNT; i++) {
        rows[count] = COMMON_OPTIONS[i];
        if (rows[count].preset == NULL)
            rows[count].preset = port;
        count++;
    }
    for (size_t i = 0; program->near_kind && i < KEPT_OPTION_COUNT; i++)
        rows[count++] = KEPT_OPTIONS[i];
    for (size_t i = 0; i < program->option_count; i++) {
        rows[count] = program->options[i];
        rows[count++].offset += sizeof(struct service_settings);
    }
    char *block = calloc(1, sizeof(struct service_settings) + program->settings_size);
    if (block == NULL)
        return OPTIONS_EXIT_BAD;
    const struct option_print print = {"metrics", "print the metrics of /metrics and exit", metrics_print, program};
    struct service_options read = {
        .options = {.program = program->name,
                    .about = program->about,
                    .rows = rows,
                    .count = count,
                    .check = settings_check,
                    .cookie = &read,
                    .print = &print},
        .service = service,
    };
    enum options_result result = options_read(&read.options, block, argc, argv);
    if (program->settings_size && (service->program_settings = malloc(program->settings_size)))
        memcpy(service->program_settings, block + sizeof(struct service_settings), program->settings_size);
    free(block);
    return result;
}

static void tell_numbers(const struct option_row *rows, size_t count, const void *settings,
                         void (*tell)(void *cookie, const char *variable, int number), void *cookie)
{
    for (size_t i = 0; i < count; i++) {
        char variable[OPTION_VARIABLE_MAX];
        if (rows[i].type == OPTION_INT)
            tell(cookie, option_variable(variable, rows[i].name), *(const int *)((const char *)settings + rows[i].offset));
    }
}

void service_numbers(const struct service *service, void (*tell)(void *cookie, const char *variable, int number), void *cookie)
{
    const struct service_program *program = service->program;
    tell_numbers(COMMON_OPTIONS, COMMON_COUNT, &service->settings, tell, cookie);
    tell_numbers(KEPT_OPTIONS, program->near_kind ? KEPT_OPTION_COUNT : 0, &service->settings, tell, cookie);
    tell_numbers(program->options, program->option_count, service->program_settings, tell, cookie);
}

/* ---- one thread ---- */

/*
 * A worker that has never seen all its shards may have been told wrong addresses, and does not take the place of one that works. But when a shard
 * goes away later, all workers miss it alike: if that made them not ready, nobody would be left for what lives elsewhere.
 */
static const char *thread_missing(struct worker_thread *thread)
{
    const struct service_program *program = thread->public.service->program;
    thread->complete |= store_all_ready(thread->public.store);
    if (!thread->complete)
        return "a shard is not reachable";
    if (!store_any_ready(thread->public.store))
        return "no shard is reachable";
    return program->ready ? program->ready(&thread->public) : NULL;
}

/* Ends what this thread owns, also when it was only begun. Its loop does not run any more. */
static void thread_close(struct worker_thread *thread)
{
    const struct service_program *program = thread->public.service->program;
    if (thread->http)
        http_stop(thread->http);
    if (program->thread_stop && thread->public.own)
        program->thread_stop(&thread->public);
    if (thread->public.store)
        store_close(thread->public.store);
    engine_free(thread->public.engine);
    auth_free(thread->auth);
    loop_timer_free(thread->tick);
    loop_free(thread->public.loop);
}

static void tick_set(struct worker_thread *thread, int64_t ms)
{
    thread->tick_due_us = clock_us() + ms * 1000;
    loop_timer_set(thread->tick, ms);
}

/* How late the tick is, is how late everything on this loop is. (A loop that was woken comes early, and says nothing.) */
static void note_tick(struct worker_thread *thread)
{
    int64_t now = clock_us();
    if (now >= thread->tick_due_us)
        metric_time(&thread->metrics.lag, now - thread->tick_due_us);
    if (thread->public.service->settings.threads > 1 && now - thread->published_us >= PUBLISH_US) {
        metrics_publish(thread); /* for the thread that is asked; who is alone publishes when he is asked */
        thread->published_us = now;
    }
}

static void drain_to(struct worker_thread *thread, enum drain step, int64_t ms)
{
    thread->drain = step;
    thread->drain_until_us = clock_us() + ms * 1000;
    tick_set(thread, ms < TICK_MS ? ms : TICK_MS);
}

/* What is under way is finished, or its time is over. */
static void thread_finish(struct worker_thread *thread)
{
    struct service *service = thread->public.service;
    bool idle = http_inside(thread->http) == 0 && engine_running(thread->public.engine) == 0;
    /* The first thread has the signals and the service manager's ear, so it goes last. */
    if (idle && (thread->public.index > 0 || atomic_load(&service->others) == 0)) {
        loop_stop(thread->public.loop);
        return;
    }
    if (!idle && clock_us() >= thread->drain_until_us) {
        log_warn("%u requests and %u flows were still under way after SOUK_DRAIN_MS=%d; leaving them to the other workers", http_inside(thread->http),
                 engine_running(thread->public.engine), service->settings.drain_ms);
        if (service->program->thread_abandon)
            service->program->thread_abandon(&thread->public);
        _exit(0);
    }
    tick_set(thread, TICK_MS);
}

static void thread_drain(struct worker_thread *thread)
{
    struct service *service = thread->public.service;
    bool over = clock_us() >= thread->drain_until_us;
    switch (thread->drain) {
    case DRAIN_SERVING:
        http_wind_down(thread->http);
        drain_to(thread, DRAIN_NOTICE, service->settings.drain_delay_ms);
        break;
    case DRAIN_NOTICE:
        if (!over && !atomic_load(&service->hurried)) {
            tick_set(thread, TICK_MS);
            break;
        }
        http_deafen(thread->http);
        drain_to(thread, DRAIN_DEAF, TICK_MS);
        break;
    case DRAIN_DEAF:
        if (!over) {
            tick_set(thread, 1);
            break;
        }
        http_quiesce(thread->http);
        drain_to(thread, DRAIN_FINISHING, service->settings.drain_ms);
        break;
    case DRAIN_FINISHING:
        thread_finish(thread);
        break;
    }
}

static void thread_got_tick(void *cookie)
{
    struct worker_thread *thread = cookie;
    struct service *service = thread->public.service;
    if (thread->auth)
        auth_refresh(thread->auth);
    note_tick(thread);
    const char *missing = thread_missing(thread);
    const char *before = atomic_exchange(&thread->missing, missing);
    if (before && !missing && service_missing(service) == NULL)
        log_info("ready on %s:%d after %lld ms", service->settings.address, atomic_load(&service->port),
                 (long long)(clock_us() - service->started_us) / 1000);
    if (missing && !before)
        log_warn("not ready: %s; see /readyz", missing);
    supervisor_tick(thread);
    if (atomic_load(&service->draining))
        thread_drain(thread);
    else
        tick_set(thread, missing ? 2 : TICK_MS);
}

static bool thread_serve(struct worker_thread *thread, int index)
{
    struct service *service = thread->public.service;
    const struct service_settings *settings = &service->settings;
    const struct http_settings http = {
        .address = settings->address,
        .port = index == 0 ? settings->port : atomic_load(&service->port),
        .headers_max = service->program->catalogue ? 4096 : 8192,
        .body_max = BODY_MAX,
        .bulk_max = BULK_BODY_MAX,
        .bulk_at_once = BULK_AT_ONCE,
        .is_bulk = door_is_bulk,
        .on_head = thread->auth ? door_on_head : NULL,
        .connections_max = (unsigned)settings->connections_max,
        .request_timeout_ms = 10000,
        .first = index == 0,
    };
    thread->http = http_start(thread->public.loop, &http, door_on_request, door_on_refusal, thread);
    if (thread->http == NULL)
        return false;
    atomic_store(&service->port, http_port(thread->http));
    return true;
}

static void got_stop_signal(void *cookie, int signum)
{
    struct service *service = cookie;
    if (atomic_exchange(&service->draining, true)) {
        atomic_store(&service->hurried, true);
    } else {
        log_info("stopping on signal %d: serving for another %d ms, then finishing what is under way", signum, service->settings.drain_delay_ms);
        supervisor_stopping(service);
        for (int i = 0; i < service->settings.threads; i++)
            loop_wake(service->threads[i].public.loop); /* once: later a thread may have ended */
    }
}

static bool thread_init(struct service *service, int index)
{
    struct worker_thread *thread = &service->threads[index];
    const struct service_program *program = service->program;
    struct store_settings store = {
        .topology = service->topology,
        .libraries = program->libraries,
        .library_count = program->library_count,
        .user = *service->settings.redis_user ? service->settings.redis_user : NULL,
        .password = *service->password ? service->password : NULL,
        .wait_replicas = service->settings.wait_replicas,
        .fsync_least = fsync_of(view_of(service->settings.fsync)),
        .watches_line = service->settings.queue_ms > 0,
        .behind_ms = service->settings.shard_behind_ms,
    };
    kept_settings(&store, &service->settings, program->near_kind);
    snprintf(thread->age, sizeof(thread->age), "%d", (service->settings.cache_age_ms + 999) / 1000);
    thread->public.service = service;
    thread->public.world = &service->world;
    thread->public.index = index;
    if (getrandom(&thread->request_seed, sizeof(thread->request_seed), 0) != sizeof(thread->request_seed))
        thread->request_seed = (uint64_t)clock_us() << 20 ^ (uint64_t)getpid();
    atomic_store(&thread->missing, "the worker is starting");
    if (service->keyring && (thread->auth = auth_new(service->keyring, service->settings.caller_rate)) == NULL)
        return false;
    if (!metrics_open(thread))
        return false;
    if ((thread->public.loop = loop_new()) == NULL)
        return false;
    if (index == 0) { /* before anybody can see that we are there, and stop us */
        loop_on_signal(thread->public.loop, SIGTERM, got_stop_signal, service);
        loop_on_signal(thread->public.loop, SIGINT, got_stop_signal, service);
        loop_on_signal(thread->public.loop, SIGUSR1, log_got_signal, NULL);
        loop_on_signal(thread->public.loop, SIGUSR2, log_got_signal, NULL);
    }
    if ((thread->public.store = store_open(thread->public.loop, &store)) == NULL)
        return false;
    if ((thread->public.engine = engine_new(thread->public.loop, thread->public.store, &thread->outside)) == NULL)
        return false;
    if (program->thread_start && !program->thread_start(&thread->public, &thread->outside))
        return false;
    thread->tick = loop_timer_new(thread->public.loop, thread_got_tick, thread);
    if (thread->tick == NULL || !thread_serve(thread, index))
        return false;
    tick_set(thread, 0);
    loop_on_wake(thread->public.loop, thread_got_tick, thread);
    return true;
}

static void *thread_run(void *cookie)
{
    struct worker_thread *thread = cookie;
    CHECK(arena_reserve(ARENA_RESERVE));
    loop_run(thread->public.loop);
    thread_close(thread);
    arena_thread_end();
    if (thread->public.index > 0)
        atomic_fetch_sub(&thread->public.service->others, 1);
    return NULL;
}

/* ---- the process ---- */

static bool service_run(struct service *service)
{
    int count = service->settings.threads;
    pthread_t threads[64];
    for (int i = 0; i < count; i++)
        if (!thread_init(service, i)) {
            for (; i >= 0; i--)
                thread_close(&service->threads[i]);
            arena_thread_end();
            return false;
        }
    atomic_store(&service->others, count - 1);
    for (int i = 1; i < count; i++)
        if ((errno = pthread_create(&threads[i], NULL, thread_run, &service->threads[i]))) {
            log_error("cannot start thread %d of %d: %s; lower SOUK_THREADS", i + 1, count, strerror(errno));
            _exit(1); /* others run already, on what an orderly end would free */
        }
    supervisor_started(service);
    thread_run(&service->threads[0]);
    for (int i = 1; i < count; i++)
        pthread_join(threads[i], NULL);
    return true;
}

int service_main(const struct service_program *program, int argc, char **argv)
{
    struct service service = {.program = program, .started_us = clock_us()};
    signal(SIGPIPE, SIG_IGN);
    log_start(program->name, LOG_INFO);
    signal(SIGUSR1, SIG_IGN); /* until there is a loop that they are for */
    signal(SIGUSR2, SIG_IGN);
    enum options_result options = settings_read(&service, argc, argv);
    int status = options == OPTIONS_EXIT_OK ? 0 : 2;
    if (options == OPTIONS_RUN) {
        status = 1;
        service.world = (struct world){.topology = service.topology, .settings = service.program_settings};
        router_init(&service.router, program->routes, program->route_count);
        service.threads = calloc((size_t)service.settings.threads, sizeof(struct worker_thread));
        if (service.threads && service_run(&service))
            status = 0;
    }
    keyring_close(service.keyring);
    for (int i = 0; service.threads && i < service.settings.threads; i++)
        metrics_close(&service.threads[i]);
    topology_free(service.topology);
    free(service.threads);
    free(service.program_settings);
    return status;
}

bool service_draining(const struct service_thread *thread)
{
    return atomic_load(&thread->service->draining);
}
