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

bool
keys_open(const struct api_key *key, struct wire_text said, uint64_t wall_ms,
          struct rpc_session *session)
{
    uint64_t words[4];
    const char *secret = dot_in(said) + 1;
    seal_hash_secret((struct wire_text){secret, said.count - (uint32_t)(secret - said.bytes)},
                     words);
    if (!seal_hash_equal(words, key->hash_words) ||
        (key->expires_ms != 0 && key->expires_ms <= wall_ms))
        return false;
    session->rights = key->role;
    memcpy(session->key, key->name.bytes, key->name.count);
    session->key[key->name.count] = '\0';
    memcpy(session->glob, key->glob.bytes, key->glob.count);
    session->glob[key->glob.count] = '\0';
    return true;
}

bool
keys_configured(const struct config *config, const struct map_name *name, struct api_key *key)
{
    for (uint32_t i = 0; i < config->key_count; i++) {
        const struct config_key *own = &config->keys[i];
        if (map_name_compare(&own->name, name) != 0)
            continue;
        *key = (struct api_key){.name = own->name, .role = own->role};
        memcpy(key->hash_words, own->hash_words, sizeof key->hash_words);
        return true;
    }
    return false;
}
