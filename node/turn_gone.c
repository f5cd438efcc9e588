// node/turn_gone.c -- nodes whose process is gone, as their systems say: they refuse connections, because nobody listens.
//
// Shape: machine.
//
//      (nothing) --REFUSED--> refused once --REFUSED, AGAIN_NS later and within WINDOW_NS--> gone: a word for the copies, and for raft
//      refused once, gone --REACHED, or gossip hears that it lives--> (nothing); a word, if it was gone
//
// Gossip needs a second or more to be sure of a death, because silence has many reasons. A refusal has one: the system of that node
// lives, and no process listens there. One that is stopped, overloaded or cut off is not refused but waited for; a connection that
// breaks and is made again is not refused either. What remains is a process that starts again at once, so a single refusal
// says nothing. Nothing else rests on it than on gossip's word: waits get shorter, and it may be wrong.
#include "node/turn_int.h"

#define MS UINT64_C(1000000)
#define AGAIN_NS (40 * MS) // the bus tries again after 50 ms (wire/bus.h)
#define WINDOW_NS (2000 * MS)

static struct turn_absent *
find(struct turn *turn, struct cluster_uuid node)
{
    for (uint32_t i = 0; i < turn->absent_count; i++)
        if (uuid_equal(turn->absent[i].node, node))
            return &turn->absent[i];
    return NULL;
}

void
turn_forget_absent(struct turn *turn, struct cluster_uuid node)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < turn->absent_count; i++)
        if (!uuid_equal(turn->absent[i].node, node))
            turn->absent[kept++] = turn->absent[i];
    turn->absent_count = kept;
}

static void
add(struct turn *turn, struct cluster_uuid node, uint64_t now_ns)
{
    turn_forget_absent(turn, node);
    if (turn->absent_count == TURN_ABSENT_MAX)
        turn_forget_absent(turn, turn->absent[0].node);
    turn->absent[turn->absent_count++] = (struct turn_absent){.node = node, .since_ns = now_ns};
}

static const struct gossip_member *
member_of(const struct turn *turn, struct cluster_uuid node)
{
    return gossip_find(&turn->gossip, (struct gossip_id){node.high, node.low});
}

static void
say(struct turn_output *out, struct cluster_uuid node, bool dead)
{
    out->words[out->word_count++] = (struct turn_word){node, dead};
}

static void
refused(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    struct turn_absent *absent = find(turn, in->node);
    if (absent != NULL && absent->gone)
        return;
    if (absent == NULL || in->now_ns - absent->since_ns > WINDOW_NS) {
        add(turn, in->node, in->now_ns);
        return;
    }
    if (in->now_ns - absent->since_ns < AGAIN_NS)
        return;
    absent->gone = true;
    say(out, in->node, true);
    const struct gossip_member *member = member_of(turn, in->node);
    const struct raft_input raft = {.now_ns = in->now_ns,
                                    .kind = RAFT_IN_LEADER_GONE,
                                    .peer = member != NULL ? turn_said_read(&member->meta).member
                                                           : RAFT_NODE_NONE};
    if (raft.peer != RAFT_NODE_NONE)
        turn_step_raft(turn, &raft, out);
}

static void
reached(struct turn *turn, struct cluster_uuid node, struct turn_output *out)
{
    const struct turn_absent *absent = find(turn, node);
    const struct gossip_member *member = member_of(turn, node);
    const bool lives = member == NULL || member->state <= GOSSIP_SUSPECT;
    if (absent != NULL && absent->gone && lives)
        say(out, node, false); // else gossip will, when it has heard it
    turn_forget_absent(turn, node);
}

void
turn_hear_of(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    if (in->kind == TURN_IN_REFUSED)
        refused(turn, in, out);
    else
        reached(turn, in->node, out);
}
