// node/turn.c -- gives an input to the machine that it is for, and what that machine says to the others.
//
// Shape: machine.
//
//      (not started) --START--> running        start
//      running --any--> running                step_raft, step_gossip, wake
//      running --no memory, bad bytes--> halted (the shell ends it; a start goes on from the disk)
#include "node/turn.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "node/turn_int.h"

static void dispatch(struct turn *turn, const struct turn_input *in, struct turn_output *out);
static void start(struct turn *turn, const struct turn_input *in, struct turn_output *out);
static void take_msg(struct turn *turn, const struct turn_input *in, struct turn_output *out);
static void wish(struct turn *turn, const struct command *command, struct turn_output *out);
static void wake(struct turn *turn, const struct turn_input *in, struct turn_output *out);
static void step_gossip(struct turn *turn, const struct gossip_input *in, struct turn_output *out);
static enum turn_halt obey_raft(struct turn *turn, struct turn_output *out);
static enum turn_halt apply(struct turn *turn, struct turn_output *out);
static enum turn_halt checkpoint(struct turn *turn, struct turn_output *out);
static void note_led(struct turn *turn, struct turn_output *out);
static bool has_duty(const struct turn *turn);
static bool has_news(const struct turn *turn);
static uint64_t earlier(uint64_t a, uint64_t b);

#define MS UINT64_C(1000000)

void
turn_init(struct turn *turn, const struct turn_config *config, uint64_t seed)
{
    ASSERT(config->checkpoint_entries > 0);
    ASSERT(config->rebalance.interval_ns > 0 && config->rebalance.retry_ns > 0);
    ASSERT(config->raft.apply_bytes_max <= TURN_APPLY_BYTES_MAX);
    memset(turn, 0, sizeof *turn);
    turn->config = *config;
    turn_voters_say(&turn->config);
    turn->told.member = config->weight != 0 ? config->raft.id : 0;
    struct prng prng;
    prng_init(&prng, seed);
    const uint64_t raft_seed = prng_next(&prng);
    raft_init(&turn->raft, &config->raft, raft_seed);
    const uint64_t gossip_seed = prng_next(&prng);
    gossip_init(&turn->gossip, &turn->config.gossip, gossip_seed);
    map_init(&turn->map);
    const struct lease_times times = map_lease_times(&turn->map);
    voters_init(&turn->voters, &config->voters);
    lease_init(&turn->lease, &(struct lease_config){times.lease_ms * MS, times.guard_ms * MS});
    const uint64_t rebalance_seed = prng_next(&prng);
    rebalance_init(&turn->rebalance, &config->rebalance, rebalance_seed);
    turn->process = prng_next(&prng);
    turn->raft_wake_ns = turn->gossip_wake_ns = UINT64_MAX;
    turn->own_at = UINT32_MAX;
}

void
turn_fini(struct turn *turn)
{
    raft_fini(&turn->raft);
    gossip_fini(&turn->gossip);
    map_fini(&turn->map);
    turn_bytes_fini(&turn->checkpoint);
    turn_bytes_fini(&turn->offers[0]);
    turn_bytes_fini(&turn->offers[1]);
    turn_bytes_fini(&turn->staged);
    mem_free(turn->results);
    turn->results = NULL;
}

void
turn_step(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    out->halt = TURN_RUNS;
    out->checkpoint = (struct turn_checkpoint){0};
    out->results = NULL;
    out->result_count = 0;
    out->raft_stepped = out->gossip_stepped = false;
    out->send_count = out->word_count = 0;
    out->lease = (struct turn_lease){0};
    out->outdated = out->led = false;
    ASSERT(turn->started == (in->kind != TURN_IN_START));
    dispatch(turn, in, out);
    if (turn->started && out->halt == TURN_RUNS) {
        turn_lead_settle(turn, in->now_ns, out);
        turn_member_settle(turn, in->now_ns, out);
        note_led(turn, out);
    }
    if (!out->raft_stepped)
        memset(&out->raft, 0, sizeof out->raft);
    if (!out->gossip_stepped) {
        out->gossip.persist_peers = out->gossip.members_changed = false;
        out->gossip.send_count = out->gossip.note_count = 0;
    }
    uint64_t first = earlier(turn->raft_wake_ns, turn->gossip_wake_ns);
    if (turn->started)
        first = earlier(first, earlier(turn_member_wake_ns(turn), turn_lead_wake_ns(turn)));
    out->wake_ns = has_duty(turn) ? in->now_ns : first;
}

// Commands that went to who led before, or to nobody, are lost: whoever waits for theirs says them again now.
static void
note_led(struct turn *turn, struct turn_output *out)
{
    const struct raft *raft = &turn->raft;
    out->led = raft->lead != RAFT_NODE_NONE &&
               (raft->lead != turn->led_by || raft->term != turn->led_term);
    turn->led_by = raft->lead;
    turn->led_term = raft->term;
}

static void
take_gossip(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    struct gossip_input gossip = {.now_ns = in->now_ns, .kind = GOSSIP_IN_MESSAGE};
    gossip.message = in->gossip.message;
    gossip.lane = in->gossip.lane;
    step_gossip(turn, &gossip, out);
}

static void
dispatch(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    struct raft_input raft = {.now_ns = in->now_ns};
    switch (in->kind) {
    case TURN_IN_START:
        start(turn, in, out);
        break;
    case TURN_IN_RAFT:
        raft.kind = RAFT_IN_MESSAGE;
        raft.message = in->raft;
        turn_step_raft(turn, &raft, out);
        break;
    case TURN_IN_GOSSIP:
        take_gossip(turn, in, out);
        break;
    case TURN_IN_PERSISTED:
        raft.kind = RAFT_IN_PERSISTED;
        raft.persist_number = in->persist_number;
        turn_step_raft(turn, &raft, out);
        break;
    case TURN_IN_PROPOSE:
        turn_propose(turn, in, in->command, out);
        break;
    case TURN_IN_WISH:
        wish(turn, in->command, out);
        break;
    case TURN_IN_REFUSED:
    case TURN_IN_REACHED:
        turn_hear_of(turn, in, out);
        break;
    case TURN_IN_MEET: {
        const struct gossip_input gossip = {
            .now_ns = in->now_ns, .kind = GOSSIP_IN_MEET, .meet = in->meet};
        step_gossip(turn, &gossip, out);
        break;
    }
    case TURN_IN_MSG:
        take_msg(turn, in, out);
        break;
    case TURN_IN_READ:
        ASSERT(in->read_id < TURN_READ_LEASE);
        raft.kind = RAFT_IN_READ_INDEX;
        raft.read_id = in->read_id;
        turn_step_raft(turn, &raft, out);
        break;
    case TURN_IN_CHANGE:
        raft.kind = RAFT_IN_CONF_CHANGE;
        raft.change = in->change;
        turn_step_raft(turn, &raft, out);
        break;
    case TURN_IN_TRANSFER:
        raft.kind = RAFT_IN_TRANSFER;
        raft.peer = in->member;
        turn_step_raft(turn, &raft, out);
        break;
    case TURN_IN_LEAVE:
        turn->leaving = true;
        break;
    case TURN_IN_GO:
        step_gossip(turn, &(struct gossip_input){.now_ns = in->now_ns, .kind = GOSSIP_IN_LEAVE},
                    out);
        break;
    case TURN_IN_DISK:
        turn->disk_low = in->disk_low;
        break;
    case TURN_IN_WAKE:
        wake(turn, in, out);
        break;
    }
}

struct turn_send *
turn_send(struct turn_output *out)
{
    if (out->send_count == TURN_SENDS_MAX)
        return NULL;
    struct turn_send *send = &out->sends[out->send_count++];
    *send = (struct turn_send){0};
    return send;
}

static void
wish(struct turn *turn, const struct command *command, struct turn_output *out)
{
    struct turn_send *send = turn->raft.lead != 0 ? turn_send(out) : NULL;
    if (send == NULL)
        return;
    send->member = turn->raft.lead;
    send->msg = (struct turn_msg){.kind = TURN_MSG_COMMAND, .command = command};
}

static void
take_msg(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    switch (in->msg->kind) {
    case TURN_MSG_COMMAND:
        if (turn->raft.state == RAFT_LEADER && in->msg->command != NULL)
            turn_propose(turn, in, in->msg->command, out);
        break;
    case TURN_MSG_LEASE_ASK:
        turn_lease_ask(turn, in, out);
        break;
    case TURN_MSG_LEASE_GRANT:
        turn_granted(turn, in);
        break;
    case TURN_MSG_KINDS:
        break;
    }
}

static void
start(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    const struct turn_durable *durable = in->durable;
    if (durable->map_bytes > 0) {
        const omen_status status = snapshot_decode(durable->map, durable->map_bytes, &turn->map);
        if (status != OMEN_OK) {
            out->halt = turn_halt_of(status);
            return;
        }
    }
    turn->applied = turn->checkpoint_position = durable->raft.applied;
    if (turn->map.position > turn->applied) {
        out->halt = TURN_HALT_CORRUPT;
        return;
    }
    turn->group = durable->raft.group;
    turn->started = true;
    const struct raft_input raft = {
        .now_ns = in->now_ns, .kind = RAFT_IN_START, .durable = &durable->raft};
    turn_step_raft(turn, &raft, out);
    if (!turn->raft.started) {
        out->halt = TURN_HALT_INVALID;
        return;
    }
    struct gossip_input gossip = {.now_ns = in->now_ns, .kind = GOSSIP_IN_START};
    gossip.peers = durable->peers;
    gossip.peer_count = durable->peer_count;
    step_gossip(turn, &gossip, out);
}

static void
refuse_proposal(struct turn_output *out, enum raft_answer answer)
{
    memset(&out->raft, 0, sizeof out->raft);
    out->raft.answer = answer;
    out->raft_stepped = true;
}

// Of a collection that is made before a feature the map will never say what the feature keeps of it (docs/internals/cluster.md), so
// that those of a new cluster wait for the few milliseconds.
static bool
comes_too_early(const struct turn *turn, const struct command *command)
{
    return command->kind == COMMAND_COLLECTION_CREATE && turn->raft.state == RAFT_LEADER &&
           turn_new_features(turn) != 0;
}

void
turn_propose(struct turn *turn, const struct turn_input *in, const struct command *given,
             struct turn_output *out)
{
    if (comes_too_early(turn, given)) {
        refuse_proposal(out, RAFT_ANSWER_BUSY);
        return;
    }
    uint8_t bytes[COMMAND_BYTES_MAX];
    size_t count;
    struct command command = *given;
    command.time_ms = in->wall_ms;
    if (command_encode(&command, bytes, sizeof bytes, &count) != OMEN_OK) {
        refuse_proposal(out, RAFT_ANSWER_INVALID);
        return;
    }
    struct raft_input raft = {.now_ns = in->now_ns, .kind = RAFT_IN_PROPOSE};
    raft.proposal.bytes = bytes;
    raft.proposal.count = (uint32_t)count;
    turn_step_raft(turn, &raft, out);
}

// A duty goes before raft's own time, which runs on in any step.
static void
wake(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    struct raft_input raft = {.now_ns = in->now_ns, .kind = RAFT_IN_WAKE};
    if (turn->made_due != 0) {
        const uint32_t at = turn->offers[0].position == turn->made_due ? 0 : 1;
        raft.kind = RAFT_IN_SNAPSHOT;
        raft.snapshot.position = turn->made_due;
        raft.snapshot.total_bytes = turn->offers[at].count;
        turn->made_due = 0;
        turn_step_raft(turn, &raft, out);
    } else if (turn->compact_due != 0) {
        raft.kind = RAFT_IN_COMPACT;
        raft.position = turn->compact_due;
        turn->compact_due = 0;
        turn_step_raft(turn, &raft, out);
    } else if (turn->raft_wake_ns <= in->now_ns) {
        turn_step_raft(turn, &raft, out);
    } else {
        turn_lead_wake(turn, in, out);
    }
    turn_member_wake(turn, in, out);
    if (out->halt != TURN_RUNS)
        return;
    struct gossip_input gossip = {.now_ns = in->now_ns, .kind = GOSSIP_IN_WAKE};
    struct gossip_meta meta = turn->config.gossip.meta;
    if (has_news(turn)) {
        const struct turn_said said = turn_voters_said(turn);
        meta.map_version = turn->map.version;
        if (said.member != 0)
            turn_said_write(&said, &meta);
        gossip.kind = GOSSIP_IN_META;
        gossip.meta = &meta;
        turn->told_version = turn->map.version;
        turn->told = said;
        step_gossip(turn, &gossip, out);
    } else if (turn->gossip_wake_ns <= in->now_ns) {
        step_gossip(turn, &gossip, out);
    }
}

void
turn_step_raft(struct turn *turn, const struct raft_input *in, struct turn_output *out)
{
    raft_step(&turn->raft, in, &out->raft);
    out->raft_stepped = true;
    turn->raft_wake_ns = out->raft.wake_ns;
    out->halt = obey_raft(turn, out);
}

static void
step_gossip(struct turn *turn, const struct gossip_input *in, struct turn_output *out)
{
    gossip_step(&turn->gossip, in, &out->gossip);
    out->gossip_stepped = true;
    turn->gossip_wake_ns = out->gossip.wake_ns;
    for (uint32_t i = 0; i < out->gossip.note_count; i++) {
        const struct gossip_note *note = &out->gossip.notes[i];
        const bool dead = note->kind == GOSSIP_NOTE_DEAD || note->kind == GOSSIP_NOTE_LEFT;
        if (note->kind == GOSSIP_NOTE_ALIVE)
            turn_forget_absent(turn, (struct cluster_uuid){note->id.high, note->id.low});
        if (dead || note->kind == GOSSIP_NOTE_ALIVE)
            out->words[out->word_count++] = (struct turn_word){{note->id.high, note->id.low}, dead};
    }
}

static enum turn_halt
obey_raft(struct turn *turn, struct turn_output *out)
{
    enum turn_halt halt = turn_receive_snapshot(turn, out);
    if (halt == TURN_RUNS)
        halt = apply(turn, out);
    if (halt == TURN_RUNS && (turn->map.features & ~turn->config.features) != 0)
        halt = TURN_HALT_TOO_OLD;
    if (halt == TURN_RUNS && out->raft.snapshot_wanted != 0)
        halt = turn_make_snapshot(turn, out->raft.snapshot_wanted);
    if (halt == TURN_RUNS)
        halt = checkpoint(turn, out);
    if (halt == TURN_RUNS)
        turn_fill_chunks(turn, &out->raft);
    return halt;
}

static enum turn_halt
apply(struct turn *turn, struct turn_output *out)
{
    const struct raft_span *commit = &out->raft.commit;
    if (commit->count > turn->result_room) {
        struct turn_result *grown =
            mem_resize(turn->results, commit->count * sizeof *turn->results);
        if (grown == NULL)
            return TURN_HALT_NO_MEMORY;
        turn->results = grown;
        turn->result_room = commit->count;
    }
    for (uint32_t i = 0; i < commit->count; i++) {
        const struct raft_entry *entry = &commit->entries[i];
        ASSERT(entry->position == turn->applied + 1);
        struct turn_result *result = &turn->results[i];
        *result = (struct turn_result){.term = entry->term, .position = entry->position};
        const size_t count = entry->kind == RAFT_ENTRY_NORMAL ? entry->byte_count : 0;
        if (cluster_apply(&turn->map, entry->position, entry->bytes, count, &result->result) ==
            OMEN_E_NO_MEMORY)
            return TURN_HALT_NO_MEMORY;
        turn->applied = entry->position;
    }
    if (out->raft.group != NULL)
        turn->group = *out->raft.group;
    out->results = turn->results;
    out->result_count = commit->count;
    return TURN_RUNS;
}

// Also where raft, out of room, lets a part of its log go that no checkpoint covers yet: the two are one transaction.
static enum turn_halt
checkpoint(struct turn *turn, struct turn_output *out)
{
    if (turn->applied - turn->checkpoint_position < turn->config.checkpoint_entries &&
        out->raft.compact_through <= turn->checkpoint_position)
        return TURN_RUNS;
    if (!turn_encode(turn, &turn->checkpoint))
        return TURN_HALT_NO_MEMORY;
    turn->checkpoint_position = turn->compact_due = turn->applied;
    out->checkpoint = (struct turn_checkpoint){turn->checkpoint.bytes, turn->checkpoint.count,
                                               turn->applied, &turn->group};
    return TURN_RUNS;
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool
has_duty(const struct turn *turn)
{
    return turn->made_due != 0 || turn->compact_due != 0 || (turn->started && has_news(turn));
}

// For gossip.
static bool
has_news(const struct turn *turn)
{
    const struct turn_said said = turn_voters_said(turn);
    return turn->told_version != turn->map.version || !turn_said_equal(&turn->told, &said);
}

void
turn_check(const struct turn *turn)
{
    map_check(&turn->map);
    turn_check_step(turn);
}

void
turn_check_step(const struct turn *turn)
{
    raft_check(&turn->raft);
    gossip_check(&turn->gossip);
    lease_check(&turn->lease);
    rebalance_check(&turn->rebalance);
    voters_check(&turn->voters);
    if (!turn->started)
        return;
    ASSERT(turn->applied == turn->raft.applied);
    ASSERT(turn->map.position <= turn->applied);
    ASSERT(turn->checkpoint_position <= turn->applied);
    ASSERT(turn->raft.tail.base_position <= turn->checkpoint_position);
    ASSERT(turn->compact_due <= turn->checkpoint_position);
    ASSERT(turn->told_version <= turn->map.version);
    const struct gossip_id id = turn->config.gossip.id;
    ASSERT(turn_own(turn) == map_node_by_uuid(&turn->map, (struct cluster_uuid){id.high, id.low}));
}

void
turn_describe(const struct turn *turn, char *line, size_t cap)
{
    char raft[512];
    raft_describe(&turn->raft, raft, sizeof raft);
    snprintf(line, cap, "%s map=%llu@%llu checkpoint=%llu living=%u", raft,
             (unsigned long long)turn->map.version, (unsigned long long)turn->applied,
             (unsigned long long)turn->checkpoint_position, gossip_living(&turn->gossip));
}
