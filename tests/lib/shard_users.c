#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shard_users.h"

#define USERS_MAX 16
#define PASSWORD_MAX 256

struct user {
    char name[32], password[PASSWORD_MAX], *file;
    struct redis_login login;
};

struct shard_users {
    char *dir, *file;
    struct user users[USERS_MAX];
    unsigned count;
};

static void run(const char *command)
{
    if (system(command) == 0)
        return;
    fprintf(stderr, "shard_users: this failed: %s\n", command);
    abort();
}

void shard_users_render(struct shard_users *users)
{
    char command[2048];

    snprintf(command, sizeof(command), "'%s/deploy/redis/render-users' '%s/passwords' '%s'", SOUK_SOURCE, users->dir, users->file);
    run(command);
}

struct shard_users *shard_users_new(const char *dir)
{
    struct shard_users *users = calloc(1, sizeof(*users));
    char command[2048];

    if (!users)
        abort();
    if (asprintf(&users->dir, "%s", dir) < 0 || asprintf(&users->file, "%s/users.acl", dir) < 0)
        abort();
    snprintf(command, sizeof(command),
             "exec >/dev/null && cd '%s/deploy/redis' && ./make-passwords '%s/passwords' && ./make-passwords '%s/passwords' souk-admin souk-replica",
             SOUK_SOURCE, dir, dir);
    run(command);
    shard_users_render(users);
    return users;
}

void shard_users_free(struct shard_users *users)
{
    for (unsigned i = 0; i < users->count; i++)
        free(users->users[i].file);
    free(users->dir);
    free(users->file);
    free(users);
}

void shard_users_remove(struct shard_users *users)
{
    char command[2048];

    snprintf(command, sizeof(command), "rm -rf '%s/passwords' '%s'", users->dir, users->file);
    run(command);
    shard_users_free(users);
}

const char *shard_users_file(const struct shard_users *users)
{
    return users->file;
}

static void read_password(struct user *user)
{
    FILE *file = fopen(user->file, "r");

    if (!file || !fgets(user->password, sizeof(user->password), file)) {
        fprintf(stderr, "shard_users: there is no password in %s\n", user->file);
        abort();
    }
    fclose(file);
    user->password[strcspn(user->password, "\n")] = '\0';
}

static struct user *user_of(struct shard_users *users, const char *name)
{
    struct user *user;

    for (unsigned i = 0; i < users->count; i++)
        if (strcmp(users->users[i].name, name) == 0)
            return &users->users[i];
    if (users->count == USERS_MAX)
        abort();
    user = &users->users[users->count++];
    snprintf(user->name, sizeof(user->name), "%s", name);
    if (asprintf(&user->file, "%s/passwords/%s", users->dir, name) < 0)
        abort();
    read_password(user);
    user->login = (struct redis_login){user->name, user->password};
    return user;
}

const char *shard_users_password_file(struct shard_users *users, const char *name)
{
    return user_of(users, name)->file;
}

const struct redis_login *shard_users_login(struct shard_users *users, const char *name)
{
    return &user_of(users, name)->login;
}
