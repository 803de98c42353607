#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "hash.h"
#include "library.h"

#include "redis_fixture.h"
#include "scratch_dir.h"
#include "shard_users.h"

#include "lua_test_lib.h"

#define WORDS_MAX 64
#define WORD_MAX 4096
#define EPOCH "3"
#define NEVER "99999999999999"
#define TOLERANCE_MS 3000

/* Each function is called as one of those users who call it in earnest, by turns: what is not theirs is denied, and the case fails. */
#define CALLERS_MAX 3
#define FUNCTIONS_MAX 64
struct callers {
    char function[32], users[CALLERS_MAX][32];
    unsigned count, turn;
};

/* One connection for each of them, kept: times are compared, and logging in takes its own. */
#define LINKS_MAX 8
struct link {
    const struct redis_login *login;
    struct redisContext *link;
};

struct lua_shard {
    struct redis_fixture *redis;
    struct link links[LINKS_MAX];
    unsigned link_count;
    struct shard_users *users;
    char dir[256];
    const char *redis_args[3];
    struct callers callers[FUNCTIONS_MAX];
    unsigned caller_count;
    long long began_ms;
};

/* A line of words, expanded. */
struct words {
    int count;
    char *at[WORDS_MAX + 1];
};

static const struct {
    char letter;
    const char *text;
} NAMES[] = {
    {'H', "0123456789abcdef0123456789abcdef"},
    {'I', "fedcba9876543210fedcba9876543210"},
    {'J', "00112233445566778899aabbccddeeff"},
    {'F', "f00df00df00df00d"},
    {'G', "beefbeefbeefbeef"},
    {'T', "0123456789abcdef0123456789abcdef.f00df00df00df00d.1"},
    {'U', "0123456789abcdef0123456789abcdef.f00df00df00df00d.2"},
};

static const char *const READERS[] = {"order_read", "payment_read", "list", "events", "census", "audit_stock", "audit_holds", "audit_orders"};

static void words_free(struct words *words)
{
    for (int i = 0; i < words->count; i++)
        free(words->at[i]);
    words->count = 0;
}

static const char *name_of(char letter)
{
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++)
        if (NAMES[i].letter == letter)
            return NAMES[i].text;
    return NULL;
}

/* Copies the name, the time or the character that ${text} begins with. Returns how much of ${text} that was. */
static size_t expand_one(const struct lua_shard *shard, const char *text, bool begins_part, char *out, size_t cap)
{
    const char *name = text[0] == '$' ? name_of(text[1]) : NULL;
    char *end;

    if (name) {
        snprintf(out, cap, "%s", name);
        return 2;
    }
    if (begins_part && text[0] == '@' && (text[1] == '+' || text[1] == '-')) {
        snprintf(out, cap, "%lld", shard->began_ms + strtoll(text + 1, &end, 10));
        return (size_t)(end - text);
    }
    snprintf(out, cap, "%c", text[0]);
    return 1;
}

/* A word with its names and times put in. */
static char *expanded(const struct lua_shard *shard, const char *word)
{
    char out[WORD_MAX] = "";
    size_t used = 0;

    for (const char *at = word; *at; used += strlen(out + used)) {
        at += expand_one(shard, at, at == word || at[-1] == '|' || at[-1] == '=', out + used, sizeof(out) - used);
        assert_true(used + HASH128_HEX * 3 < sizeof(out));
    }
    return strdup(out);
}

static void replace(char **word, char *by)
{
    free(*word);
    *word = by;
}

/* Reads words up to a word that is ${stop} or the end; returns where to go on. With ${expand} names and times are put in. */
static const char *split(const struct lua_shard *shard, const char *line, const char *stop, bool expand, struct words *words)
{
    words->count = 0;
    for (;;) {
        line += strspn(line, " ");
        if (!*line)
            break;
        bool quoted = *line == '\'';
        size_t len = quoted ? strcspn(line + 1, "'") : strcspn(line, " ");
        const char *word = quoted ? line + 1 : line;
        line = word + len + (quoted ? 1 : 0);
        if (!quoted && len == strlen(stop) && memcmp(word, stop, len) == 0)
            break;
        assert_true(words->count < WORDS_MAX);
        words->at[words->count++] = strndup(word, len);
        if (expand)
            replace(&words->at[words->count - 1], expanded(shard, words->at[words->count - 1]));
    }
    words->at[words->count] = NULL;
    return line;
}

/* The fixture's answer has one item a line; here they are words, and what is empty is ''. */
static char *flat(char *answer)
{
    size_t cap = strlen(answer) * 3 + 4, len = 0;
    char *out = malloc(cap), *line = answer, *end;

    do {
        end = strchr(line, '\n');
        if (end)
            *end = 0;
        len += (size_t)snprintf(out + len, cap - len, "%s%s", len > 0 ? " " : "", *line ? line : "''");
        line = end ? end + 1 : NULL;
    } while (line);
    free(answer);
    return out;
}

static bool is_function(const struct words *words)
{
    return islower((unsigned char)words->at[0][0]);
}

static struct callers *callers_of(struct lua_shard *shard, const char *function)
{
    for (unsigned i = 0; i < shard->caller_count; i++)
        if (strcmp(shard->callers[i].function, function) == 0)
            return &shard->callers[i];
    assert_true(shard->caller_count < FUNCTIONS_MAX);
    snprintf(shard->callers[shard->caller_count].function, sizeof(shard->callers[0].function), "%s", function);
    return &shard->callers[shard->caller_count++];
}

/* Reads the lines "user NAME" and "calls FUNCTION…" of the file of users. */
static void read_callers(struct lua_shard *shard)
{
    char *line = NULL, user[32] = "", *rest, *word;
    size_t size = 0;
    FILE *file = fopen(SOUK_USERS, "r");

    assert_non_null(file);
    while (getline(&line, &size, file) > 0) {
        word = strtok_r(line, " \n", &rest);
        if (word && strcmp(word, "user") == 0)
            snprintf(user, sizeof(user), "%s", strtok_r(NULL, " \n", &rest));
        if (!word || strcmp(word, "calls") != 0)
            continue;
        while ((word = strtok_r(NULL, " \n", &rest))) {
            struct callers *callers = callers_of(shard, word);
            assert_true(callers->count < CALLERS_MAX);
            snprintf(callers->users[callers->count++], sizeof(user), "%s", user);
        }
    }
    free(line);
    fclose(file);
}

static char *cmd_as(struct lua_shard *shard, const char *user, const char *const *argv)
{
    const struct redis_login *login = shard_users_login(shard->users, user);
    struct link *at = shard->links;

    while (at < shard->links + shard->link_count && at->login != login)
        at++;
    if (at == shard->links + shard->link_count) {
        assert_true(shard->link_count < LINKS_MAX);
        *at = (struct link){login, redis_connect_as(shard->redis, login)};
        assert_non_null(at->link);
        shard->link_count++;
    }
    return redis_cmd_on(at->link, argv);
}

/* Inside a function, as Redis 7.0 says it, and as later ones and Valkey do. */
static bool is_denied_inside(const char *answer)
{
    return strstr(answer, "can't access at least one of the keys") || strstr(answer, "No permissions to access a key");
}

static bool is_denied(const char *function, const char *answer)
{
    return strncmp(answer, "-NOPERM", 7) == 0 || (strcmp(function, "list") == 0 && is_denied_inside(answer));
}

/*
 * Runs FCALL as one who calls that function. Who may not have the keys that it is given is passed over (the sweep's leases are each service's own,
 * and a case may give a wrong key on purpose), and the administrator is the last. What is denied inside the function has another text, and is the
 * answer; but of a list, which reads records of any kind that its caller names, and nobody names those of another service.
 */
static char *call_as_caller(struct lua_shard *shard, const char *function, const char *const *argv)
{
    struct callers *callers = callers_of(shard, function);
    char *answer = NULL;

    if (callers->count == 0)
        fail_msg("nobody calls %s: give it to a user in deploy/redis/users", function);
    for (unsigned tries = 0; tries <= callers->count; tries++) {
        const char *user = tries < callers->count ? callers->users[callers->turn++ % callers->count] : "souk-admin";
        free(answer);
        answer = cmd_as(shard, user, argv);
        if (!answer || !is_denied(function, answer))
            break;
    }
    return answer;
}

static bool is_reader(const char *name)
{
    for (size_t i = 0; i < sizeof(READERS) / sizeof(READERS[0]); i++)
        if (strcmp(name, READERS[i]) == 0)
            return true;
    return false;
}

/* FCALL name_hash 1 key args… [epoch limit]. First words can be "keys=2", for more keys than one, and a limit in the place of NEVER. */
static char *call_function_words(struct lua_shard *shard, const struct words *words, const char *epoch, const char *limit)
{
    const char *argv[WORDS_MAX + 8] = {is_reader(words->at[0]) ? "FCALL_RO" : "FCALL"}, *keys = "1";
    char name[64];
    int argc = 1, from = 1;

    snprintf(name, sizeof(name), "%s_%.*s", words->at[0], VIEW_ARG(SOUK_LIBRARIES[0].hash));
    if (words->count > from && strncmp(words->at[from], "keys=", 5) == 0)
        keys = words->at[from++] + 5;
    if (words->count > from && strncmp(words->at[from], "limit=", 6) == 0) {
        limit = strcmp(limit, NEVER) == 0 ? words->at[from] + 6 : limit;
        from++;
    }
    argv[argc++] = name;
    argv[argc++] = keys;
    for (int i = from; i < words->count; i++)
        argv[argc++] = words->at[i];
    if (!is_reader(words->at[0])) {
        argv[argc++] = epoch;
        argv[argc++] = limit;
    }
    return call_as_caller(shard, words->at[0], argv);
}

static char *run_words(struct lua_shard *shard, const struct words *words)
{
    char *answer;

    assert_true(words->count > 0);
    answer = is_function(words) ? call_function_words(shard, words, EPOCH, NEVER) : cmd_as(shard, "souk-admin", (const char *const *)words->at);
    assert_non_null(answer);
    return flat(answer);
}

/*
 * Everything there is, as one hash: names, contents, and which keys have an expiry. A hash's fields are sorted, since their order changes when
 * they are only read: a hash table that grows moves a little with every look at it. Keys that begin with ${but} do not count, if it is not empty.
 */
static char *state_of(struct lua_shard *shard, const char *but)
{
    return REDIS(shard->redis, "EVAL",
                 "local function content(k) if redis.call('TYPE', k).ok ~= 'hash' then return redis.call('DUMP', k) end "
                 "local all, fields = redis.call('HGETALL', k), {} for n = 1, #all, 2 do fields[#fields + 1] = all[n] .. '=' .. all[n + 1] end "
                 "table.sort(fields) return table.concat(fields, '|') end "
                 "local all = redis.call('KEYS', '*') table.sort(all) local text = {} "
                 "for _, k in ipairs(all) do if ARGV[1] == '' or k:sub(1, 5) ~= ARGV[1] then text[#text + 1] = k .. content(k) .. "
                 "(redis.call('PTTL', k) > 0 and 'x' or '') end end "
                 "return redis.sha1hex(table.concat(text, '|'))",
                 "0", but);
}

static long long shard_ms(const struct lua_shard *shard)
{
    char *time = REDIS(shard->redis, "TIME");
    long long ms = atoll(time) * 1000 + atoll(strchr(time, '\n') + 1) / 1000;

    free(time);
    return ms;
}

/*
 * A shard writes its times later than the case began: by much, on a busy machine. By then ages (~) have grown, and what is left of a time has become
 * less.
 */
static bool part_matches(const struct lua_shard *shard, struct view got, struct view want)
{
    long long number, wanted, late_ms;

    if (view_equal(want, VIEW("*")))
        return true;
    if (want.len < 2 || (want.at[0] != '~' && want.at[0] != '@'))
        return view_equal(got, want);
    late_ms = shard_ms(shard) - shard->began_ms;
    wanted = atoll(want.at + 1) + (want.at[0] == '@' ? shard->began_ms : 0);
    if (!view_to_int(got, &number) || number > wanted + late_ms + TOLERANCE_MS)
        return false;
    return number >= wanted - TOLERANCE_MS - (want.at[0] == '~' ? late_ms : 0);
}

/* Words are compared by their parts between |, as in a hold's text. */
static bool word_matches(const struct lua_shard *shard, const char *got, const char *want)
{
    size_t got_len = strcspn(got, "|"), want_len = strcspn(want, "|");

    if (!part_matches(shard, (struct view){got, got_len}, (struct view){want, want_len}))
        return false;
    if (!got[got_len] || !want[want_len])
        return got[got_len] == want[want_len];
    return word_matches(shard, got + got_len + 1, want + want_len + 1);
}

static bool answer_matches(const struct lua_shard *shard, const char *got, const struct words *want)
{
    struct words words;
    bool same;

    if (got[0] == '-')
        return want->count == 1 && strcmp(got, want->at[0]) == 0;
    split(shard, got, "", false, &words);
    same = words.count == want->count;
    for (int i = 0; i < want->count && i < words.count; i++) {
        if (strcmp(want->at[i], "…") == 0) {
            same = true;
            break;
        }
        if (!word_matches(shard, words.at[i], want->at[i])) {
            same = false;
            break;
        }
    }
    words_free(&words);
    return same;
}

/* The words of a wanted answer, up to ";". Times are left as they are: they are compared with tolerance. */
static void split_want(const struct lua_shard *shard, const char *text, struct words *want)
{
    split(shard, text, ";", false, want);
    for (int i = 0; i < want->count; i++)
        if (strchr(want->at[i], '$'))
            replace(&want->at[i], expanded(shard, want->at[i]));
}

static void check_answer(const struct lua_shard *shard, const char *what, const char *got, const struct words *want)
{
    if (answer_matches(shard, got, want))
        return;
    print_error("%s\n  got   %s\n  want ", what, got);
    for (int i = 0; i < want->count; i++)
        print_error(" %s", *want->at[i] ? want->at[i] : "''");
    print_error("\n");
    fail();
}

/* One command of a line: up to " ; ", with what it must answer if it says so. */
static void check_command(struct lua_shard *shard, const char *command)
{
    struct words words, want;
    const char *rest = split(shard, command, "=>", true, &words);
    char *got = run_words(shard, &words);

    if (*rest) {
        split_want(shard, rest, &want);
        check_answer(shard, command, got, &want);
        words_free(&want);
    } else if (got[0] == '-') {
        fail_msg("%s: %s", command, got);
    }
    free(got);
    words_free(&words);
}

char *lua_audit(struct lua_shard *shard)
{
    char command[2048], *said = NULL;
    size_t size = 0;
    FILE *from;

    snprintf(command, sizeof(command),
             "SOUK_LOG_LEVEL=error '%s/soukctl' --shards=a=127.0.0.1:%d --partitions=256 --ring-epoch=3 --fsync=no --redis-user=souk-operator "
             "--redis-password-file='%s' audit",
             SOUK_BIN, redis_port(shard->redis), shard_users_password_file(shard->users, "souk-operator"));
    from = popen(command, "r");
    assert_non_null(from);
    if (getdelim(&said, &size, '\0', from) < 0)
        fail_msg("%s says nothing", command);
    pclose(from);
    return said;
}

void lua_check(struct lua_shard *shard, const char *line)
{
    const char *end;

    for (; line && *line; line = end ? end + 3 : NULL) {
        end = strstr(line, " ; ");
        char *command = end ? strndup(line, (size_t)(end - line)) : strdup(line);
        if (command[strspn(command, " ")])
            check_command(shard, command);
        free(command);
    }
}

char *lua_do(struct lua_shard *shard, const char *format, ...)
{
    char line[WORD_MAX];
    struct words words;
    va_list args;
    char *got;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    split(shard, line, ";", true, &words);
    got = run_words(shard, &words);
    words_free(&words);
    return got;
}

/* The call with a wrong epoch or a limit that has passed must answer ${code} and change nothing. */
static void check_guard(struct lua_shard *shard, const struct words *words, const char *epoch, const char *limit, const char *code)
{
    char *before = state_of(shard, ""), *after;
    char *got = call_function_words(shard, words, epoch, limit);

    assert_non_null(got);
    assert_string_equal(got, code);
    after = state_of(shard, "");
    assert_string_equal(before, after);
    free(got);
    free(before);
    free(after);
}

static void check_call(struct lua_shard *shard, const struct lua_case *row)
{
    struct words words, want;
    char *before, *after, *got;

    split(shard, row->call, ";", true, &words);
    split_want(shard, row->want, &want);
    bool done = strcmp(want.at[0], "0") == 0;
    if (done && is_function(&words) && !is_reader(words.at[0])) {
        check_guard(shard, &words, "2", NEVER, "1");
        check_guard(shard, &words, "4", NEVER, "1");
        check_guard(shard, &words, EPOCH, "1000", "2");
    }
    /* A refusal, or that it was done before, may become its key's outcome; nothing else changes by it. */
    const char *but = done || is_reader(words.at[0]) ? "" : "idem:";
    before = state_of(shard, but);
    got = run_words(shard, &words);
    check_answer(shard, row->call, got, &want);
    after = state_of(shard, but);
    if (!done || is_reader(words.at[0]))
        assert_string_equal(before, after);
    free(before);
    free(got);
    free(after);
    words_free(&words);
    words_free(&want);
}

struct run {
    struct lua_shard *shard;
    const struct lua_case *row;
    const struct lua_story *story;
};

void lua_begin(struct lua_shard *shard)
{
    REDIS_DO(shard->redis, "FLUSHALL");
    redis_make_shard(shard->redis, "a", 256, atol(EPOCH));
    shard->began_ms = shard_ms(shard);
}

static void run_case(void **state)
{
    struct run *run = *state;

    lua_begin(run->shard);
    lua_check(run->shard, run->row->given);
    check_call(run->shard, run->row);
    lua_check(run->shard, run->row->then);
}

static void run_story(void **state)
{
    struct run *run = *state;

    lua_begin(run->shard);
    run->story->tell(run->shard);
}

void lua_reload(struct lua_shard *shard)
{
    for (unsigned i = 0; i < SOUK_LIBRARY_COUNT; i++)
        REDIS_DO(shard->redis, "FUNCTION", "LOAD", "REPLACE", SOUK_LIBRARIES[i].text.at);
}

static void start_shard(struct lua_shard *shard)
{
    assert_true(scratch_dir(shard->dir, sizeof(shard->dir), "souk-lua"));
    shard->users = shard_users_new(shard->dir);
    shard->redis_args[0] = "--aclfile";
    shard->redis_args[1] = shard_users_file(shard->users);
    shard->redis = redis_start_in(NULL, shard->redis_args, shard_users_login(shard->users, "souk-admin"));
    read_callers(shard);
    lua_reload(shard);
}

static void stop_shard(struct lua_shard *shard)
{
    while (shard->link_count > 0)
        redis_disconnect(shard->links[--shard->link_count].link);
    redis_stop(shard->redis);
    shard_users_remove(shard->users);
    rmdir(shard->dir);
}

int lua_run(const char *group, const struct lua_case *cases, size_t case_count, const struct lua_story *stories, size_t story_count)
{
    size_t count = case_count + story_count;
    struct lua_shard shard = {.caller_count = 0};
    struct CMUnitTest *tests = calloc(count, sizeof(*tests));
    struct run *runs = calloc(count, sizeof(*runs));
    int failed;

    start_shard(&shard);
    for (size_t i = 0; i < count; i++) {
        bool story = i >= case_count;
        runs[i] = (struct run){&shard, story ? NULL : &cases[i], story ? &stories[i - case_count] : NULL};
        tests[i] = (struct CMUnitTest){story ? runs[i].story->name : cases[i].name, story ? run_story : run_case, NULL, NULL, &runs[i]};
    }
    failed = _cmocka_run_group_tests(group, tests, count, NULL, NULL);
    free(tests);
    free(runs);
    stop_shard(&shard);
    return failed;
}
