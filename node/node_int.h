// node/node_int.h -- what the files that wire a node share.
//
// Shape: shell.
#ifndef OMEN_NODE_NODE_INT_H
#define OMEN_NODE_NODE_INT_H
#include <stdatomic.h>

#include "node/build.h"
#include "node/clients.h"
#include "node/hosts.h"
#include "node/http.h"
#include "node/meta.h"
#include "node/node.h"
#include "node/profile.h"
#include "node/seen.h"
#include "node/start.h"

struct node {
    struct node_config config;
    struct start start;
    struct bus *bus;
    struct rpc_server *rpc;
    struct meta *meta;
    struct hosts *hosts;
    struct clients *clients;
    struct build *build; // NULL: it is no builder, or has data of its own
    struct http *http;   // NULL: nobody asked for it
    struct node_clock clock;
    struct seen seen;
    _Atomic bool ready;
    char cluster[START_UUID_BYTES];
};

// node_ports.c: where bytes come in. The ports of nodes and clients are opened shut: they are listened on, and who connects is closed.
enum config_exit node_open_bus(struct node *node, struct omen_error *error);
enum config_exit node_open_rpc(struct node *node, struct omen_error *error);
void node_let_peers_in(
    struct node *node); // who it is, is known; what comes before `ready` is as if it were lost
enum config_exit node_open_admin(struct node *node, struct omen_error *error);
void node_write_text(void *context, struct metrics_text *text); // of system.metrics

// node_loops.c: what is done with it. The context of disk_failed is not looked at.
void node_disk_failed(void *context, const char *why);
enum config_exit node_open_meta(struct node *node, const struct profile_place *place,
                                struct omen_error *error);
enum config_exit node_open_hosts(struct node *node, struct omen_error *error);
enum config_exit node_open_clients(struct node *node, struct omen_error *error);
enum config_exit node_open_build(struct node *node, struct omen_error *error);

#endif
