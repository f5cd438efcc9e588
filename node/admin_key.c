// node/admin_key.c -- key.*: API keys, of which the map has the name and a hash, and nobody the secret.
//
// Shape: value.
//
// A key is "name.secret"; the secret is a SHA-256 of what the client drew, its seed of 128 bits and its op_id, so one more SHA-256 is
// enough for the map: there is nothing to guess through. It is stored nowhere. Who asks again with the same seed and op_id, because no
// answer came, is told the same secret; the map knows the op_id and not the seed.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "node/admin_int.h"
#include "wire/seal.h"

_Static_assert((int)API_KEY_ADMIN == (int)KEY_ADMIN && (int)RIGHT_ADMIN == (int)KEY_ADMIN,
               "a key's role is what it may");

#define SECRET_TEXT_BYTES (2 * ADMIN_SECRET_BYTES + 1)
#define TIME_MS_MAX ((UINT64_C(1) << 48) - 1) // of a command

static bool
glob_set(struct map_name *glob, struct wire_text text)
{
    *glob = (struct map_name){0};
    if (text.count == 0)
        text = wire_text_of("*");
    if (text.count > MAP_NAME_BYTES_MAX)
        return false;
    struct map_name plain = {.count = (uint8_t)text.count};
    glob->count = (uint8_t)text.count;
    for (uint32_t i = 0; i < text.count; i++) {
        const char c = text.bytes[i];
        glob->bytes[i] = c;
        plain.bytes[i] = c == '*' || c == '?' ? '_' : c;
    }
    return map_name_is_valid(&plain);
}

static void
make_secret(const struct api_key_create *ask, char secret[SECRET_TEXT_BYTES])
{
    char drawn[4 * 16 + MAP_NAME_BYTES_MAX + 1];
    uint64_t words[4];
    ASSERT((ask->seed.high | ask->seed.low) != 0);
    snprintf(drawn, sizeof drawn, "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%.*s",
             ask->seed.high, ask->seed.low, ask->op_id.high, ask->op_id.low, (int)ask->name.count,
             ask->name.bytes);
    seal_hash_secret(wire_text_of(drawn), words);
    snprintf(secret, SECRET_TEXT_BYTES, "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64,
             words[0], words[1], words[2], words[3]);
}

enum admin_next
admin_key_create(struct admin *a)
{
    const struct api_key_create *ask = a->ask;
    struct command_key *key = &a->step->command.key;
    char secret[SECRET_TEXT_BYTES];
    const struct map_name name = name_of_text(ask->name);
    if (map_key(a->map, &name) != NULL)
        return admin_refuse(a, OMEN_E_EXISTS, "the key '%.*s' exists already", (int)ask->name.count,
                            ask->name.bytes);
    if (a->map->key_count == MAP_KEYS_MAX)
        return admin_refuse(a, OMEN_E_FULL, "the cluster has %u keys, which is the most",
                            MAP_KEYS_MAX);
    if (ask->expires_ms != 0 && ask->expires_ms <= a->view->wall_ms)
        return admin_refuse(a, OMEN_E_INVALID, "expires_ms is %" PRIu64 ", which lies in the past",
                            ask->expires_ms);
    if (ask->expires_ms > TIME_MS_MAX)
        return admin_refuse(a, OMEN_E_INVALID,
                            "expires_ms is %" PRIu64 ", expected at most %" PRIu64, ask->expires_ms,
                            TIME_MS_MAX);
    if (ask->rate != 0 && !map_has(a->map, MAP_FEATURE_LIMITS))
        return admin_refuse(a, OMEN_E_UNSUPPORTED,
                            "a rate waits for all nodes to run a version that knows rates");
    if (!glob_set(&key->glob, ask->collections))
        return admin_refuse(a, OMEN_E_INVALID,
                            "collections is '%.*s', expected characters of names, '*' and '?'",
                            (int)ask->collections.count, ask->collections.bytes);
    make_secret(ask, secret);
    key->name = name;
    key->expires_ms = ask->expires_ms;
    key->role = ask->role;
    key->rate = ask->rate;
    seal_hash_secret(wire_text_of(secret), key->hash_words);
    return admin_propose(a, COMMAND_KEY_PUT);
}

enum admin_next
admin_key_said(struct admin *a, const struct command_result *result)
{
    const struct api_key_create *ask = a->ask;
    char secret[SECRET_TEXT_BYTES], key[MAP_NAME_BYTES_MAX + 1 + SECRET_TEXT_BYTES];
    (void)result;
    make_secret(ask, secret);
    snprintf(key, sizeof key, "%.*s.%s", (int)ask->name.count, ask->name.bytes, secret);
    const struct api_key_made answer = {.name = ask->name, .api_key = wire_text_of(key)};
    return admin_answer(a, &answer);
}

enum admin_next
admin_key_list(struct admin *a)
{
    admin_answer_list(a, "keys", a->map->key_count);
    for (uint32_t i = 0; i < a->map->key_count; i++) {
        const struct api_key *key = &a->map->keys[i];
        const struct api_key_info row = {.name = text_of_name(&key->name),
                                         .collections = text_of_name(&key->glob),
                                         .role = key->role,
                                         .rate = key->rate,
                                         .expires_ms = key->expires_ms};
        shape_write(a->answer, &api_key_info, &row);
    }
    return ADMIN_ANSWERED;
}

enum admin_next
admin_key_revoke(struct admin *a)
{
    const struct api_key_revoke *ask = a->ask;
    const struct map_name name = name_of_text(ask->name);
    const struct api_key *key = map_key(a->map, &name);
    if (key == NULL)
        return admin_refuse(a, OMEN_E_NOT_FOUND, "no key '%.*s'", (int)ask->name.count,
                            ask->name.bytes);
    a->step->command.key = (struct command_key){.expected = key->version, .name = name};
    return admin_propose(a, COMMAND_KEY_DROP);
}

// ---- what a client says ----

omen_status
admin_key(const struct map *map, struct wire_text text, uint64_t wall_ms,
          const struct api_key **key, struct omen_error *error)
{
    const char *dot = text.count > 0 ? memchr(text.bytes, '.', text.count) : NULL;
    const struct api_key *row = NULL;
    struct map_name name;
    uint64_t words[4];
    *key = NULL;
    if (dot != NULL && map_name_set(&name, text.bytes, (size_t)(dot - text.bytes)))
        row = map_key(map, &name);
    if (row != NULL) {
        const uint32_t before = (uint32_t)(dot + 1 - text.bytes);
        seal_hash_secret((struct wire_text){dot + 1, text.count - before}, words);
    }
    if (row == NULL || !seal_hash_equal(words, row->hash_words))
        return error_set(error, OMEN_E_AUTH, "no such API key");
    if (row->expires_ms != 0 && row->expires_ms <= wall_ms)
        return error_set(error, OMEN_E_AUTH, "the API key '%.*s' has expired", row->name.count,
                         row->name.bytes);
    *key = row;
    return OMEN_OK;
}

// By going back to the last star alone: what an earlier one could take, a later one can as well.
bool
admin_key_opens(const struct map_name *glob, struct wire_text collection)
{
    uint32_t at = 0, star = UINT32_MAX, taken = 0;
    for (uint32_t i = 0; i < collection.count;) {
        if (at < glob->count && glob->bytes[at] == '*') {
            star = at++;
            taken = i;
        } else if (at < glob->count &&
                   (glob->bytes[at] == '?' || glob->bytes[at] == collection.bytes[i])) {
            at++;
            i++;
        } else if (star != UINT32_MAX) {
            at = star + 1;
            i = ++taken;
        } else {
            return false;
        }
    }
    while (at < glob->count && glob->bytes[at] == '*')
        at++;
    return at == glob->count;
}
