#include <stdarg.h>
#include <stdio.h>

#include "check.h"

#include "store_internal.h"

#include "call.h"

/* Appends ${mark}, ${number} and the end of line: the head of a list or of a bulk string. */
void bulk_head(struct buffer *buffer, char mark, uint64_t number)
{
    char text[DIGITS_MAX + 3], *end = text + sizeof(text) - 2, *begin = digits_before(end, number);

    end[0] = '\r';
    end[1] = '\n';
    *--begin = mark;
    buffer_add(buffer, begin, (size_t)(end + 2 - begin));
}

void bulk_add(struct buffer *buffer, struct view text)
{
    char *at;

    bulk_head(buffer, '$', text.len);
    at = buffer_room(buffer, text.len + 2);
    if (text.len > 0)
        memcpy(at, text.at, text.len);
    at[text.len] = '\r';
    at[text.len + 1] = '\n';
    buffer->len += text.len + 2;
}

void bulk_add_int(struct buffer *buffer, int64_t number)
{
    char text[DIGITS_MAX + 1], *end = text + sizeof(text), *begin;

    begin = digits_before(end, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
    if (number < 0)
        *--begin = '-';
    bulk_add(buffer, (struct view){begin, (size_t)(end - begin)});
}

static struct call *new_call(struct arena *arena, unsigned partition)
{
    struct call *call = ARENA_NEW(arena, struct call);

    call->partition = partition;
    call->shard = -1;
    call->body.arena = arena;
    return call;
}

struct call *call_function(struct arena *arena, const struct function *function, unsigned partition)
{
    struct call *call = new_call(arena, partition);

    call->function = function;
    return call;
}

struct call *call_command(struct arena *arena, const char *name, unsigned partition)
{
    struct call *call = new_call(arena, partition);

    call_arg(call, view_of(name));
    return call;
}

void call_key(struct call *call, struct view key)
{
    if (!call->function) {
        call_arg(call, key);
        return;
    }
    CHECK(call->args == 0); /* Redis tells keys from arguments by their place alone */
    bulk_add(&call->body, key);
    call->keys++;
}

void call_keyf(struct call *call, const char *format, ...)
{
    char key[512];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(key, sizeof(key), format, args);
    va_end(args);
    CHECK(len >= 0 && (size_t)len < sizeof(key)); /* keys are made from validated parts of bounded length */
    call_key(call, (struct view){key, (size_t)len});
}

void call_arg(struct call *call, struct view arg)
{
    bulk_add(&call->body, arg);
    call->args++;
}

void call_arg_int(struct call *call, int64_t arg)
{
    bulk_add_int(&call->body, arg);
    call->args++;
}

/* Reads one bulk string from the front of ${rest} and steps behind it. The body is our own work, hence CHECKs and no error. */
static struct view take_bulk(struct view *rest)
{
    const char *line = memchr(rest->at, '\r', rest->len);
    struct view text;
    long long len;

    CHECK(line && rest->at[0] == '$');
    CHECK(view_to_int((struct view){rest->at + 1, (size_t)(line - rest->at) - 1}, &len));
    text = (struct view){line + 2, (size_t)len};
    CHECK(text.at + text.len + 2 <= rest->at + rest->len);
    *rest = (struct view){text.at + text.len + 2, (size_t)(rest->at + rest->len - text.at) - text.len - 2};
    return text;
}

struct view call_part(const struct call *call, unsigned n)
{
    struct view rest = buffer_view(&call->body), part = {NULL, 0};

    if (n >= call->keys + call->args)
        return part;
    for (unsigned i = 0; i <= n; i++)
        part = take_bulk(&rest);
    return part;
}
