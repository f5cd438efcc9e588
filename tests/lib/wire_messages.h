// tests/lib/wire_messages.h -- messages between nodes, filled at random within their limits, and compared.
//
// Shape: value.
#ifndef OMEN_TESTS_WIRE_MESSAGES_H
#define OMEN_TESTS_WIRE_MESSAGES_H
#include "tests/lib/wire_random.h"
#include "wire/node_codec.h"
#include "wire/raft_codec.h"
#include "wire/replica_codec.h"

// Zero in half of all cases, else often at a limit.
static inline uint64_t
random_number_or_none(struct prng *prng, uint64_t most)
{
    return prng_below(prng, 2) == 0 ? 0 : random_within(prng, 0, most);
}

static inline void
random_raft(struct prng *prng, struct wire_pool *pool, struct raft_room *room)
{
    const uint64_t most = RAFT_NUMBER_MAX - 1;
    struct raft_msg *msg = &room->msg;
    *msg = (struct raft_msg){
        .kind = (enum raft_msg_kind)(1 + prng_below(prng, RAFT_MSG_KINDS - 1)),
        .from = random_number_or_none(prng, UINT64_MAX),
        .to = random_number_or_none(prng, UINT64_MAX),
        .term = random_number_or_none(prng, most),
        .position = random_number_or_none(prng, most),
        .log_term = random_number_or_none(prng, most),
        .commit = random_number_or_none(prng, most),
        .hint = random_number_or_none(prng, most),
        .context = random_number_or_none(prng, UINT64_MAX),
        .reject = prng_below(prng, 2) == 0,
        .transfer = prng_below(prng, 2) == 0,
        .offset = random_number_or_none(prng, most),
        .total_bytes = random_number_or_none(prng, most),
        .chunk_bytes = prng_below(prng, 50),
        .chunk_hash = random_number_or_none(prng, UINT64_MAX),
        .entry_count = prng_below(prng, 4),
    };
    for (uint32_t i = 0; i < msg->entry_count; i++) {
        const struct wire_bytes bytes = random_bytes(prng, pool, prng_below(prng, 30));
        room->entries[i] = (struct raft_entry){.position = random_within(prng, 0, most),
                                               .term = random_within(prng, 0, most),
                                               .kind = (enum raft_entry_kind)prng_below(prng, 2),
                                               .byte_count = bytes.count,
                                               .bytes = bytes.bytes};
    }
    msg->entries = msg->entry_count > 0 ? room->entries : NULL;
    msg->chunk = msg->chunk_bytes > 0 ? random_bytes(prng, pool, msg->chunk_bytes).bytes : NULL;
    if (prng_below(prng, 3) > 0)
        return;
    room->group = (struct raft_group){.count = prng_below(prng, 4), .auto_leave = true};
    for (uint32_t i = 0; i < room->group.count; i++)
        room->group.members[i] = (struct raft_member){.id = 7 * i + 1, .roles = RAFT_VOTER};
    msg->group = &room->group;
}

static inline bool
same_raft(const struct raft_msg *a, const struct raft_msg *b)
{
    struct raft_msg plain_a = *a, plain_b = *b;
    plain_a.entries = plain_b.entries = NULL;
    plain_a.chunk = plain_b.chunk = NULL;
    plain_a.group = plain_b.group = NULL;
    bool same = memcmp(&plain_a, &plain_b, sizeof plain_a) == 0 &&
                same_text(a->chunk, a->chunk_bytes, b->chunk, b->chunk_bytes) &&
                (a->group == NULL) == (b->group == NULL);
    for (uint32_t i = 0; same && i < a->entry_count; i++) {
        const struct raft_entry *one = &a->entries[i], *other = &b->entries[i];
        same = one->position == other->position && one->term == other->term &&
               one->kind == other->kind &&
               same_text(one->bytes, one->byte_count, other->bytes, other->byte_count);
    }
    if (!same || a->group == NULL)
        return same;
    same = a->group->count == b->group->count && a->group->auto_leave == b->group->auto_leave;
    for (uint32_t i = 0; same && i < a->group->count; i++)
        same = a->group->members[i].id == b->group->members[i].id &&
               a->group->members[i].roles == b->group->members[i].roles;
    return same;
}

static inline struct replica_uuid
random_uuid(struct prng *prng)
{
    return (struct replica_uuid){random_number_or_none(prng, UINT64_MAX),
                                 random_number_or_none(prng, UINT64_MAX)};
}

static inline void
random_replica(struct prng *prng, struct wire_pool *pool, struct replica_room *room)
{
    const uint64_t most = REPLICA_NUMBER_MAX - 1;
    struct replica_msg *msg = &room->msg;
    memset(msg, 0, sizeof *msg); // what lies between members is compared, too
    msg->kind = (enum replica_msg_kind)(1 + prng_below(prng, REPLICA_MSG_KINDS - 1));
    msg->from = random_uuid(prng);
    msg->to = random_uuid(prng);
    msg->shard = random_number_or_none(prng, UINT64_MAX);
    msg->term = random_number_or_none(prng, most);
    msg->cfg_ver = random_number_or_none(prng, most);
    msg->seq = random_number_or_none(prng, most);
    msg->prev_seq = random_number_or_none(prng, most);
    msg->prev_term = random_number_or_none(prng, most);
    msg->commit = random_number_or_none(prng, most);
    msg->round = random_number_or_none(prng, UINT64_MAX);
    msg->source = random_uuid(prng);
    msg->snapshot = random_number_or_none(prng, UINT64_MAX);
    msg->hash = random_number_or_none(prng, UINT64_MAX);
    msg->chunk = (uint32_t)random_number_or_none(prng, UINT32_MAX);
    msg->chunk_count = (uint32_t)random_number_or_none(prng, REPLICA_CHUNKS_MAX);
    msg->entry_count = prng_below(prng, 4);
    msg->byte_count = prng_below(prng, 50);
    msg->bucket_count = prng_below(prng, 5);
    msg->sum.high = random_number_or_none(prng, UINT64_MAX);
    for (uint32_t i = 0; i < msg->entry_count; i++) {
        const struct wire_bytes bytes = random_bytes(prng, pool, prng_below(prng, 30));
        room->entries[i] = (struct replica_entry){
            .seq = random_within(prng, 0, most),
            .term = random_within(prng, 0, most),
            .stamp_ms = random_within(prng, 0, most),
            .op_id = random_uuid(prng),
            .kind = (enum replica_entry_kind)(1 + prng_below(prng, 3)),
            .byte_count = bytes.count,
            .bytes = bytes.bytes,
        };
    }
    for (uint32_t i = 0; i < msg->bucket_count; i++)
        room->buckets[i] = (struct replica_sum){prng_next(prng), prng_next(prng)};
    msg->entries = msg->entry_count > 0 ? room->entries : NULL;
    msg->buckets = msg->bucket_count > 0 ? room->buckets : NULL;
    msg->bytes = msg->byte_count > 0 ? random_bytes(prng, pool, msg->byte_count).bytes : NULL;
}

static inline bool
same_replica(const struct replica_msg *a, const struct replica_msg *b)
{
    struct replica_msg plain_a, plain_b;
    memcpy(&plain_a, a, sizeof plain_a);
    memcpy(&plain_b, b, sizeof plain_b);
    plain_a.entries = plain_b.entries = NULL;
    plain_a.bytes = plain_b.bytes = NULL;
    plain_a.buckets = plain_b.buckets = NULL;
    bool same = memcmp(&plain_a, &plain_b, sizeof plain_a) == 0 &&
                same_text(a->bytes, a->byte_count, b->bytes, b->byte_count) &&
                same_text(a->buckets, a->bucket_count * 16, b->buckets, b->bucket_count * 16);
    for (uint32_t i = 0; same && i < a->entry_count; i++) {
        const struct replica_entry *one = &a->entries[i], *other = &b->entries[i];
        same = one->seq == other->seq && one->term == other->term &&
               one->stamp_ms == other->stamp_ms && one->kind == other->kind &&
               replica_uuid_equal(one->op_id, other->op_id) &&
               same_text(one->bytes, one->byte_count, other->bytes, other->byte_count);
    }
    return same;
}

#endif
