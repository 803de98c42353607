#include <strings.h>

#include "etag.h"
#include "functions.h"
#include "outcomes.h"

#include "product_change.h"
#include "writeback.h"

/*
 *   read ─▶ If-Match? ─▶ merge ─▶ check ─┬─▶ PRODUCT_PUT expecting what was read ─▶ 200
 *    ▲                                   │      │ STALE: another writer was faster
 *    ├──────── If-Match allows that one too ────┘
 *                                        └─▶ Prefer: respond-async: the write-back buffer takes the change ─▶ 202
 */
struct product_patch {
    struct flow flow;
    struct product_change change;
    int64_t version; /* that was read */
    struct view bytes;
    unsigned tries;
    struct writeback_errand errand;
};

enum { TAG_READ, TAG_WRITE };

static bool patch_read(struct product_patch *patch)
{
    struct flow *flow = &patch->flow;
    struct faults faults;
    faults_init(&faults, flow->arena);
    return change_read(&patch->change, flow->ask->document, &faults) || product_faultless(flow, &faults);
}

static void patch_ask(struct product_patch *patch)
{
    struct flow *flow = &patch->flow;
    struct call *call = product_command(flow, "HMGET", "product", flow->ask->ids[0]);
    call_arg(call, VIEW("v"));
    call_arg(call, VIEW("doc"));
    patch->tries++;
    flow_call(flow, call, TAG_READ, 0);
}

static void patch_start(struct flow *flow)
{
    struct product_patch *patch = (struct product_patch *)flow;
    int64_t expected;
    if (product_condition(flow, &expected) && patch_read(patch))
        patch_ask(patch);
    else
        flow_end(flow);
}

/* Makes the new document from the stored one. Returns false after having answered. */
static bool patch_apply(struct product_patch *patch, struct view bytes)
{
    struct flow *flow = &patch->flow;
    struct faults faults;
    faults_init(&faults, flow->arena);
    enum change_result result = change_apply(&patch->change, bytes, &patch->bytes, &faults);
    if (result == CHANGE_BROKEN)
        product_broken(flow, "reading");
    else if (result == CHANGE_FAULTY)
        product_faultless(flow, &faults);
    return result == CHANGE_OK;
}

/* ---- steps ---- */

static void patch_send(struct product_patch *patch)
{
    struct flow *flow = &patch->flow;
    struct call *call = product_function(flow, &FN_PRODUCT_PUT, flow->ask->ids[0]);
    call_arg(call, VIEW("replace"));
    call_arg_int(call, patch->version);
    call_arg(call, patch->bytes);
    call_arg(call, VIEW(""));
    flow_call(flow, call, TAG_WRITE, 0);
}

/* Is respond-async among the preferences (RFC 7240)? */
static bool prefers_async(struct view prefer)
{
    static const char NAME[] = "respond-async";
    for (const char *at = prefer.at, *end = prefer.at + prefer.len; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma ? comma : end;
        while (at < stop && (*at == ' ' || *at == '\t'))
            at++;
        size_t len = 0;
        while (at + len < stop && at[len] != ';' && at[len] != ' ' && at[len] != '\t' && at[len] != '=')
            len++;
        if (len == sizeof(NAME) - 1 && strncasecmp(at, NAME, len) == 0)
            return true;
        at = stop + 1;
    }
    return false;
}

/*
 * May the change be made later? A version that the client names cannot be kept from changing until then, and after a new currency the prices of
 * changes that wait would be wrong: then the preference is passed over, as RFC 7240 allows.
 */
static bool is_for_later(const struct product_patch *patch)
{
    const struct ask *ask = patch->flow.ask;
    return prefers_async(ask->prefer) && etag_any(ask->if_match) && !patch->change.body.has_currency;
}

static void patch_leave(struct product_patch *patch)
{
    struct flow *flow = &patch->flow;
    patch->errand.id = flow->ask->ids[0];
    patch->errand.change = &patch->change;
    patch->errand.request_id = flow->ask->request_id;
    flow_errand(flow, &patch->errand.base);
}

static void patch_got_errand(struct flow *flow, struct errand *base)
{
    const struct writeback_errand *errand = (const struct writeback_errand *)base;
    if (errand->taken)
        answer_deferred(flow);
    else
        answer_refuse(flow, &OUTCOME_OVERLOADED, "as many changes as may wait to be written do (SOUK_WRITEBACK_MB); nothing was changed, try again");
    flow_end(flow);
}

/* Returns whether the flow goes on. */
static bool got_read(struct product_patch *patch, const struct reply *reply)
{
    struct flow *flow = &patch->flow;
    if (reply->kind != REPLY_OK) {
        product_failed(flow, reply, "reading");
        return false;
    }
    if (reply_item(reply, 0)->type == ITEM_NIL) {
        product_missing(flow);
        return false;
    }
    patch->version = reply_int(reply, 0);
    if (!etag_matches(flow->ask->if_match, patch->version, ETAG_STRONG)) {
        product_stale(flow, patch->version);
        return false;
    }
    if (!patch_apply(patch, arena_copy(flow->arena, reply_text(reply, 1))))
        return false;
    if (is_for_later(patch))
        patch_leave(patch);
    else
        patch_send(patch);
    return true;
}

static bool got_write(struct product_patch *patch, const struct reply *reply)
{
    struct flow *flow = &patch->flow;
    int64_t found = reply_int(reply, 0);
    bool allowed = reply->code == CODE_STALE && etag_matches(flow->ask->if_match, found, ETAG_STRONG);
    if (allowed && patch->tries < WRITE_TRIES_MAX) {
        patch_ask(patch);
        return true;
    }
    if (reply->kind == REPLY_OK)
        product_answer(flow, 200, flow->ask->ids[0], found, patch->bytes, false);
    else if (allowed)
        answer_refuse(flow, &OUTCOME_OVERLOADED,
                      "others changed product %lld %d times while this change was made; nothing was changed by it, try again",
                      (long long)flow->ask->ids[0], WRITE_TRIES_MAX);
    else if (reply->code == CODE_STALE)
        product_stale(flow, found);
    else if (reply->code == CODE_NOT_FOUND)
        product_missing(flow);
    else
        product_failed(flow, reply, "changing");
    return false;
}

static void patch_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct product_patch *patch = (struct product_patch *)flow;
    if (!(call->tag == TAG_READ ? got_read(patch, reply) : got_write(patch, reply)))
        flow_end(flow);
}

const struct flow_type PRODUCT_PATCH_FLOW = {.name = "product_patch",
                                             .size = sizeof(struct product_patch),
                                             .start = patch_start,
                                             .got_reply = patch_got_reply,
                                             .got_errand = patch_got_errand};
