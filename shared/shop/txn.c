#include <stdio.h>
#include <string.h>

#include "value.h"

#include "txn.h"

/* Length first, so that ("ab", "c") and ("a", "bc") differ. */
static void add_part(struct buffer *out, struct view part)
{
    buffer_add_int(out, (long long)part.len);
    buffer_add(out, ":", 1);
    buffer_add_view(out, part);
}

struct txn_key txn_key(struct arena *arena, const struct ask *ask, struct view scope)
{
    struct txn_key key;
    struct buffer name = {.arena = arena}, request = {.arena = arena};
    add_part(&name, ask->caller);
    add_part(&name, scope);
    add_part(&name, ask->key);
    hash128_hex(key.hash, hash128(buffer_view(&name), 0));

    add_part(&request, scope);
    if (ask->document) {
        struct writer writer;
        writer_init(&writer, FORMAT_JSON, arena);
        writer_value(&writer, ask->document);
        add_part(&request, writer_done(&writer));
    }
    snprintf(key.fingerprint, sizeof(key.fingerprint), "%016llx", (unsigned long long)hash128(buffer_view(&request), 1).high);
    return key;
}

struct view txn_name(struct arena *arena, const struct txn_key *key, int64_t attempt)
{
    return arena_printf(arena, "%s.%s.%lld", key->hash, key->fingerprint, (long long)attempt);
}

bool txn_parse(struct view name, struct txn *out)
{
    const size_t head = HASH128_HEX + 1 + FINGERPRINT_HEX + 1;
    if (name.len <= head || name.at[HASH128_HEX] != '.' || name.at[head - 1] != '.')
        return false;
    long long attempt;
    if (!view_to_int((struct view){name.at + head, name.len - head}, &attempt))
        return false;
    out->hash = (struct view){name.at, HASH128_HEX};
    out->fingerprint = (struct view){name.at + HASH128_HEX + 1, FINGERPRINT_HEX};
    out->attempt = attempt;
    return true;
}

unsigned txn_partition(const struct topology *topology, const struct txn_key *key)
{
    return topology_partition_of_text(topology, view_of(key->hash));
}
