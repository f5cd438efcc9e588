// node/turn_snapshot.c -- the map as bytes: what goes to the disk, to a follower, and comes from a leader.
//
// Shape: machine.
//
// raft streams one snapshot and may be making the next, so two are kept; the one that raft does not stream is overwritten.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "node/turn_int.h"

static bool reserve(struct turn_bytes *bytes, size_t count);

bool
turn_encode(const struct turn *turn, struct turn_bytes *into)
{
    const size_t count = snapshot_bytes(&turn->map);
    if (!reserve(into, count))
        return false;
    snapshot_encode(&turn->map, into->bytes, count);
    into->count = count;
    into->position = turn->applied;
    return true;
}

void
turn_bytes_fini(struct turn_bytes *bytes)
{
    mem_free(bytes->bytes);
    *bytes = (struct turn_bytes){0};
}

enum turn_halt
turn_receive_snapshot(struct turn *turn, struct turn_output *out)
{
    const struct raft_msg *chunk = out->raft.chunk;
    if (chunk == NULL) {
        ASSERT(!out->raft.install);
        return TURN_RUNS;
    }
    struct turn_bytes *staged = &turn->staged;
    if (chunk->offset == 0)
        staged->count = 0;
    ASSERT(chunk->offset == staged->count); // raft takes them in order only
    if (!reserve(staged, staged->count + chunk->chunk_bytes))
        return TURN_HALT_NO_MEMORY;
    if (chunk->chunk_bytes > 0)
        memcpy(staged->bytes + staged->count, chunk->chunk, chunk->chunk_bytes);
    staged->count += chunk->chunk_bytes;
    if (!out->raft.install)
        return TURN_RUNS;

    struct map map;
    const omen_status status = snapshot_decode(staged->bytes, staged->count, &map);
    if (status != OMEN_OK)
        return turn_halt_of(status);
    if (map.position > chunk->position) { // it would take later commands for old ones
        map_fini(&map);
        return TURN_HALT_CORRUPT;
    }
    map_fini(&turn->map);
    turn->map = map;
    turn->applied = turn->checkpoint_position = chunk->position;
    turn->group = *chunk->group;
    staged->position = chunk->position;
    turn->compact_due = 0;
    out->checkpoint =
        (struct turn_checkpoint){staged->bytes, staged->count, staged->position, &turn->group};
    return TURN_RUNS;
}

enum turn_halt
turn_make_snapshot(struct turn *turn, uint64_t position)
{
    ASSERT(position == turn->applied);
    const bool first_streams = turn->offers[0].position == turn->raft.offer.position;
    struct turn_bytes *offer = &turn->offers[first_streams ? 1 : 0];
    if (!turn_encode(turn, offer))
        return TURN_HALT_NO_MEMORY;
    turn->made_due = position;
    return TURN_RUNS;
}

void
turn_fill_chunks(const struct turn *turn, struct raft_output *out)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < out->msg_count; i++) {
        struct raft_msg msg = out->msgs[i];
        if (msg.kind == RAFT_SNAPSHOT) {
            const struct turn_bytes *offer =
                &turn->offers[turn->offers[0].position == msg.position ? 0 : 1];
            if (offer->position != msg.position || msg.total_bytes != offer->count)
                continue; // as if it were lost
            msg.chunk = offer->bytes + msg.offset;
            msg.chunk_hash = hash_bytes(msg.chunk, msg.chunk_bytes);
        }
        out->msgs[kept++] = msg;
    }
    out->msg_count = kept;
}

static bool
reserve(struct turn_bytes *bytes, size_t count)
{
    if (count <= bytes->room)
        return true;
    const size_t room = count + count / 2;
    uint8_t *grown = mem_resize(bytes->bytes, room);
    if (grown == NULL)
        return false;
    bytes->bytes = grown;
    bytes->room = room;
    return true;
}
