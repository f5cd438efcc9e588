// tests/lib/sim_disk.h -- a disk of the metadata: transactions become durable one after the other, late, or are lost.
//
// Shape: value; on the heap.
//
// A transaction is what one output says. A crash keeps some first ones of those on their way and loses the rest, each whole:
// that is what the store promises (storage/kv.h), and all that it promises.
#ifndef OMEN_TESTS_SIM_DISK_H
#define OMEN_TESTS_SIM_DISK_H
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "node/turn.h"

#define SIM_WRITES_MAX 4096u
#define SIM_LOG_MAX 65536u // entries behind the base
#define SIM_PEERS_MAX 16u

struct sim_write {
    struct raft_hard_state hard_state;
    bool install, answered; // answered: PERSISTED is waited for
    uint64_t persist_number;
    uint64_t truncate_from, compact_through, base_position, base_term;
    struct raft_entry *entries; // with their bytes
    uint32_t entry_count;
    uint8_t *map;
    size_t map_bytes; // 0: no checkpoint
    uint64_t map_position;
    struct raft_group group;
    uint64_t done_ns;
};

struct sim_disk {
    struct raft_hard_state hard_state;
    uint64_t base_position, base_term;
    struct raft_entry *entries; // [SIM_LOG_MAX]: base_position + 1, ...
    uint32_t entry_count;
    uint8_t *map;
    size_t map_bytes;
    uint64_t map_position;
    struct raft_group group;
    struct gossip_address peers[SIM_PEERS_MAX];
    uint32_t peer_count;
    struct sim_write *writes; // ring [SIM_WRITES_MAX] of what is on its way
    uint32_t write_first, write_count;
};

static inline void *
sim_copy(const void *bytes, size_t count)
{
    uint8_t *copy = malloc(count + 1);
    ASSERT(copy != NULL);
    if (count > 0)
        memcpy(copy, bytes, count);
    return copy;
}

// Room for `count` elements more than 0.
static inline void *
sim_grow(void *array, uint64_t *room, uint64_t count, size_t bytes)
{
    if (count <= *room)
        return array;
    const uint64_t more = count * 2 + 1024;
    array = realloc(array, more * bytes);
    ASSERT(array != NULL);
    memset((uint8_t *)array + *room * bytes, 0, (more - *room) * bytes);
    *room = more;
    return array;
}

static inline void
sim_drop_entries(struct raft_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free((void *)(uintptr_t)entries[i].bytes);
}

static inline void
sim_disk_init(struct sim_disk *disk, const struct raft_group *group)
{
    memset(disk, 0, sizeof *disk);
    disk->entries = calloc(SIM_LOG_MAX, sizeof *disk->entries);
    disk->writes = calloc(SIM_WRITES_MAX, sizeof *disk->writes);
    ASSERT(disk->entries != NULL && disk->writes != NULL);
    disk->group = *group;
    if (group->count > 0) // who joins begins with nothing, the others behind a snapshot
        disk->base_position = disk->hard_state.commit = disk->map_position = 1;
}

// What out says of step 1, to be durable at done_ns. False: nothing.
static inline bool
sim_disk_write(struct sim_disk *disk, const struct turn *turn, const struct turn_output *out,
               uint64_t done_ns)
{
    const struct raft_output *raft = &out->raft;
    const bool any = raft->sync || raft->hard_state_changed || raft->compact_through != 0;
    if (!any && out->checkpoint.count == 0)
        return false;
    ASSERT(out->raft_stepped && disk->write_count < SIM_WRITES_MAX);
    struct sim_write *write =
        &disk->writes[(disk->write_first + disk->write_count++) % SIM_WRITES_MAX];
    *write = (struct sim_write){
        .hard_state = raft->hard_state,
        .install = raft->install,
        .answered = raft->sync,
        .persist_number = raft->persist_number,
        .truncate_from = raft->truncate_from,
        .compact_through = raft->compact_through,
        .base_position = out->checkpoint.position,
        .base_term = turn->raft.tail.base_term,
        .entry_count = raft->append.count,
        .done_ns = done_ns,
    };
    write->entries = sim_copy(raft->append.entries, raft->append.count * sizeof *write->entries);
    for (uint32_t i = 0; i < write->entry_count; i++)
        write->entries[i].bytes =
            sim_copy(raft->append.entries[i].bytes, raft->append.entries[i].byte_count);
    if (out->checkpoint.count > 0) {
        write->map = sim_copy(out->checkpoint.bytes, out->checkpoint.count);
        write->map_bytes = out->checkpoint.count;
        write->map_position = out->checkpoint.position;
        write->group = *out->checkpoint.group;
    }
    return true;
}

static inline void
sim_disk_cut_head(struct sim_disk *disk, uint64_t position, uint64_t term)
{
    const uint32_t count = (uint32_t)(position - disk->base_position);
    ASSERT(count <= disk->entry_count);
    sim_drop_entries(disk->entries, count);
    disk->entry_count -= count;
    memmove(disk->entries, disk->entries + count, disk->entry_count * sizeof *disk->entries);
    disk->base_position = position;
    disk->base_term = term;
}

// The first one on its way is durable; answers the PERSISTED that is due, or 0.
static inline uint64_t
sim_disk_sync(struct sim_disk *disk)
{
    ASSERT(disk->write_count > 0);
    struct sim_write *write = &disk->writes[disk->write_first];
    disk->write_first = (disk->write_first + 1) % SIM_WRITES_MAX;
    disk->write_count--;
    disk->hard_state = write->hard_state;
    if (write->install) {
        sim_drop_entries(disk->entries, disk->entry_count);
        disk->entry_count = 0;
        disk->base_position = write->base_position;
        disk->base_term = write->base_term;
    }
    if (write->truncate_from != 0) {
        ASSERT(write->truncate_from > disk->base_position);
        const uint32_t kept = (uint32_t)(write->truncate_from - 1 - disk->base_position);
        ASSERT(kept <= disk->entry_count);
        sim_drop_entries(disk->entries + kept, disk->entry_count - kept);
        disk->entry_count = kept;
    }
    for (uint32_t i = 0; i < write->entry_count; i++) {
        ASSERT(disk->entry_count < SIM_LOG_MAX);
        ASSERT(write->entries[i].position == disk->base_position + disk->entry_count + 1);
        disk->entries[disk->entry_count++] = write->entries[i];
    }
    if (write->map_bytes > 0) {
        free(disk->map);
        disk->map = write->map;
        disk->map_bytes = write->map_bytes;
        disk->map_position = write->map_position;
        disk->group = write->group;
    }
    if (write->compact_through != 0) {
        ASSERT(write->compact_through <=
               disk->map_position); // the checkpoint came first, or with it
        const uint64_t at = write->compact_through - disk->base_position - 1;
        sim_disk_cut_head(disk, write->compact_through, disk->entries[at].term);
    }
    free(write->entries);
    return write->answered ? write->persist_number : 0;
}

// The first `kept` of what is on its way became durable, the rest did not.
static inline void
sim_disk_crash(struct sim_disk *disk, uint32_t kept)
{
    while (kept-- > 0)
        sim_disk_sync(disk);
    for (; disk->write_count > 0; disk->write_count--) {
        struct sim_write *write = &disk->writes[disk->write_first];
        sim_drop_entries(write->entries, write->entry_count);
        free(write->entries);
        free(write->map);
        disk->write_first = (disk->write_first + 1) % SIM_WRITES_MAX;
    }
}

static inline struct turn_durable
sim_disk_read(const struct sim_disk *disk)
{
    return (struct turn_durable){
        .raft = {.hard_state = disk->hard_state,
                 .applied = disk->map_position,
                 .base_position = disk->base_position,
                 .base_term = disk->base_term,
                 .group = disk->group,
                 .entries = disk->entries,
                 .entry_count = disk->entry_count},
        .map = disk->map,
        .map_bytes = disk->map_bytes,
        .peers = disk->peers,
        .peer_count = disk->peer_count,
    };
}

static inline void
sim_disk_fini(struct sim_disk *disk)
{
    sim_disk_crash(disk, 0);
    sim_drop_entries(disk->entries, disk->entry_count);
    free(disk->entries);
    free(disk->writes);
    free(disk->map);
}

// All but the list of peers, which is in the configuration as well.
static inline void
sim_disk_lose(struct sim_disk *disk)
{
    struct sim_disk fresh;
    sim_disk_init(&fresh, &(struct raft_group){0});
    memcpy(fresh.peers, disk->peers, sizeof fresh.peers);
    fresh.peer_count = disk->peer_count;
    sim_disk_fini(disk);
    *disk = fresh;
}

#endif
