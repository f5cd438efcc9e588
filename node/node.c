// node/node.c -- one node of a cluster: its disk, its bus, its loops and its clients' port, wired together.
//
// Shape: shell. What comes in: node_ports.c; the loops: node_loops.c.
//
//      opened   admin port > bus and clients' port, shut > disk > the bus lets in > meta > hosts > clients > the clients' port lets in
//      closed   admin port > others lead > clients' port, which drains, and loop > the others are told > hosts' and meta's loops > bus > disk > hosts, meta
//
// Until all of it is there what arrives on the bus is as if it were lost.
#include "node/node.h"

#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/os_log.h"
#include "node/address.h"
#include "node/node_int.h"

#define MS UINT64_C(1000000)
#define LOOK_MS 10u // between two looks at whether it is over
#define GO_MS 1000u // that the others may take to hear that it is gone

// What a node says of where it is: what an operator said, or where it listens.
static struct profile_place
place_of(const struct node *node)
{
    const struct config *config = node->config.config;
    const struct gossip_address *told = &config->advertise;
    struct profile_place place = {
        .identity = node->start.identity, .peer = config->peer, .client = config->listen};
    if (!address_is_any(told))
        memcpy(place.peer.ip, told->ip, sizeof told->ip);
    place.peer.port = told->port != 0 ? told->port : bus_port(node->bus);
    if (address_is_any(&place.client))
        memcpy(place.client.ip, place.peer.ip, sizeof place.peer.ip);
    place.client.port = rpc_server_port(node->rpc);
    return place;
}

static void
say_ready(const struct node *node, const struct profile_place *place)
{
    static const char *const hows[] = {
        [START_FOUNDED] = "founded", [START_JOINED] = "joined", [START_RETURNED] = "returned"};
    const struct disk_identity *identity = &node->start.identity;
    char peer[ADDRESS_TEXT_BYTES], client[ADDRESS_TEXT_BYTES];
    struct log_line line;
    if (!log_begin(&line, NULL, LOG_LEVEL_INFO, "node.ready"))
        return;
    address_text(&place->peer, peer);
    address_text(&place->client, client);
    log_text(&line, "how", hows[node->start.how]);
    log_uuid(&line, "node", identity->node.high, identity->node.low);
    log_uuid(&line, "cluster", identity->cluster.high, identity->cluster.low);
    log_number(&line, "boot", identity->boot);
    log_text(&line, "listen", client);
    log_text(&line, "peer", peer);
    log_text(&line, "data", node->config.config->data);
    log_end(&line);
}

// From here on everything that there is is shown.
static void
show_all(struct node *node)
{
    struct seen *seen = &node->seen;
    seen->disk = node->start.disk;
    seen->bus = node->bus;
    seen->rpc = node->rpc;
    seen->meta = node->meta;
    seen->hosts = node->hosts;
    seen->clients = node->clients;
    seen->build = node->build;
    atomic_store(&seen->whole, true);
}

// What can be wrong with an operator's addresses is found out before a cluster is founded or joined, and before anything is written:
// a first start with other options is a first start again.
static enum config_exit
open_ports(struct node *node, struct omen_error *error)
{
    enum config_exit failed = node_open_admin(node, error);
    if (failed == EXIT_DONE)
        failed = node_open_bus(node, error);
    if (failed == EXIT_DONE)
        failed = node_open_rpc(node, error);
    return failed;
}

static enum config_exit
open_all(struct node *node, struct omen_error *error)
{
    const struct config *config = node->config.config;
    const struct start_config start = {
        .config = config,
        .keys = node->config.keys,
        .disk = {.fatal = node_disk_failed, .commit_times = &node->seen.counted.commit_times},
        .context = node->config.context,
        .pause = node->config.pause};
    seen_begin(&node->seen);
    enum config_exit failed = open_ports(node, error);
    if (failed == EXIT_DONE)
        failed = start_open(&start, &node->start, error);
    if (failed != EXIT_DONE || node->start.disk == NULL)
        return failed;
    start_uuid_text(node->start.identity.cluster, node->cluster);
    node_let_peers_in(node);
    const struct profile_place place = place_of(node);
    failed = node_open_meta(node, &place, error);
    if (failed == EXIT_DONE)
        failed = node_open_hosts(node, error);
    if (failed == EXIT_DONE)
        failed = node_open_clients(node, error);
    if (failed == EXIT_DONE)
        failed = node_open_build(node, error);
    if (failed != EXIT_DONE)
        return failed;
    disk_started(node->start.disk);
    atomic_store(&node->ready, true);
    meta_feed(node->meta, hosts_loop(node->hosts));
    meta_feed(node->meta, clients_loop(node->clients));
    if (node->build != NULL)
        meta_feed(node->meta, build_loop(node->build));
    // There is somebody to answer: until now clients went to another node.
    rpc_server_let_in(node->rpc);
    show_all(node);
    say_ready(node, &place);
    return EXIT_DONE;
}

enum config_exit
node_open(const struct node_config *config, struct node **out, struct omen_error *error)
{
    *out = NULL;
    struct node *node = mem_alloc_zero(1, sizeof *node);
    if (node == NULL) {
        (void)error_set_plain(error, OMEN_E_NO_MEMORY);
        return EXIT_NO_SYSTEM;
    }
    node->config = *config;
    node_clock_init(&node->clock);
    const enum config_exit failed = open_all(node, error);
    if (failed != EXIT_DONE || node->start.disk == NULL) {
        node_close(node);
        return failed;
    }
    *out = node;
    return EXIT_DONE;
}

uint16_t
node_client_port(const struct node *node)
{
    return rpc_server_port(node->rpc);
}

uint16_t
node_peer_port(const struct node *node)
{
    return bus_port(node->bus);
}

// A look every so often, until it holds or the time is over.
static void
wait_for(const struct node *node, bool (*holds)(struct meta *meta), uint64_t ms)
{
    const uint64_t until_ns = os_clock_ns() + ms * MS;
    while (!holds(node->meta) && os_clock_ns() < until_ns)
        if (node->config.pause(node->config.context, LOOK_MS))
            return;
}

static void
hand_over(struct node *node)
{
    const uint64_t begun_ns = os_clock_ns();
    struct log_line line;
    meta_leave(node->meta);
    wait_for(node, meta_has_left, node->config.config->leave_ms);
    if (!log_begin(&line, NULL, LOG_LEVEL_INFO, "node.handed_over"))
        return;
    log_text(&line, "all", meta_has_left(node->meta) ? "yes" : "no");
    log_number(&line, "ms", (os_clock_ns() - begun_ns) / MS);
    log_end(&line);
}

void
node_close(struct node *node)
{
    if (node == NULL)
        return;
    const bool leaves = atomic_load(&node->ready) && node->config.config->leave_ms > 0;
    http_close(node->http);
    if (leaves)
        hand_over(node);
    rpc_server_close(node->rpc); // with what is under way answered, while it can be
    if (node->clients != NULL)
        clients_stop(node->clients); // before anything else is waited for: connections are no more
    if (leaves) {
        meta_go(node->meta);
        wait_for(node, meta_is_gone, GO_MS);
    }
    atomic_store(&node->ready, false);
    if (node->build != NULL)
        build_stop(node->build);
    if (node->hosts != NULL)
        hosts_stop(node->hosts);
    if (node->meta != NULL)
        meta_stop(node->meta);
    bus_close(node->bus);
    disk_close(node->start.disk);
    build_close(node->build);
    clients_close(node->clients);
    hosts_close(node->hosts);
    meta_close(node->meta);
    node_clock_fini(&node->clock);
    mem_free(node);
}
