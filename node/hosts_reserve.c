// node/hosts_reserve.c -- how much is left of this node's disk, which other disks are low, and the writes that this refuses.
//
// Shape: shell.
//
// A copy whose log cannot grow holds up every write of its shard, and one that is out of room cannot even give some back: a delete is an entry
// of the log too. So what adds is refused while a reserve is left, here and where another copy in sync is on such a disk; all else goes on.
// The look is a system call that asks no disk.
#include <inttypes.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "base/os_log.h"
#include "node/admin_int.h"
#include "node/hosts_int.h"
#include "node/turn_said.h"

#define MIB (UINT64_C(1) << 20)

// ---- what there is ----

static void
say(const struct reserve *reserve)
{
    static struct log_site site;
    struct log_line line;
    if (!log_begin(&line, &site, reserve->low ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
                   reserve->low ? "disk.low" : "disk.fine"))
        return;
    log_number(&line, "available_bytes", reserve->disk.available_bytes);
    log_number(&line, "reserve_bytes", reserve->bytes);
    log_number(&line, "disk_bytes", reserve->disk.bytes);
    log_text(&line, "why",
             reserve->low ? "less is left than the reserve (--disk-reserve): writes that add are "
                            "refused, deletes go on"
                          : "there is room again: writes go on");
    log_end(&line);
}

// Of what cannot be looked at nothing new is known.
void
hosts_look_at_disk(struct hosts *hosts)
{
    struct statvfs seen;
    if (statvfs(hosts->folder, &seen) != 0)
        return;
    const struct reserve_disk disk = {(uint64_t)seen.f_blocks * seen.f_frsize,
                                      (uint64_t)seen.f_bavail * seen.f_frsize};
    if (!reserve_look(&hosts->reserve, hosts->config.reserve_percent, disk))
        return;
    say(&hosts->reserve);
    meta_disk(hosts->config.meta, hosts->reserve.low ? META_DISK_LOW : META_DISK_FINE);
}

// Who is gone is waited for by no write.
static bool
is_low(const struct gossip_claim *member)
{
    return member->state <= GOSSIP_SUSPECT && turn_said_read(&member->meta).disk_low;
}

void
hosts_take_members(struct hosts *hosts, struct meta_members *members)
{
    mem_free(hosts->members);
    hosts->members = members;
    hosts->low_count = 0;
    for (uint32_t i = 1; i < members->count; i++) // behind this node
        hosts->low_count += is_low(&members->members[i]);
}

// ---- what it refuses ----

static const struct gossip_claim *
member_of(const struct hosts *hosts, struct cluster_uuid node)
{
    for (uint32_t i = 0; hosts->members != NULL && i < hosts->members->count; i++) {
        const struct gossip_claim *member = &hosts->members->members[i];
        if (member->subject.high == node.high && member->subject.low == node.low)
            return member;
    }
    return NULL;
}

// As the operator knows it.
static void
name_of(const struct hosts *hosts, const struct map_node *node, char name[WIRE_NAME_BYTES_MAX + 1])
{
    const struct gossip_claim *member = node != NULL ? member_of(hosts, node->uuid) : NULL;
    if (member == NULL || !admin_said_name(member, name))
        snprintf(name, WIRE_NAME_BYTES_MAX + 1, "node-%" PRIu32, node != NULL ? node->number : 0);
}

// The other node that has a copy in sync, and a disk that is low; NULL: there is none.
static const struct map_node *
low_beside(const struct hosts *hosts, const struct host_copy *copy)
{
    const struct map_shard *shard = map_shard(hosts->map, copy->shard);
    for (uint32_t i = 0; shard != NULL && i < shard->replica_count; i++) {
        const struct map_node *node = map_node(hosts->map, shard->replicas[i].node);
        if (shard->replicas[i].role != MAP_REPLICA_IN_SYNC || node == NULL ||
            uuid_equal(node->uuid, hosts->config.node))
            continue;
        const struct gossip_claim *member = member_of(hosts, node->uuid);
        if (member != NULL && is_low(member))
            return node;
    }
    return NULL;
}

omen_status
host_check_room(const struct hosts *hosts, const struct host_copy *copy, struct omen_error *error)
{
    char name[WIRE_NAME_BYTES_MAX + 1];
    const struct reserve *reserve = &hosts->reserve;
    ASSERT(hosts->map != NULL); // or there would be no primary
    if (!reserve->low && hosts->low_count == 0)
        return OMEN_OK;
    if (reserve->low) {
        name_of(hosts, map_node_by_uuid(hosts->map, hosts->config.node), name);
        return error_set(error, OMEN_E_DISK_FULL,
                         "the disk of node %s has %" PRIu64 " MiB left, less than its reserve of "
                         "%" PRIu64 " MiB (--disk-reserve): deletes go on, what adds is refused",
                         name, reserve->disk.available_bytes / MIB, reserve->bytes / MIB);
    }
    const struct map_node *other = low_beside(hosts, copy);
    if (other == NULL)
        return OMEN_OK;
    name_of(hosts, other, name);
    return error_set(error, OMEN_E_DISK_FULL,
                     "the disk of node %s, which has a copy of shard %" PRIu64 ", has less left "
                     "than its reserve (--disk-reserve): deletes go on, what adds is refused",
                     name, copy->shard);
}
