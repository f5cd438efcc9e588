// node/node_loops.c -- a node's loops, opened with what they need of each other; and what ends the process from within them.
//
// Shape: shell.
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_cpu.h"
#include "base/os_log.h"
#include "base/os_random.h"
#include "node/node_int.h"

// ---- ends from within ----

__attribute__((noreturn)) static void
end(const char *event, const char *why, enum config_exit code)
{
    log_say(LOG_LEVEL_ERROR, event, "why", why);
    _exit((int)code); // nothing that is half done may be finished
}

void
node_disk_failed(void *context, const char *why)
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

// ---- the loops ----

enum config_exit
node_open_meta(struct node *node, const struct profile_place *place, struct omen_error *error)
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
                                     .clock = &node->clock,
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

enum config_exit
node_open_hosts(struct node *node, struct omen_error *error)
{
    const struct config *config = node->config.config;
    const struct hosts_config hosts = {.node = node->start.identity.node,
                                       .boot = node->start.identity.boot,
                                       .folder = config->data,
                                       .threads =
                                           config->threads != 0 ? config->threads : os_cpu_count(),
                                       .reserve_percent = config->disk_reserve,
                                       .disk = node->start.disk,
                                       .bus = node->bus,
                                       .meta = node->meta,
                                       .clock = &node->clock,
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

enum config_exit
node_open_clients(struct node *node, struct omen_error *error)
{
    const struct profile_place none = {.identity = node->start.identity};
    const struct turn_config turn = profile_turn(node->config.config, &none);
    const struct clients_config clients = {
        .identity = node->start.identity,
        .zone = turn.zone,
        .rebalance = &turn.rebalance,
        .bus = node->bus,
        .meta = node->meta,
        .clock = &node->clock,
        .metrics = &node->seen.counted,
        .slow_ns = node->config.config->slow_ms * UINT64_C(1000000),
        .build_wait_ns = node->config.config->build_wait_ms * UINT64_C(1000000),
        .build_require_ns = node->config.config->build_require_ms * UINT64_C(1000000),
        .context = node,
        .part = give_part,
        .hosts = node->hosts,
        .text = node_write_text};
    const omen_status status = clients_open(&clients, &node->clients, error);
    return status == OMEN_OK ? EXIT_DONE : EXIT_NO_SYSTEM;
}

// Who has data links it; who has none has time for that of others.
enum config_exit
node_open_build(struct node *node, struct omen_error *error)
{
    const struct config *config = node->config.config;
    if ((config->roles & NODE_BUILDER) == 0 || (config->roles & NODE_DATA) != 0)
        return EXIT_DONE;
    const struct build_loop_config build = {.node = node->start.identity.node,
                                            .boot = node->start.identity.boot,
                                            .features = profile_features(),
                                            .roles = config->roles,
                                            .threads = config->threads != 0 ? config->threads
                                                                            : os_cpu_count(),
                                            .bus = node->bus,
                                            .meta = node->meta};
    return build_open(&build, &node->build, error) == OMEN_OK ? EXIT_DONE : EXIT_NO_SYSTEM;
}
