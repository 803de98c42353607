#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "hash.h"

#include "topology.h"

#define POINTS_PER_WEIGHT 160
#define WEIGHT_MAX 100

/*
 * One point of the ring. Points are ordered by place and, should two places ever be equal, by the shard's name: the ring then does not depend on
 * the order in which the shards are listed.
 */
struct point {
    uint64_t place;
    const char *name;
    unsigned shard;
};

static const char *refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Puts the sentence into this thread's buffer, which is valid until the thread's next refusal. */
static const char *refuse(const char *format, ...)
{
    static _Thread_local char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return text;
}

/* Cuts ${rest} at the first ${mark}: returns what stands before it and leaves what stands behind it. Without a mark all is returned. */
static struct view cut(struct view *rest, char mark)
{
    const char *found = memchr(rest->at, mark, rest->len);
    struct view head = *rest;

    if (found) {
        head.len = (size_t)(found - rest->at);
        *rest = (struct view){found + 1, rest->len - head.len - 1};
    } else {
        *rest = (struct view){rest->at + rest->len, 0};
    }
    return head;
}

static bool name_acceptable(struct view name)
{
    if (name.len == 0 || name.len >= sizeof(((struct shard_address *)0)->name))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    return true;
}

static bool int_between(struct view text, long long least, long long most, int *out)
{
    long long number;

    if (!view_to_int(text, &number) || number < least || number > most)
        return false;
    *out = (int)number;
    return true;
}

/* Cuts "host:port" at its last colon, because an IPv6 address has colons of its own; brackets around it are taken off. */
static bool split_address(struct view address, struct view *host, struct view *port)
{
    const char *colon = memrchr(address.at, ':', address.len);

    if (!colon)
        return false;
    *host = (struct view){address.at, (size_t)(colon - address.at)};
    *port = (struct view){colon + 1, address.len - host->len - 1};
    if (host->len >= 2 && host->at[0] == '[' && host->at[host->len - 1] == ']')
        *host = (struct view){host->at + 1, host->len - 2};
    return host->len > 0 && host->len < sizeof(((struct shard_address *)0)->host) && !memchr(host->at, ' ', host->len);
}

/* Reads one "name=host:port[*weight]". Returns NULL if it is fine, else the sentence that says what is wrong. */
static const char *read_shard(struct view part, struct shard_address *shard)
{
    struct view rest = part, name = cut(&rest, '='), address = cut(&rest, '*'), host, port;
    bool weighted = address.at + address.len < part.at + part.len;

    if (!name_acceptable(name))
        return refuse("shard \"%.*s\": its name must be 1 to 63 letters, digits, '-', '_' or '.', then '=' and its address", VIEW_ARG(part));
    if (!split_address(address, &host, &port))
        return refuse("shard \"%.*s\": behind the '=' must stand host:port", VIEW_ARG(part));
    if (!int_between(port, 1, 65535, &shard->port))
        return refuse("shard \"%.*s\": \"%.*s\" is not a port from 1 to 65535", VIEW_ARG(part), VIEW_ARG(port));
    shard->weight = 1;
    if (weighted && !int_between(rest, 1, WEIGHT_MAX, &shard->weight))
        return refuse("shard \"%.*s\": \"%.*s\" is not a weight from 1 to %d", VIEW_ARG(part), VIEW_ARG(rest), WEIGHT_MAX);
    memcpy(shard->name, name.at, name.len);
    memcpy(shard->host, host.at, host.len);
    return NULL;
}

/* Two shards of one name, or at one address, would be the same one. */
static const char *check_twice(const struct topology *topology, const struct shard_address *shard)
{
    for (unsigned i = 0; i < topology->shard_count; i++) {
        const struct shard_address *other = &topology->shards[i];

        if (strcmp(other->name, shard->name) == 0)
            return refuse("shard \"%s\" is listed twice", shard->name);
        if (other->port == shard->port && strcmp(other->host, shard->host) == 0)
            return refuse("shards \"%s\" and \"%s\" have the same address %s:%d", other->name, shard->name, shard->host, shard->port);
    }
    return NULL;
}

static const char *read_shards(struct topology *topology, struct view rest)
{
    const char *error = NULL;
    bool more = true;

    while (more && !error) {
        struct view part = cut(&rest, ',');
        struct shard_address *shard = &topology->shards[topology->shard_count];

        more = part.at + part.len != rest.at + rest.len;
        if (topology->shard_count == SHARDS_MAX)
            return refuse("there are more than %d shards", SHARDS_MAX);
        error = read_shard(part, shard);
        if (!error)
            error = check_twice(topology, shard);
        topology->shard_count++;
    }
    return error;
}

static int compare_points(const void *left, const void *right)
{
    const struct point *a = left, *b = right;

    if (a->place != b->place)
        return a->place < b->place ? -1 : 1;
    return strcmp(a->name, b->name);
}

static unsigned total_weight(const struct topology *topology)
{
    unsigned total = 0;

    for (unsigned i = 0; i < topology->shard_count; i++)
        total += (unsigned)topology->shards[i].weight;
    return total;
}

static struct point *make_points(const struct topology *topology, size_t *count)
{
    struct point *points = malloc(sizeof(*points) * total_weight(topology) * POINTS_PER_WEIGHT), *point = points;

    if (!points)
        return NULL;
    for (unsigned i = 0; i < topology->shard_count; i++) {
        const struct shard_address *shard = &topology->shards[i];

        for (int replica = 0; replica < shard->weight * POINTS_PER_WEIGHT; replica++) {
            char text[sizeof(shard->name) + 16];
            int len = snprintf(text, sizeof(text), "%s#%d", shard->name, replica);

            *point++ = (struct point){hash128((struct view){text, (size_t)len}, 0).high, shard->name, i};
        }
    }
    *count = (size_t)(point - points);
    qsort(points, *count, sizeof(*points), compare_points);
    return points;
}

/* The index of the first point at or behind ${place}, clockwise. */
static size_t first_point(const struct point *points, size_t count, uint64_t place)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (points[middle].place < place)
            low = middle + 1;
        else
            high = middle;
    }
    return low % count;
}

/* Room that is left on each shard: 1.1 x its weighted share of the partitions, rounded up; the sum is never below their number. */
static void measure_room(const struct topology *topology, unsigned room[SHARDS_MAX])
{
    uint64_t total = (uint64_t)total_weight(topology) * 10;

    for (unsigned i = 0; i < topology->shard_count; i++) {
        uint64_t share = (uint64_t)topology->partitions * (unsigned)topology->shards[i].weight * 11;

        room[i] = (unsigned)((share + total - 1) / total);
    }
}

static void place_partitions(struct topology *topology, const struct point *points, size_t count)
{
    unsigned room[SHARDS_MAX];

    measure_room(topology, room);
    for (unsigned partition = 0; partition < topology->partitions; partition++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "%u", partition);
        size_t at = first_point(points, count, hash128((struct view){text, (size_t)len}, 0).high);

        while (room[points[at].shard] == 0)
            at = (at + 1) % count;
        topology->owner[partition] = (uint16_t)points[at].shard;
        room[points[at].shard]--;
    }
}

/* Fills the table of owners. Returns false if memory is short. */
static bool build_ring(struct topology *topology)
{
    struct point *points;
    size_t count;

    topology->owner = calloc(topology->partitions, sizeof(*topology->owner));
    points = make_points(topology, &count);
    if (topology->owner && points)
        place_partitions(topology, points, count);
    free(points);
    return topology->owner && points;
}

struct topology *topology_new(const char *shards, int partitions, long epoch, const char **error)
{
    struct topology *topology = calloc(1, sizeof(*topology));

    *error = NULL;
    if (!topology)
        *error = refuse("no memory for the ring");
    else if (partitions < 1 || partitions > PARTITIONS_MAX || (partitions & (partitions - 1)) != 0)
        *error = refuse("the number of partitions is %d; it must be a power of two from 1 to %d", partitions, PARTITIONS_MAX);
    else if (epoch < 1)
        *error = refuse("the ring's epoch is %ld; it must be 1 or more", epoch);
    else
        *error = read_shards(topology, view_of(shards ? shards : ""));
    if (*error)
        goto refused;
    topology->partitions = (unsigned)partitions;
    topology->epoch = epoch;
    if (!build_ring(topology)) {
        *error = refuse("no memory for the ring");
        goto refused;
    }
    return topology;

refused:
    topology_free(topology);
    return NULL;
}

void topology_free(struct topology *topology)
{
    if (topology) {
        free(topology->owner);
        free(topology);
    }
}

unsigned topology_partition_of_text(const struct topology *topology, struct view text)
{
    return hash32(text, 0) & (topology->partitions - 1);
}

struct view topology_partitions_of(const struct topology *topology, unsigned shard, unsigned from, struct arena *arena)
{
    struct buffer list = {.arena = arena};
    for (unsigned i = 0; i < topology->partitions; i++) {
        unsigned p = (from + i) % topology->partitions;
        if (topology->owner[p] != shard)
            continue;
        if (list.len)
            buffer_add(&list, ",", 1);
        buffer_add_int(&list, p);
    }
    return buffer_view(&list);
}
