#include "reply.h"

static const char *const FAULTS[REPLY_FAULTS] = {"none",     "not_ready", "behind",    "too_many",    "unwritten",
                                                 "declined", "lost",      "no_answer", "unconfirmed", "unclear"};

const char *reply_fault_name(enum reply_fault fault)
{
    return FAULTS[fault];
}

static const struct item NOTHING = {.type = ITEM_NIL};

const struct item *item_at(const struct item *list, size_t n)
{
    return list->type == ITEM_LIST && n < list->count ? &list->items[n] : &NOTHING;
}

int64_t item_int(const struct item *item)
{
    struct view text = item->text;
    long long number;
    bool negative;

    if (item->type == ITEM_INT)
        return item->integer;
    if (item->type != ITEM_TEXT)
        return 0;
    negative = text.len > 0 && text.at[0] == '-';
    if (negative)
        text = (struct view){text.at + 1, text.len - 1};
    if (!view_to_int(text, &number))
        return 0;
    return negative ? -number : number;
}

struct view item_text(const struct item *item)
{
    return item->type == ITEM_TEXT ? item->text : (struct view){"", 0};
}

const struct item *reply_item(const struct reply *reply, size_t n)
{
    if (!reply->root)
        return &NOTHING;
    if (reply->root->type != ITEM_LIST)
        return n == 0 ? reply->root : &NOTHING;
    return item_at(reply->root, n + reply->first);
}

int64_t reply_int(const struct reply *reply, size_t n)
{
    return item_int(reply_item(reply, n));
}

struct view reply_text(const struct reply *reply, size_t n)
{
    return item_text(reply_item(reply, n));
}
