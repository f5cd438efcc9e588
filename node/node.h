// node/node.h -- one node of a cluster: its disk, its bus, its loops and its clients' port, wired together.
//
// Shape:   shell.
// Threads: node_open and node_close in one.
#ifndef OMEN_NODE_NODE_H
#define OMEN_NODE_NODE_H
#include "node/start.h"

struct node; // opaque

struct node_config {
    const struct config *config;  // borrowed until node_close
    const struct seal_keys *keys; // copied
    void *context;
    bool (*pause)(void *context, uint32_t ms); // as start.h's
};

// EXIT_DONE and *out NULL: it was asked to end before it ran. Else *error says why it did not. When it cannot go on later (the disk fails,
// the metadata cannot be applied, a newer process of it is there) it says why in the log and ends the process with a config_exit.
enum config_exit node_open(const struct node_config *config, struct node **out,
                           struct omen_error *error);
// Those that it listens on.
uint16_t node_client_port(const struct node *node);
uint16_t node_peer_port(const struct node *node);
// What it leads is taken over by others, within config.leave_ms; `pause` ends that wait where it says so. Then what is under way is answered
// or given up, in about a second, and the others are told that it is gone. Accepts NULL.
void node_close(struct node *node);

#endif
