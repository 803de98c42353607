#include "shard.h"

/*
 * The function libraries are kept by the shard itself (in its AOF, on its replicas): normally the operator has loaded them, and FUNCTION LIST says
 * so. A worker loads what is missing if it may, so that a new version needs no step of its own; another worker may have been faster.
 */
static const struct library *library_of(const struct shard *shard, const struct call *call)
{
    return &shard->store->settings.libraries[call->index];
}

static struct call *question(struct shard *shard, unsigned index, void (*answered)(struct call *call, const struct reply *reply))
{
    struct call *call = shard_question(shard, shard->check_arena, "FUNCTION", answered);

    call->index = (int)index;
    shard->awaited++;
    return call;
}

static void got_list(struct call *call, const struct reply *reply)
{
    struct shard *shard = call->cookie;

    if (reply->root->type != ITEM_LIST) {
        shard_refuse(shard, "cannot ask for library %.*s: %.*s; allow this user FUNCTION LIST", VIEW_ARG(library_of(shard, call)->name),
                     VIEW_ARG(reply->root->text));
        return;
    }
    if (reply->root->count == 0)
        shard->missing |= UINT32_C(1) << call->index;
    identity_step(shard);
}

void library_list(struct shard *shard)
{
    for (unsigned i = 0; i < shard->store->settings.library_count; i++) {
        struct call *call = question(shard, i, got_list);

        call_arg(call, VIEW("LIST"));
        call_arg(call, VIEW("LIBRARYNAME"));
        call_arg(call, shard->store->settings.libraries[i].name);
        shard_ask(shard, call);
    }
}

static void got_load(struct call *call, const struct reply *reply)
{
    struct shard *shard = call->cookie;
    struct view error = reply->root->text;

    if (reply->root->type == ITEM_ERROR && !memmem(error.at, error.len, "already exists", strlen("already exists"))) {
        shard_refuse(shard, "library %.*s is missing and could not be loaded (%.*s): run \"soukctl load\"", VIEW_ARG(library_of(shard, call)->name),
                     VIEW_ARG(error));
        return;
    }
    identity_step(shard);
}

void library_load(struct shard *shard)
{
    for (unsigned i = 0; i < shard->store->settings.library_count; i++) {
        if (shard->missing & UINT32_C(1) << i) {
            struct call *call = question(shard, i, got_load);

            call_arg(call, VIEW("LOAD"));
            call_arg(call, shard->store->settings.libraries[i].text);
            shard_ask(shard, call);
        }
    }
}
