#ifndef OUTCOME_H
#define OUTCOME_H

#include <stdbool.h>

/*
 * An outcome a client can meet, one row each: its code and title (RFC 9457), its HTTP status, whether the same request may be sent again,
 * and after how many seconds. Domain outcomes are rows of the same kind in shop/outcomes.
 */
struct outcome {
    const char *code, *title;
    int status;
    bool retryable;
    int retry_after_s; /* 0: no Retry-After */
};

#define OUTCOMES_COMMON(ROW) \
    ROW(BAD_REQUEST, "bad_request", "The request could not be understood", 400, false, 0) \
    ROW(KEY_MISSING, "idempotency_key_missing", "An Idempotency-Key header is needed", 400, false, 0) \
    ROW(NO_CALLER, "unauthorized", "A token of a known caller is needed", 401, false, 0) \
    ROW(NO_SCOPE, "scope_missing", "This caller may not do this", 403, false, 0) \
    ROW(OTHER_BUYER, "other_buyer", "This caller acts for another buyer", 403, false, 0) \
    ROW(NOT_FOUND, "not_found", "There is no such thing here", 404, false, 0) \
    ROW(METHOD, "method_not_allowed", "This method is not for this path", 405, false, 0) \
    ROW(NOT_ACCEPTABLE, "not_acceptable", "None of the accepted formats can be made", 406, false, 0) \
    ROW(TIMEOUT, "request_timeout", "The request did not arrive in time", 408, true, 0) \
    ROW(STALE, "precondition_failed", "The record has changed meanwhile", 412, false, 0) \
    ROW(TOO_LARGE, "content_too_large", "The body is too large", 413, false, 0) \
    ROW(URI_TOO_LONG, "uri_too_long", "The path is too long", 414, false, 0) \
    ROW(MEDIA_TYPE, "unsupported_media_type", "The body's format is not one we read", 415, false, 0) \
    ROW(UNPROCESSABLE, "unprocessable", "The request is well-formed but not acceptable", 422, false, 0) \
    ROW(KEY_REUSED, "idempotency_key_reused", "The Idempotency-Key belongs to another request", 422, false, 0) \
    ROW(KEY_IN_FLIGHT, "idempotency_in_flight", "The first request with this key is still running", 409, true, 1) \
    ROW(PRECONDITION_MISSING, "precondition_required", "An If-Match header is needed", 428, false, 0) \
    ROW(TOO_MANY, "too_many_requests", "This caller sends more requests than it may", 429, true, 1) \
    ROW(HEADERS_TOO_LARGE, "headers_too_large", "The header section is too large", 431, false, 0) \
    ROW(BROKEN, "internal_error", "A record or an answer made no sense to this worker", 500, false, 0) \
    ROW(NOT_IMPLEMENTED, "not_implemented", "This method or coding is not known here", 501, false, 0) \
    ROW(SHARD_DOWN, "shard_unavailable", "The shard that holds this record does not answer", 503, true, 1) \
    ROW(UNKNOWN, "outcome_unknown", "It may or may not have been done; send the same request with the same key again", 503, true, 1) \
    ROW(OVERLOADED, "overloaded", "This worker has too much to do", 503, true, 1) \
    ROW(DRAINING, "draining", "This worker is stopping", 503, true, 1) \
    ROW(DEADLINE, "deadline_exceeded", "It was not done in time and has had no effect", 504, true, 1)

#define OUTCOME_DECLARE(name, code, title, status, retryable, after) extern const struct outcome OUTCOME_##name;
OUTCOMES_COMMON(OUTCOME_DECLARE)

#endif
