// node/copies_word.c -- what the failure detector says of other nodes, for the primaries of this one.
//
// Shape: machine.
//
// A word shortens the wait for a silent copy to a quarter and does nothing else: it may be late, wrong or lost. It is kept, because the
// copy that is a backup now may have to wait for that node's copies tomorrow.
#include <string.h>

#include "node/copies_int.h"

static uint16_t copy_members_on(const struct copy *copy, struct cluster_uuid node);

bool
copies_is_dead(const struct copies *copies, struct cluster_uuid node)
{
    for (uint32_t i = 0; i < copies->dead_count; i++)
        if (uuid_equal(copies->dead[i], node))
            return true;
    return false;
}

static void
forget(struct copies *copies, struct cluster_uuid node)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < copies->dead_count; i++)
        if (!uuid_equal(copies->dead[i], node))
            copies->dead[kept++] = copies->dead[i];
    copies->dead_count = kept;
}

void
copies_hear(struct copies *copies, struct cluster_uuid node, bool dead)
{
    if (copies_is_dead(copies, node) == dead)
        return;
    forget(copies, node);
    if (dead && copies->dead_count == COPIES_DEAD_MAX)
        forget(copies, copies->dead[0]);
    if (dead)
        copies->dead[copies->dead_count++] = node;
    for (uint32_t i = 0; i < copies->count; i++)
        if (copies->rows[i]->named)
            copies->rows[i]->words_due |= copy_members_on(copies->rows[i], node);
}

// Only who waits for an outcome is stepped: hundreds of others have nothing to say again.
static bool
waits_for_outcome(const struct replica *replica)
{
    return replica->change.kind != REPLICA_CHANGE_NONE ||
           replica->split.change.kind != REPLICA_CHANGE_NONE || replica->rotten;
}

void
copies_hear_led(struct copies *copies)
{
    copies->gaps_at_ns = 0;
    for (uint32_t i = 0; i < copies->count; i++) {
        struct copy *copy = copies->rows[i];
        copy->born_at_ns = 0;
        copy->led = !copy->made || !waits_for_outcome(&copy->replica);
    }
}

static uint16_t
copy_members_on(const struct copy *copy, struct cluster_uuid node)
{
    uint16_t members = 0;
    for (uint32_t i = 0; i < copy->row.replica_count; i++)
        if (uuid_equal(copy->members[i].node, node) && !uuid_is_none(copy->members[i].uuid))
            members |= (uint16_t)(1u << i);
    return members;
}

uint16_t
copy_members_dead(const struct copies *copies, const struct copy *copy)
{
    uint16_t members = 0;
    for (uint32_t i = 0; i < copies->dead_count; i++)
        members |= copy_members_on(copy, copies->dead[i]);
    return members;
}
