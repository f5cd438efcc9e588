// shard/patch.c -- a payload with some of its keys set and some gone.
//
// Shape: handle, in memory. The patch's keys are in a table, so that a payload with many keys is gone through once.
#include "shard/patch.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/msgpack.h"

struct patch_key {
    const uint8_t *key; // as packed, with its head
    size_t key_bytes;
    const uint8_t *text; // of it
    size_t text_bytes;
    const uint8_t *value; // NULL: to be gone
    size_t value_bytes;
    bool found; // in the payload at hand
};

struct patch {
    uint32_t count; // of keys: those that are set come first
    uint32_t set_count;
    size_t room; // of the table: place -> number of a key + 1
    uint32_t *table;
    struct patch_key keys[];
};

static struct patch_key *
find(struct patch *patch, const void *text, size_t bytes, size_t *place)
{
    for (*place = (size_t)hash_bytes(text, bytes) & (patch->room - 1); patch->table[*place] != 0;
         *place = (*place + 1) & (patch->room - 1)) {
        struct patch_key *key = &patch->keys[patch->table[*place] - 1];
        if (key->text_bytes == bytes && memcmp(key->text, text, bytes) == 0)
            return key;
    }
    return NULL;
}

static omen_status
add_key(struct patch *patch, const struct patch_key *key, struct omen_error *error)
{
    size_t place;
    if (find(patch, key->text, key->text_bytes, &place) != NULL)
        return error_set(error, OMEN_E_INVALID, "key \"%.*s\" is set or unset twice",
                         (int)(key->text_bytes < 64 ? key->text_bytes : 64),
                         (const char *)key->text);
    patch->keys[patch->count++] = *key;
    patch->table[place] = patch->count;
    return OMEN_OK;
}

// The head of a container of `kind`, at the begin of `bytes`.
static bool
read_container(const void *bytes, size_t count, enum msgpack_kind kind,
               struct msgpack_reader *reader, uint32_t *objects)
{
    struct msgpack_value value = {0};
    *objects = 0;
    *reader = (struct msgpack_reader){0};
    if (count == 0)
        return true;
    *reader = (struct msgpack_reader){.at = bytes, .end = (const uint8_t *)bytes + count};
    if (!msgpack_next(reader, &value) || value.kind != kind)
        return false;
    *objects = value.count;
    return true;
}

// The next key, and where it lies.
static bool
read_key(struct msgpack_reader *reader, struct patch_key *key)
{
    struct msgpack_value value;
    *key = (struct patch_key){.key = reader->at};
    if (!msgpack_next(reader, &value) || value.kind != MSGPACK_STRING)
        return false;
    key->key_bytes = (size_t)(reader->at - key->key);
    key->text = value.raw.bytes;
    key->text_bytes = value.raw.length;
    return true;
}

static bool
read_value(struct msgpack_reader *reader, struct patch_key *key)
{
    key->value = reader->at;
    if (!msgpack_skip(reader))
        return false;
    key->value_bytes = (size_t)(reader->at - key->value);
    return true;
}

static omen_status
fill(struct patch *patch, struct msgpack_reader *set, struct msgpack_reader *unset,
     uint32_t unset_count, struct omen_error *error)
{
    struct patch_key key;
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < patch->set_count && status == OMEN_OK; i++)
        status = read_key(set, &key) && read_value(set, &key)
                     ? add_key(patch, &key, error)
                     : error_set(error, OMEN_E_INVALID, "set is no map of texts to values");
    for (uint32_t i = 0; i < unset_count && status == OMEN_OK; i++)
        status = read_key(unset, &key)
                     ? add_key(patch, &key, error)
                     : error_set(error, OMEN_E_INVALID, "unset is no list of texts");
    return status;
}

omen_status
patch_open(const void *set, size_t set_bytes, const void *unset, size_t unset_bytes,
           struct patch **out, struct omen_error *error)
{
    struct msgpack_reader set_at, unset_at;
    uint32_t set_count, unset_count;
    *out = NULL;
    if (set_bytes > PAYLOAD_BYTES_MAX)
        return error_set(error, OMEN_E_PAYLOAD, "set has %zu bytes; a payload has at most %u",
                         set_bytes, PAYLOAD_BYTES_MAX);
    if (!read_container(set, set_bytes, MSGPACK_MAP, &set_at, &set_count))
        return error_set(error, OMEN_E_INVALID, "set is no map");
    if (!read_container(unset, unset_bytes, MSGPACK_ARRAY, &unset_at, &unset_count))
        return error_set(error, OMEN_E_INVALID, "unset is no list");
    const size_t count = (size_t)set_count + unset_count;
    size_t room = 16;
    while (room < 2 * count)
        room *= 2;
    struct patch *patch = mem_alloc_zero(1, sizeof *patch + count * sizeof *patch->keys);
    if (patch != NULL)
        patch->table = mem_alloc_zero(room, sizeof *patch->table);
    if (patch == NULL || patch->table == NULL) {
        patch_close(patch);
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    }
    patch->room = room;
    patch->set_count = set_count;
    const omen_status status = fill(patch, &set_at, &unset_at, unset_count, error);
    if (status == OMEN_OK)
        *out = patch;
    else
        patch_close(patch);
    return status;
}

void
patch_close(struct patch *patch)
{
    if (patch == NULL)
        return;
    mem_free(patch->table);
    mem_free(patch);
}

static uint8_t *
append(uint8_t *at, const void *bytes, size_t count)
{
    memcpy(at, bytes, count);
    return at + count;
}

// The shortest head of a map, 1 to 5 bytes.
static size_t
map_head(uint8_t head[5], uint32_t pairs)
{
    if (pairs < 16) {
        head[0] = (uint8_t)(0x80 | pairs);
        return 1;
    }
    const uint32_t bytes = pairs < 65536 ? 2 : 4;
    head[0] = bytes == 2 ? 0xde : 0xdf;
    for (uint32_t i = 0; i < bytes; i++)
        head[1 + i] = (uint8_t)(pairs >> (8 * (bytes - 1 - i)));
    return 1 + bytes;
}

size_t
patch_payload(struct patch *patch, const void *old, size_t old_bytes, uint8_t *out)
{
    struct msgpack_reader reader;
    uint32_t old_pairs = 0, pairs = 0;
    uint8_t head[5];
    uint8_t *at = out + sizeof head; // moved when the pairs are counted
    if (old == NULL && patch->set_count == 0)
        return 0;
    for (uint32_t i = 0; i < patch->count; i++)
        patch->keys[i].found = false;
    if (!read_container(old, old != NULL ? old_bytes : 0, MSGPACK_MAP, &reader, &old_pairs))
        old_pairs = 0; // of a damaged copy
    for (uint32_t i = 0; i < old_pairs; i++) {
        struct patch_key pair;
        size_t place;
        if (!read_key(&reader, &pair) || !read_value(&reader, &pair))
            break;
        struct patch_key *key = find(patch, pair.text, pair.text_bytes, &place);
        if (key != NULL && (key->value == NULL || key->found)) // twice in a damaged one
            continue;
        if (key != NULL)
            key->found = true;
        at = append(at, pair.key, pair.key_bytes);
        at = key != NULL ? append(at, key->value, key->value_bytes)
                         : append(at, pair.value, pair.value_bytes);
        pairs++;
    }
    for (uint32_t i = 0; i < patch->set_count; i++) {
        const struct patch_key *key = &patch->keys[i];
        if (key->found)
            continue;
        at = append(at, key->key, key->key_bytes);
        at = append(at, key->value, key->value_bytes);
        pairs++;
    }
    const size_t body = (size_t)(at - (out + sizeof head)), head_bytes = map_head(head, pairs);
    ASSERT(sizeof head + body <= PATCH_ROOM);
    memmove(out + head_bytes, out + sizeof head, body);
    memcpy(out, head, head_bytes);
    return head_bytes + body;
}
