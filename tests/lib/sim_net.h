// tests/lib/sim_net.h -- a network that loses, doubles and delays what the turns of nodes say; and commands on their way.
//
// Shape: shell, simulated.
#ifndef OMEN_TESTS_SIM_NET_H
#define OMEN_TESTS_SIM_NET_H
#include "tests/lib/sim_types.h"

static inline struct sim_packet *
sim_copy_raft(const struct raft_msg *msg, uint64_t sent_ns)
{
    struct sim_packet *packet = malloc(sizeof *packet);
    ASSERT(packet != NULL);
    packet->sent_ns = sent_ns;
    packet->msg = *msg;
    if (msg->group != NULL) {
        packet->group = *msg->group;
        packet->msg.group = &packet->group;
    }
    packet->msg.chunk = msg->chunk_bytes > 0 ? sim_copy(msg->chunk, msg->chunk_bytes) : NULL;
    struct raft_entry *entries = NULL;
    if (msg->entry_count > 0) {
        entries = sim_copy(msg->entries, msg->entry_count * sizeof *entries);
        for (uint32_t i = 0; i < msg->entry_count; i++)
            entries[i].bytes = sim_copy(msg->entries[i].bytes, msg->entries[i].byte_count);
    }
    packet->msg.entries = entries;
    return packet;
}

static inline void
sim_free_packet(struct sim_event *event)
{
    struct sim_packet *packet = event->packet;
    if (packet != NULL && event->kind == SIM_RAFT) {
        sim_drop_entries((struct raft_entry *)(uintptr_t)packet->msg.entries,
                         packet->msg.entry_count);
        free((void *)(uintptr_t)packet->msg.entries);
        free((void *)(uintptr_t)packet->msg.chunk);
    }
    free(packet);
}

static inline uint64_t
sim_delay(struct sim *sim)
{
    uint64_t ns = 200000 + prng_below(&sim->prng, 800000);
    const uint32_t late_ms = sim_usual(sim->options.profile->late_ms, 60);
    if (sim_chance(sim, sim->slow_net > 0 ? 300 : 10))
        ns += prng_below(&sim->prng, late_ms * 1000000);
    return ns;
}

// How many copies arrive.
static inline uint32_t
sim_copies(struct sim *sim, uint32_t from, uint32_t to)
{
    if (sim->cut[from][to] || sim_chance(sim, sim->loss > 0 ? 250 : 1))
        return 0;
    return sim_chance(sim, sim->doubled > 0 ? 250 : 1) ? 2 : 1;
}

static inline void
sim_send(struct sim *sim, uint32_t from)
{
    const struct turn_output *out = &sim->out;
    for (uint32_t i = 0; i < out->raft.msg_count; i++) {
        const struct raft_msg *msg = &out->raft.msgs[i];
        const uint32_t to = sim_at_of(sim, msg->to);
        if (to == SIM_NOWHERE)
            continue;
        for (uint32_t copies = sim_copies(sim, from, to); copies > 0; copies--)
            sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + sim_delay(sim),
                                                    .kind = SIM_RAFT,
                                                    .at = to,
                                                    .from = from,
                                                    .packet = sim_copy_raft(msg, sim->now_ns)});
    }
    for (uint32_t i = 0; i < out->gossip.send_count; i++) {
        const struct gossip_send *send = &out->gossip.sends[i];
        const uint32_t to = (uint32_t)send->to.ip[15] - 1;
        if (to >= sim->options.nodes)
            continue;
        uint8_t bytes[GOSSIP_PACKET_BYTES_MAX];
        const size_t count = gossip_msg_encode(&send->msg, bytes);
        for (uint32_t copies = sim_copies(sim, from, to); copies > 0; copies--) {
            struct sim_packet *packet = malloc(sizeof *packet);
            ASSERT(packet != NULL);
            const omen_status status = gossip_msg_decode(bytes, count, &packet->gossip);
            ASSERT(status == OMEN_OK);
            packet->lane = send->lane;
            sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + sim_delay(sim),
                                                    .kind = SIM_GOSSIP,
                                                    .at = to,
                                                    .from = from,
                                                    .packet = packet});
        }
    }
}

static inline void
sim_send_turn(struct sim *sim, uint32_t from)
{
    const struct turn_output *out = &sim->out;
    for (uint32_t i = 0; i < out->send_count; i++) {
        const struct turn_send *send = &out->sends[i];
        const uint32_t to =
            send->member != 0 ? sim_at_of(sim, send->member) : (uint32_t)send->node.low - 1;
        if (to >= sim->options.nodes)
            continue;
        static uint8_t bytes[COMMAND_BYTES_MAX];
        size_t count = 0;
        if (send->msg.command != NULL) {
            const omen_status status =
                command_encode(send->msg.command, bytes, sizeof bytes, &count);
            ASSERT(status == OMEN_OK);
        }
        for (uint32_t copies = sim_copies(sim, from, to); copies > 0; copies--) {
            struct sim_turn_packet *packet = malloc(sizeof *packet + count);
            ASSERT(packet != NULL);
            packet->msg = send->msg;
            packet->count = count;
            memcpy(packet->bytes, bytes, count);
            sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + sim_delay(sim),
                                                    .kind = SIM_TURN_MSG,
                                                    .at = to,
                                                    .from = from,
                                                    .packet = packet});
        }
    }
}

static inline void
sim_wish_from(struct sim *sim, uint32_t from, uint32_t at, const struct command *command,
              uint64_t in_ns)
{
    static uint8_t bytes[COMMAND_BYTES_MAX];
    size_t count;
    const omen_status status = command_encode(command, bytes, sizeof bytes, &count);
    ASSERT(status == OMEN_OK);
    struct sim_turn_packet *packet = malloc(sizeof *packet + count);
    ASSERT(packet != NULL);
    *packet = (struct sim_turn_packet){.count = count};
    memcpy(packet->bytes, bytes, count);
    sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + in_ns,
                                            .kind = SIM_WISH,
                                            .at = at,
                                            .from = from,
                                            .packet = packet});
}

// A command that somebody at this node wants; its turn takes it a little later.
static inline void
sim_wish(struct sim *sim, uint32_t at, const struct command *command)
{
    sim_wish_from(sim, at, at, command, 10000);
}

#endif
