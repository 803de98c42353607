#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conversation_internal.h"

#define CLOSE_MS 5000

/* ---- status and headers ---- */

/* "201" or "200 or 202" */
static void expect_status(struct talk *talk, const char *rest)
{
    const char *wanted = rest;
    bool fits = false;
    char *word;

    while ((word = talk_word(&rest)) != NULL) {
        fits = fits || atoi(word) == talk->now->status;
        free(word);
    }
    if (!fits)
        talk_fail(talk, "expected status %s", wanted);
}

/* What both headers and JSON texts are compared with: "~ REGEX", "absent", or the text itself. ${text} is NULL if there is nothing. */
static void expect_text(struct talk *talk, const char *what, const char *text, const char *rest)
{
    char *want;

    if (talk_accept(&rest, "absent")) {
        if (text)
            talk_fail(talk, "expected no %s, there is \"%s\"", what, text);
        return;
    }
    bool pattern = talk_accept(&rest, "~");
    want = talk_expand(talk, rest);
    if (text == NULL)
        talk_fail(talk, "expected %s %s, there is none", what, want);
    else if (pattern ? !talk_matches(talk, text, want) : strcmp(text, want) != 0)
        talk_fail(talk, "expected %s%s %s, it is \"%s\"", what, pattern ? " to match" : "", want, text);
    free(want);
}

static void expect_header(struct talk *talk, const char *rest)
{
    char *name = talk_next(talk, &rest), *what;

    if (name == NULL || asprintf(&what, "header %s", name) < 0) {
        talk_abort(talk, "which header?");
        return;
    }
    expect_text(talk, what, response_header(talk->now, name), rest);
    free(what);
    free(name);
}

/* ---- JSON ---- */

static bool same_json(json_t *got, json_t *want)
{
    if (json_is_number(got) && json_is_number(want))
        return json_number_value(got) == json_number_value(want);
    return json_equal(got, want);
}

static void expect_json_value(struct talk *talk, const char *path, json_t *got, const char *rest)
{
    char *text = talk_expand(talk, rest), *shown;
    json_t *want = json_loads(text, JSON_DECODE_ANY, NULL);

    if (want == NULL) {
        talk_abort(talk, "\"%s\" is no JSON value; a text stands in double quotes", text);
    } else if (!same_json(got, want)) {
        shown = got ? json_dumps(got, JSON_ENCODE_ANY) : strdup("absent");
        talk_fail(talk, "expected %s to be %s, it is %s", path, text, shown);
        free(shown);
    }
    json_decref(want);
    free(text);
}

/* The value as people would say it: a text without quotes, a number with the digits that were sent. NULL if absent. Freed by the caller. */
static char *json_plain(const struct response *response, const char *path)
{
    json_t *value = json_at(response->json, path);
    const char *at;
    size_t len;

    if (value == NULL)
        return NULL;
    if (json_is_string(value))
        return strdup(json_string_value(value));
    len = json_literal(response->json_text, path, &at);
    return strndup(at, len);
}

static void expect_count(struct talk *talk, const char *path, json_t *got, const char *rest)
{
    size_t count = json_is_array(got) ? json_array_size(got) : json_object_size(got);

    if ((!json_is_array(got) && !json_is_object(got)) || count != strtoul(rest, NULL, 10))
        talk_fail(talk, "expected %s to have %s members, it has %zu", path, rest, count);
}

static void expect_order(struct talk *talk, const char *path, json_t *got, bool at_least, const char *rest)
{
    char *text = talk_expand(talk, rest);
    double limit = strtod(text, NULL), number = json_number_value(got);

    if (!json_is_number(got) || (at_least ? number < limit : number > limit))
        talk_fail(talk, "expected %s to be a number, at %s %s", path, at_least ? "least" : "most", text);
    free(text);
}

static void expect_json(struct talk *talk, const char *rest)
{
    char *path = talk_next(talk, &rest), *plain;
    json_t *got = talk->now->json && path ? json_at(talk->now->json, strcmp(path, ".") == 0 ? "" : path) : NULL;

    if (path == NULL || *rest == '\0') {
        talk_abort(talk, "`expect json` needs a path and a value");
    } else if (talk->now->json == NULL) {
        talk_fail(talk, "expected JSON");
    } else if (talk_accept(&rest, "count")) {
        expect_count(talk, path, got, rest);
    } else if (talk_accept(&rest, ">=")) {
        expect_order(talk, path, got, true, rest);
    } else if (talk_accept(&rest, "<=")) {
        expect_order(talk, path, got, false, rest);
    } else if (*rest == '~' || strcmp(rest, "absent") == 0) {
        plain = json_plain(talk->now, strcmp(path, ".") == 0 ? "" : path);
        expect_text(talk, path, plain, rest);
        free(plain);
    } else {
        expect_json_value(talk, path, got, rest);
    }
    free(path);
}

static void expect_literal(struct talk *talk, const char *rest)
{
    char *path = talk_next(talk, &rest), *text = NULL;
    const char *at;
    size_t len = talk->now->json_text && path ? json_literal(talk->now->json_text, path, &at) : 0;

    if (len > 0)
        text = strndup(at, len);
    expect_text(talk, path ? path : "literal", text, rest);
    free(text);
    free(path);
}

/* "409 insufficient_stock": the status, the code, and all that every problem has. */
static void expect_problem(struct talk *talk, const char *rest)
{
    static const char *const MEMBERS[] = {"type", "title", "detail", "request_id"};
    char *status = talk_word(&rest), *code = talk_word(&rest);
    const char *type = response_header(talk->now, "Content-Type");
    const char *got = json_string_value(json_at(talk->now->json, "code"));

    if (status == NULL || code == NULL) {
        talk_abort(talk, "`expect problem` needs a status and a code");
    } else if (talk->now->status != atoi(status) || got == NULL || strcmp(got, code) != 0) {
        talk_fail(talk, "expected problem %s %s", status, code);
    } else if (type == NULL || strncmp(type, "application/problem+json", 24) != 0) {
        talk_fail(talk, "expected Content-Type application/problem+json, it is %s", type ? type : "absent");
    } else if (json_integer_value(json_at(talk->now->json, "status")) != talk->now->status ||
               !json_is_boolean(json_at(talk->now->json, "retryable"))) {
        talk_fail(talk, "expected the problem to repeat its status and to say whether it is retryable");
    } else {
        for (size_t i = 0; i < sizeof(MEMBERS) / sizeof(*MEMBERS); i++)
            if (!json_is_string(json_at(talk->now->json, MEMBERS[i])))
                talk_fail(talk, "expected the problem to have \"%s\"", MEMBERS[i]);
    }
    free(status);
    free(code);
}

/* ---- bodies ---- */

static void expect_body(struct talk *talk, const char *rest)
{
    if (strcmp(rest, "empty") == 0) {
        if (talk->now->body_len > 0)
            talk_fail(talk, "expected no body, there are %zu bytes", talk->now->body_len);
        return;
    }
    expect_text(talk, "body", talk->now->body, rest);
}

static void expect_same(struct talk *talk, const char *rest)
{
    if (!talk_accept(&rest, "bytes") || *rest || talk->before == NULL)
        talk_abort(talk, "`expect same bytes` needs an answer before the last one");
    else if (talk->now->status != talk->before->status || talk->now->body_len != talk->before->body_len ||
             memcmp(talk->now->body, talk->before->body, talk->now->body_len) != 0)
        talk_fail(talk, "expected the same bytes as before: %d %s", talk->before->status, talk->before->body);
}

static void expect_closed(struct talk *talk, const char *rest)
{
    if (talk->raw == NULL || !raw_closes(talk->raw, CLOSE_MS))
        talk_fail(talk, "expected the connection to be closed without more bytes");
}

static void expect_no_answer(struct talk *talk, const char *rest)
{
    if (talk->now->status != 0)
        talk_fail(talk, "expected no answer");
}

/* ---- crowds ---- */

static size_t crowd_with(const struct talk *talk, int status)
{
    size_t count = 0;

    for (size_t i = 0; i < talk->crowd_count; i++)
        count += talk->crowd[i]->status == status;
    return count;
}

/* "5 of 201": so many answers of `at once` have this status. */
static void expect_of(struct talk *talk, const char *rest)
{
    size_t want = strtoul(rest, (char **)&rest, 10);

    talk_accept(&rest, "of");
    if (crowd_with(talk, atoi(rest)) == want)
        return;
    talk_fail(talk, "expected %zu answers with status %s, there are %zu of %zu", want, rest, crowd_with(talk, atoi(rest)), talk->crowd_count);
    for (size_t i = 0; i < talk->crowd_count && !talk->quiet; i++)
        printf("    answer %zu: %d %.200s\n", i + 1, talk->crowd[i]->status, talk->crowd[i]->status ? talk->crowd[i]->body : talk->crowd[i]->error);
}

/* "201 1": the bodies of the answers of `at once` with that status are so many different ones. */
static void expect_bodies(struct talk *talk, const char *rest)
{
    int status = (int)strtol(rest, (char **)&rest, 10);
    size_t want = strtoul(rest, NULL, 10), different = 0;

    for (size_t i = 0; i < talk->crowd_count; i++) {
        bool is_new = talk->crowd[i]->status == status;

        for (size_t k = 0; k < i; k++)
            is_new = is_new && (talk->crowd[k]->status != status || strcmp(talk->crowd[k]->body, talk->crowd[i]->body) != 0);
        different += is_new;
    }
    if (different != want)
        talk_fail(talk, "expected %zu different bodies with status %d, there are %zu", want, status, different);
}

/* ---- other places ---- */

static void expect_answer(struct talk *talk, const char *rest)
{
    expect_text(talk, "Redis's answer", talk->redis_answer, rest);
}

/* "log order ~ REGEX" */
static void expect_log(struct talk *talk, const char *rest)
{
    char *name = talk_word(&rest), *text;
    int worker = name ? talk_worker(talk, name) : -1;

    free(name);
    if (worker < 0) {
        talk_abort(talk, "`expect log` needs a worker");
        return;
    }
    text = souk_log(talk->souk, worker);
    expect_text(talk, "log", text, rest);
    free(text);
}

static void expect_journal(struct talk *talk, const char *rest)
{
    char *text = souk_journal(talk->souk);

    expect_text(talk, "journal", text, rest);
    free(text);
}

static const struct {
    const char *word;
    bool needs_answer;
    void (*expect)(struct talk *talk, const char *rest);
} EXPECTATIONS[] = {
    {"header", true, expect_header},  {"json", true, expect_json},      {"literal", true, expect_literal}, {"problem", true, expect_problem},
    {"body", true, expect_body},      {"same", true, expect_same},      {"closed", false, expect_closed},  {"no-answer", true, expect_no_answer},
    {"bodies", false, expect_bodies}, {"answer", false, expect_answer}, {"log", false, expect_log},        {"journal", false, expect_journal},
};

void talk_expect(struct talk *talk, const char *rest)
{
    char *end;

    talk->expectations++;
    if (isdigit((unsigned char)*rest)) {
        strtoul(rest, &end, 10);
        if (strncmp(end, " of ", 4) == 0)
            expect_of(talk, rest);
        else if (talk->now)
            expect_status(talk, rest);
        else
            talk_abort(talk, "nothing was asked yet");
        return;
    }
    for (size_t i = 0; i < sizeof(EXPECTATIONS) / sizeof(*EXPECTATIONS); i++) {
        if (talk_accept(&rest, EXPECTATIONS[i].word)) {
            if (EXPECTATIONS[i].needs_answer && talk->now == NULL)
                talk_abort(talk, "nothing was asked yet");
            else
                EXPECTATIONS[i].expect(talk, rest);
            return;
        }
    }
    talk_abort(talk, "\"%s\" is nothing that can be expected", rest);
}

/* ---- save ---- */

/* What stands in ${text} behind ${from} and before ${to}, or its end if there is no ${to}. Freed by the caller; NULL without ${from}. */
static char *piece_between(const char *text, const char *from, const char *to)
{
    const char *start = strstr(text, from), *end;

    if (start == NULL)
        return NULL;
    start += strlen(from);
    end = *to ? strstr(start, to) : NULL;
    return end ? strndup(start, (size_t)(end - start)) : strdup(start);
}

/* "NAME json PATH", "NAME header HEADER [from TEXT [to TEXT]]", "NAME answer" */
static char *what_to_save(struct talk *talk, const char *rest)
{
    char *value = NULL, *name, *from = NULL, *to = NULL;

    if (talk_accept(&rest, "answer"))
        return talk->redis_answer ? strdup(talk->redis_answer) : NULL;
    if (talk->now && talk_accept(&rest, "json"))
        return talk->now->json ? json_plain(talk->now, rest) : NULL;
    if (talk->now && talk_accept(&rest, "header")) {
        name = talk_next(talk, &rest);
        const char *text = name ? response_header(talk->now, name) : NULL;
        from = talk_accept(&rest, "from") ? talk_next(talk, &rest) : strdup("");
        to = talk_accept(&rest, "to") ? talk_next(talk, &rest) : strdup("");
        value = text ? piece_between(text, from, to) : NULL;
        free(name);
        free(from);
        free(to);
    }
    return value;
}

void talk_save(struct talk *talk, const char *rest)
{
    const char *line = rest;
    char *name = talk_word(&rest), *value = name ? what_to_save(talk, rest) : NULL;

    if (value)
        talk_set(talk, name, value);
    else if (talk->quiet)
        talk_fail(talk, "there is nothing to save");
    else
        talk_abort(talk, "there is nothing to save as \"%s\"", line);
    free(name);
    free(value);
}
