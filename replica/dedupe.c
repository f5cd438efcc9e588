// replica/dedupe.c -- a ring in log order, with chains by hash over it.
//
// Shape: value.
#include "replica/dedupe.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prng.h"

#define ROOM_FIRST 64u

static uint32_t
bucket_of(const struct dedupe *dedupe, struct replica_uuid id)
{
    return (uint32_t)mix64(id.high ^ mix64(id.low)) & (dedupe->room - 1);
}

static uint32_t
slot_at(const struct dedupe *dedupe, uint32_t i)
{
    return (dedupe->first + i) & (dedupe->room - 1);
}

void
dedupe_init(struct dedupe *dedupe, uint32_t room_max, uint64_t window_ms)
{
    ASSERT(room_max >= 1 && room_max <= DEDUPE_OPS_MAX);
    *dedupe = (struct dedupe){.room_max = room_max, .window_ms = window_ms};
}

void
dedupe_fini(struct dedupe *dedupe)
{
    mem_free(dedupe->slots);
    mem_free(dedupe->heads);
    dedupe->slots = NULL;
    dedupe->heads = NULL;
    dedupe->room = dedupe->count = 0;
}

void
dedupe_clear(struct dedupe *dedupe)
{
    dedupe_cut(dedupe, 0);
}

uint64_t
dedupe_find(const struct dedupe *dedupe, struct replica_uuid id)
{
    if (dedupe->room == 0)
        return 0;
    for (uint32_t at = dedupe->heads[bucket_of(dedupe, id)]; at != 0;
         at = dedupe->slots[at - 1].next)
        if (replica_uuid_equal(dedupe->slots[at - 1].op.id, id))
            return dedupe->slots[at - 1].op.seq;
    return 0;
}

static void
link_slot(struct dedupe *dedupe, uint32_t slot)
{
    const uint32_t bucket = bucket_of(dedupe, dedupe->slots[slot].op.id);
    dedupe->slots[slot].next = dedupe->heads[bucket];
    dedupe->heads[bucket] = slot + 1;
}

static void
unlink_slot(struct dedupe *dedupe, uint32_t slot)
{
    uint32_t *at = &dedupe->heads[bucket_of(dedupe, dedupe->slots[slot].op.id)];
    while (*at != slot + 1)
        at = &dedupe->slots[*at - 1].next;
    *at = dedupe->slots[slot].next;
}

static void
forget_oldest(struct dedupe *dedupe)
{
    unlink_slot(dedupe, dedupe->first);
    dedupe->first = slot_at(dedupe, 1);
    dedupe->count--;
}

static omen_status
grow(struct dedupe *dedupe, uint32_t wanted)
{
    uint32_t room = dedupe->room == 0 ? ROOM_FIRST : dedupe->room;
    while (room < wanted)
        room *= 2;
    struct dedupe next = *dedupe;
    next.slots = mem_alloc_zero(room, sizeof *next.slots);
    next.heads = mem_alloc_zero(room, sizeof *next.heads);
    if (next.slots == NULL || next.heads == NULL) {
        mem_free(next.slots);
        mem_free(next.heads);
        return OMEN_E_NO_MEMORY;
    }
    next.room = room;
    next.first = next.count = 0;
    for (uint32_t i = 0; i < dedupe->count; i++)
        dedupe_add(&next, &dedupe->slots[slot_at(dedupe, i)].op);
    dedupe_fini(dedupe);
    *dedupe = next;
    return OMEN_OK;
}

omen_status
dedupe_reserve(struct dedupe *dedupe, uint32_t count, uint64_t commit)
{
    while (dedupe->count > 0 && dedupe->count + count > dedupe->room_max &&
           dedupe->slots[dedupe->first].op.seq <= commit)
        forget_oldest(dedupe);
    if (dedupe->count + count > dedupe->room_max)
        return OMEN_E_BUSY;
    return dedupe->count + count <= dedupe->room ? OMEN_OK : grow(dedupe, dedupe->count + count);
}

void
dedupe_add(struct dedupe *dedupe, const struct dedupe_op *op)
{
    ASSERT(dedupe->count < dedupe->room);
    ASSERT(dedupe->count == 0 ||
           dedupe->slots[slot_at(dedupe, dedupe->count - 1)].op.seq < op->seq);
    const uint32_t slot = slot_at(dedupe, dedupe->count++);
    dedupe->slots[slot].op = *op;
    link_slot(dedupe, slot);
}

void
dedupe_cut(struct dedupe *dedupe, uint64_t seq)
{
    while (dedupe->count > 0) {
        const uint32_t slot = slot_at(dedupe, dedupe->count - 1);
        if (dedupe->slots[slot].op.seq <= seq)
            break;
        unlink_slot(dedupe, slot);
        dedupe->count--;
    }
}

void
dedupe_expire(struct dedupe *dedupe, uint64_t commit, uint64_t stamp_ms)
{
    while (dedupe->count > 0) {
        const struct dedupe_op *op = &dedupe->slots[dedupe->first].op;
        if (op->seq > commit || op->stamp_ms > stamp_ms ||
            stamp_ms - op->stamp_ms <= dedupe->window_ms)
            break;
        forget_oldest(dedupe);
    }
}

void
dedupe_check(const struct dedupe *dedupe)
{
    ASSERT(dedupe->count <= dedupe->room);
    ASSERT(dedupe->count <= dedupe->room_max);
    uint64_t seq = 0;
    for (uint32_t i = 0; i < dedupe->count; i++) {
        const struct dedupe_op *op = &dedupe->slots[slot_at(dedupe, i)].op;
        ASSERT(op->seq > seq);
        ASSERT(dedupe_find(dedupe, op->id) != 0);
        seq = op->seq;
    }
}
