// node/start.h -- opens a node's folder and finds out who it is: it founds a cluster, joins one, or comes back to its own.
//
// Shape:   shell; waits, for as long as nobody answers whom it shall join.
// Threads: one.
//
//      an empty folder, no --join        --> START_FOUNDED: a cluster of its own, raft's group of itself as member 1
//      an empty folder, --join           --> START_JOINED:  the cluster of whoever answers; a number of its own for raft's group,
//                                            which the leader takes into it (docs/internals/node.md)
//      a folder that is somebody's       --> START_RETURNED, for ever: to the same cluster, by the peers that it knew and --join. It
//                                            founds nothing again, and is refused where who answers is of another cluster
#ifndef OMEN_NODE_START_H
#define OMEN_NODE_START_H
#include "node/config.h"
#include "node/disk.h"

enum start_how { START_FOUNDED, START_JOINED, START_RETURNED };

struct start_config {
    const struct config *config;
    const struct seal_keys *keys;
    struct disk_config disk; // path is set here
    void *context;
    bool (*pause)(void *context, uint32_t ms); // waits; true: it shall end
};

struct start {
    struct disk *disk; // NULL: it shall end
    struct disk_identity identity;
    enum start_how how;
};

// EXIT_DONE: *out, whose disk the caller closes. Else *error.
enum config_exit start_open(const struct start_config *config, struct start *out,
                            struct omen_error *error);

#define START_UUID_BYTES 37u
void start_uuid_text(struct cluster_uuid uuid, char text[START_UUID_BYTES]);

#endif
