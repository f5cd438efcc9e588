// node/disk.h -- the node's log environment, and the thread that commits what machines want durable.
//
// Shape:   shell.
// Threads: any.
#ifndef OMEN_NODE_DISK_H
#define OMEN_NODE_DISK_H
#include "base/error.h"
#include "base/os_loop.h"
#include "node/turn.h"

struct disk; // opaque

struct disk_identity {
    struct cluster_uuid cluster, node;
    uint64_t boot;
    uint64_t member;
};

enum disk_done_kind {
    DISK_META_DONE,
    DISK_COPY_DONE,
    DISK_MADE,
    DISK_DROPPED,
    DISK_TRIMMED,
    DISK_INSTALLED
};

struct disk_done {
    struct loop_note note;
    enum disk_done_kind kind;
    struct cluster_uuid copy;
    uint64_t number;
};

OMEN_MUST_CHECK omen_status disk_start_meta(struct disk *disk, struct turn_durable *out,
                                            struct omen_error *error);
void disk_write_meta(struct disk *disk, const struct turn_output *out, struct loop *loop);
void disk_peers(struct disk *disk, const struct gossip_address *peers, uint32_t count);

#endif
