#ifndef SHARD_USERS_H
#define SHARD_USERS_H

#include "redis_fixture.h"

/*
 * The users that Souk ships (deploy/redis/users), with passwords of a test's own: made and rendered by the same scripts as anywhere else, into two
 * folders below a directory of the test. What goes wrong prints a sentence and aborts the test.
 */
struct shard_users;

/* ${dir} is there, and stays the caller's. */
struct shard_users *shard_users_new(const char *dir);
void shard_users_free(struct shard_users *users);
/* The same, and removes what was made in ${dir}. */
void shard_users_remove(struct shard_users *users);

/* Makes the file for redis-server anew, of the passwords as they are now. */
void shard_users_render(struct shard_users *users);

/* For redis-server --aclfile. All that is returned here stays valid until shard_users_free. */
const char *shard_users_file(const struct shard_users *users);
/* "…/passwords/souk-order", for SOUK_REDIS_PASSWORD_FILE; the user must be one who has a password. */
const char *shard_users_password_file(struct shard_users *users, const char *name);
/* To log in as him; souk-admin may do everything. */
const struct redis_login *shard_users_login(struct shard_users *users, const char *name);

#endif
