// node/node.c -- one node of a cluster: its disk, its bus, its loops and its clients' port, wired together.
//
// Shape: shell.
//
//      opened   disk > bus > clients' port (its number goes into gossip) > meta > hosts; then what arrives is let in
//      closed   clients' port, which drains > hosts' and meta's loops > bus > disk > hosts, meta
//
// Until all of it is there what arrives on the bus is as if it were lost.
#include "node/node.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_log.h"
#include "base/os_random.h"
#include "node/address.h"
#include "node/meta.h"
#include "node/profile.h"

struct node {
    struct node_config config;
    struct start start;
    struct bus *bus;
    struct meta *meta;
    _Atomic bool ready;
};

// ---- ends from within ----

__attribute__((noreturn)) static void
end(const char *event, const char *why, enum config_exit code)
{
    log_say(LOG_LEVEL_ERROR, event, "why", why);
    _exit((int)code); // nothing that is half done may be finished
}

static void
disk_failed(void *context, const char *why)
{
    (void)context;
    end("node.disk_failed", why, EXIT_BAD_DISK);
}

static void
halted(void *context, const char *why)
{
    (void)context;
    end("node.halted", why, EXIT_BUG);
}

static void
superseded(void *context)
{
    (void)context;
    end("node.superseded", "a newer process of this node is there", EXIT_SUPERSEDED);
}

// ---- the bus ----

static void
take_frame(void *context, struct wire_uuid from, uint64_t boot, const struct peer_head *head,
           struct wire_bytes body)
{
    struct node *node = context;
    if (!atomic_load(&node->ready))
        return;
    const struct cluster_uuid uuid = {from.high, from.low};
    switch (head->kind) {
    case PEER_RAFT:
    case PEER_GOSSIP:
    case PEER_TURN:
    case PEER_MAP_ASK:
        meta_frame(node->meta, uuid, boot, head, body);
        break;
    default:
        break;
    }
}

static void
take_datagram(void *context, const struct gossip_address *from, struct wire_bytes packet)
{
    struct node *node = context;
    (void)from;
    if (atomic_load(&node->ready))
        meta_datagram(node->meta, packet);
}

static void
hear_of(void *context, struct wire_uuid other)
{
    (void)context;
    (void)other;
}

static enum config_exit
open_bus(struct node *node, struct omen_error *error)
{
    const struct disk_identity *identity = &node->start.identity;
    const struct bus_config config = {
        .listen = node->config.config->peer,
        .ours = {.cluster = {identity->cluster.high, identity->cluster.low},
                 .node = {identity->node.high, identity->node.low},
                 .boot = identity->boot,
                 .version_least = 1,
                 .version_most = 1},
        .keys = node->config.keys,
        .context = node,
        .frame = take_frame,
        .datagram = take_datagram,
        .up = hear_of,
        .down = hear_of};
    const omen_status status = bus_open(&config, &node->bus, error);
    if (status == OMEN_OK)
        return EXIT_DONE;
    return status == OMEN_E_NO_MEMORY ? EXIT_NO_SYSTEM : EXIT_NO_ADDRESS;
}

// ---- the loops ----

// What a node says of where it is: what an operator said, or where it listens.
static struct gossip_address
reached(const struct node *node, const struct gossip_address *listen, uint16_t port)
{
    struct gossip_address address = *listen;
    if (address_is_any(listen))
        memcpy(address.ip, node->config.config->advertise.ip, sizeof address.ip);
    address.port = port;
    return address;
}

static enum config_exit
open_meta(struct node *node, const struct profile_place *place, struct omen_error *error)
{
    const struct config *config = node->config.config;
    const struct turn_config turn = profile_turn(config, place);
    struct turn_durable durable;
    omen_status status = disk_start_meta(node->start.disk, &durable, error);
    if (status != OMEN_OK)
        return status == OMEN_E_NO_MEMORY ? EXIT_NO_SYSTEM : EXIT_BAD_DATA;
    const uint32_t count = durable.peer_count + config->join_count;
    struct gossip_address *peers = mem_alloc((count + 1) * sizeof *peers);
    if (peers == NULL) {
        (void)error_set_plain(error, OMEN_E_NO_MEMORY);
        return EXIT_NO_SYSTEM;
    }
    memcpy(peers, config->join, config->join_count * sizeof *peers);
    if (durable.peer_count > 0)
        memcpy(peers + config->join_count, durable.peers, durable.peer_count * sizeof *peers);
    durable.peers = peers;
    durable.peer_count = count;
    uint64_t seed;
    os_random(&seed, sizeof seed);
    const struct meta_config meta = {.turn = &turn,
                                     .durable = &durable,
                                     .disk = node->start.disk,
                                     .bus = node->bus,
                                     .seed = seed,
                                     .context = node,
                                     .halt = halted,
                                     .superseded = superseded};
    status = meta_open(&meta, &node->meta);
    mem_free(peers);
    if (status == OMEN_OK)
        return EXIT_DONE;
    (void)error_set(error, status, "%s/log: the metadata's log or map: %s", config->data,
                    status_text(status));
    return status == OMEN_E_NO_MEMORY ? EXIT_NO_SYSTEM : EXIT_BAD_DATA;
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

static enum config_exit
open_all(struct node *node, struct omen_error *error)
{
    const struct config *config = node->config.config;
    const struct start_config start = {.config = config,
                                       .keys = node->config.keys,
                                       .disk = {.fatal = disk_failed},
                                       .context = node->config.context,
                                       .pause = node->config.pause};
    enum config_exit failed = start_open(&start, &node->start, error);
    if (failed != EXIT_DONE || node->start.disk == NULL)
        return failed;
    failed = open_bus(node, error);
    if (failed != EXIT_DONE)
        return failed;
    const struct gossip_address *told = &config->advertise;
    struct profile_place place = {.identity = node->start.identity};
    place.peer = reached(node, &config->peer, told->port != 0 ? told->port : bus_port(node->bus));
    if (!address_is_any(told))
        memcpy(place.peer.ip, told->ip, sizeof told->ip);
    place.client = reached(node, &config->listen, config->listen.port);
    failed = open_meta(node, &place, error);
    if (failed != EXIT_DONE)
        return failed;
    disk_started(node->start.disk);
    atomic_store(&node->ready, true);
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
    const enum config_exit failed = open_all(node, error);
    if (failed != EXIT_DONE || node->start.disk == NULL) {
        node_close(node);
        return failed;
    }
    *out = node;
    return EXIT_DONE;
}

void
node_close(struct node *node)
{
    if (node == NULL)
        return;
    atomic_store(&node->ready, false);
    if (node->meta != NULL)
        meta_stop(node->meta);
    bus_close(node->bus);
    disk_close(node->start.disk);
    meta_close(node->meta);
    mem_free(node);
}
