#include "gateway.h"

struct gateway_errand *gateway_errand_new(struct arena *arena, enum gateway_op op, int64_t payment_id, struct view payment_op)
{
    struct gateway_errand *errand = ARENA_NEW(arena, struct gateway_errand);
    errand->arena = arena;
    errand->op = op;
    errand->key = arena_printf(arena, "souk-%lld-%.*s", (long long)payment_id, VIEW_ARG(payment_op));
    errand->result = GATEWAY_UNKNOWN;
    return errand;
}

struct view gateway_result_text(enum gateway_result result)
{
    static const char *const TEXTS[] = {
        [GATEWAY_SUCCEEDED] = "succeeded", [GATEWAY_AUTHORIZED] = "authorized", [GATEWAY_VOIDED] = "voided",
        [GATEWAY_FAILED] = "failed",       [GATEWAY_UNKNOWN] = "unknown",       [GATEWAY_NOT_SENT] = "unknown",
    };
    return view_of(TEXTS[result]);
}
