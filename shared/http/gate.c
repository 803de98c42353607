#include <strings.h>

#include "gate.h"

#define PATH_MAX_BYTES 2048
/* Ten digits hold any body we would take and fit every integer on the way. */
#define LENGTH_DIGITS_MAX 10
/* More than libmicrohttpd's struct for a header, a query parameter or a cookie (56 bytes in 0.9.75). */
#define INDEX_ENTRY 64

/* In order of precedence: what makes the request's end uncertain comes before what is merely too much. */
enum fault {
    FAULT_VERSION,
    FAULT_TARGET_START,
    FAULT_TARGET_BYTES,
    FAULT_TARGET_NUL,
    FAULT_HEADER_NAME,
    FAULT_HEADER_VALUE,
    FAULT_HOST,
    FAULT_AUTHORIZATION_TWICE,
    FAULT_TWO_FRAMINGS,
    FAULT_LENGTH_TWICE,
    FAULT_LENGTH_DIGITS,
    FAULT_CODING,
    FAULT_CODING_OLD,
    FAULT_BODY_UNEXPECTED,
    FAULT_METHOD,
    FAULT_PATH_LONG,
    FAULT_HEAD_LARGE,
    FAULT_INDEX_LARGE,
    FAULT_BODY_LARGE,
    FAULT_COUNT
};

static const struct gate_verdict verdicts[FAULT_COUNT] = {
    [FAULT_VERSION] = {400, "The HTTP version must be 1.1 or 1.0."},
    [FAULT_TARGET_START] = {400, "The request target must be a path that begins with '/'."},
    [FAULT_TARGET_BYTES] = {400, "The request target holds a byte that is not visible ASCII; percent-encode it."},
    [FAULT_TARGET_NUL] = {400, "The path holds %00, which names nothing."},
    [FAULT_HEADER_NAME] = {400, "A header's name is not a token, or a space stands before its colon."},
    [FAULT_HEADER_VALUE] = {400, "A header's value holds a control byte."},
    [FAULT_HOST] = {400, "HTTP/1.1 needs exactly one Host header."},
    [FAULT_AUTHORIZATION_TWICE] = {400, "More than one Authorization was sent."},
    [FAULT_TWO_FRAMINGS] = {400, "Transfer-Encoding and Content-Length exclude each other."},
    [FAULT_LENGTH_TWICE] = {400, "More than one Content-Length was sent."},
    [FAULT_LENGTH_DIGITS] = {400, "Content-Length must be plain digits, at most 10."},
    [FAULT_CODING] = {400, "The only Transfer-Encoding understood is one 'chunked'."},
    [FAULT_CODING_OLD] = {400, "HTTP/1.0 has no Transfer-Encoding."},
    [FAULT_BODY_UNEXPECTED] = {400, "GET, HEAD and DELETE take no body here."},
    [FAULT_METHOD] = {501, "This method is not implemented."},
    [FAULT_PATH_LONG] = {414, "The path is longer than 2048 bytes."},
    [FAULT_HEAD_LARGE] = {431, "The request line and headers are larger than this service takes."},
    [FAULT_INDEX_LARGE] = {431, "The request has more headers, cookies and query parameters than this service takes."},
    [FAULT_BODY_LARGE] = {413, "The body is larger than this service takes."},
};
_Static_assert(FAULT_COUNT <= 32, "a fault is a bit of struct gate's faults");

static const char *const method_names[METHOD_COUNT] = {
    [METHOD_GET] = "GET",     [METHOD_HEAD] = "HEAD",     [METHOD_POST] = "POST",       [METHOD_PUT] = "PUT",
    [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE", [METHOD_OPTIONS] = "OPTIONS",
};

/* RFC 9110 section 5.6.2: tchar. */
static const bool token_bytes[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1,         ['+'] = 1,         ['-'] = 1,
    ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1,  ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

const char *method_name(enum method method)
{
    return method_names[method];
}

static void note(struct gate *gate, enum fault fault, bool applies)
{
    gate->faults |= (uint32_t)applies << fault;
}

static bool method_find(struct view name, enum method *method)
{
    for (unsigned i = 0; i < METHOD_COUNT; i++) {
        if (view_equal(name, view_of(method_names[i]))) {
            *method = (enum method)i;
            return true;
        }
    }
    return false;
}

struct view gate_path(struct view target)
{
    const char *mark = target.len > 0 ? memchr(target.at, '?', target.len) : NULL;

    return (struct view){target.at, mark ? (size_t)(mark - target.at) : target.len};
}

static size_t count_of(struct view text, char byte)
{
    size_t count = 0;

    for (size_t i = 0; i < text.len; i++)
        count += text.at[i] == byte;
    return count;
}

size_t gate_index_bytes(struct view target)
{
    return gate_path(target).len == target.len ? 0 : (count_of(target, '&') + 1) * INDEX_ENTRY;
}

static bool holds_nul_escape(struct view path)
{
    return path.len > 0 && memmem(path.at, path.len, "%00", 3) != NULL;
}

static bool all_visible(struct view text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < '!' || text.at[i] > '~')
            return false;
    return true;
}

static bool is_token(struct view name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!token_bytes[(unsigned char)name.at[i]])
            return false;
    return name.len > 0;
}

static bool holds_control(struct view value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char byte = (unsigned char)value.at[i];

        if ((byte < ' ' && byte != '\t') || byte == 0x7F)
            return true;
    }
    return false;
}

static bool same_name(struct view name, struct view want)
{
    return name.len == want.len && strncasecmp(name.at, want.at, want.len) == 0;
}

void gate_open(struct gate *gate, struct gate_limits limits, struct view method, struct view target, struct view version, struct view *known)
{
    struct view path = gate_path(target);

    *gate = (struct gate){
        .limits = limits,
        .old_version = view_equal(version, VIEW("HTTP/1.0")),
        .head_bytes = method.len + target.len + version.len + sizeof("  \r\n\r\n") - 1,
        .index_bytes = gate_index_bytes(target),
        .known = known,
    };
    note(gate, FAULT_VERSION, !gate->old_version && !view_equal(version, VIEW("HTTP/1.1")));
    note(gate, FAULT_METHOD, !method_find(method, &gate->method));
    note(gate, FAULT_TARGET_START, path.len == 0 || path.at[0] != '/');
    note(gate, FAULT_TARGET_BYTES, !all_visible(target));
    note(gate, FAULT_TARGET_NUL, holds_nul_escape(path));
    note(gate, FAULT_PATH_LONG, path.len > PATH_MAX_BYTES);
}

static const struct view known_names[HTTP_KNOWN_COUNT] = {
    [HTTP_ACCEPT] = {"Accept", 6},
    [HTTP_AUTHORIZATION] = {"Authorization", 13},
    [HTTP_CACHE_CONTROL] = {"Cache-Control", 13},
    [HTTP_CONTENT_TYPE] = {"Content-Type", 12},
    [HTTP_IDEMPOTENCY_KEY] = {"Idempotency-Key", 15},
    [HTTP_IF_MATCH] = {"If-Match", 8},
    [HTTP_IF_NONE_MATCH] = {"If-None-Match", 13},
    [HTTP_PREFER] = {"Prefer", 6},
    [HTTP_TRACEPARENT] = {"traceparent", 11},
    [HTTP_X_REQUEST_ID] = {"X-Request-Id", 12},
};

static void pick_out(struct gate *gate, struct view name, struct view value)
{
    for (unsigned i = 0; i < HTTP_KNOWN_COUNT; i++) {
        if (same_name(name, known_names[i])) {
            note(gate, FAULT_AUTHORIZATION_TWICE, i == HTTP_AUTHORIZATION && gate->known[i].at); /* a proxy may have looked at the other one */
            if (!gate->known[i].at)
                gate->known[i] = value;
            return;
        }
    }
}

static void got_length(struct gate *gate, struct view value)
{
    uint64_t length = 0;
    bool digits = value.len > 0 && value.len <= LENGTH_DIGITS_MAX;

    for (size_t i = 0; digits && i < value.len; i++) {
        digits = value.at[i] >= '0' && value.at[i] <= '9';
        length = length * 10 + (uint64_t)(value.at[i] - '0');
    }
    gate->lengths++;
    gate->length = digits ? length : 0;
    note(gate, FAULT_LENGTH_DIGITS, !digits);
    note(gate, FAULT_BODY_LARGE, digits && length > gate->limits.body_max);
}

static void got_coding(struct gate *gate, struct view value)
{
    gate->codings++;
    gate->chunked = view_equal(value, VIEW("chunked"));
    note(gate, FAULT_CODING, !gate->chunked);
}

void gate_header(struct gate *gate, struct view name, struct view value)
{
    gate->head_bytes += name.len + value.len + sizeof(": \r\n") - 1;
    gate->index_bytes += INDEX_ENTRY;
    note(gate, FAULT_HEADER_NAME, !is_token(name));
    note(gate, FAULT_HEADER_VALUE, holds_control(value));
    if (same_name(name, VIEW("Host")))
        gate->hosts++;
    else if (same_name(name, VIEW("Content-Length")))
        got_length(gate, value);
    else if (same_name(name, VIEW("Transfer-Encoding")))
        got_coding(gate, value);
    else if (same_name(name, VIEW("Cookie")))
        gate->index_bytes += value.len + (count_of(value, ';') + 1) * INDEX_ENTRY;
    else
        pick_out(gate, name, value);
}

struct gate_verdict gate_close(struct gate *gate)
{
    bool bodiless = gate->method == METHOD_GET || gate->method == METHOD_HEAD || gate->method == METHOD_DELETE;

    note(gate, FAULT_HOST, gate->hosts > 1 || (gate->hosts == 0 && !gate->old_version));
    note(gate, FAULT_TWO_FRAMINGS, gate->lengths > 0 && gate->codings > 0);
    note(gate, FAULT_LENGTH_TWICE, gate->lengths > 1);
    note(gate, FAULT_CODING, gate->codings > 1);
    note(gate, FAULT_CODING_OLD, gate->codings > 0 && gate->old_version);
    /* An unknown method leaves ${method} at GET; it is not to be blamed by GET's rule. */
    note(gate, FAULT_BODY_UNEXPECTED, bodiless && !(gate->faults & 1u << FAULT_METHOD) && (gate->codings > 0 || gate->length > 0));
    note(gate, FAULT_HEAD_LARGE, gate->head_bytes > gate->limits.headers_max);
    note(gate, FAULT_INDEX_LARGE, gate->index_bytes > gate->limits.index_max);
    if (gate->faults == 0)
        return (struct gate_verdict){0, NULL};
    return verdicts[__builtin_ctz(gate->faults)];
}
