#include <stdlib.h>

#include "http_internal.h"

/*
 * An answer is made once: libmicrohttpd takes its headers and its body from it as often as it is queued, and counts who still does.
 *
 * One header differs each time, the request's id. libmicrohttpd writes an answer's headers down as soon as the handler that queued it returns, before
 * any other connection is looked at, so the value can be changed for the next one. When it has the same length, as ids of one origin have, its bytes
 * are changed where they lie: taking the header out and adding it again is the way libmicrohttpd knows, at six calls of malloc and free.
 */

/* What libmicrohttpd keeps for an answer, and for each of its headers beside the texts (0.9.75), with malloc's own. */
#define RESPONSE_BYTES 288
#define HEADER_BYTES 112

bool prepared_stamp(struct http_prepared *prepared, struct view stamp)
{
    char text[HTTP_STAMP_MAX + 1];

    if (stamp.len == prepared->stamp_len) {
        memcpy(prepared->stamp, stamp.at, stamp.len);
        return true;
    }
    if (stamp.len > HTTP_STAMP_MAX)
        return false;
    memcpy(text, stamp.at, stamp.len);
    text[stamp.len] = '\0';
    if (prepared->stamp && MHD_del_response_header(prepared->made, prepared->stamped, prepared->stamp) != MHD_YES)
        return false;
    prepared->stamp = NULL;
    prepared->stamp_len = 0;
    if (MHD_add_response_header(prepared->made, prepared->stamped, text) != MHD_YES)
        return false;
    /* The value in the answer itself. The const is a promise to others than whoever made the answer. */
    prepared->stamp = (char *)(uintptr_t)MHD_get_response_header(prepared->made, prepared->stamped);
    prepared->stamp_len = stamp.len;
    return prepared->stamp != NULL;
}

bool prepared_close(struct http_prepared *prepared)
{
    if (!prepared->closes)
        prepared->closes = MHD_add_response_header(prepared->made, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES;
    return prepared->closes;
}

struct http_prepared *http_prepare(const struct http_response *response, const char *stamped)
{
    struct http_prepared *prepared = calloc(1, sizeof(*prepared));

    if (!prepared)
        return NULL;
    prepared->made = exchange_make_response(response, MHD_RESPMEM_MUST_COPY, response->close);
    if (!prepared->made) {
        free(prepared);
        return NULL;
    }
    prepared->status = (unsigned)response->status;
    prepared->closes = response->close;
    prepared->stamped = stamped;
    prepared->bytes = sizeof(*prepared) + RESPONSE_BYTES + response->body.len;
    for (size_t i = 0; i < response->header_count; i++)
        prepared->bytes += HEADER_BYTES + strlen(response->headers[i].name) + strlen(response->headers[i].value);
    return prepared;
}

size_t http_prepared_bytes(const struct http_prepared *prepared)
{
    return prepared->bytes;
}

void http_prepared_free(struct http_prepared *prepared)
{
    if (!prepared)
        return;
    MHD_destroy_response(prepared->made);
    free(prepared);
}
