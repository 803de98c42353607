#ifndef SETUP_INTERNAL_H
#define SETUP_INTERNAL_H

#include "setup.h"

struct redisContext;
struct redisReply;

/* What setup.c, founding.c and prune.c share. Each sentence stays until the next one. */

/* The names of libraries that were loaded, each with the shard's time in ms. */
#define LIBRARIES_KEY "souk:libraries"

const char *setup_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A connection, logged in; NULL: *error says why not. Ended by redisFree. */
struct redisContext *setup_connect(const struct store_settings *settings, unsigned shard, const char **error);
/* NULL when ${reply} is there and no error, else the sentence. ${what} was asked. */
const char *setup_check(struct redisContext *context, const struct redisReply *reply, const struct shard_address *address, const char *what);
/* Sends one command whose answer only has to be no error. */
const char *setup_command(struct redisContext *context, const struct shard_address *address, const char *what, int argc, const char **argv);
/* The shard's time in ms; 0: *error says why not. */
int64_t setup_time_ms(struct redisContext *context, const struct shard_address *address, const char **error);

#endif
