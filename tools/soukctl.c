#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "log.h"
#include "loop.h"
#include "options.h"
#include "secret.h"

#include "setup.h"
#include "store.h"

#include "engine.h"
#include "tokens.h"

#include "library.h"

#include "audit.h"

#include "guard.h"
#include "import.h"
#include "show.h"

/*
 * The operator's command. What needs the shards as a worker sees them runs the same flows on the same engine; what comes before workers can run
 * (init, load) uses plain connections.
 */
struct settings {
    const char *shards, *redis_user, *redis_password_file, *fsync, *founded, *replace, *url, *run, *token_file;
    int partitions, epoch, unused_h, guard_ms, wait_s;
};

struct control {
    struct options options;
    struct settings settings;
    struct topology *topology;
    struct store_settings store;
    char password[256];
    struct world world;
    struct loop *loop;
    struct store *shards;
    struct engine *engine;
    struct loop_timer *tick;
    int64_t give_up_us;
    struct flow *flow; /* started when the shards are ready */
    int status;
};

#define AT(field) offsetof(struct settings, field)
static const struct option_row OPTIONS[] = {
    {"shards", OPTION_TEXT, AT(shards), "shard-1=127.0.0.1:7001,shard-2=127.0.0.1:7002,shard-3=127.0.0.1:7003", 0, 65536, NULL,
     "the ring: name=host:port[*weight],…"},
    {"partitions", OPTION_INT, AT(partitions), "256", 1, PARTITIONS_MAX, NULL, "partitions of the store, a power of two"},
    {"ring-epoch", OPTION_INT, AT(epoch), "1", 1, 1000000000, NULL, "rises by one with every change of the ring"},
    {"redis-user", OPTION_TEXT, AT(redis_user), "", 0, 0, NULL, "user for AUTH; empty: the default user"},
    {"redis-password-file", OPTION_TEXT, AT(redis_password_file), "", 0, 0, NULL, "file that holds the password for AUTH; empty: none"},
    {"fsync", OPTION_CHOICE, AT(fsync), "everysec", 0, 0, "always|everysec|no",
     "appendfsync that a shard must have at least; no is for tests: a shard loses orders"},
    {"unused-h", OPTION_INT, AT(unused_h), "24", 0, 8760, NULL, "hours for which prune leaves a library that was loaded, also while nobody uses it"},
    {"founded", OPTION_CHOICE, AT(founded), "no", 0, 0, "no|yes", "yes: the store has been in use, so a shard that is empty has lost its data"},
    {"replace", OPTION_TEXT, AT(replace), "", 0, 0, NULL, "shard whose data is given up, and which may begin empty"},
    {"wait-s", OPTION_INT, AT(wait_s), "0", 0, 3600, NULL,
     "seconds for which init waits for shards that are not there yet, or still read their data"},
    {"guard-ms", OPTION_INT, AT(guard_ms), "10000", 0, 600000, NULL,
     "how long guard waits for the other shards to say whether the store has been in use"},
    {"url", OPTION_URL, AT(url), "http://127.0.0.1:8080", 0, 400, NULL, "the catalogue worker that import sends to"},
    {"token-file", OPTION_TEXT, AT(token_file), "", 0, 0, NULL, "file whose first line is the token that import sends to the worker; empty: none"},
    {"run", OPTION_TEXT, AT(run), "", 0, 40, NULL, "name of the interrupted import to go on with; empty: a new one"},
};

#define READY_WAIT_MS 3000
#define SHARD_PAUSE_MS 200

/* ---- commands without an engine ---- */

static struct founding founding_of(const struct settings *settings)
{
    return (struct founding){.replace = settings->replace, .founded = strcmp(settings->founded, "yes") == 0};
}

static void print_founded(const char *shard, bool created)
{
    printf("%s: %s\n", shard, created ? "souk:shard written" : "was initialised before");
}

/* Returns when every shard can be asked, or when the time is over: who founds the store then says which cannot. */
static void wait_for_shards(const struct control *control)
{
    int64_t deadline = clock_us() + control->settings.wait_s * INT64_C(1000000);
    for (unsigned i = 0; i < control->topology->shard_count && clock_us() < deadline;) {
        enum standing standing;
        if (setup_standing(&control->store, i, &standing) == NULL && standing != STANDING_LOADING)
            i++;
        else
            nanosleep(&(struct timespec){0, SHARD_PAUSE_MS * 1000000}, NULL);
    }
}

static int command_init(struct control *control, int argc, char **argv)
{
    struct founding founding = founding_of(&control->settings);
    wait_for_shards(control);
    const char *error = setup_found(&control->store, &founding, print_founded);
    if (error)
        fprintf(stderr, "soukctl: %s\n", error);
    return error ? 1 : 0;
}

static int command_guard(struct control *control, int argc, char **argv)
{
    struct founding founding = founding_of(&control->settings);
    return guard_run(&control->store, &founding, argv[0], argv[1], control->settings.guard_ms);
}

static int command_load(struct control *control, int argc, char **argv)
{
    for (unsigned i = 0; i < control->topology->shard_count; i++) {
        const char *error = setup_load(&control->store, i);
        if (error) {
            fprintf(stderr, "soukctl: %s\n", error);
            return 1;
        }
        printf("%s: library %.*s loaded\n", control->topology->shards[i].name, VIEW_ARG(SOUK_LIBRARIES[0].name));
    }
    return 0;
}

static void print_removed(const char *shard, const char *library)
{
    printf("%s: library %s removed\n", shard, library);
}

static int command_prune(struct control *control, int argc, char **argv)
{
    const char *error = setup_prune(&control->store, control->settings.unused_h * INT64_C(3600000), print_removed);
    if (error)
        fprintf(stderr, "soukctl: %s\n", error);
    return error ? 1 : 0;
}

/* The first line of SOUK_TOKEN_FILE, for secret_free. *token is NULL if none is set. Returns false, having said why, if it cannot be read. */
static bool read_token(const struct control *control, char **token)
{
    const char *path = control->settings.token_file, *why;
    *token = NULL;
    if (*path == '\0')
        return true;
    *token = secret_line(path, TOKEN_BYTES_MAX, &why);
    if (*token == NULL)
        fprintf(stderr, "soukctl: the token for the workers cannot be read from %s (SOUK_TOKEN_FILE): %s\n", path, why);
    return *token != NULL;
}

static int command_import(struct control *control, int argc, char **argv)
{
    char *token;
    int status = 2;
    if (read_token(control, &token))
        status = import_run(&(struct import_settings){.url = control->settings.url, .run = control->settings.run, .file = argv[0], .token = token});
    secret_free(token);
    return status;
}

/* The token goes to whoever will send it, the line into the workers' file; neither is kept here. */
static int command_token(struct control *control, int argc, char **argv)
{
    char *token, *line, wrong[TOKENS_WRONG_MAX];
    if (argc == 3 && strncmp(argv[2], "--user=", 7) != 0) {
        fprintf(stderr, "soukctl: %s? behind the scopes there can only be --user=BUYER\n", argv[2]);
        return 2;
    }
    if (!token_make(argv[0], argv[1], argc == 3 ? argv[2] + 7 : NULL, &token, &line, wrong)) {
        fprintf(stderr, "soukctl: no token was made for this, since the workers would not take it: %s\n", wrong);
        return 2;
    }
    printf("token %s\nline  %s\n", token, line);
    secret_free(token);
    free(line);
    return 0;
}

/* A key with a hash tag says its partition, a number is an id, any other text is a buyer. */
static unsigned partition_of(const struct topology *topology, const char *key)
{
    long long number;
    const char *open = strchr(key, '{'), *shut = open ? strchr(open, '}') : NULL;
    if (shut && view_to_int((struct view){open + 1, (size_t)(shut - open - 1)}, &number) && number < topology->partitions)
        return (unsigned)number;
    if (view_to_int(view_of(key), &number))
        return topology_partition_of_id(topology, number);
    return topology_partition_of_text(topology, view_of(key));
}

static int command_ring(struct control *control, int argc, char **argv)
{
    const struct topology *topology = control->topology;
    unsigned partition = partition_of(topology, argv[0]);
    const struct shard_address *shard = &topology->shards[topology->owner[partition]];
    printf("partition %u, %s at %s:%d\n", partition, shard->name, shard->host, shard->port);
    return 0;
}

/* ---- commands on the engine ---- */

static bool control_open(struct control *control)
{
    control->loop = loop_new();
    control->shards = control->loop ? store_open(control->loop, &control->store) : NULL;
    control->engine = control->shards ? engine_new(control->loop, control->shards, NULL) : NULL;
    return control->engine != NULL;
}

static void control_close(struct control *control)
{
    loop_timer_free(control->tick);
    if (control->shards)
        store_close(control->shards);
    engine_free(control->engine);
    if (control->loop)
        loop_free(control->loop);
}

static void got_end(void *cookie, struct flow *flow)
{
    struct control *control = cookie;
    loop_stop(control->loop);
}

static void got_answer(void *cookie, struct flow *flow, struct answer *answer)
{
    struct control *control = cookie;
    printf("%.*s\n", (int)answer->body.len, answer->body.at);
    control->status = answer->status == 200 && memmem(answer->body.at, answer->body.len, "\"ok\":true", 9) ? 0 : 1;
}

/* Starts the flow once every shard is ready, or after some seconds all the same: what is reachable is shown. */
static void got_tick(void *cookie)
{
    struct control *control = cookie;
    if (!store_all_ready(control->shards) && clock_us() < control->give_up_us)
        loop_timer_set(control->tick, 2);
    else if (control->flow)
        engine_start(control->engine, control->flow, 0, got_answer, got_end, control);
    else
        loop_stop(control->loop);
}

static bool control_run(struct control *control, struct flow *flow)
{
    control->flow = flow;
    control->give_up_us = clock_us() + READY_WAIT_MS * 1000;
    control->tick = loop_timer_new(control->loop, got_tick, control);
    if (control->tick == NULL)
        return false;
    loop_timer_set(control->tick, 0);
    loop_run(control->loop);
    return true;
}

static int command_shards(struct control *control, int argc, char **argv)
{
    const struct topology *topology = control->topology;
    unsigned counts[SHARDS_MAX] = {0};
    for (unsigned p = 0; p < topology->partitions; p++)
        counts[topology->owner[p]]++;
    if (!control_open(control))
        return 1;
    control_run(control, NULL);
    int status = 0;
    printf("%-20s %-28s %10s  %s\n", "shard", "address", "partitions", "state");
    for (unsigned i = 0; i < topology->shard_count; i++) {
        char address[300];
        snprintf(address, sizeof(address), "%s:%d", topology->shards[i].host, topology->shards[i].port);
        printf("%-20s %-28s %10u  %s\n", topology->shards[i].name, address, counts[i], store_shard_state(control->shards, i));
        status |= !store_shard_ready(control->shards, i);
    }
    control_close(control);
    return status;
}

static int command_get(struct control *control, int argc, char **argv)
{
    long long id;
    if (!show_knows(argv[0]) || !view_to_int(view_of(argv[1]), &id) || id < 1) {
        fprintf(stderr, "soukctl: get what? say: soukctl get order|payment|product|stock ID\n");
        return 2;
    }
    if (!control_open(control))
        return 1;
    struct arena *arena = arena_new();
    struct show *show = show_new(arena, &control->world, argv[0], id);
    control_run(control, &show->flow);
    fprintf(show->failed ? stderr : stdout, "%s%.*s%s", show->failed ? "soukctl: " : "", (int)show->text.len, show->text.at,
            show->failed ? "\n" : "");
    int status = show->failed || !show->found;
    arena_free(arena);
    control_close(control);
    return status;
}

static int command_audit(struct control *control, int argc, char **argv)
{
    if (!control_open(control))
        return 1;
    struct arena *arena = arena_new();
    struct ask ask = {.format = FORMAT_JSON, .request_id = VIEW("soukctl")};
    control->status = 1;
    control_run(control, flow_new(arena, &AUDIT_FLOW, &control->world, &ask));
    arena_free(arena);
    control_close(control);
    return control->status;
}

/* ---- main ---- */

static const struct command {
    const char *name;
    int arguments, optional; /* these must be there; so many more can be */
    int (*run)(struct control *control, int argc, char **argv);
    const char *text;
} COMMANDS[] = {
    {"init", 0, 0, command_init, "init                          writes souk:shard to the shards of a new store, checks those of an old one"},
    {"guard", 2, 0, command_guard, "guard SHARD DIR               may this shard begin with the data in DIR? Exit status 1 if its data is lost"},
    {"load", 0, 0, command_load, "load                          checks the settings of every shard, and loads this version's function libraries"},
    {"prune", 0, 0, command_prune, "prune                         removes the libraries of other versions that no worker uses any more"},
    {"shards", 0, 0, command_shards, "shards                        the shards, how many partitions each has, and whether they are ready"},
    {"ring", 1, 0, command_ring, "ring KEY                      where a key, an id or a buyer lives"},
    {"get", 2, 0, command_get, "get order|payment|product|stock ID   a record as its shard has it; an order with its holds and history"},
    {"import", 1, 0, command_import,
     "import FILE                   sends a file of products, one JSON object on each line (-: standard input), to a catalogue worker"},
    {"token", 2, 1, command_token, "token NAME SCOPES [--user=U]  a new token for a caller, shown this once, and its line for SOUK_TOKENS_FILE"},
    {"audit", 0, 0, command_audit, "audit                         checks units, money and states of the whole store; exit status 1 on a violation"},
};
#define COMMAND_COUNT (sizeof(COMMANDS) / sizeof(*COMMANDS))

static void print_commands(FILE *out)
{
    fprintf(out, "\ncommands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %s\n", COMMANDS[i].text);
}

static const struct command *find_command(int argc, char **argv)
{
    for (size_t i = 0; argc > 0 && i < COMMAND_COUNT; i++)
        if (strcmp(argv[0], COMMANDS[i].name) == 0)
            return &COMMANDS[i];
    return NULL;
}

/* NULL, after a sentence, if there is none that can be run. */
static const struct command *command_of(const struct options *options, int argc, char **argv)
{
    const struct command *command = find_command(argc, argv);
    if (argc == 0)
        options_say(options, "a command is missing; --help lists them");
    else if (command == NULL)
        options_say(options, "%s is no command; --help lists them", argv[0]);
    else if (argc - 1 < command->arguments || argc - 1 > command->arguments + command->optional)
        options_say(options, "%s takes %d arguments and got %d: soukctl %s", argv[0], command->arguments, argc - 1, command->text);
    else
        return command;
    return NULL;
}

/* The ring and the password, which every command may need. */
static bool check(void *cookie, void *settings)
{
    struct control *control = cookie;
    const char *ring = NULL;
    control->topology = topology_new(control->settings.shards, control->settings.partitions, control->settings.epoch, &ring);
    if (control->topology == NULL)
        options_say(&control->options, "the ring cannot be made from SOUK_SHARDS, SOUK_PARTITIONS and SOUK_RING_EPOCH: %s", ring);
    const char *password = setup_password(control->settings.redis_password_file, control->password, sizeof(control->password));
    if (password)
        options_say(&control->options, "%s", password);
    return control->topology && password == NULL;
}

static int control_main(struct control *control, int argc, char **argv)
{
    const struct command *command = command_of(&control->options, argc, argv);
    if (command == NULL)
        return 2;
    control->store = (struct store_settings){
        .topology = control->topology,
        .libraries = SOUK_LIBRARIES,
        .library_count = SOUK_LIBRARY_COUNT,
        .fsync_least = fsync_of(view_of(control->settings.fsync)),
        .user = *control->settings.redis_user ? control->settings.redis_user : NULL,
        .password = *control->password ? control->password : NULL,
    };
    control->world.topology = control->topology;
    return command->run(control, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    struct control control = {
        .options = {.program = "soukctl",
                    .about = "the operator's command of Souk",
                    .rows = OPTIONS,
                    .count = sizeof(OPTIONS) / sizeof(*OPTIONS),
                    .check = check,
                    .cookie = &control,
                    .operands = "COMMAND [ARGUMENT…]",
                    .more = print_commands},
    };
    log_start("soukctl", LOG_ERROR);
    enum options_result result = options_read(&control.options, &control.settings, argc, argv);
    int at = options_operands(&control.options, argc, argv), status = result == OPTIONS_EXIT_OK ? 0 : 2;
    if (result == OPTIONS_RUN)
        status = control_main(&control, argc - at, argv + at);
    topology_free(control.topology);
    arena_thread_end();
    return status;
}
