// node/keys.h -- whether a key that a client says is one, and what it may.
//
// Shape:   value.
// Threads: any.
//
// A client says "name.secret". What is known of a key is the hash of its secret; there are those of the configuration, for a
// cluster's first clients, and those of the map (key.create). A name of both is the configuration's.
#ifndef OMEN_NODE_KEYS_H
#define OMEN_NODE_KEYS_H
#include "node/config.h"
#include "wire/rpc_server.h"

// The name in what a client says. False: it has none.
bool keys_name(struct wire_text said, struct map_name *name);

// Whether the secret that was said is this key's, and it has not expired; then *session has its rights.
bool keys_open(const struct api_key *key, struct wire_text said, uint64_t wall_ms,
               struct rpc_session *session);

// Whether the key of a session is this one still, and has not expired; then *session has its rights, which may have changed.
bool keys_same(const struct api_key *key, uint64_t wall_ms, struct rpc_session *session);

// The key of that name in the configuration, as the map would have it. False: there is none.
bool keys_configured(const struct config *config, const struct map_name *name, struct api_key *key);

#endif
