// node/node.c -- one node of a cluster: its disk, its bus, its loops and its clients' port, wired together.
//
// Shape: shell.
//
//      opened   admin port > disk > bus > clients' port (its number goes into gossip) > meta > hosts; then what arrives is let in
//      closed   admin port > others lead > clients' port, which drains, and loop > the others are told > hosts' and meta's loops > bus > disk > hosts, meta
//
// Until all of it is there what arrives on the bus is as if it were lost.
#include "node/node.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/os_cpu.h"
#include "base/os_log.h"
#include "base/os_random.h"
#include "node/address.h"
#include "node/build.h"
#include "node/clients.h"
#include "node/hosts.h"
#include "node/http.h"
#include "node/keys.h"
#include "node/meta.h"
#include "node/profile.h"
#include "node/program.h"
#include "node/seen.h"
#include "omendb.h"
#include "wire/node_codec.h"

#define MS UINT64_C(1000000)
#define LOOK_MS 10u // between two looks at whether it is over
#define GO_MS 1000u // that the others may take to hear that it is gone

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
    struct seen seen;
    _Atomic bool ready;
    char cluster[START_UUID_BYTES];
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

static void
outdated(void *context)
{
    (void)context;
    end("node.outdated",
        "the folder lacks what this node has acknowledged: an old copy of it was put back; "
        "remove it, and let the node join with --join as a new one",
        EXIT_BAD_DATA);
}

// ---- the bus ----

// A part without a shard is about the map.
static bool
is_for_leader(struct wire_bytes body)
{
    struct wire_part part;
    return wire_part_read(body, &part) && part.shard == 0;
}

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
    case PEER_MAP:
        meta_frame(node->meta, uuid, boot, head, body);
        break;
    case PEER_REPLY:
        if (node->build != NULL && build_is_ours(body))
            build_frame(node->build, uuid, boot, head, body);
        else
            clients_frame(node->clients, uuid, boot, head, body);
        break;
    case PEER_PART:
        if (is_for_leader(body))
            clients_frame(node->clients, uuid, boot, head, body);
        else
            hosts_frame(node->hosts, uuid, boot, head, body);
        break;
    default:
        hosts_frame(node->hosts, uuid, boot, head, body);
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
                 .features = PROGRAM_FEATURES,
                 .version_least = PROGRAM_VERSION_LEAST,
                 .version_most = PROGRAM_VERSION_MOST},
        .keys = node->config.keys,
        .context = node,
        .frame = take_frame,
        .datagram = take_datagram,
        .up = hear_of,
        .down = hear_of};
    const omen_status status = bus_open(&config, &node->bus, error);
    if (status == OMEN_OK)
        return EXIT_DONE;
    (void)error_about(error, status, "peer");
    return status == OMEN_E_NO_MEMORY ? EXIT_NO_SYSTEM : EXIT_NO_ADDRESS;
}

// ---- clients ----

static bool
admit(void *context, struct wire_text said, struct rpc_session *session)
{
    struct node *node = context;
    struct map_name name;
    struct api_key key;
    if (!keys_name(said, &name))
        return false;
    const bool known = keys_configured(node->config.config, &name, &key) ||
                       (atomic_load(&node->ready) && meta_key(node->meta, &name, &key));
    return known && keys_open(&key, said, os_ms_since_1970(), session);
}

static void
welcome(void *context, struct api_welcome *said)
{
    struct node *node = context;
    said->server = wire_text_of("omend");
    said->version = wire_text_of(omen_version());
    said->cluster = wire_text_of(node->cluster);
}

static void
take_request(void *context, struct rpc_conn *conn, const struct rpc_request *request)
{
    struct node *node = context;
    if (atomic_load(&node->ready))
        clients_request(node->clients, conn, request);
    else
        clients_refuse_busy(conn, request);
}

static void
begin_requests(void *context)
{
    struct node *node = context;
    if (atomic_load(&node->ready))
        clients_requested(node->clients);
}

static void
lose_client(void *context, struct rpc_conn *conn)
{
    struct node *node = context;
    if (atomic_load(&node->ready))
        clients_gone(node->clients, conn);
}

static enum config_exit
open_rpc(struct node *node, struct omen_error *error)
{
    const struct config *config = node->config.config;
    char host[ADDRESS_TEXT_BYTES];
    address_host(&config->listen, host);
    const struct rpc_server_config rpc = {.host = host,
                                          .port = config->listen.port,
                                          .auth = config->key_count > 0,
                                          .context = node,
                                          .admit = admit,
                                          .welcome = welcome,
                                          .request = take_request,
                                          .requested = begin_requests,
                                          .gone = lose_client};
    const omen_status status = rpc_server_open(&rpc, &node->rpc, error);
    if (status == OMEN_OK)
        return EXIT_DONE;
    (void)error_about(error, status, "listen");
    return status == OMEN_E_NO_MEMORY ? EXIT_NO_SYSTEM : EXIT_NO_ADDRESS;
}

// ---- who watches ----

static void
write_text(void *context, struct metrics_text *text)
{
    struct node *node = context;
    seen_text(&node->seen, text);
}

static const char *
not_live(void *context)
{
    struct node *node = context;
    return seen_not_live(&node->seen);
}

static const char *
not_ready(void *context)
{
    struct node *node = context;
    return seen_not_ready(&node->seen);
}

static enum config_exit
open_admin(struct node *node, struct omen_error *error)
{
    const struct config *config = node->config.config;
    const struct http_config http = {.listen = config->admin,
                                     .context = node,
                                     .metrics = write_text,
                                     .not_live = not_live,
                                     .not_ready = not_ready};
    struct gossip_address address = config->admin;
    char text[ADDRESS_TEXT_BYTES];
    if (!config->admin_said)
        return EXIT_DONE;
    const omen_status status = http_open(&http, &node->http, error);
    if (status != OMEN_OK) {
        (void)error_about(error, status, "admin");
        return status == OMEN_E_NO_MEMORY ? EXIT_NO_SYSTEM : EXIT_NO_ADDRESS;
    }
    address.port = http_port(node->http);
    address_text(&address, text);
    log_say(LOG_LEVEL_INFO, "node.admin", "listen", text);
    return EXIT_DONE;
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

// ---- the loops ----

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
                                     .lease_profile =
                                         config->profile == CONFIG_FAST ? LEASE_FAST : LEASE_LAN,
                                     .disk = node->start.disk,
                                     .bus = node->bus,
                                     .seed = seed,
                                     .context = node,
                                     .halt = halted,
                                     .superseded = superseded,
                                     .outdated = outdated};
    status = meta_open(&meta, &node->meta);
    mem_free(peers);
    if (status == OMEN_OK)
        return EXIT_DONE;
    (void)error_set(error, status, "%s/log: the metadata's log or map: %s", config->data,
                    status_text(status));
    return status == OMEN_E_NO_MEMORY ? EXIT_NO_SYSTEM : EXIT_BAD_DATA;
}

// From this node's clients to its copies, and back.
static void
give_part(void *context, const struct peer_head *head, struct wire_bytes body)
{
    struct node *node = context;
    const struct disk_identity *identity = &node->start.identity;
    hosts_frame(node->hosts, identity->node, identity->boot, head, body);
}

static void
give_reply(void *context, const struct peer_head *head, struct wire_bytes body)
{
    struct node *node = context;
    const struct disk_identity *identity = &node->start.identity;
    clients_frame(node->clients, identity->node, identity->boot, head, body);
}

static void
give_near(void *context, struct near *near)
{
    struct node *node = context;
    clients_near(node->clients, near);
}

static void
give_nears(void *context, struct near *const *nears, uint32_t count)
{
    struct node *node = context;
    clients_nears(node->clients, nears, count);
}

static enum config_exit
open_hosts(struct node *node, struct omen_error *error)
{
    const struct config *config = node->config.config;
    const struct hosts_config hosts = {.node = node->start.identity.node,
                                       .boot = node->start.identity.boot,
                                       .folder = config->data,
                                       .threads =
                                           config->threads != 0 ? config->threads : os_cpu_count(),
                                       .disk = node->start.disk,
                                       .bus = node->bus,
                                       .meta = node->meta,
                                       .metrics = &node->seen.counted,
                                       .context = node,
                                       .halt = halted,
                                       .reply = give_reply,
                                       .near = give_near,
                                       .nears = give_nears};
    const omen_status status = hosts_open(&hosts, &node->hosts, error);
    if (status == OMEN_OK)
        return EXIT_DONE;
    return status == OMEN_E_NO_MEMORY ? EXIT_NO_SYSTEM : EXIT_BAD_DATA;
}

static enum config_exit
open_clients(struct node *node, struct omen_error *error)
{
    const struct profile_place none = {.identity = node->start.identity};
    const struct turn_config turn = profile_turn(node->config.config, &none);
    const struct clients_config clients = {.identity = node->start.identity,
                                           .zone = turn.zone,
                                           .rebalance = &turn.rebalance,
                                           .bus = node->bus,
                                           .meta = node->meta,
                                           .metrics = &node->seen.counted,
                                           .slow_ns =
                                               node->config.config->slow_ms * UINT64_C(1000000),
                                           .context = node,
                                           .part = give_part,
                                           .hosts = node->hosts,
                                           .text = write_text};
    const omen_status status = clients_open(&clients, &node->clients, error);
    return status == OMEN_OK ? EXIT_DONE : EXIT_NO_SYSTEM;
}

// Who has data links it; who has none has time for that of others.
static enum config_exit
open_build(struct node *node, struct omen_error *error)
{
    const struct config *config = node->config.config;
    if ((config->roles & NODE_BUILDER) == 0 || (config->roles & NODE_DATA) != 0)
        return EXIT_DONE;
    const struct build_loop_config build = {.node = node->start.identity.node,
                                            .boot = node->start.identity.boot,
                                            .roles = config->roles,
                                            .threads = config->threads != 0 ? config->threads
                                                                            : os_cpu_count(),
                                            .bus = node->bus,
                                            .meta = node->meta};
    return build_open(&build, &node->build, error) == OMEN_OK ? EXIT_DONE : EXIT_NO_SYSTEM;
}

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

static enum config_exit
open_all(struct node *node, struct omen_error *error)
{
    const struct config *config = node->config.config;
    const struct start_config start = {
        .config = config,
        .keys = node->config.keys,
        .disk = {.fatal = disk_failed, .commit_times = &node->seen.counted.commit_times},
        .context = node->config.context,
        .pause = node->config.pause};
    seen_begin(&node->seen);
    enum config_exit failed = open_admin(node, error);
    if (failed == EXIT_DONE)
        failed = start_open(&start, &node->start, error);
    if (failed != EXIT_DONE || node->start.disk == NULL)
        return failed;
    start_uuid_text(node->start.identity.cluster, node->cluster);
    failed = open_bus(node, error);
    if (failed == EXIT_DONE)
        failed = open_rpc(node, error);
    if (failed != EXIT_DONE)
        return failed;
    const struct profile_place place = place_of(node);
    failed = open_meta(node, &place, error);
    if (failed == EXIT_DONE)
        failed = open_hosts(node, error);
    if (failed == EXIT_DONE)
        failed = open_clients(node, error);
    if (failed == EXIT_DONE)
        failed = open_build(node, error);
    if (failed != EXIT_DONE)
        return failed;
    disk_started(node->start.disk);
    show_all(node);
    atomic_store(&node->ready, true);
    meta_feed(node->meta, hosts_loop(node->hosts));
    meta_feed(node->meta, clients_loop(node->clients));
    if (node->build != NULL)
        meta_feed(node->meta, build_loop(node->build));
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
    mem_free(node);
}
