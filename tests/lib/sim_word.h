// tests/lib/sim_word.h -- the failure detector's word in a simulation: on its way from a node's turn to its copies, and made up.
//
// Shape: shell, simulated.
//
// Gossip is the real one, so its words are late and now and then wrong by themselves; rumours are wrong more often. Whoever takes a
// copy out of the set must have waited: a quarter of the time where it was told that the copy's node is dead, else all of it.
#ifndef OMEN_TESTS_SIM_WORD_H
#define OMEN_TESTS_SIM_WORD_H
#include "tests/lib/sim_copies.h"

static inline void
sim_send_word(struct sim *sim, uint32_t at, uint32_t about, bool dead)
{
    const uint32_t spread = sim_chance(sim, 100) ? 100000000 : 500000;
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + 10000 + prng_below(&sim->prng, spread),
                                .kind = SIM_WORD,
                                .at = at,
                                .from = about,
                                .number = sim->nodes[at].life << 1 | dead});
}

// What a turn has said.
static inline void
sim_send_words(struct sim *sim, uint32_t at)
{
    for (uint32_t i = 0; i < sim->out.word_count; i++) {
        const uint32_t about = (uint32_t)sim->out.words[i].node.low - 1;
        SIM_REQUIRE(sim, about < sim->options.nodes, "gossip speaks of nodes that are there");
        if (about != at)
            sim_send_word(sim, at, about, sim->out.words[i].dead);
    }
}

static inline void
sim_word_event(struct sim *sim, const struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->at];
    if (event->number >> 1 != node->life)
        return;
    struct copies_input in = {.kind = COPIES_IN_WORD};
    in.word.node = (struct cluster_uuid){0x6f6d656e, event->from + 1};
    in.word.dead = (event->number & 1) != 0;
    node->said_dead[event->from] = in.word.dead;
    sim->words++;
    sim_copies_step(sim, event->at, in);
}

// That another leads the metadata: now and then it is not said, as where there was no memory for it.
static inline void
sim_send_led(struct sim *sim, uint32_t at)
{
    if (!sim->out.led || sim_chance(sim, 100))
        return;
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + 10000 + prng_below(&sim->prng, 500000),
                                .kind = SIM_LED,
                                .at = at,
                                .number = sim->nodes[at].life});
}

static inline void
sim_led_event(struct sim *sim, const struct sim_event *event)
{
    if (event->number == sim->nodes[event->at].life)
        sim_copies_step(sim, event->at, (struct copies_input){.kind = COPIES_IN_LED});
}

// ---- refused connections ----

static inline void
sim_say_of(struct sim *sim, uint32_t at, uint32_t about, enum sim_event_kind kind, uint64_t in_ns)
{
    sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + in_ns,
                                            .kind = kind,
                                            .at = at,
                                            .from = about,
                                            .number = sim->nodes[at].life});
}

// A process has ended, or begins: who can hear its system is refused at once and when it tries again, or connects. Some have no
// connection to it, and hear nothing.
static inline void
sim_tell_refusals(struct sim *sim, uint32_t about, enum sim_event_kind kind)
{
    for (uint32_t at = 0; at < sim->options.nodes; at++) {
        if (at == about || !sim->nodes[at].up || sim->cut[at][about] || sim->cut[about][at] ||
            sim_chance(sim, 200))
            continue;
        sim_say_of(sim, at, about, kind, 200000 + prng_below(&sim->prng, 5000000));
        if (kind == SIM_REFUSED)
            sim_say_of(sim, at, about, kind, 50 * SIM_MS + prng_below(&sim->prng, 60000000));
    }
}

// Somebody else listens there, or a wall in between refuses: it is not true of who lives.
static inline void
sim_refuse_wrongly(struct sim *sim, uint32_t at, uint32_t about)
{
    sim_say_of(sim, at, about, SIM_REFUSED, prng_below(&sim->prng, 5000000));
    sim_say_of(sim, at, about, SIM_REFUSED, prng_below(&sim->prng, 120000000));
    if (sim_chance(sim, 500))
        sim_say_of(sim, at, about, SIM_REACHED, prng_below(&sim->prng, 300000000));
}

static inline void
sim_rumour(struct sim *sim)
{
    const uint32_t at = prng_below(&sim->prng, sim->options.nodes);
    const uint32_t other = 1 + prng_below(&sim->prng, sim->options.nodes - 1);
    if (sim->calm)
        return;
    if (sim->nodes[at].up)
        sim_send_word(sim, at, (at + other) % sim->options.nodes, sim_chance(sim, 700));
    if (sim->nodes[at].up && sim_chance(sim, 300))
        sim_refuse_wrongly(sim, at, (at + other) % sim->options.nodes);
    const uint64_t gap_ns = SIM_MS * prng_below(&sim->prng, sim->options.profile->rumours_ms);
    sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + gap_ns, .kind = SIM_RUMOUR});
}

// The first time that a primary proposes to go on without a copy.
static inline void
sim_check_shrink(struct sim *sim, uint32_t at, struct sim_env *env)
{
    const struct replica_change *change = &sim->copies_out.replica.change;
    if (change->kind != REPLICA_CHANGE_REMOVE || change->shard != env->env.shard ||
        change->cfg_ver == env->shrunk_cfg)
        return; // sent again, or of a child
    env->shrunk_cfg = change->cfg_ver;
    sim->shrinks++;
    const struct copies *copies = &sim->nodes[at].copies;
    const struct copy *copy = copies_find(copies, env->env.uuid);
    const struct cluster_uuid uuid = {change->uuid.high, change->uuid.low};
    for (uint32_t i = 0; i < copy->replica.peer_count; i++) {
        const struct replica_peer *peer = &copy->replica.peers[i];
        const uint32_t m = shard_replica(&copy->row, uuid) == NULL
                               ? SHARD_REPLICAS_MAX
                               : (uint32_t)(shard_replica(&copy->row, uuid) - copy->row.replicas);
        if (!replica_uuid_equal(peer->uuid, change->uuid) || peer->diverged ||
            m == SHARD_REPLICAS_MAX)
            continue;
        const uint32_t about = (uint32_t)copy->members[m].node.low - 1;
        const uint64_t waited_ns = sim_node_time(sim, at) - peer->heard_ns;
        const uint64_t whole_ns = copies->shrink_ms * SIM_MS;
        const bool dead = about < sim->options.nodes && sim->nodes[at].said_dead[about];
        SIM_REQUIRE(sim, waited_ns >= (dead ? whole_ns / 4 : whole_ns),
                    "a copy that answers stays in sync, and the dead are waited for a quarter");
        sim->shrinks_early += waited_ns < whole_ns;
    }
}

#endif
