// node/config_int.h -- what the files of the configuration share: the table of options, and what takes their values.
//
// Shape: shell.
#ifndef OMEN_NODE_CONFIG_INT_H
#define OMEN_NODE_CONFIG_INT_H
#include "node/config.h"

// name in the enum, name, kind, argument, what it is
#define CONFIG_OPTIONS(X)                                                                          \
    X(DATA, "data", TEXT, "DIR", "the node's folder; made when it is missing. Needed")             \
    X(ROLES, "roles", LIST, "ROLE,...", "data, router, builder; all of them unless said")          \
    X(LISTEN, "listen", TEXT, "HOST:PORT", "for clients; 127.0.0.1:7700")                          \
    X(PEER, "peer", TEXT, "HOST:PORT", "for other nodes, TCP and UDP; 127.0.0.1:7701")             \
    X(ADMIN, "admin", TEXT, "HOST[:PORT]",                                                         \
      "metrics and health over HTTP; port 7780. Off unless said")                                  \
    X(ADVERTISE, "advertise", TEXT, "HOST[:PORT]",                                                 \
      "where other nodes reach this one's peer port, if it is not where it listens")               \
    X(JOIN, "join", LIST, "HOST:PORT,...",                                                         \
      "peer ports of live nodes: the cluster to join. Without it a first start founds one")        \
    X(NAME, "name", TEXT, "NAME", "of this node, for people")                                      \
    X(ZONE, "zone", TEXT, "NAME", "copies of a shard, and votes, are spread over zones")           \
    X(INSECURE, "insecure", FLAG, NULL, "other addresses than loopback without credentials")       \
    X(CLUSTER_KEY, "cluster-key", TEXT, "FILE", "a secret that all nodes have, 32 bytes at least") \
    X(PROFILE, "profile", TEXT, "lan|fast", "how soon a silent node is given up; lan")             \
    X(WEIGHT, "weight", TEXT, "N", "how much of the data it takes, beside others; 100")            \
    X(VOTERS, "metadata-voters", TEXT, "N", "1, 3, 5 or 7 nodes vote on the metadata; 3")          \
    X(THREADS, "threads", TEXT, "N", "workers; as many as there are processors")                   \
    X(SLOW_MS, "slow-ms", TEXT, "N", "a request that takes longer is logged; 100")                 \
    X(DISK_RESERVE, "disk-reserve", TEXT, "PERCENT",                                               \
      "of the disk, kept for deletes and the log: with less left no point is added; 5")            \
    X(LEAVE_MS, "leave-ms", TEXT, "N",                                                             \
      "SIGTERM: so long others may take to take over what this node leads; 5000")                  \
    X(BUILD_WAIT_MS, "build-wait-ms", TEXT, "N",                                                   \
      "a build waits so long for a builder to be alive, before the copies build; 30000")           \
    X(BUILD_REQUIRE_MS, "build-require-ms", TEXT, "N",                                             \
      "a build that requires a GPU waits so long for a builder with one; 600000")                  \
    X(CONNECTIONS, "max-connections", TEXT, "N", "of clients; 1024")                               \
    X(OF_ADDRESS, "max-connections-per-address", TEXT, "N",                                        \
      "of them, from one IP address; 0, which is no limit")                                        \
    X(IN_FLIGHT, "max-in-flight", TEXT, "N", "requests under way on a connection; 64")             \
    X(FRAME_BYTES, "max-frame-bytes", TEXT, "N", "of one request, 65536 to 16777216; 16777216")    \
    X(WAITING_MIB, "max-waiting-mib", TEXT, "N",                                                   \
      "of all clients: messages that are not whole, answers that are not read; 1024")              \
    X(HELLO_MS, "hello-timeout-ms", TEXT, "N", "who connects says who it is so soon; 5000")        \
    X(IDLE_MS, "idle-timeout-ms", TEXT, "N", "a connection that asks nothing is kept; 300000")     \
    X(KEY_RATE, "key-rate", TEXT, "N",                                                             \
      "points and queries a second that a node takes of a key whose rate is not said; 0: any")     \
    X(LOG_LEVEL, "log-level", TEXT, "LEVEL", "error, warn, info, debug; info")

enum config_option {
#define CONFIG_ENUM(id, name, kind, argument, help) OPTION_##id,
    CONFIG_OPTIONS(CONFIG_ENUM)
#undef CONFIG_ENUM
        OPTION_COUNT
};

// ---- config.c: what a value means, wherever it is said ----

enum config_how { CONFIG_REPLACES, CONFIG_ADDS }; // what a list had; else the former only

// Of a list `text` may have several, with commas between them. OMEN_E_INVALID and a sentence that says what is expected.
OMEN_MUST_CHECK omen_status config_set(struct config *config, enum config_option option,
                                       enum config_how how, const char *text,
                                       struct omen_error *error);

enum config_key_field {
    CONFIG_KEY_NAME,
    CONFIG_KEY_ROLE,
    CONFIG_KEY_SHA256,
    CONFIG_KEY_RATE,
    CONFIG_KEY_FIELDS
};
enum { CONFIG_KEY_NEEDED = CONFIG_KEY_RATE }; // the fields before it must be there

OMEN_MUST_CHECK omen_status config_set_key(struct config_key *key, enum config_key_field field,
                                           const char *text, struct omen_error *error);

// ---- config_file.c ----

struct config_text {
    const char *file;  // its name, for people
    const char *bytes; // count of them, and a NUL
    size_t count;
};

// Sets in *config what the file says; it may be empty. OMEN_E_INVALID and a sentence that begins with file, line and key:
// "omend.yaml:4: api-keys[0].role: ...". Where the text is no YAML the key is the one in that line, or the one before: "behind zone".
// *config is not whole then. `error` is not NULL.
OMEN_MUST_CHECK omen_status config_file_read(const char *path, struct config *config,
                                             struct omen_error *error);
OMEN_MUST_CHECK omen_status config_file_take(const struct config_text *text, struct config *config,
                                             struct omen_error *error);

#endif
