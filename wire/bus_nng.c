// wire/bus_nng.c -- the bus between nodes: its sockets, its end, and what it counted.
//
// Shape: shell. Whom it knows: bus_peer.c; a connection for each, by lane: bus_lane.c, bus_link.c; frames on their way: bus_send.c;
// datagrams: bus_udp.c.
//
// The bus's lock is over the table of peers and the lanes' states. A frame is put together and written without it, so that who
// sends 64 MiB does not hold up a heartbeat. Locks are taken in this order: bus, connection, set of connections.
#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "wire/bus_int.h"

#define PORT_TRIES 16u // until one is free for TCP and UDP

static omen_status open_sockets(struct bus *bus, struct omen_error *error);

static void
fill_in(struct bus_config *config)
{
    const struct {
        uint32_t *value, otherwise;
    } defaults[] = {
        {&config->connections_max, 4096},     {&config->handshake_ms, 5000},
        {&config->stall_ms, 10000},           {&config->pause_least_ms, 50},
        {&config->pause_most_ms, 2000},       {&config->control_bytes_max, 16u << 20},
        {&config->bulk_bytes_max, 64u << 20}, {&config->tick_ms, 50},
    };
    for (uint32_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        if (*defaults[i].value == 0)
            *defaults[i].value = defaults[i].otherwise;
}

omen_status
bus_open(const struct bus_config *config, struct bus **out, struct omen_error *error)
{
    ASSERT(config->frame != NULL && config->datagram != NULL && config->up != NULL &&
           config->down != NULL);
    *out = NULL;
    if (seal_init() != OMEN_OK)
        return error_set(error, OMEN_E_INTERNAL, "libsodium cannot be used");
    struct bus *bus = mem_alloc_zero(1, sizeof *bus);
    if (bus == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    bus->config = *config;
    fill_in(&bus->config);
    atomic_init(&bus->open, !config->shut);
    if (config->keys != NULL)
        bus->keys = *config->keys;
    bus->config.keys = NULL; // the copy is what is used
    lock_init(&bus->lock);
    const omen_status status = open_sockets(bus, error);
    if (status != OMEN_OK) {
        bus_close(bus);
        return status;
    }
    *out = bus;
    return OMEN_OK;
}

static void
host_of(const struct gossip_address *address, char text[INET6_ADDRSTRLEN])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    const bool four = memcmp(address->ip, mapped, sizeof mapped) == 0;
    const char *made =
        inet_ntop(four ? AF_INET : AF_INET6, four ? address->ip + sizeof mapped : address->ip, text,
                  INET6_ADDRSTRLEN);
    ASSERT(made != NULL);
}

// Where any port will do, another one is tried when that which TCP got is taken for UDP.
static omen_status
open_sockets(struct bus *bus, struct omen_error *error)
{
    char host[INET6_ADDRSTRLEN];
    host_of(&bus->config.listen, host);
    const struct streams_config streams = {
        .host = host,
        .port = bus->config.listen.port,
        .accepted_max = bus->config.connections_max,
        .tick_ms = bus->config.tick_ms,
        .stall_ms = bus->config.stall_ms,
        .queue_bytes_max = bus->config.control_bytes_max,
        .context = bus,
        .begin = link_begin,
        .missed = link_missed,
        .read = link_read,
        .end = link_end,
        .tick = bus_peers_tick,
    };
    struct udp_config udp = {.listen = bus->config.listen,
                             .keys = &bus->keys,
                             .context = bus->config.context,
                             .datagram = bus->config.datagram};
    omen_status status = OMEN_E_INVALID;
    for (uint32_t i = 0; i < PORT_TRIES && status != OMEN_OK; i++) {
        status = streams_open(&streams, &bus->streams, error);
        if (status != OMEN_OK)
            return status;
        udp.listen.port = streams_port(bus->streams);
        status = udp_open(&udp, &bus->udp, error);
        if (status != OMEN_OK) {
            streams_close(bus->streams);
            bus->streams = NULL;
            if (bus->config.listen.port != 0)
                return status;
        }
    }
    return status;
}

void
bus_let_in(struct bus *bus, const struct handshake *ours)
{
    ASSERT(!atomic_load(&bus->open));
    bus->config.ours = *ours;
    atomic_store(&bus->open, true); // link_begin looks at it first
}

void
bus_close(struct bus *bus)
{
    if (bus == NULL)
        return;
    streams_close(bus->streams);
    udp_close(bus->udp);
    for (uint32_t i = 0; i < PEER_BUCKETS; i++)
        while (bus->peers[i] != NULL)
            bus_peer_free(bus, &bus->peers[i]);
    seal_keys_forget(&bus->keys);
    lock_fini(&bus->lock);
    mem_free(bus);
}

uint16_t
bus_port(const struct bus *bus)
{
    return streams_port(bus->streams);
}

void
bus_stats(struct bus *bus, struct bus_stats *out)
{
    struct streams_stats streams;
    struct udp_stats udp;
    streams_stats(bus->streams, &streams);
    udp_stats(bus->udp, &udp);
    *out = (struct bus_stats){
        .frames_in = atomic_load(&bus->frames_in),
        .frames_out = atomic_load(&bus->frames_out),
        .bytes_in = streams.bytes_in,
        .bytes_out = streams.bytes_out,
        .connected = streams.dialed,
        .accepted = streams.accepted,
        .missed = streams.missed,
        .crowded = streams.crowded,
        .full = atomic_load(&bus->full),
        .nobody = atomic_load(&bus->nobody),
        .wrong_node = atomic_load(&bus->wrong_node),
        .late = streams.ended[STREAM_LATE],
        .clogged = streams.ended[STREAM_CLOGGED],
        .datagrams_in = udp.in,
        .datagrams_out = udp.out,
        .datagrams_refused = udp.refused,
        .datagrams_lost = udp.lost,
        .open = streams.open,
    };
    for (uint32_t i = 0; i < PEER_REFUSALS; i++)
        out->refusals[i] = atomic_load(&bus->refusals[i]);
    for (uint32_t i = 0; i < HANDSHAKE_VERDICTS; i++)
        out->verdicts[i] = atomic_load(&bus->verdicts[i]);
}
