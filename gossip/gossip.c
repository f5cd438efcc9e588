// gossip/gossip.c -- SWIM with Lifeguard's corrections: the step, and what time brings.
//
// Shape: machine.
//
// A member, as one machine sees it (claim.c takes every arrow that is heard, ordered by boot, incarnation, state):
//
//               claim_hear                      suspect_run: nobody refuted in time
//     (unknown) ---------> ALIVE <----------> SUSPECT ----------------------------> DEAD --> (superseded) dropped
//                            ^   probe_failed,  |                                   |  ^      after left_keep_ns
//                            |   claim_hear     | claim_hear: LEFT                  |  |
//                            +------------------|-----------------------------------+  | claim.c: a newer process has
//                            a higher incarnation, or boot generation                  | its address
//                                               v                                      |
//                            LEFT (dropped after left_keep_ns) <-----------------------+ gossip_step: FORGET
//
// A probe, one in each period (probe.c):
//
//     NONE --tick: probe_next--> DIRECT --timeout: probe_indirect--> INDIRECT --tick: probe_failed--> suspicion
//       ^---------- probe_hear_ack: directly, by a helper, or by the control lane --'
//
// Ourselves: silent until START; LEAVE: telling; GONE or SUPERSEDED: silent for ever.
//
// A step first takes its input, then does whatever is due, whatever kind of input it was: a busy inbox does not delay
// probes. What does not fit the output stays due, and the wake is then now.
#include "gossip/gossip.h"

#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "gossip/gossip_int.h"

#define MS 1000000ull
#define SECOND (1000 * MS)

static void late(struct gossip *g, struct gossip_output *out);
static void take_input(struct gossip *g, const struct gossip_input *in, struct gossip_output *out);
static void hear(struct gossip *g, const struct gossip_input *in, struct gossip_output *out);
static void run_due(struct gossip *g, struct gossip_output *out);
static uint64_t wake(const struct gossip *g);

static struct gossip_timing
timing_of(enum gossip_profile profile)
{
    struct gossip_timing timing = {
        .probe_ns = SECOND,
        .timeout_ns = 500 * MS,
        .gossip_ns = 200 * MS,
        .sync_ns = 30 * SECOND,
        .rejoin_ns = 30 * SECOND,
        .dead_gossip_ns = 30 * SECOND,
        .left_keep_ns = 3600 * SECOND,
        .helpers = 3,
        .fanout = 3,
        .suspicion = 4,
        .suspicion_worst = 6,
        .tells = 4,
    };
    if (profile == GOSSIP_FAST) {
        timing.probe_ns = 300 * MS;
        timing.timeout_ns = 150 * MS;
        timing.gossip_ns = 100 * MS;
        timing.rejoin_ns = 10 * SECOND;
        timing.suspicion = 3;
    }
    return timing;
}

void
gossip_init(struct gossip *gossip, const struct gossip_config *config, uint64_t seed)
{
    ASSERT(!gossip_id_is_none(config->cluster) && !gossip_id_is_none(config->id));
    ASSERT(gossip_meta_valid(&config->meta));
    ASSERT(config->members_max > 0 && config->members_max <= GOSSIP_MEMBERS_MAX);
    memset(gossip, 0, sizeof *gossip);
    gossip->cluster = config->cluster;
    gossip->timing = timing_of(config->profile);
    gossip->members_max = config->members_max;
    gossip->no_fallback = config->no_fallback;
    gossip->self = (struct gossip_member){
        .id = config->id,
        .boot = config->boot,
        .state = GOSSIP_ALIVE,
        .used = true,
        .meta = config->meta,
    };
    prng_init(&gossip->prng, seed);
    gossip->hash_seed = prng_next(&gossip->prng);
    gossip->lonely_ns = gossip->timing.probe_ns;
    gossip->suspect_ns = gossip->relay_ns = NEVER;
}

void
gossip_fini(struct gossip *gossip)
{
    mem_free(gossip->members);
    mem_free(gossip->order);
    mem_free(gossip->table);
    mem_free(gossip->seeds);
    memset(gossip, 0, sizeof *gossip);
}

void
gossip_step(struct gossip *gossip, const struct gossip_input *in, struct gossip_output *out)
{
    out->persist_peers = out->members_changed = false;
    out->send_count = out->note_count = 0;
    out->wake_ns = NEVER;
    if (in->now_ns > gossip->now_ns)
        gossip->now_ns = in->now_ns;
    if (gossip->gone)
        return;
    if (gossip->started && gossip->now_ns > gossip->tick_ns + period_ns(gossip))
        late(gossip, out);
    take_input(gossip, in, out);
    if (gossip->started && !gossip->gone)
        run_due(gossip, out);
    if (gossip->started && !gossip->gone)
        out->wake_ns = wake(gossip);
}

// We were stopped or starved for more than a whole period beyond the tick. What others did not answer meanwhile, or what the
// inbox says about them, is no evidence: it is about us. So nobody is accused, suspects get the time back, a round is left
// out, and accusations are not believed before the next.
static void
late(struct gossip *g, struct gossip_output *out)
{
    const uint64_t behind = g->now_ns - g->tick_ns;
    g->counters.late++;
    note(g, out, GOSSIP_NOTE_LATE, &(struct gossip_note){.id = g->self.id, .number = behind});
    awareness_add(g, 1);
    probe_abandon(g);
    g->tick_ns = g->now_ns + period_ns(g);
    g->grace_ns = g->tick_ns;
    suspect_delay(g, behind + period_ns(g));
    sync_soon(g);
}

static void
start(struct gossip *g, const struct gossip_input *in, struct gossip_output *out)
{
    if (g->started)
        return;
    if (!seeds_set(g, in->peers, in->peer_count)) {
        note(g, out, GOSSIP_NOTE_NO_MEMORY, &(struct gossip_note){.id = g->self.id});
        return;
    }
    g->started = true;
    g->self.since_ns = g->now_ns;
    g->tick_ns = g->now_ns + random_ns(g, g->timing.probe_ns); // not all in step
    g->gossip_ns = g->now_ns + random_ns(g, g->timing.gossip_ns);
    g->sync_ns = g->now_ns + random_ns(g, g->timing.sync_ns);
    g->rejoin_ns = g->now_ns;
    g->meta_at_ns = g->now_ns + g->timing.probe_ns;
    queue_put(g, SLOT_SELF);
}

static void
leave(struct gossip *g)
{
    if (g->leaving)
        return;
    g->leaving = true;
    g->self.state = GOSSIP_LEFT;
    self_announce(g);
}

// Who is dead will not come back, which is what a member says of itself when it leaves: it is said in its place.
static void
forget(struct gossip *g, struct gossip_output *out, struct gossip_id id)
{
    const uint32_t slot = member_slot(g, id);
    if (slot == SLOT_NONE || slot == SLOT_SELF || member_at(g, slot)->state != GOSSIP_DEAD)
        return;
    member_set_state(g, out, slot, GOSSIP_LEFT);
    g->peers_changed = true;
    queue_put(g, slot);
    note_member(g, out, GOSSIP_NOTE_LEFT, slot, 0);
}

static void
take_input(struct gossip *g, const struct gossip_input *in, struct gossip_output *out)
{
    switch (in->kind) {
    case GOSSIP_IN_START:
        start(g, in, out);
        break;
    case GOSSIP_IN_MESSAGE:
        if (g->started)
            hear(g, in, out);
        break;
    case GOSSIP_IN_META:
        ASSERT(gossip_meta_valid(in->meta));
        g->next_meta = *in->meta;
        g->meta_changed = !gossip_meta_equal(&g->next_meta, &g->self.meta);
        break;
    case GOSSIP_IN_LEAVE:
        if (g->started)
            leave(g);
        break;
    case GOSSIP_IN_FORGET:
        if (g->started)
            forget(g, out, in->forget);
        break;
    case GOSSIP_IN_MEET:
        if (g->started && !g->leaving)
            seed_meet(g, out, &in->meet);
        break;
    case GOSSIP_IN_WAKE:
        break;
    }
}

static void
hear(struct gossip *g, const struct gossip_input *in, struct gossip_output *out)
{
    const struct gossip_msg *msg = in->message;
    if (!gossip_msg_valid(msg)) {
        g->counters.refused_msgs++;
        return;
    }
    if (!gossip_id_equal(msg->cluster, g->cluster)) {
        g->counters.foreign_msgs++;
        if (!g->foreign_noted)
            note(g, out, GOSSIP_NOTE_FOREIGN, &(struct gossip_note){.id = msg->cluster});
        g->foreign_noted = true;
        return;
    }
    if (gossip_id_equal(msg->from, g->self.id)) {
        if (msg->from_boot > g->self.boot) {
            g->gone = true;
            note_member(g, out, GOSSIP_NOTE_SUPERSEDED, SLOT_SELF, msg->from_boot);
        }
        return; // ours, on a way back; or an older process's
    }
    for (uint32_t i = 0; i < msg->claim_count && !g->gone; i++)
        claim_hear(g, out, msg, &msg->claims[i]);
    if (g->gone)
        return;
    switch (msg->kind) {
    case GOSSIP_PING:
        probe_hear_ping(g, out, in);
        break;
    case GOSSIP_ACK:
        probe_hear_ack(g, out, msg);
        break;
    case GOSSIP_PING_REQ:
        probe_hear_request(g, out, msg);
        break;
    case GOSSIP_NACK:
        probe_hear_nack(g, msg);
        break;
    case GOSSIP_ASK:
        sync_hear_ask(g, msg);
        break;
    case GOSSIP_STATE:
        sync_hear_state(g, msg);
        break;
    default: // NEWS: its claims are all it is
        break;
    }
}

static void
run_due(struct gossip *g, struct gossip_output *out)
{
    if (g->meta_changed && g->now_ns >= g->meta_at_ns && !g->leaving) {
        g->self.meta = g->next_meta;
        g->meta_changed = false;
        g->meta_at_ns = g->now_ns + g->timing.probe_ns;
        g->members_version++;
        self_announce(g);
    }
    probe_run(g, out);
    suspect_run(g, out);
    spread_run(g, out);
    if (g->leaving && (!g->self.queued || gossip_living(g) == 1)) {
        g->gone = true;
        note_member(g, out, GOSSIP_NOTE_GONE, SLOT_SELF, 0);
        return;
    }
    sync_run(g, out);
    if (g->peers_changed && g->now_ns >= g->persist_ns) {
        g->peers_changed = false;
        g->persist_ns = g->now_ns + g->timing.probe_ns;
        out->persist_peers = true;
    }
}

static uint64_t
wake(const struct gossip *g)
{
    uint64_t at = ns_min(g->tick_ns, ns_min(g->sync_ns, g->rejoin_ns));
    if (g->probe.phase == GOSSIP_PROBE_DIRECT)
        at = ns_min(at, g->probe.timeout_ns);
    if (g->relay_count > 0)
        at = ns_min(at, g->relay_ns);
    if (g->suspect_first != 0)
        at = ns_min(at, g->suspect_ns);
    if (g->queue_count > 0)
        at = ns_min(at, g->gossip_ns);
    if (g->peers_changed)
        at = ns_min(at, g->persist_ns);
    if (g->meta_changed && !g->leaving)
        at = ns_min(at, g->meta_at_ns);
    if (g->stream_count > 0 || at < g->now_ns)
        at = g->now_ns;
    return at;
}

void
note(struct gossip *g, struct gossip_output *out, enum gossip_note_kind kind,
     const struct gossip_note *what)
{
    if (out->note_count == GOSSIP_NOTES_MAX) {
        g->counters.notes_lost++;
        return;
    }
    out->notes[out->note_count] = *what;
    out->notes[out->note_count++].kind = kind;
}

void
note_member(struct gossip *g, struct gossip_output *out, enum gossip_note_kind kind, uint32_t slot,
            uint64_t number)
{
    note(g, out, kind, &(struct gossip_note){.id = member_at(g, slot)->id, .number = number});
}

void
awareness_add(struct gossip *g, int change)
{
    const int score = (int)g->awareness + change;
    g->awareness = score < 0                           ? 0
                   : score > (int)GOSSIP_AWARENESS_MAX ? GOSSIP_AWARENESS_MAX
                                                       : (uint32_t)score;
}

uint64_t
period_ns(const struct gossip *g)
{
    return g->timing.probe_ns * (g->awareness + 1);
}

void
gossip_describe(const struct gossip *gossip, char *line, size_t cap)
{
    static const char *const phases[] = {"none", "direct", "indirect"};
    static const char *const states[] = {"alive", "suspect", "dead", "left"};
    struct text text;
    text_init(&text, line, cap);
    text_add(&text, "%llx boot %llu incarnation %u %s awareness %u:",
             (unsigned long long)gossip->self.id.low, (unsigned long long)gossip->self.boot,
             gossip->self.incarnation, gossip->gone ? "gone" : states[gossip->self.state],
             gossip->awareness);
    for (uint32_t state = 0; state <= GOSSIP_LEFT; state++)
        text_add(&text, " %s %u", states[state], gossip->counts[state]);
    text_add(&text, " seeds %u queue %u relays %u streams %u probe %s", gossip->seed_count,
             gossip->queue_count, gossip->relay_count, gossip->stream_count,
             phases[gossip->probe.phase]);
}
