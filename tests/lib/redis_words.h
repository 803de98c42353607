#ifndef REDIS_WORDS_H
#define REDIS_WORDS_H

#include <hiredis/hiredis.h>
#include <stdarg.h>

#include <cmocka.h>

/*
 * For a test that looks at hiredis' own answers (redis_cmd gives texts): one command in words, as redisvCommand takes them; no answer and an error
 * fail the test.
 */
static inline redisReply *redis_words(redisContext *link, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(link, format, args);
    va_end(args);
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", format, reply ? reply->str : link->errstr);
    return reply;
}

#endif
