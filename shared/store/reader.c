#include <hiredis/hiredis.h>

#include "arena.h"

#include "reader.h"

/* An arena that has given out this much is replaced when its answer is done with. */
#define ARENA_USED_MAX (8 * 1024)
/* More items than any answer of ours has; a count above it is garbage, and hiredis reports it as lack of memory. */
#define ITEMS_MAX (1024 * 1024)

/*
 * What hiredis holds as an answer. It looks into answers that nobody asked for, as if they were its own redisReply: at the type, and at the text
 * of an error (the server's reason for turning us away). So ours begins with one, in which these two are filled in.
 */
struct received {
    redisReply seen;
    struct item item;
    struct reader *reader;
};

/* Only the outermost node is a struct received, and only that is ever looked at or freed by hiredis. The items of a list lie side by side in it. */
static struct item *list_of(const redisReadTask *task)
{
    return task->parent ? task->obj : &((struct received *)task->obj)->item;
}

/* Where the item of ${task} belongs, its type set. */
static struct item *place(const redisReadTask *task, enum item_type type)
{
    struct reader *reader = task->privdata;
    struct item *item;

    if (task->parent) {
        item = &list_of(task->parent)->items[task->idx];
    } else {
        struct received *received = ARENA_NEW(reader->arena, struct received);

        received->reader = reader;
        item = &received->item;
    }
    item->type = type;
    return item;
}

/* What hiredis gets for ${item}: a handle that it gives back as ${obj} to the children, or as the whole answer. */
static void *handle(const redisReadTask *task, struct item *item, int seen_type)
{
    struct received *received;

    if (task->parent)
        return item;
    received = (struct received *)(void *)((char *)item - offsetof(struct received, item));
    received->seen.type = seen_type;
    received->seen.str = (char *)item->text.at;
    received->seen.len = item->text.len;
    return received;
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    struct reader *reader = task->privdata;
    struct item *item = place(task, task->type == REDIS_REPLY_ERROR ? ITEM_ERROR : ITEM_TEXT);

    item->text = arena_copy(reader->arena, (struct view){text, len}); /* hiredis moves its buffer as it reads on */
    return handle(task, item, task->type);
}

static void *create_list(const redisReadTask *task, size_t count)
{
    struct reader *reader = task->privdata;
    struct item *item;

    if (count > ITEMS_MAX)
        return NULL;
    item = place(task, ITEM_LIST);
    item->items = ARENA_ARRAY(reader->arena, struct item, count);
    item->count = count;
    return handle(task, item, REDIS_REPLY_ARRAY);
}

static void *create_integer(const redisReadTask *task, long long integer)
{
    struct item *item = place(task, ITEM_INT);

    item->integer = integer;
    return handle(task, item, REDIS_REPLY_INTEGER);
}

static void *create_nil(const redisReadTask *task)
{
    return handle(task, place(task, ITEM_NIL), REDIS_REPLY_NIL);
}

/* Called when a callback has seen the answer, and for the part of one that an error cut off. */
static void free_received(void *cookie)
{
    struct received *received = cookie;
    struct reader *reader = received->reader;

    if (arena_used(reader->arena) > ARENA_USED_MAX) {
        arena_free(reader->arena);
        reader->arena = arena_new();
    }
}

#if HIREDIS_MAJOR >= 1
/* These two types exist in RESP3 only, which we do not ask for; they are here so that a confused server cannot crash us. */
static void *create_double(const redisReadTask *task, double number, char *text, size_t len)
{
    return create_string(task, text, len);
}

static void *create_bool(const redisReadTask *task, int truth)
{
    return create_integer(task, truth);
}

static const redisReplyObjectFunctions FUNCTIONS = {
    .createString = create_string,
    .createArray = create_list,
    .createInteger = create_integer,
    .createDouble = create_double,
    .createNil = create_nil,
    .createBool = create_bool,
    .freeObject = free_received,
};
#else
static void *create_list_of_int(const redisReadTask *task, int count)
{
    return create_list(task, (size_t)count);
}

static const redisReplyObjectFunctions FUNCTIONS = {
    .createString = create_string,
    .createArray = create_list_of_int,
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = free_received,
};
#endif

void reader_init(struct reader *reader)
{
    reader->arena = arena_new();
}

void reader_attach(struct reader *reader, struct redisReader *of_connection)
{
    of_connection->fn = (redisReplyObjectFunctions *)&FUNCTIONS; /* hiredis never writes to it */
    of_connection->privdata = reader;
}

const struct item *reader_root(const void *received)
{
    return &((const struct received *)received)->item;
}

void reader_free(struct reader *reader)
{
    arena_free(reader->arena);
    reader->arena = NULL;
}
