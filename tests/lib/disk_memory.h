// tests/lib/disk_memory.h -- temporary: node/disk.h in memory.
#ifndef OMEN_TESTS_DISK_MEMORY_H
#define OMEN_TESTS_DISK_MEMORY_H
#include <stdio.h>
#include "base/alloc.h"
#include "node/disk.h"
#include "node/notes.h"
#include "tests/lib/sim_disk.h"
struct disk { char path[300]; bool used; struct disk_identity identity; struct sim_disk sim; };
static struct disk disk_all[8];
omen_status disk_open(const struct disk_config *config, struct disk **out, struct omen_error *error)
{
    (void)error;
    struct disk *d = NULL;
    for (int i = 0; i < 8 && d == NULL; i++)
        if (disk_all[i].used && strcmp(disk_all[i].path, config->path) == 0)
            d = &disk_all[i];
    for (int i = 0; i < 8 && d == NULL; i++)
        if (!disk_all[i].used) {
            d = &disk_all[i];
            d->used = true;
            snprintf(d->path, sizeof d->path, "%s", config->path);
        }
    d->identity.boot++;
    *out = d;
    return OMEN_OK;
}
void disk_close(struct disk *disk) { (void)disk; }
struct disk_identity disk_identity(const struct disk *disk) { return disk->identity; }
omen_status disk_found(struct disk *disk, const struct disk_identity *identity, const struct raft_group *group, struct omen_error *error)
{
    (void)error;
    const uint64_t boot = disk->identity.boot;
    disk->identity = *identity;
    disk->identity.boot = boot;
    const struct raft_group none = {0};
    sim_disk_init(&disk->sim, group != NULL ? group : &none);
    return OMEN_OK;
}
omen_status disk_start_meta(struct disk *disk, struct turn_durable *out, struct omen_error *error)
{
    (void)error;
    *out = sim_disk_read(&disk->sim);
    return OMEN_OK;
}
void disk_started(struct disk *disk) { (void)disk; }
void disk_write_meta(struct disk *disk, const struct turn_output *out, struct loop *loop)
{
    static __thread struct turn turn;
    turn.raft.tail.base_term = out->raft.install ? out->raft.chunk->log_term : 0;
    if (!sim_disk_write(&disk->sim, &turn, out, 0))
        return;
    const uint64_t number = sim_disk_sync(&disk->sim);
    if (number == 0)
        return;
    struct disk_done *done = mem_alloc_zero(1, sizeof *done);
    done->note.kind = NOTE_DISK;
    done->kind = DISK_META_DONE;
    done->number = number;
    loop_post(loop, &done->note);
}
void disk_peers(struct disk *disk, const struct gossip_address *peers, uint32_t count)
{
    disk->sim.peer_count = count < SIM_PEERS_MAX ? count : SIM_PEERS_MAX;
    memcpy(disk->sim.peers, peers, disk->sim.peer_count * sizeof *peers);
}
#endif
