// node/disk_bytes.c -- what the records of the log environment hold, and entries copied out of it.
//
// Shape: value; on the heap.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "node/disk_int.h"

void
disk_group_write(const struct raft_group *group, struct disk_checkpoint *out)
{
    ASSERT(group->count <= RAFT_MEMBERS_MAX);
    out->count = group->count;
    out->auto_leave = group->auto_leave ? 1 : 0;
    memset(out->members, 0, sizeof out->members);
    for (uint32_t i = 0; i < group->count; i++) {
        out->members[i].id = group->members[i].id;
        out->members[i].roles = group->members[i].roles;
    }
}

bool
disk_group_read(const struct disk_checkpoint *in, struct raft_group *out)
{
    *out = (struct raft_group){.count = in->count, .auto_leave = in->auto_leave != 0};
    if (in->count > RAFT_MEMBERS_MAX)
        return false;
    for (uint32_t i = 0; i < in->count; i++) {
        if (in->members[i].roles > UINT8_MAX)
            return false;
        out->members[i].id = in->members[i].id;
        out->members[i].roles = (uint8_t)in->members[i].roles;
    }
    return member_valid(out);
}

static omen_status
reserve(void **memory, size_t *room, size_t need)
{
    if (need <= *room)
        return OMEN_OK;
    const size_t wanted = need + need / 2 + 256;
    void *grown = mem_resize(*memory, wanted);
    if (grown == NULL)
        return OMEN_E_NO_MEMORY;
    *memory = grown;
    *room = wanted;
    return OMEN_OK;
}

omen_status
disk_gather_add(struct disk_gather *gather, const struct logs_entry *entry)
{
    if (gather->count == gather->room) {
        const uint32_t room = gather->room == 0 ? 64 : gather->room * 2;
        struct logs_entry *grown = mem_resize(gather->entries, room * sizeof *grown);
        if (grown == NULL)
            return OMEN_E_NO_MEMORY;
        gather->entries = grown;
        gather->room = room;
    }
    void *bytes = gather->bytes;
    const omen_status status = reserve(&bytes, &gather->bytes_room, gather->used + entry->count);
    if (status != OMEN_OK)
        return status;
    gather->bytes = bytes;
    if (entry->count > 0)
        memcpy(gather->bytes + gather->used, entry->bytes, entry->count);
    gather->used += entry->count;
    gather->entries[gather->count] = *entry;
    gather->entries[gather->count++].bytes = NULL;
    return OMEN_OK;
}

void
disk_gather_fini(struct disk_gather *gather)
{
    mem_free(gather->entries);
    mem_free(gather->bytes);
    *gather = (struct disk_gather){0};
}
