// tests/lib/voters_world.h -- a group of the metadata that obeys cluster/voters: members that catch up, fall ill and come back.
//
// Shape: shell.
//
// What is planned is held against the group before it is done: both halves of the joint group have a majority of members that are
// well, and nobody well loses a vote that could be taken from one who is ill. It is committed a few looks later, where those
// who are well by then are a majority of both halves; else it stays under way.
#ifndef OMEN_TESTS_VOTERS_WORLD_H
#define OMEN_TESTS_VOTERS_WORLD_H
#include "cluster/voters.h"
#include "tests/lib/cluster_world.h"

#define VOTERS_SECOND UINT64_C(1000000000)
#define VOTERS_NODES 40u // of a test, at most

struct voters_peer {
    uint64_t member;
    uint32_t number; // of the map
    char zone;
    bool alive, cut; // the leader does not reach it
    bool unheard;    // nor has gossip told the leader of it
};

struct voters_world {
    struct world world; // its map
    struct prng prng;
    struct voters voters;
    struct voters_config config;
    uint64_t now_ns, self;
    uint32_t peer_count;
    struct voters_peer peers[VOTERS_NODES];
    bool deaf; // gossip has told the leader nothing yet
    // The group, and the change that is under way.
    uint32_t member_count;
    struct voters_member members[VOTERS_MEMBERS_MAX];
    bool changing;
    uint64_t ready_ns;
    struct voters_output change;
    struct voters_output last; // planned
    uint32_t changes, transfers;
};

static inline void
voters_world_init(struct voters_world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    world_init(&world->world, seed);
    prng_init(&world->prng, seed);
    world->now_ns = VOTERS_SECOND;
    world->config = (struct voters_config){.wanted = 5,
                                           .members_max = VOTERS_MEMBERS_MAX,
                                           .replace_delay_ns = 60 * VOTERS_SECOND,
                                           .steady_ns = 5 * VOTERS_SECOND,
                                           .interval_ns = VOTERS_SECOND,
                                           .retry_ns = VOTERS_SECOND};
    voters_init(&world->voters, &world->config);
}

static inline void
voters_world_fini(struct voters_world *world)
{
    world_fini(&world->world);
}

// A node, up and well, and its number in the group: 101 and on.
static inline struct voters_peer *
voters_peer_new(struct voters_world *world, char zone)
{
    const char text[] = {zone, 0};
    ck_assert_uint_lt(world->peer_count, VOTERS_NODES);
    struct voters_peer *peer = &world->peers[world->peer_count++];
    *peer = (struct voters_peer){.member = 100 + world->peer_count,
                                 .number = world_node(&world->world, text, 100),
                                 .zone = zone,
                                 .alive = true};
    return peer;
}

static inline struct voters_peer *
voters_peer_of(struct voters_world *world, uint64_t member)
{
    for (uint32_t i = 0; i < world->peer_count; i++)
        if (world->peers[i].member == member)
            return &world->peers[i];
    return NULL;
}

static inline bool
voters_is_well(struct voters_world *world, uint64_t member)
{
    const struct voters_peer *peer = voters_peer_of(world, member);
    return peer != NULL && peer->alive && !peer->cut;
}

static inline struct voters_member *
voters_member_of(struct voters_world *world, uint64_t member)
{
    for (uint32_t i = 0; i < world->member_count; i++)
        if (world->members[i].member == member)
            return &world->members[i];
    return NULL;
}

// Into the group, in its place.
static inline void
voters_put(struct voters_world *world, uint64_t member, bool votes)
{
    struct voters_member *known = voters_member_of(world, member);
    if (known != NULL) {
        known->votes = votes;
        return;
    }
    ck_assert_uint_lt(world->member_count, world->config.members_max);
    uint32_t at = world->member_count++;
    for (; at > 0 && world->members[at - 1].member > member; at--)
        world->members[at] = world->members[at - 1];
    world->members[at] = (struct voters_member){.member = member, .votes = votes};
}

static inline void
voters_take(struct voters_world *world, uint64_t member)
{
    struct voters_member *known = voters_member_of(world, member);
    ck_assert_ptr_nonnull(known);
    const uint32_t at = (uint32_t)(known - world->members);
    memmove(known, known + 1, (world->member_count - at - 1) * sizeof *known);
    world->member_count--;
}

static inline uint32_t
voters_count(const struct voters_world *world)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->member_count; i++)
        count += world->members[i].votes;
    return count;
}

static inline bool
voters_have_majority(struct voters_world *world)
{
    uint32_t well = 0;
    for (uint32_t i = 0; i < world->member_count; i++)
        well += world->members[i].votes && voters_is_well(world, world->members[i].member);
    return well > voters_count(world) / 2;
}

static inline void
voters_do(struct voters_world *world, const struct voters_output *change)
{
    for (uint32_t i = 0; i < change->count; i++)
        if (change->items[i].part == VOTERS_GOES)
            voters_take(world, change->items[i].member);
        else
            voters_put(world, change->items[i].member, change->items[i].part == VOTERS_VOTES);
}

// Whether those who are well decide now, and would in the group that the change makes.
static inline bool
voters_would_decide(struct voters_world *world, const struct voters_output *change)
{
    static struct voters_world after;
    after = *world;
    voters_do(&after, change);
    return voters_have_majority(world) && voters_have_majority(&after);
}

static inline void
voters_expect_sound(struct voters_world *world, const struct voters_output *change)
{
    bool well_loses = false, ill_stays = false, moves_votes = false;
    ck_assert_uint_ge(change->count, 1);
    ck_assert_uint_le(change->count, VOTERS_ITEMS_MAX);
    for (uint32_t i = 0; i < world->member_count; i++) {
        const struct voters_member *member = &world->members[i];
        bool loses = false;
        for (uint32_t c = 0; c < change->count; c++)
            loses |=
                change->items[c].member == member->member && change->items[c].part != VOTERS_VOTES;
        moves_votes |= loses && member->votes;
        const struct voters_peer *peer = voters_peer_of(world, member->member);
        const struct map_node *node =
            peer != NULL ? map_node(&world->world.map, peer->number) : NULL;
        const bool is_up = node == NULL || node->state == NODE_UP;
        if (!member->votes || !is_up)
            continue;
        well_loses |= loses && voters_is_well(world, member->member);
        ill_stays |= !loses && !voters_is_well(world, member->member);
    }
    for (uint32_t c = 0; c < change->count; c++)
        moves_votes |= change->items[c].part == VOTERS_VOTES;
    ck_assert_msg(!moves_votes || voters_would_decide(world, change), "%s leaves no majority",
                  change->why);
    ck_assert_msg(!well_loses || !ill_stays, "%s takes a vote from one that is well", change->why);
}

static inline void
voters_show(struct voters_world *world, struct voters_input *input, struct voters_node *nodes)
{
    for (uint32_t i = 0; i < world->member_count; i++) {
        world->members[i].current = voters_is_well(world, world->members[i].member);
        world->members[i].reached = world->members[i].current ? 100 : 1;
    }
    for (uint32_t i = 0; i < world->peer_count; i++) {
        const struct voters_peer *peer = &world->peers[i];
        const struct map_node *mapped = map_node(&world->world.map, peer->number);
        if (mapped == NULL || ((world->deaf || peer->unheard) && peer->member != world->self))
            continue;
        nodes[input->node_count++] = (struct voters_node){.uuid = mapped->uuid,
                                                          .member = peer->member,
                                                          .zone = mapped->zone,
                                                          .alive = peer->alive,
                                                          .data = true};
    }
}

// Where the leader is ill another one that is well leads, if a majority is.
static inline void
voters_elect(struct voters_world *world)
{
    const struct voters_member *self = voters_member_of(world, world->self);
    if (self != NULL && self->votes && voters_is_well(world, world->self))
        return;
    world->self = 0;
    for (uint32_t i = 0; i < world->member_count && voters_have_majority(world); i++)
        if (world->members[i].votes && voters_is_well(world, world->members[i].member))
            world->self = world->members[i].member;
    voters_init(&world->voters, &world->config);
}

static inline void
voters_look(struct voters_world *world)
{
    struct voters_node nodes[VOTERS_NODES];
    world->now_ns += VOTERS_SECOND / 2;
    if (world->changing && world->now_ns >= world->ready_ns &&
        voters_would_decide(world, &world->change)) {
        voters_do(world, &world->change);
        world->changing = false;
    }
    voters_elect(world);
    world->last = (struct voters_output){.kind = VOTERS_REST};
    if (world->self == 0)
        return;
    struct voters_input input = {.now_ns = world->now_ns,
                                 .self = world->self,
                                 .group = world->changing ? VOTERS_CHANGING : VOTERS_SETTLED,
                                 .map = &world->world.map,
                                 .members = world->members,
                                 .member_count = world->member_count,
                                 .nodes = nodes};
    voters_show(world, &input, nodes);
    voters_step(&world->voters, &input, &world->last);
    voters_check(&world->voters);
    ck_assert_uint_gt(world->last.wake_ns, world->now_ns);
    ck_assert(world->last.kind == VOTERS_REST || !world->changing);
    if (world->last.kind == VOTERS_TRANSFER) {
        ck_assert(voters_is_well(world, world->last.items[0].member));
        ck_assert(voters_member_of(world, world->last.items[0].member)->votes);
        world->self = world->last.items[0].member;
        world->transfers++;
        voters_init(&world->voters, &world->config);
    } else if (world->last.kind == VOTERS_CHANGE) {
        voters_expect_sound(world, &world->last);
        world->changing = true;
        world->change = world->last;
        world->ready_ns = world->now_ns + prng_below(&world->prng, 4) * VOTERS_SECOND / 2;
        world->changes++;
    }
}

static inline void
voters_run(struct voters_world *world, uint32_t seconds)
{
    for (uint32_t i = 0; i < 2 * seconds; i++)
        voters_look(world);
}

#endif
