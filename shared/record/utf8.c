#include <stdint.h>
#include <string.h>

#include "record_internal.h"

/* Table 3-7 of the Unicode standard: first bytes of sequences, how long they are, and what their second byte may be. */
static const struct lead {
    unsigned char first, last, len, second_min, second_max;
} leads[] = {
    {0x00, 0x7f, 1, 0x00, 0x00}, {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f},
    {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

/* The length of the well-formed sequence that ${bytes} begins with; 0 if there is none. */
static size_t sequence_len(const unsigned char *bytes, size_t left)
{
    const struct lead *lead = leads, *end = leads + sizeof(leads) / sizeof(leads[0]);

    while (lead < end && (bytes[0] < lead->first || bytes[0] > lead->last))
        lead++;
    if (lead == end || lead->len > left)
        return 0;
    if (lead->len > 1 && (bytes[1] < lead->second_min || bytes[1] > lead->second_max))
        return 0;
    for (size_t i = 2; i < lead->len; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    return lead->len;
}

/* How many bytes at the beginning of ${text} are ASCII, eight of them at a time: nearly all of nearly every text. */
static size_t ascii_len(struct view text)
{
    size_t done = 0;
    uint64_t eight;

    while (text.len - done >= sizeof(eight)) {
        memcpy(&eight, text.at + done, sizeof(eight));
        if (eight & UINT64_C(0x8080808080808080))
            break;
        done += sizeof(eight);
    }
    while (done < text.len && !(text.at[done] & 0x80))
        done++;
    return done;
}

/* How many bytes at the beginning of ${text} are well-formed. */
static size_t valid_len(struct view text)
{
    size_t done = ascii_len(text);

    while (done < text.len) {
        size_t len = sequence_len((const unsigned char *)text.at + done, text.len - done);

        if (len == 0)
            break;
        done += len;
    }
    return done;
}

bool utf8_valid(struct view text)
{
    return valid_len(text) == text.len;
}

struct view utf8_clean(struct arena *arena, struct view text)
{
    struct buffer out = {.arena = arena};
    size_t good = valid_len(text);

    if (good == text.len)
        return text;
    while (text.len > 0) {
        buffer_add(&out, text.at, good);
        text.at += good;
        text.len -= good;
        if (text.len > 0) {
            buffer_add(&out, "\xef\xbf\xbd", 3);
            text.at++;
            text.len--;
        }
        good = valid_len(text);
    }
    return buffer_view(&out);
}
