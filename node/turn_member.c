// node/turn_member.c -- a node among the others: writes itself into the map, and keeps its lease.
//
// Shape: machine.
//
// A process that finds a later one of its node in the map runs on an old copy of the disk, which forgot what the node had promised: it says so,
// and ends.
//
// A grant waits until the log is applied through the position that it names: who was deposed before it was given has heard of it then.
// While one waits a later one does not take its place, or under a steady stream of commands none would ever count.
#include "base/bug.h"
#include "node/turn_int.h"

#define MS UINT64_C(1000000)
#define REGISTER_NS (300 * MS)

const struct map_node *
turn_own(const struct turn *turn)
{
    const struct gossip_id id = turn->config.gossip.id;
    if (turn->own_version == turn->map.version)
        return turn->own_at != UINT32_MAX ? &turn->map.nodes[turn->own_at] : NULL;
    return map_node_by_uuid(&turn->map, (struct cluster_uuid){id.high, id.low});
}

// Boots are counted on the disk: a process that starts is the first with its number, and the map has none that is greater. Where it has
// one, or one with this number that was another process, that one had a disk that knew more than this one does.
static bool
is_outdated(const struct turn *turn)
{
    const struct map_node *own = turn->config.weight != 0 ? turn_own(turn) : NULL;
    const uint64_t boot = turn->config.gossip.boot;
    return own != NULL && (own->boot > boot || (own->boot == boot && own->process != 0 &&
                                                own->process != turn->process));
}

// Every turn asks for its own row, of up to 1,024 that lie wide apart: they are gone through once for each version.
static void
look_for_own(struct turn *turn)
{
    if (turn->own_version == turn->map.version)
        return;
    const struct map_node *own = turn_own(turn);
    turn->own_at = own != NULL ? (uint32_t)(own - turn->map.nodes) : UINT32_MAX;
    turn->own_version = turn->map.version;
}

static bool
is_known(const struct turn *turn)
{
    const struct map_node *own = turn_own(turn);
    return own != NULL && own->boot >= turn->config.gossip.boot;
}

static void
write_down(struct turn *turn, struct turn_output *out)
{
    struct turn_send *send = turn_send(out);
    if (send == NULL)
        return;
    const struct gossip_id id = turn->config.gossip.id;
    turn->wish = (struct command){.kind = COMMAND_NODE_REGISTER};
    turn->wish.node.uuid = (struct cluster_uuid){id.high, id.low};
    turn->wish.node.boot = turn->config.gossip.boot;
    turn->wish.node.process = turn->process;
    turn->wish.node.weight = turn->config.weight;
    turn->wish.node.roles = turn->config.roles;
    turn->wish.node.zone = turn->config.zone;
    turn->wish.node.features = turn->config.features;
    send->member = turn->raft.lead;
    send->msg = (struct turn_msg){.kind = TURN_MSG_COMMAND, .command = &turn->wish};
}

// A primary acknowledges nothing without its own disk. So a node whose disk takes nothing asks for no lease any more: others become
// primaries, and this one a copy that is behind, until it has room.
static bool
disk_is_stuck(const struct turn *turn, const struct turn_input *in)
{
    return in->put_off_since_ns > 0 &&
           in->now_ns >= in->put_off_since_ns + map_lease_times(&turn->map).renew_ms * MS;
}

void
turn_member_wake(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    if (turn->config.weight == 0 || turn->raft.lead == 0)
        return;
    if (!is_known(turn)) {
        if (in->now_ns < turn->register_at_ns)
            return;
        turn->register_at_ns = in->now_ns + REGISTER_NS;
        write_down(turn, out);
        return;
    }
    if (in->now_ns < turn->ask_at_ns)
        return;
    turn->ask_at_ns = in->now_ns + map_lease_times(&turn->map).renew_ms * MS;
    if (disk_is_stuck(turn, in))
        return;
    struct turn_send *send = turn_send(out);
    if (send == NULL)
        return;
    send->member = turn->raft.lead;
    send->msg = (struct turn_msg){.kind = TURN_MSG_LEASE_ASK,
                                  .node = turn_own(turn)->number,
                                  .boot = turn->config.gossip.boot,
                                  .sent_ns = in->now_ns};
}

uint64_t
turn_member_wake_ns(const struct turn *turn)
{
    if (turn->config.weight == 0 || turn->raft.lead == 0)
        return UINT64_MAX;
    return is_known(turn) ? turn->ask_at_ns : turn->register_at_ns;
}

void
turn_granted(struct turn *turn, const struct turn_input *in)
{
    const struct turn_msg *grant = &turn->grant;
    const bool waits = grant->kind != 0 && in->now_ns < grant->sent_ns + grant->lease_ns;
    if (in->msg->boot != turn->config.gossip.boot || in->msg->sent_ns > in->now_ns ||
        in->msg->lease_ns > map_lease_times(&turn->map).lease_ms * MS || waits)
        return;
    turn->grant = *in->msg;
}

void
turn_member_settle(struct turn *turn, uint64_t now_ns, struct turn_output *out)
{
    const struct turn_msg *grant = &turn->grant;
    look_for_own(turn);
    out->outdated = is_outdated(turn);
    if (grant->kind == 0 || (turn->applied < grant->position && !bug(BUG_LEASE_OLD_VIEW)))
        return;
    if (now_ns < grant->sent_ns + grant->lease_ns)
        out->lease = (struct turn_lease){grant->sent_ns, grant->lease_ns};
    turn->grant = (struct turn_msg){0};
}
