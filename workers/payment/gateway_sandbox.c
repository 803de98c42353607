#include <ctype.h>

#include "gateway_sandbox.h"

#define FAILURE_MAX 64

struct view gateway_sandbox_path(const struct gateway_errand *errand)
{
    switch (errand->op) {
    case GATEWAY_CHARGE:
    case GATEWAY_AUTHORIZE:
        return VIEW("/charges");
    case GATEWAY_CAPTURE:
        return arena_printf(errand->arena, "/charges/%.*s/capture", VIEW_ARG(errand->ref));
    case GATEWAY_VOID:
        return arena_printf(errand->arena, "/charges/%.*s/void", VIEW_ARG(errand->ref));
    case GATEWAY_REFUND:
        return arena_printf(errand->arena, "/charges/%.*s/refunds", VIEW_ARG(errand->ref));
    case GATEWAY_SETTLE:
        break;
    }
    return VIEW("/settle");
}

struct view gateway_sandbox_body(const struct gateway_errand *errand)
{
    bool charge = errand->op == GATEWAY_CHARGE || errand->op == GATEWAY_AUTHORIZE;
    bool amount = charge || errand->op == GATEWAY_CAPTURE || errand->op == GATEWAY_REFUND;
    struct writer writer, *w = &writer;
    writer_init(w, FORMAT_JSON, errand->arena);
    writer_map(w, 1 + (amount ? 1 : 0) + (charge ? 3 : 0));
    WRITER_TEXT(w, "key", errand->key);
    if (amount)
        WRITER_INT(w, "amount", errand->amount);
    if (charge) {
        WRITER_TEXT(w, "op", errand->op == GATEWAY_CHARGE ? VIEW("charge") : VIEW("authorize"));
        WRITER_TEXT(w, "currency", errand->currency);
        WRITER_TEXT(w, "token", errand->token);
    }
    writer_end(w);
    return writer_done(w);
}

static struct view text_of(const struct value *map, const char *name)
{
    const struct value *value = value_get(map, name);
    return value && value->kind == VALUE_TEXT ? value->text : (struct view){"", 0};
}

/* The gateway's code as far as it may be stored between bars. */
static struct view failure_of(struct arena *arena, struct view text)
{
    struct view copy = arena_copy(arena, text.len ? (struct view){text.at, text.len < FAILURE_MAX ? text.len : FAILURE_MAX} : VIEW("declined"));
    for (char *at = (char *)copy.at; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("_.:-", *at))
            *at = '_';
    return copy;
}

static bool result_of(struct view status, enum gateway_result *result)
{
    for (enum gateway_result r = GATEWAY_SUCCEEDED; r <= GATEWAY_FAILED; r++)
        if (view_equal(status, gateway_result_text(r))) {
            *result = r;
            return true;
        }
    return false;
}

void gateway_sandbox_read(struct gateway_errand *errand, long status, struct view body)
{
    struct value value;
    enum gateway_result result;
    errand->result = GATEWAY_UNKNOWN;
    errand->why = "the gateway's answer is not a decision";
    if (status != 200 || value_read(FORMAT_JSON, errand->arena, body, &value) != NULL)
        return;
    if (!view_equal(text_of(&value, "key"), errand->key) || !result_of(text_of(&value, "status"), &result))
        return;
    errand->result = result;
    errand->result_ref = arena_copy(errand->arena, text_of(&value, "ref"));
    errand->failure = result == GATEWAY_FAILED ? failure_of(errand->arena, text_of(&value, "failure")) : VIEW("");
    errand->why = NULL;
}
