// tools/raft-interact/world.c -- a few raft nodes, their disks, and the messages between them.
//
// Shape: shell.
#include "tools/raft-interact/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static void *
need(size_t bytes)
{
    void *memory = calloc(1, bytes == 0 ? 1 : bytes);
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return memory;
}

static void *
copy(const void *bytes, size_t count)
{
    void *memory = need(count);
    if (count > 0)
        memcpy(memory, bytes, count);
    return memory;
}

void
world_send(struct flights *flights, const struct node *from, const struct raft_msg *msg)
{
    struct flight *flight = need(sizeof *flight);
    flight->msg = *msg;
    if (msg->entry_count > 0) {
        struct raft_entry *entries = copy(msg->entries, msg->entry_count * sizeof *entries);
        for (uint32_t i = 0; i < msg->entry_count; i++)
            entries[i].bytes = copy(entries[i].bytes, entries[i].byte_count);
        flight->msg.entries = entries;
    }
    if (msg->group != NULL) {
        flight->group = *msg->group;
        flight->msg.group = &flight->group;
    }
    if (msg->kind == RAFT_SNAPSHOT) {
        const struct state_text *source =
            from->offer.position == msg->position ? &from->offer : &from->state;
        flight->msg.chunk = copy(source->text + msg->offset, msg->chunk_bytes);
        flight->msg.chunk_hash = hash_bytes(flight->msg.chunk, msg->chunk_bytes);
    }
    if (flights->last == NULL)
        flights->first = flight;
    else
        flights->last->next = flight;
    flights->last = flight;
}

void
flight_free(struct flight *flight)
{
    for (uint32_t i = 0; i < flight->msg.entry_count; i++)
        free((void *)flight->msg.entries[i].bytes);
    free((void *)flight->msg.entries);
    free((void *)flight->msg.chunk);
    free(flight);
}

static void
obey(struct node *node, const struct raft_output *out)
{
    if (out->sync)
        node->persist_number = out->persist_number;
    node->dirty |= out->hard_state_changed || out->commit.count > 0;
    node->wake_ns = out->wake_ns;
    for (uint32_t i = 0; i < out->msg_count; i++)
        world_send(&node->outbox, node, &out->msgs[i]);
    if (out->chunk != NULL) {
        memcpy(node->staging + out->chunk->offset, out->chunk->chunk, out->chunk->chunk_bytes);
        node->staging[out->chunk->offset + out->chunk->chunk_bytes] = 0;
    }
    if (out->install) {
        memcpy(node->state.text, node->staging, sizeof node->state.text);
        node->state.position = out->applied - out->commit.count;
        node->state.term = node->raft.tail.base_term;
    }
    for (uint32_t i = 0; i < out->commit.count; i++) {
        const struct raft_entry *entry = &out->commit.entries[i];
        const size_t have = strlen(node->state.text);
        if (entry->kind == RAFT_ENTRY_NORMAL && have + entry->byte_count < WORLD_TEXT &&
            entry->byte_count > 0)
            memcpy(node->state.text + have, entry->bytes, entry->byte_count);
        node->state.position = entry->position;
        node->state.term = entry->term;
    }
    node->state.group = node->raft.group;
    if (out->snapshot_wanted != 0) {
        node->snapshot_wanted = out->snapshot_wanted;
        node->made = node->state;
    }
}

void
world_step(struct node *node, struct raft_input *in)
{
    static struct raft_output out;
    in->now_ns = node->now_ns;
    raft_step(&node->raft, in, &out);
    raft_check(&node->raft);
    obey(node, &out);
}

struct node *
world_add(struct world *world, const struct raft_config *config, const struct raft_durable *durable,
          const char *content)
{
    struct node *node = need(sizeof *node);
    world->nodes[world->count++] = node;
    raft_init(&node->raft, config, config->id);
    snprintf(node->state.text, sizeof node->state.text, "%s", content);
    node->state.position = durable->base_position;
    node->state.term = durable->base_term;
    world_step(node, &(struct raft_input){.kind = RAFT_IN_START, .durable = durable});
    if (!node->raft.started) {
        fprintf(stderr, "a node does not start\n");
        exit(2);
    }
    return node;
}

bool
world_has_output(const struct node *node)
{
    return node->dirty || node->outbox.first != NULL || node->persisted < node->persist_number ||
           node->wake_ns <= node->now_ns || node->snapshot_wanted != 0;
}

static void
join(struct flights *flights, struct flights *more)
{
    if (more->first == NULL)
        return;
    if (flights->last == NULL)
        flights->first = more->first;
    else
        flights->last->next = more->first;
    flights->last = more->last;
    *more = (struct flights){0};
}

// Whether it waited for what is durable now, and not for the next round.
static bool
was_held(const struct raft_msg *msg)
{
    switch (msg->kind) {
    case RAFT_VOTE:
    case RAFT_PRE_VOTE:
    case RAFT_VOTE_RESP:
    case RAFT_PRE_VOTE_RESP:
    case RAFT_APPEND_RESP:
    case RAFT_HEARTBEAT_RESP:
    case RAFT_SNAPSHOT_RESP:
        return true;
    default:
        return false;
    }
}

void
world_process(struct world *world, struct node *node)
{
    node->dirty = false;
    join(&world->flights, &node->outbox);
    if (node->persisted < node->persist_number) {
        node->persisted = node->persist_number;
        world_step(node, &(struct raft_input){.kind = RAFT_IN_PERSISTED,
                                              .persist_number = node->persisted});
        while (node->outbox.first != NULL && was_held(&node->outbox.first->msg)) {
            struct flights one = {node->outbox.first, node->outbox.first};
            node->outbox.first = node->outbox.first->next;
            if (node->outbox.first == NULL)
                node->outbox.last = NULL;
            one.last->next = NULL;
            join(&world->flights, &one);
        }
    }
    if (node->snapshot_wanted != 0) {
        struct raft_input in = {.kind = RAFT_IN_SNAPSHOT};
        in.snapshot.position = node->snapshot_wanted;
        in.snapshot.total_bytes = strlen(node->made.text);
        node->snapshot_wanted = 0;
        node->offer = node->made;
        world_step(node, &in);
    }
    if (node->wake_ns <= node->now_ns)
        world_step(node, &(struct raft_input){.kind = RAFT_IN_WAKE});
}

struct flight *
world_take(struct world *world, uint64_t to, unsigned kind)
{
    struct flight *before = NULL;
    for (struct flight *flight = world->flights.first; flight != NULL;
         before = flight, flight = flight->next) {
        if (flight->msg.to != to || (kind != 0 && kind != (unsigned)flight->msg.kind))
            continue;
        if (before == NULL)
            world->flights.first = flight->next;
        else
            before->next = flight->next;
        if (world->flights.last == flight)
            world->flights.last = before;
        flight->next = NULL;
        return flight;
    }
    return NULL;
}

void
world_deliver(struct world *world, struct flight *flight)
{
    if (flight->msg.to <= world->count) {
        struct node *node = world->nodes[flight->msg.to - 1];
        const struct raft_entry *entry = flight->msg.entries;
        if (flight->msg.kind == FLIGHT_FORWARD)
            world_propose(node, entry->kind, entry->bytes, entry->byte_count);
        else
            world_step(node,
                       &(struct raft_input){.kind = RAFT_IN_MESSAGE, .message = &flight->msg});
    }
    flight_free(flight);
}

// Followers of etcd's forward proposals; and a configuration change that its leader refuses becomes an empty entry.
void
world_propose(struct node *node, enum raft_entry_kind kind, const uint8_t *bytes, uint32_t count)
{
    struct raft *raft = &node->raft;
    if (raft->state != RAFT_LEADER) {
        const struct raft_entry entry = {.kind = kind, .bytes = bytes, .byte_count = count};
        const struct raft_msg msg = {
            .kind = FLIGHT_FORWARD,
            .from = raft->config.id,
            .to = raft->lead,
            .entries = &entry,
            .entry_count = 1,
        };
        if (raft->lead != RAFT_NODE_NONE)
            world_send(&node->outbox, node, &msg);
        return;
    }
    if (raft->transferee != RAFT_NODE_NONE)
        return;
    struct raft_input in = {.kind = RAFT_IN_PROPOSE};
    in.proposal.bytes = bytes;
    in.proposal.count = count;
    if (kind == RAFT_ENTRY_CHANGE) {
        const uint64_t last = tail_last(&raft->tail);
        struct raft_change change;
        if (member_decode(bytes, count, &change) != OMEN_OK)
            exit(2);
        world_step(node, &(struct raft_input){.kind = RAFT_IN_CONF_CHANGE, .change = &change});
        if (tail_last(&raft->tail) != last)
            return;
        in.proposal.count = 0;
    }
    world_step(node, &in);
}

bool
world_quiescent(const struct world *world)
{
    for (unsigned i = 0; i < world->count; i++)
        if (world_has_output(world->nodes[i]))
            return false;
    return world->flights.first == NULL;
}

void
world_close(struct world *world)
{
    for (unsigned i = 0; i < world->count; i++) {
        join(&world->flights, &world->nodes[i]->outbox);
        raft_fini(&world->nodes[i]->raft);
        free(world->nodes[i]);
    }
    while (world->flights.first != NULL) {
        struct flight *flight = world->flights.first;
        world->flights.first = flight->next;
        flight_free(flight);
    }
}
