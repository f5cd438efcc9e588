// tools/raft-interact/world.h -- a few raft nodes, their disks, and the messages between them.
//
// Shape: shell. Memory that runs out ends the program.
//
// A node's outputs pile up until world_process: its messages leave then, and what it was to make durable is said to be. What
// is to be applied is applied at once.
#ifndef OMEN_TOOLS_RAFT_INTERACT_WORLD_H
#define OMEN_TOOLS_RAFT_INTERACT_WORLD_H
#include "raft/raft.h"

enum { WORLD_NODES = 16, WORLD_TEXT = 8192 };

// Not a message of raft's: a proposal on its way to the leader.
#define FLIGHT_FORWARD RAFT_MSG_KINDS

// A message with all that it borrows.
struct flight {
    struct raft_msg msg;
    struct raft_group group;
    struct flight *next;
};

struct flights {
    struct flight *first, *last;
};

struct state_text {
    uint64_t position, term;
    struct raft_group group;
    char text[WORLD_TEXT];
};

struct node {
    struct raft raft;
    uint64_t now_ns;
    bool dirty; // something became durable or was applied that was not processed yet
    uint64_t persist_number, persisted;
    uint64_t wake_ns;
    struct flights outbox;
    struct state_text state;  // as applied
    struct state_text made;   // as when a snapshot was asked for last
    struct state_text offer;  // as when one was made last
    char staging[WORLD_TEXT]; // of the one that arrives
    uint64_t snapshot_wanted;
};

struct world {
    struct node *nodes[WORLD_NODES]; // node i has the id i + 1
    unsigned count;
    struct flights flights;
};

struct node *world_add(struct world *world, const struct raft_config *config,
                       const struct raft_durable *durable, const char *content);
void world_step(struct node *node, struct raft_input *in); // in->now_ns is filled in
bool world_has_output(const struct node *node);
void world_process(struct world *world, struct node *node);
// Takes one from the network: to this node, of this kind or (0) of any; NULL when there is none.
struct flight *world_take(struct world *world, uint64_t to, unsigned kind);
void world_deliver(struct world *world, struct flight *flight); // and frees it
void world_propose(struct node *node, enum raft_entry_kind kind, const uint8_t *bytes,
                   uint32_t count);
void world_send(struct flights *flights, const struct node *from, const struct raft_msg *msg);
void flight_free(struct flight *flight);
bool world_quiescent(const struct world *world);
void world_close(struct world *world);

#endif
