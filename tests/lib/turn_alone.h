// tests/lib/turn_alone.h -- one node's turn by itself, with a disk in memory: what a test of it needs.
//
// Shape: shell, simulated.
#ifndef OMEN_TESTS_TURN_ALONE_H
#define OMEN_TESTS_TURN_ALONE_H
#include "tests/lib/check_main.h"
#include "tests/lib/sim_disk.h"

#define MS UINT64_C(1000000)

static struct turn turn;
static struct turn_output out;
static struct sim_disk disk;
static uint64_t now_ns;
static uint64_t applied_results;
static struct turn_send sent[16]; // by the turns since it was looked at
static struct command sent_command;
static uint32_t sent_count;
static struct turn_lease lease;
static uint16_t weight;   // of the node in the map; 0: it stays out of it
static uint64_t features; // that it knows
static uint32_t wanted;   // voters; 0: nobody plans them
static uint8_t number;    // in raft's group, that another node says is its; 0: it says none
static bool leaving;      // it says that it is about to end
static bool disk_low;     // and that its disk is low
static uint64_t knows;    // the features that it says; 0: it says none

// What other voters of the test's do about messages of raft.
enum voter { VOTER_SILENT, VOTER_HEARS, VOTER_FOLLOWS }; // the second takes no entry
static enum voter voters[4];                             // by member
static struct raft_msg letters[64]; // to them, not answered yet; without entries
static uint32_t letter_count;

static inline struct turn_config
config_of(uint32_t checkpoint_entries)
{
    struct turn_config config = {
        .raft = {.id = 1,
                 .tick_ns = 10 * MS,
                 .election_ticks = 10,
                 .heartbeat_ticks = 1,
                 .pre_vote = true,
                 .check_quorum = true,
                 .inflight_max = 8,
                 .inflight_bytes_max = 1u << 20,
                 .append_bytes_max = 4096,
                 .apply_bytes_max = 4096,
                 .uncommitted_bytes_max = 1u << 20,
                 .chunk_bytes = 64,
                 .tail_entries_max = 512,
                 .tail_bytes_max = 1u << 20},
        .gossip = {.cluster = {1, 2}, .id = {0, 1}, .boot = 1, .members_max = 8},
        .checkpoint_entries = checkpoint_entries,
    };
    config.gossip.meta.address.port = config.gossip.meta.client.port = 7700;
    config.gossip.meta.address.ip[15] = config.gossip.meta.client.ip[15] = 1;
    config.gossip.meta.roles = 1;
    config.weight = weight;
    config.features = features;
    config.roles = NODE_DATA;
    config.rebalance = (struct rebalance_config){.interval_ns = 1000 * MS, .retry_ns = 500 * MS};
    config.voters = (struct voters_config){.wanted = wanted,
                                           .members_max = 8,
                                           .replace_delay_ns = 5000 * MS,
                                           .steady_ns = 1000 * MS,
                                           .interval_ns = 500 * MS,
                                           .retry_ns = 500 * MS};
    config.zone.count = 1;
    config.zone.bytes[0] = 'z';
    return config;
}

static inline void
step(struct turn_input in)
{
    in.now_ns = now_ns;
    in.wall_ms = 1700000000000;
    turn_step(&turn, &in, &out);
    if (out.halt != TURN_RUNS)
        return;
    turn_check(&turn);
    for (uint32_t i = 0; i < out.send_count && sent_count < 16; i++) {
        sent[sent_count] = out.sends[i];
        if (out.sends[i].msg.command != NULL) {
            sent_command = *out.sends[i].msg.command;
            sent[sent_count].msg.command = &sent_command;
        }
        sent_count++;
    }
    if (out.lease.lease_ns != 0)
        lease = out.lease;
    applied_results += out.result_count;
    for (uint32_t i = 0; i < out.raft.msg_count; i++)
        if (out.raft.msgs[i].to < 4 && voters[out.raft.msgs[i].to] != VOTER_SILENT) {
            ck_assert_uint_lt(letter_count, 64);
            letters[letter_count++] = out.raft.msgs[i];
        }
    sim_disk_write(&disk, &turn, &out, 0);
}

static inline void
answer_letter(void)
{
    const struct raft_msg msg = letters[0];
    struct raft_msg answer = {
        .from = msg.to, .to = msg.from, .term = msg.term, .context = msg.context};
    memmove(letters, letters + 1, --letter_count * sizeof letters[0]);
    if (msg.kind == RAFT_PRE_VOTE)
        answer.kind = RAFT_PRE_VOTE_RESP;
    else if (msg.kind == RAFT_VOTE)
        answer.kind = RAFT_VOTE_RESP;
    else if (msg.kind == RAFT_HEARTBEAT)
        answer.kind = RAFT_HEARTBEAT_RESP;
    else if (msg.kind == RAFT_APPEND && voters[msg.to] == VOTER_FOLLOWS)
        answer.kind = RAFT_APPEND_RESP;
    else
        return;
    if (msg.kind == RAFT_APPEND)
        answer.position = msg.position + msg.entry_count;
    step((struct turn_input){.kind = TURN_IN_RAFT, .raft = &answer});
}

// Makes durable and wakes until nothing is due now.
static inline void
settle(void)
{
    for (int round = 0; round < 1000; round++) {
        if (disk.write_count > 0) {
            struct turn_input in = {.kind = TURN_IN_PERSISTED};
            in.persist_number = sim_disk_sync(&disk);
            if (in.persist_number != 0)
                step(in);
        } else if (letter_count > 0) {
            answer_letter();
        } else if (out.wake_ns <= now_ns) {
            step((struct turn_input){.kind = TURN_IN_WAKE});
        } else {
            return;
        }
    }
    ck_abort_msg("a turn that never comes to rest");
}

static inline void
start(uint32_t checkpoint_entries)
{
    const struct turn_config config = config_of(checkpoint_entries);
    turn_init(&turn, &config, 7);
    const struct turn_durable durable = sim_disk_read(&disk);
    step((struct turn_input){.kind = TURN_IN_START, .durable = &durable});
}

static inline void
lead(void)
{
    for (int tick = 0; tick < 100 && turn.raft.state != RAFT_LEADER; tick++) {
        now_ns += 10 * MS;
        step((struct turn_input){.kind = TURN_IN_WAKE});
        settle();
    }
    ck_assert_int_eq(turn.raft.state, RAFT_LEADER);
}

static inline void
begin_in(const struct raft_group *group, uint32_t checkpoint_entries)
{
    now_ns = MS;
    applied_results = 0;
    sim_disk_init(&disk, group);
    start(checkpoint_entries);
    settle();
    lead();
}

static inline void
begin(uint32_t checkpoint_entries)
{
    const struct raft_group group = {.members = {{1, RAFT_VOTER}}, .count = 1};
    begin_in(&group, checkpoint_entries);
}

static inline void
end(void)
{
    turn_fini(&turn);
    sim_disk_fini(&disk);
}

static inline void
put(uint64_t op, const char *value)
{
    struct command command;
    memset(&command, 0, sizeof command);
    command.kind = COMMAND_SETTING_PUT;
    command.op = (struct cluster_uuid){UINT64_C(1700000000000) << 16, op};
    command.setting.expected = VERSION_ANY;
    ck_assert(map_name_set(&command.setting.name, "key", 3));
    command.setting.value.count = (uint8_t)strlen(value);
    memcpy(command.setting.value.bytes, value, strlen(value));
    step((struct turn_input){.kind = TURN_IN_PROPOSE, .command = &command});
    ck_assert_int_eq(out.raft.answer, RAFT_ANSWER_OK);
}

static inline void
claim_of(uint32_t node, uint8_t state, uint32_t incarnation)
{
    struct gossip_msg msg = {
        .cluster = {1, 2}, .from = {0, 9}, .from_boot = 1, .kind = GOSSIP_NEWS, .claim_count = 1};
    msg.from_address.port = 7700;
    msg.from_address.ip[15] = 9;
    struct gossip_claim *claim = &msg.claims[0];
    *claim = (struct gossip_claim){
        .state = state, .incarnation = incarnation, .boot = 1, .subject = {0, node}};
    claim->has_meta = state == GOSSIP_ALIVE;
    if (claim->has_meta) {
        claim->meta.address.port = claim->meta.client.port = 7700;
        claim->meta.address.ip[15] = claim->meta.client.ip[15] = (uint8_t)node;
        claim->meta.roles = NODE_DATA;
        if (knows != 0)
            turn_said_program("n", 1, knows, &claim->meta);
        if (number != 0)
            turn_said_write(
                &(struct turn_said){.member = number, .leaving = leaving, .disk_low = disk_low},
                &claim->meta);
    }
    struct turn_input in = {.kind = TURN_IN_GOSSIP};
    in.gossip.message = &msg;
    step(in);
}

static inline void
claim_of_node_2(uint8_t state, uint32_t incarnation)
{
    claim_of(2, state, incarnation);
}

static inline void
is_said(bool dead)
{
    ck_assert_uint_eq(out.word_count, 1);
    ck_assert(uuid_equal(out.words[0].node, (struct cluster_uuid){0, 2}));
    ck_assert(out.words[0].dead == dead);
}

#endif
