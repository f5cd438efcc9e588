// node/keys.c -- whether a key that a client says is one, and what it may.
//
// Shape: value.
#include "node/keys.h"

#include <string.h>

#include "wire/method.h"
#include "wire/seal.h"

_Static_assert(KEY_READ == (int)RIGHT_READ && KEY_WRITE == (int)RIGHT_WRITE &&
                   KEY_MANAGE == (int)RIGHT_MANAGE && KEY_ADMIN == (int)RIGHT_ADMIN,
               "roles are rights");
_Static_assert(MAP_NAME_BYTES_MAX == WIRE_NAME_BYTES_MAX, "a session has room for a name");

static const char *
dot_in(struct wire_text said)
{
    return said.count > 0 ? memchr(said.bytes, '.', said.count) : NULL;
}

bool
keys_name(struct wire_text said, struct map_name *name)
{
    const char *dot = dot_in(said);
    return dot != NULL && map_name_set(name, said.bytes, (size_t)(dot - said.bytes));
}

static bool
is_over(uint64_t until_ms, uint64_t wall_ms)
{
    return until_ms != 0 && until_ms <= wall_ms;
}

static void
give(const struct api_key *key, struct rpc_session *session)
{
    session->rights = key->role;
    memcpy(session->key, key->name.bytes, key->name.count);
    session->key[key->name.count] = '\0';
    memcpy(session->glob, key->glob.bytes, key->glob.count);
    session->glob[key->glob.count] = '\0';
    memcpy(session->key_hash, key->hash_words, sizeof session->key_hash);
    session->key_until_ms = key->expires_ms;
    session->rate = key->rate;
}

bool
keys_open(const struct api_key *key, struct wire_text said, uint64_t wall_ms,
          struct rpc_session *session)
{
    uint64_t words[4];
    const char *secret = dot_in(said) + 1;
    seal_hash_secret((struct wire_text){secret, said.count - (uint32_t)(secret - said.bytes)},
                     words);
    if (!seal_hash_equal(words, key->hash_words) || is_over(key->expires_ms, wall_ms))
        return false;
    give(key, session);
    return true;
}

bool
keys_same(const struct api_key *key, uint64_t wall_ms, struct rpc_session *session)
{
    if (!seal_hash_equal(session->key_hash, key->hash_words) || is_over(key->expires_ms, wall_ms))
        return false;
    give(key, session);
    return true;
}

bool
keys_configured(const struct config *config, const struct map_name *name, struct api_key *key)
{
    for (uint32_t i = 0; i < config->key_count; i++) {
        const struct config_key *own = &config->keys[i];
        if (map_name_compare(&own->name, name) != 0)
            continue;
        *key = (struct api_key){.name = own->name, .role = own->role, .rate = own->rate};
        memcpy(key->hash_words, own->hash_words, sizeof key->hash_words);
        return true;
    }
    return false;
}
