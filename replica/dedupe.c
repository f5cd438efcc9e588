// replica/dedupe.c -- a ring in log order, with chains by hash over it.
//
// Shape: value.
#include "replica/dedupe.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prng.h"

#define ROOM_FIRST 64u
#define MARK_SEQ 1u // what it is about came later: the first entry of a log is its primary's

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

static uint64_t
ahead_ms(const struct dedupe *dedupe)
{
    return dedupe->window_ms / 3;
}

static uint64_t
old_ms(const struct dedupe *dedupe)
{
    return dedupe->window_ms - ahead_ms(dedupe);
}

struct opid_clock
dedupe_clock(const struct dedupe *dedupe, uint64_t now_ms)
{
    return (struct opid_clock){.now_ms = now_ms,
                               .forgot_ms = dedupe->forgot_ms,
                               .old_ms = (uint32_t)old_ms(dedupe),
                               .ahead_ms = (uint32_t)ahead_ms(dedupe)};
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
raise_mark(struct dedupe *dedupe, uint64_t forgot_ms)
{
    if (forgot_ms > dedupe->forgot_ms)
        dedupe->forgot_ms = forgot_ms;
}

// A primary takes nothing that was drawn further ahead of its clock, and no clock is ahead of the stamps; other programs did.
static uint64_t
behind(const struct dedupe *dedupe, const struct dedupe_op *op)
{
    const struct opid id = {op->id.high, op->id.low};
    const uint64_t most_ms = op->stamp_ms + ahead_ms(dedupe);
    if (!opid_is_uuid7(id))
        return 0; // it will not be taken again
    return (opid_ms(id) < most_ms ? opid_ms(id) : most_ms) + 1;
}

static void
forget_oldest(struct dedupe *dedupe)
{
    raise_mark(dedupe, behind(dedupe, &dedupe->slots[dedupe->first].op));
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

// ---- kept elsewhere ----

static bool
has_mark(const struct dedupe *dedupe)
{
    return dedupe->forgot_ms > 0 &&
           (dedupe->count == 0 || dedupe->slots[dedupe->first].op.seq > MARK_SEQ);
}

// No UUIDv7, by its variant. Its stamp is such that it is forgotten when time alone makes up for it.
static struct dedupe_op
mark_of(uint64_t forgot_ms)
{
    return (struct dedupe_op){
        .id = {forgot_ms << 16 | 0x7000, 0}, .seq = MARK_SEQ, .stamp_ms = forgot_ms};
}

static bool
is_mark(const struct dedupe_op *op)
{
    return op->seq == MARK_SEQ && op->id.low == 0 && (op->id.high & 0xffff) == 0x7000 &&
           op->id.high >> 16 == op->stamp_ms;
}

uint32_t
dedupe_kept(const struct dedupe *dedupe)
{
    const uint32_t count = dedupe->count + has_mark(dedupe);
    return count < DEDUPE_OPS_MAX ? count : DEDUPE_OPS_MAX;
}

struct dedupe_op
dedupe_kept_at(const struct dedupe *dedupe, uint32_t i)
{
    const uint32_t marks = has_mark(dedupe);
    const bool full = dedupe->count + marks > DEDUPE_OPS_MAX; // the oldest makes room for the mark
    ASSERT(i < dedupe_kept(dedupe));
    if (i >= marks)
        return dedupe->slots[slot_at(dedupe, i - marks + full)].op;
    const uint64_t oldest = full ? behind(dedupe, &dedupe->slots[dedupe->first].op) : 0;
    return mark_of(oldest > dedupe->forgot_ms ? oldest : dedupe->forgot_ms);
}

// What was forgotten for its age had a stamp below the window. A clock that ran far ahead for a while has left stamps behind, but nobody
// has drawn ids by them.
static uint64_t
lost_before(const struct dedupe *dedupe, const struct dedupe_kept *kept)
{
    const uint64_t ahead = ahead_ms(dedupe), old = old_ms(dedupe);
    uint64_t lost_ms = kept->stamp_ms > old ? kept->stamp_ms - old : 0;
    if (lost_ms > kept->now_ms + ahead)
        lost_ms = kept->now_ms + ahead + 1;
    return lost_ms;
}

omen_status
dedupe_load(struct dedupe *dedupe, const struct dedupe_kept *given)
{
    struct dedupe_kept kept = *given;
    dedupe_cut(dedupe, 0);
    raise_mark(dedupe, kept.forgot_ms);
    if (kept.count > 0 && is_mark(&kept.ops[0])) {
        raise_mark(dedupe, kept.ops[0].stamp_ms);
        kept.ops++;
        kept.count--;
    }
    if (!kept.whole)
        raise_mark(dedupe, lost_before(dedupe, &kept));
    for (uint32_t i = 0; i < kept.count; i++) {
        const omen_status status = dedupe_reserve(dedupe, 1, kept.commit);
        if (status != OMEN_OK)
            return status;
        dedupe_add(dedupe, &kept.ops[i]);
    }
    return OMEN_OK;
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
