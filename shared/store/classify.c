#include <limits.h>

#include "store_internal.h"

#include "store.h"

/*
 * Errors by how they begin. Redis raises the rows marked ${in_function} also for a command inside a function, but only while that function has
 * written nothing (scriptVerifyWriteCommandAllow and scriptVerifyOOM in its script.c): those are certain even then. Any other error from inside
 * a function came at a place we cannot know, possibly behind a write.
 */
struct row {
    const char *prefix;
    enum reply_kind kind;
    bool in_function;
    const char *why;
};

#define BAD_ARGUMENT "ERR souk" /* of arguments.wrong in lua/lib/arguments.lua, before anything else */

static const struct row ROWS[] = {
    {"NOREPLICAS", REPLY_NOT_SENT, true, "the shard has too few replicas to accept writes"},
    {"READONLY", REPLY_NOT_SENT, true, "the shard is a replica and accepts no writes"},
    {"MISCONF", REPLY_NOT_SENT, true, "the shard cannot persist and accepts no writes"},
    {"OOM", REPLY_NOT_SENT, true, "the shard's memory is full"},
    {"LOADING", REPLY_NOT_SENT, false, "the shard is still loading its data"},
    {"MASTERDOWN", REPLY_NOT_SENT, false, "the shard is a replica that has lost its primary"},
    {"BUSY", REPLY_NOT_SENT, false, "the shard is busy with a function that does not end"},
    {"NOSCRIPT", REPLY_NOT_SENT, false, "the shard does not know this script"},
    {"NOPERM", REPLY_NOT_SENT, false, "the shard does not allow us this command or key"},
    {"NOAUTH", REPLY_NOT_SENT, false, "the shard wants a password"},
    {"CLUSTERDOWN", REPLY_NOT_SENT, false, "the cluster that the shard belongs to is down"},
    {"TRYAGAIN", REPLY_NOT_SENT, false, "the keys of the call are being moved"},
    {"MOVED", REPLY_NOT_SENT, false, "the key lives on another node of a cluster"},
    {"ASK", REPLY_NOT_SENT, false, "the key is being moved to another node of a cluster"},
    {"CROSSSLOT", REPLY_NOT_SENT, false, "bug: the keys of the call are not in one slot of the cluster"},
    {"REDIRECT", REPLY_NOT_SENT, false, "the shard is giving its place to another server"},
    {"DENIED", REPLY_NOT_SENT, false, "the shard is in protected mode and turns us away"},
    {"WRONGPASS", REPLY_NOT_SENT, false, "the shard does not know our user or password"},
    {"NOPROTO", REPLY_NOT_SENT, false, "bug: the shard does not speak this version of the protocol"},
    {"EXECABORT", REPLY_NOT_SENT, false, "the transaction was discarded"},
    {"ERR max number of clients", REPLY_NOT_SENT, false, "the shard has as many clients as it may"},
    {"ERR Protocol error", REPLY_NOT_SENT, false, "bug: the shard cannot read the call, or it is larger than proto-max-bulk-len"},
    {"ERR syntax error", REPLY_NOT_SENT, false, "bug: the shard does not understand the command's arguments"},
    {"ERR value is not an integer", REPLY_NOT_SENT, false, "bug: the shard does not understand the command's arguments"},
    {"ERR invalid expire time", REPLY_NOT_SENT, false, "bug: the shard does not understand the command's arguments"},
    {"ERR Number of keys", REPLY_NOT_SENT, false, "bug: a call with a wrong number of keys"},
    {"ERR Bad number of keys", REPLY_NOT_SENT, false, "bug: a call with a wrong number of keys"},
    {"ERR Can not run script on cluster", REPLY_NOT_SENT, false, "bug: the function may not run in a cluster"},
    {"ERR Function not found", REPLY_NOT_SENT, false, "the function library is not loaded in the shard"},
    {"ERR unknown command", REPLY_NOT_SENT, false, "bug: the shard does not know this command"},
    {"ERR unknown subcommand", REPLY_NOT_SENT, false, "bug: the shard does not know this command"},
    {"ERR wrong number of arguments", REPLY_NOT_SENT, false, "bug: a command with the wrong number of arguments"},
    {"ERR Can not execute a script with write flag", REPLY_NOT_SENT, false, "bug: a function that writes was called as one that reads"},
    {BAD_ARGUMENT, REPLY_NOT_SENT, true, "bug: a function was called with what it does not take"},
    {"UNBLOCKED", REPLY_UNKNOWN, false, "the shard gave up waiting for its replicas"},
    /* Of commands that we do not send, so whatever brought them about is not understood. */
    {"NOGROUP", REPLY_UNKNOWN, false, "bug: an answer to another command"},
    {"BUSYGROUP", REPLY_UNKNOWN, false, "bug: an answer to another command"},
    {"BUSYKEY", REPLY_UNKNOWN, false, "bug: an answer to another command"},
    {"INPROG", REPLY_UNKNOWN, false, "bug: an answer to another command"},
    {"INVALIDOBJ", REPLY_UNKNOWN, false, "bug: an answer to another command"},
    {"IOERR", REPLY_UNKNOWN, false, "bug: an answer to another command"},
    {"NOGOODSLAVE", REPLY_UNKNOWN, false, "bug: an answer to another command"},
    {"NOMASTERLINK", REPLY_UNKNOWN, false, "bug: an answer to another command"},
    {"NOQUORUM", REPLY_UNKNOWN, false, "bug: an answer to another command"},
    {"NOTBUSY", REPLY_UNKNOWN, false, "bug: an answer to another command"},
    {"UNKILLABLE", REPLY_UNKNOWN, false, "bug: an answer to another command"},
    {"NOTREADY", REPLY_UNKNOWN, false, "bug: an answer to another command"},
    {"WRONGTYPE", REPLY_UNKNOWN, false, "bug: a key holds another type than expected"},
    {"ERR Error running", REPLY_UNKNOWN, false, "bug: the function failed, possibly after it had written"},
    {"ERR user_script", REPLY_UNKNOWN, false, "bug: the function failed, possibly after it had written"},
    {"ERR user_function", REPLY_UNKNOWN, false, "bug: the function failed, possibly after it had written"},
};

static const struct row RAISED_INSIDE = {"", REPLY_UNKNOWN, true, "bug: the function failed, possibly after it had written"};
static const struct row UNKNOWN_ERROR = {"", REPLY_UNKNOWN, false, "the shard answered with an error that we do not know"};

/* A prefix ends where a word ends: "OOM" is not the beginning of "OOMPH". */
static bool begins_with(struct view text, const char *prefix)
{
    size_t len = strlen(prefix);

    return text.len >= len && memcmp(text.at, prefix, len) == 0 && (text.len == len || text.at[len] == ' ' || text.at[len] == ':');
}

static const struct row *find_row(struct view error)
{
    /* What Redis adds to every error that leaves a function: " script: NAME, on @user_function:LINE." */
    bool inside = memmem(error.at, error.len, ", on @user_", strlen(", on @user_")) != NULL;

    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++)
        if (begins_with(error, ROWS[i].prefix))
            return inside && !ROWS[i].in_function && ROWS[i].kind == REPLY_NOT_SENT ? &RAISED_INSIDE : &ROWS[i];
    return inside ? &RAISED_INSIDE : &UNKNOWN_ERROR;
}

/* A function answers with a list whose first item is its code. */
static enum reply_kind classify_code(int64_t found, int *code, const char **why)
{
    *code = (int)found;
    switch (found) {
    case 0:
        return REPLY_OK;
    case CODE_RING:
        *why = "the shard has another ring epoch than this worker";
        return REPLY_NOT_SENT;
    case CODE_LATE:
        *why = "the call came too late to act";
        return REPLY_NOT_SENT;
    default:
        return REPLY_REFUSED;
    }
}

enum reply_kind reply_classify(const struct function *function, const struct item *root, int *code, const char **why, bool *unclassified)
{
    const struct item *first = item_at(root, 0);

    *code = 0;
    *why = NULL;
    *unclassified = false;
    if (root->type == ITEM_ERROR) {
        const struct row *row = find_row(root->text);

        *why = row->why;
        *unclassified = row == &UNKNOWN_ERROR;
        return row->kind;
    }
    if (!function)
        return REPLY_OK;
    if (first->type == ITEM_INT && first->integer >= INT_MIN && first->integer <= INT_MAX)
        return classify_code(first->integer, code, why);
    *why = "bug: the function's answer does not begin with a code";
    *unclassified = true;
    return REPLY_UNKNOWN;
}

struct reply reply_from(const struct function *function, const struct item *root, bool *unclassified)
{
    struct reply reply = {.root = root, .first = function ? 1 : 0};

    reply.kind = reply_classify(function, root, &reply.code, &reply.why, unclassified);
    return reply;
}

bool classify_library_gone(const struct item *root)
{
    return root->type == ITEM_ERROR && begins_with(root->text, "ERR Function not found");
}

bool reply_is_own_fault(const struct reply *reply)
{
    return reply->root && reply->root->type == ITEM_ERROR && (reply->kind == REPLY_UNKNOWN || begins_with(reply->root->text, BAD_ARGUMENT));
}
