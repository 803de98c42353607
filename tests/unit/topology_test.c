#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "topology.h"

static struct topology *make(const char *shards, int partitions)
{
    const char *error;
    struct topology *topology = topology_new(shards, partitions, 1, &error);

    if (!topology)
        fail_msg("%s: %s", shards, error);
    return topology;
}

/* "s1=h1:1,s2=h2:1,…" with ${count} shards. */
static char *list_of(unsigned count)
{
    char *list = calloc(count, 64), *at = list;

    for (unsigned i = 1; i <= count; i++)
        at += sprintf(at, "%ss%u=h%u:1", i > 1 ? "," : "", i, i);
    return list;
}

static const struct {
    const char *name, *shards;
    int partitions;
    long epoch;
    const char *error; /* a part of it; NULL: acceptable */
} cases[] = {
    {"one shard", "s1=127.0.0.1:6379", 256, 1, NULL},
    {"a weight", "s1=127.0.0.1:6379*3,s2=db.example:1*100", 256, 7, NULL},
    {"an IPv6 address", "s1=[::1]:6379,s2=::2:6379", 256, 1, NULL},
    {"all characters of a name", "aZ0-_.=h:65535", 1, 1, NULL},
    {"the largest P", "s=h:1", 16384, 1, NULL},
    {"more shards than partitions", "a=h:1,b=h:2,c=h:3", 2, 1, NULL},
    {"nothing", "", 256, 1, "shard \"\": its name"},
    {"missing", NULL, 256, 1, "shard \"\": its name"},
    {"a comma at the end", "s=h:1,", 256, 1, "shard \"\": its name"},
    {"a comma at the begin", ",s=h:1", 256, 1, "shard \"\": its name"},
    {"no name", "=h:1", 256, 1, "its name must be"},
    {"no address", "s1", 256, 1, "must stand host:port"},
    {"no port", "s1=h", 256, 1, "must stand host:port"},
    {"an empty port", "s1=h:", 256, 1, "\"\" is not a port"},
    {"no host", "s1=:6379", 256, 1, "must stand host:port"},
    {"port 0", "s1=h:0", 256, 1, "\"0\" is not a port"},
    {"port 65536", "s1=h:65536", 256, 1, "\"65536\" is not a port"},
    {"a negative port", "s1=h:-1", 256, 1, "\"-1\" is not a port"},
    {"weight 0", "s1=h:1*0", 256, 1, "\"0\" is not a weight"},
    {"weight 101", "s1=h:1*101", 256, 1, "\"101\" is not a weight"},
    {"no weight behind the star", "s1=h:1*", 256, 1, "\"\" is not a weight"},
    {"a name with a space", "s 1=h:1", 256, 1, "its name must be"},
    {"a host with a space", "s1=h :1", 256, 1, "must stand host:port"},
    {"a name twice", "s1=h:1,s1=h:2", 256, 1, "\"s1\" is listed twice"},
    {"an address twice", "s1=h:1,s2=h:1", 256, 1, "have the same address h:1"},
    {"P 0", "s=h:1", 0, 1, "number of partitions is 0"},
    {"P negative", "s=h:1", -256, 1, "number of partitions is -256"},
    {"P no power of two", "s=h:1", 255, 1, "number of partitions is 255"},
    {"P too large", "s=h:1", 32768, 1, "number of partitions is 32768"},
    {"epoch 0", "s=h:1", 256, 0, "epoch is 0"},
    {"epoch negative", "s=h:1", 256, -1, "epoch is -1"},
};

static void test_what_is_acceptable(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *error = "untouched";
        struct topology *topology = topology_new(cases[i].shards, cases[i].partitions, cases[i].epoch, &error);

        if (!cases[i].error != !!topology || (topology ? error != NULL : !strstr(error, cases[i].error)))
            fail_msg("%s: %s", cases[i].name, error ? error : "accepted");
        topology_free(topology);
    }
}

static void test_lengths_at_their_limits(void **state)
{
    char text[512];
    const char *error;
    struct topology *topology;

    snprintf(text, sizeof(text), "%063d=%0255d:1", 0, 0);
    topology = make(text, 16);
    assert_int_equal(strlen(topology->shards[0].name), 63);
    assert_int_equal(strlen(topology->shards[0].host), 255);
    topology_free(topology);
    snprintf(text, sizeof(text), "%064d=h:1", 0);
    assert_null(topology_new(text, 16, 1, &error));
    snprintf(text, sizeof(text), "s=%0256d:1", 0);
    assert_null(topology_new(text, 16, 1, &error));
}

static void test_the_most_shards(void **state)
{
    char *list = list_of(SHARDS_MAX), *longer = list_of(SHARDS_MAX + 1);
    const char *error;
    struct topology *topology = make(list, PARTITIONS_MAX);

    assert_int_equal(topology->shard_count, SHARDS_MAX);
    assert_null(topology_new(longer, PARTITIONS_MAX, 1, &error));
    assert_non_null(strstr(error, "more than 256"));
    topology_free(topology);
    free(list);
    free(longer);
}

static void test_parts_are_read(void **state)
{
    struct topology *topology = make("a=10.0.0.1:6379,b=[fe80::1]:7000*5", 64);

    assert_int_equal(topology->shard_count, 2);
    assert_int_equal(topology->partitions, 64);
    assert_int_equal(topology->epoch, 1);
    assert_string_equal(topology->shards[0].name, "a");
    assert_string_equal(topology->shards[0].host, "10.0.0.1");
    assert_int_equal(topology->shards[0].port, 6379);
    assert_int_equal(topology->shards[0].weight, 1);
    assert_string_equal(topology->shards[1].host, "fe80::1");
    assert_int_equal(topology->shards[1].port, 7000);
    assert_int_equal(topology->shards[1].weight, 5);
    topology_free(topology);
}

static const struct {
    const char *shards;
    int partitions;
} rings[] = {
    {"s1=h1:1", 256},
    {"s1=h1:1,s2=h2:1", 256},
    {"s1=h1:1,s2=h2:1,s3=h3:1", 256},
    {"s1=h1:1,s2=h2:1,s3=h3:1,s4=h4:1,s5=h5:1,s6=h6:1,s7=h7:1", 16384},
    {"s1=h1:1,s2=h2:1*2,s3=h3:1*7", 1024},
    {"s1=h1:1,s2=h2:1*100", 16384},
    {"s1=h1:1,s2=h2:1,s3=h3:1", 1},
};

/* No shard holds more than 1.1 x its weighted share, rounded up. */
static void test_loads_are_bounded(void **state)
{
    for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
        struct topology *topology = make(rings[i].shards, rings[i].partitions);
        unsigned held[SHARDS_MAX] = {0};
        double weights = 0;

        for (unsigned p = 0; p < topology->partitions; p++) {
            assert_true(topology->owner[p] < topology->shard_count);
            held[topology->owner[p]]++;
        }
        for (unsigned s = 0; s < topology->shard_count; s++)
            weights += topology->shards[s].weight;
        for (unsigned s = 0; s < topology->shard_count; s++)
            assert_true(held[s] < 1.1 * topology->partitions * topology->shards[s].weight / weights + 1);
        topology_free(topology);
    }
}

static void test_order_of_the_list_does_not_matter(void **state)
{
    struct topology *one = make("a=h:1,b=h:2*3,c=h:3", 4096), *other = make("c=h:3,a=h:1,b=h:2*3", 4096);

    for (unsigned p = 0; p < 4096; p++)
        assert_string_equal(one->shards[one->owner[p]].name, other->shards[other->owner[p]].name);
    topology_free(one);
    topology_free(other);
}

/* A shard more moves about its share; the bound lets a little more follow. */
static void test_adding_a_shard_moves_little(void **state)
{
    for (unsigned count = 1; count <= 32; count *= 2) {
        char *fewer = list_of(count), *more = list_of(count + 1);
        struct topology *before = make(fewer, 4096), *after = make(more, 4096);
        unsigned moved = 0;

        for (unsigned p = 0; p < 4096; p++)
            moved += before->owner[p] != after->owner[p];
        assert_true(moved > 0);
        if (moved > 2 * 4096 / (count + 1))
            fail_msg("%u of 4096 partitions moved from %u to %u shards", moved, count, count + 1);
        topology_free(before);
        topology_free(after);
        free(fewer);
        free(more);
    }
}

/* Where a partition lives is stored in data: a change of the ring's arithmetic would lose it. */
static void test_the_ring_stays_as_it_is(void **state)
{
    struct topology *topology = make("s1=h1:1,s2=h2:1,s3=h3:1", 16);
    char owners[17] = {0};

    for (unsigned p = 0; p < 16; p++)
        owners[p] = (char)('1' + topology->owner[p]);
    assert_string_equal(owners, "1323311222212333");
    assert_int_equal(topology_partition_of_text(topology, VIEW("user-1")), 3);
    topology_free(topology);
}

static void test_partitions_of_ids_and_texts(void **state)
{
    struct topology *topology = make("s=h:1", 256);

    assert_int_equal(topology_partition_of_id(topology, 0), 0);
    assert_int_equal(topology_partition_of_id(topology, 4369), 4369 % 256);
    assert_int_equal(topology_partition_of_id(topology, INT64_C(9007199254740991)), 255);
    assert_true(topology_partition_of_text(topology, VIEW("")) < 256);
    assert_int_equal(topology_partition_of_text(topology, VIEW("buyer")), topology_partition_of_text(topology, VIEW("buyer")));
    topology_free(topology);
    topology_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_acceptable),
        cmocka_unit_test(test_lengths_at_their_limits),
        cmocka_unit_test(test_the_most_shards),
        cmocka_unit_test(test_parts_are_read),
        cmocka_unit_test(test_loads_are_bounded),
        cmocka_unit_test(test_order_of_the_list_does_not_matter),
        cmocka_unit_test(test_adding_a_shard_moves_little),
        cmocka_unit_test(test_the_ring_stays_as_it_is),
        cmocka_unit_test(test_partitions_of_ids_and_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
