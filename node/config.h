// node/config.h -- what an operator says to omend: command line, environment, a YAML file; the former goes before the latter.
//
// Shape:   shell: reads files, looks names up. For starts only.
// Threads: one.
//
// One table has all options (node/config.c): "--peer x" is OMEN_PEER=x and "peer: x" in the file, read by the same function, so a value
// is right or wrong alike in all three. Lists are separated by commas, in the file they may be YAML lists too. An error names where it
// is: "omend.yaml:3: listen: ...", "OMEN_LISTEN: ...", "--listen: ...".
#ifndef OMEN_NODE_CONFIG_H
#define OMEN_NODE_CONFIG_H
#include <stdio.h>

#include "base/error.h"
#include "base/os_log.h"
#include "cluster/map.h"
#include "gossip/gossip_msg.h"
#include "wire/seal.h"

#define CONFIG_PATH_BYTES 1024u
#define CONFIG_JOIN_MAX 64u
#define CONFIG_KEYS_MAX 64u
#define CONFIG_FILE_BYTES_MAX 65536u

// How omend ends (sysexits.h, where that has one). docs/OPERATING.md repeats it.
enum config_exit {
    EXIT_DONE = 0,        // asked to end (SIGTERM, SIGINT), or --help, --version
    EXIT_BAD_OPTION = 64, // of the command line
    EXIT_BAD_DATA = 65,   // the folder is another cluster's, damaged, or older than it was
    EXIT_NO_ADDRESS = 69, // an address cannot be listened on
    EXIT_BUG = 70,        // the metadata cannot go on
    EXIT_NO_SYSTEM = 71,  // no memory, no threads
    EXIT_NO_FOLDER = 73,  // the data folder cannot be made, or is in use
    EXIT_BAD_DISK = 74,   // it failed; nothing was acknowledged since
    EXIT_SUPERSEDED = 75, // a newer process of this node is there
    EXIT_BAD_CONFIG = 78, // file or environment
};

enum config_profile { CONFIG_LAN, CONFIG_FAST };

// A key that is in the file and not in the cluster's map: for the first ones.
struct config_key {
    struct map_name name;
    uint64_t hash_words[4]; // SHA-256 of the secret
    uint32_t rate;          // points and queries a second; 0: not said
    uint8_t role;           // enum key_role
};

// Of the clients' port, as wire/rpc_server.h has them.
struct config_limits {
    uint32_t connections;
    uint32_t connections_of_address; // 0: as many as there may be of all
    uint32_t in_flight;              // of a connection
    uint32_t frame_bytes;            // of a request
    uint32_t waiting_mib;            // of all connections: what is not whole yet, or was not read
    uint32_t hello_ms, idle_ms;
};

struct config {
    char data[CONFIG_PATH_BYTES];
    char file[CONFIG_PATH_BYTES];                  // "" : none
    uint8_t roles;                                 // bits of enum node_role
    struct gossip_address listen, peer, advertise; // advertise port 0: none was said
    struct gossip_address join[CONFIG_JOIN_MAX];
    uint32_t join_count;
    struct map_name name, zone; // count 0: none
    bool insecure;
    char cluster_key[CONFIG_PATH_BYTES]; // a file; "": none
    struct config_key keys[CONFIG_KEYS_MAX];
    uint32_t key_count;
    uint8_t profile;       // enum config_profile
    uint16_t weight;       // of the node in the map
    uint32_t voters;       // of raft's group; 1, 3, 5, 7
    uint32_t threads;      // 0: as many as there are processors
    uint32_t slow_ms;      // a request that takes longer is logged
    uint32_t disk_reserve; // percent of the disk that are left to deletes and the log; 0: off
    uint32_t leave_ms;     // that others may take to take over what this node leads, before it ends
    uint32_t build_wait_ms;    // that a build waits for a builder, before the copies build
    uint32_t build_require_ms; // that one waits for a builder with a GPU, before it has failed
    struct config_limits limits;
    uint32_t key_rate; // of keys whose rate is not said; 0: as fast as they like
    bool admin_said;
    struct gossip_address admin; // where metrics and health are read; only where it was said
    enum log_level log_level;
};

enum config_next { CONFIG_RUN, CONFIG_ENDED, CONFIG_WRONG };

// Reads all three and checks what goes together. CONFIG_ENDED: --help or --version was said on `out`; CONFIG_WRONG: *error, and
// *code is the exit code. `environment` is like environ.
enum config_next config_read(int count, char **arguments, char **environment, FILE *out,
                             struct config *config, enum config_exit *code,
                             struct omen_error *error);

// The cluster's key file, or the keys of zeros where there is none. OMEN_E_INVALID and a sentence: it cannot be read, others can
// read it, or it is too short or too long.
OMEN_MUST_CHECK omen_status config_seal_keys(const struct config *config, struct seal_keys *keys,
                                             struct omen_error *error);

#endif
