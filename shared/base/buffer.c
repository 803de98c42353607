#include <stdint.h>
#include <stdio.h>

#include "check.h"

#include "arena.h"

/* Texts in an arena, and texts that grow there. What memory is made of is arena.c's business alone. */

struct view arena_copy(struct arena *arena, struct view text)
{
    char *copy = arena_take(arena, text.len + 1);

    if (text.len > 0)
        memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    return (struct view){copy, text.len};
}

struct view arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    char *text;
    int len;

    va_start(args, format);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, format, args);
    CHECK(len >= 0);
    text = arena_take(arena, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    va_end(args);
    return (struct view){text, (size_t)len};
}

char *buffer_room(struct buffer *buffer, size_t len)
{
    CHECK(len < SIZE_MAX / 4);
    if (buffer->cap - buffer->len < len) {
        size_t cap = buffer->cap < 128 ? 256 : buffer->cap * 2;
        char *wider;

        while (cap < buffer->len + len)
            cap *= 2;
        wider = arena_take(buffer->arena, cap);
        if (buffer->len > 0)
            memcpy(wider, buffer->at, buffer->len);
        buffer->at = wider;
        buffer->cap = cap;
    }
    return buffer->at + buffer->len;
}

void buffer_add(struct buffer *buffer, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(buffer_room(buffer, len), bytes, len);
        buffer->len += len;
    }
}

void buffer_add_view(struct buffer *buffer, struct view text)
{
    buffer_add(buffer, text.at, text.len);
}

char *digits_before(char *end, uint64_t number)
{
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return end;
}

void buffer_add_int(struct buffer *buffer, long long number)
{
    char text[DIGITS_MAX + 1], *end = text + sizeof(text), *begin = digits_before(end, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);

    if (number < 0)
        *--begin = '-';
    buffer_add(buffer, begin, (size_t)(end - begin));
}
