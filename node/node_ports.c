// node/node_ports.c -- what comes into a node: from other nodes, from clients, from who watches; each to the loop that it is for.
//
// Shape: shell.
#include <string.h>

#include "base/os_clock.h"
#include "base/os_log.h"
#include "node/address.h"
#include "node/keys.h"
#include "node/node_int.h"
#include "node/program.h"
#include "omendb.h"
#include "wire/node_codec.h"

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
    struct node *node = context;
    if (atomic_load(&node->ready))
        meta_reached(node->meta, (struct cluster_uuid){other.high, other.low});
}

static void
hear_refused(void *context, struct wire_uuid other)
{
    struct node *node = context;
    if (atomic_load(&node->ready))
        meta_refused(node->meta, (struct cluster_uuid){other.high, other.low});
}

static void
hear_lost(void *context, struct wire_uuid other)
{
    struct node *node = context;
    if (atomic_load(&node->ready))
        clients_down(node->clients, (struct cluster_uuid){other.high, other.low});
}

enum config_exit
node_open_bus(struct node *node, struct omen_error *error)
{
    const struct bus_config config = {.listen = node->config.config->peer,
                                      .shut = true,
                                      .keys = node->config.keys,
                                      .context = node,
                                      .frame = take_frame,
                                      .datagram = take_datagram,
                                      .up = hear_of,
                                      .down = hear_lost,
                                      .refused = hear_refused};
    const omen_status status = bus_open(&config, &node->bus, error);
    if (status == OMEN_OK)
        return EXIT_DONE;
    (void)error_about(error, status, "peer");
    return status == OMEN_E_NO_MEMORY ? EXIT_NO_SYSTEM : EXIT_NO_ADDRESS;
}

void
node_let_peers_in(struct node *node)
{
    const struct disk_identity *identity = &node->start.identity;
    const struct handshake ours = {.cluster = {identity->cluster.high, identity->cluster.low},
                                   .node = {identity->node.high, identity->node.low},
                                   .boot = identity->boot,
                                   .features = PROGRAM_FEATURES,
                                   .version_least = PROGRAM_VERSION_LEAST,
                                   .version_most = PROGRAM_VERSION_MOST};
    bus_let_in(node->bus, &ours);
}

// ---- clients, who are let in when the node is ready, and are gone before it is not ----

// Keys that a client has made count on every node, also where the file names none.
static bool
asks_for_key(void *context)
{
    struct node *node = context;
    return node->config.config->key_count > 0 || meta_has_keys(node->meta);
}

static bool
find_key(struct node *node, const struct map_name *name, struct api_key *key)
{
    const struct config *config = node->config.config;
    if (!keys_configured(config, name, key) && !meta_key(node->meta, name, key))
        return false;
    if (key->rate == 0)
        key->rate = config->key_rate;
    return true;
}

// A node that has just started has the keys of its last checkpoint, or none: what is not among them may have been made since.
static omen_status
admit(void *context, struct wire_text said, struct rpc_session *session)
{
    struct node *node = context;
    struct map_name name;
    struct api_key key;
    if (!keys_name(said, &name))
        return OMEN_E_AUTH;
    const bool current =
        meta_is_current(node->meta) || keys_configured(node->config.config, &name, &key);
    session->keys_seen = meta_keys_seen(node->meta);
    if (find_key(node, &name, &key) && keys_open(&key, said, os_ms_since_1970(), session))
        return OMEN_OK;
    return current ? OMEN_E_AUTH : OMEN_E_BUSY;
}

// Looked up again where the keys of the map have changed since.
static bool
holds(void *context, struct rpc_session *session)
{
    struct node *node = context;
    struct map_name name;
    struct api_key key;
    const uint64_t seen = meta_keys_seen(node->meta);
    if (session->keys_seen == seen &&
        (session->key_until_ms == 0 || session->key_until_ms > os_ms_since_1970()))
        return true;
    if (!map_name_set(&name, session->key, strlen(session->key)) || !find_key(node, &name, &key) ||
        !keys_same(&key, os_ms_since_1970(), session))
        return false;
    session->keys_seen = seen;
    return true;
}

static void
welcome(void *context, struct api_welcome *said)
{
    struct node *node = context;
    said->server = wire_text_of("omend");
    said->version = wire_text_of(omen_version());
    said->cluster = wire_text_of(node->cluster);
    said->time_ms = node_clock_ms(&node->clock);
}

static void
take_request(void *context, struct rpc_conn *conn, const struct rpc_request *request)
{
    struct node *node = context;
    clients_request(node->clients, conn, request);
}

static void
begin_requests(void *context, bool alone)
{
    struct node *node = context;
    clients_requested(node->clients, alone);
}

static void
lose_client(void *context, struct rpc_conn *conn)
{
    struct node *node = context;
    clients_gone(node->clients, conn);
}

enum config_exit
node_open_rpc(struct node *node, struct omen_error *error)
{
    const struct config *config = node->config.config;
    char host[ADDRESS_TEXT_BYTES];
    address_host(&config->listen, host);
    const struct rpc_server_config rpc = {
        .host = host,
        .port = config->listen.port,
        .shut = true,
        .connections_max = config->limits.connections,
        .connections_of_address_max = config->limits.connections_of_address,
        .in_flight_max = config->limits.in_flight,
        .frame_bytes_max = config->limits.frame_bytes,
        .waiting_mib_max = config->limits.waiting_mib,
        .hello_ms = config->limits.hello_ms,
        .idle_ms = config->limits.idle_ms,
        .context = node,
        .asks = asks_for_key,
        .admit = admit,
        .holds = holds,
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

void
node_write_text(void *context, struct metrics_text *text)
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

enum config_exit
node_open_admin(struct node *node, struct omen_error *error)
{
    const struct config *config = node->config.config;
    const struct http_config http = {.listen = config->admin,
                                     .context = node,
                                     .metrics = node_write_text,
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
