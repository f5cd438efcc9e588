// tests/fuzz/fuzz_raft.c -- any bytes as inputs of a raft node: whatever arrives, its invariants hold.
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "raft/raft.h"
#include "tests/lib/fuzz_source.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static uint64_t
number(struct source *source)
{
    return source_number(source, RAFT_NUMBER_MAX);
}

#define ENTRIES 4u
#define TEXT 32u

struct message {
    struct raft_msg msg;
    struct raft_entry entries[ENTRIES];
    uint8_t texts[ENTRIES][TEXT];
    struct raft_group group;
};

// Mostly one of a few nodes, this one among them.
static uint64_t
node(struct source *source)
{
    const uint8_t first = source_byte(source);
    return first < 240 ? first % 6 : UINT64_MAX - first % 8;
}

// A decoder gives as much as it says, unless that is more than the limit: then there need be nothing behind it.
static uint32_t
amount(struct source *source, uint32_t limit, uint32_t there)
{
    const uint32_t said = (uint32_t)number(source);
    return said > limit ? said : said % (there + 1);
}

static void
read_entries(struct source *source, struct message *message, uint8_t how)
{
    static const uint8_t kinds[] = {RAFT_ENTRY_NORMAL, RAFT_ENTRY_CHANGE, 2, 255};
    struct raft_msg *msg = &message->msg;
    msg->entry_count = (how & 1) != 0 ? amount(source, RAFT_ENTRIES_MAX, ENTRIES) : how >> 6;
    msg->entries = (how & 2) != 0 && (how & 1) != 0 ? NULL : message->entries;
    for (uint32_t i = 0; i < msg->entry_count && i < ENTRIES; i++) {
        struct raft_entry *entry = &message->entries[i];
        *entry = (struct raft_entry){
            .position = (how & 4) != 0 ? number(source) : msg->position + 1 + i,
            .term = (how & 8) != 0 ? number(source) : msg->term,
            .kind = (enum raft_entry_kind)kinds[source_byte(source) % 4],
            .byte_count = amount(source, RAFT_ENTRY_BYTES_MAX, TEXT),
            .bytes = (how & 16) != 0 ? NULL : message->texts[i],
        };
        for (uint32_t byte = 0; byte < entry->byte_count && byte < TEXT; byte++)
            message->texts[i][byte] = source_byte(source);
    }
}

static void
read_group(struct source *source, struct message *message, uint8_t how)
{
    struct raft_group *group = &message->group;
    message->msg.group = (how & 32) != 0 ? NULL : group;
    group->auto_leave = (how & 64) != 0;
    group->count = amount(source, RAFT_MEMBERS_MAX, 5);
    for (uint32_t i = 0; i < group->count && i < 5; i++)
        group->members[i] =
            (struct raft_member){(how & 128) != 0 ? node(source) : i + 1, source_byte(source)};
}

// Every field may be anything; bits of `how` say which are as they should be, or nothing would be heard.
static void
read_message(struct source *source, struct message *message)
{
    static const uint8_t chunk[8] = {1, 2, 3};
    struct raft_msg *msg = &message->msg;
    memset(message, 0, sizeof *message);
    const uint8_t how = source_byte(source), kind = source_byte(source);
    msg->kind = (enum raft_msg_kind)(kind < 240 ? kind % (RAFT_MSG_KINDS + 1) : kind);
    msg->from = node(source);
    msg->to = how == 255 ? number(source) : 1;
    msg->term = number(source);
    msg->position = number(source);
    msg->log_term = number(source);
    msg->commit = number(source);
    msg->hint = number(source);
    msg->context = number(source);
    const uint8_t flags = source_byte(source);
    msg->reject = (flags & 1) != 0;
    msg->transfer = (flags & 2) != 0;
    if (msg->kind == RAFT_APPEND || (flags & 4) != 0)
        read_entries(source, message, how);
    if (msg->kind != RAFT_SNAPSHOT && msg->kind != RAFT_SNAPSHOT_RESP && (flags & 8) == 0)
        return;
    read_group(source, message, how);
    msg->offset = number(source);
    msg->total_bytes = number(source);
    msg->chunk = (how & 16) != 0 ? NULL : chunk;
    msg->chunk_bytes = amount(source, RAFT_CHUNK_BYTES_MAX, sizeof chunk);
    if (msg->chunk != NULL && msg->chunk_bytes <= sizeof chunk && (how & 8) == 0)
        msg->chunk_hash = hash_bytes(chunk, msg->chunk_bytes);
    else
        msg->chunk_hash = number(source);
}

static struct raft_input
read_input(struct source *source, struct message *message, struct raft_change *change,
           const struct raft *raft)
{
    struct raft_input in = {
        .kind = (enum raft_input_kind)(1 + source_byte(source) % (RAFT_INPUT_KINDS - 1))};
    in.now_ns = raft->tick_at_ns + number(source) % 4096;
    switch (in.kind) {
    case RAFT_IN_MESSAGE:
        read_message(source, message);
        in.message = &message->msg;
        break;
    case RAFT_IN_PERSISTED:
        in.persist_number = raft->persist_last;
        break;
    case RAFT_IN_PROPOSE:
        in.proposal.bytes = (const uint8_t *)"proposal";
        in.proposal.count = 8;
        break;
    case RAFT_IN_CONF_CHANGE:
        memset(change, 0, sizeof *change);
        change->transition = (enum raft_transition)(source_byte(source) % 4);
        change->count = source_byte(source) % 4;
        for (uint32_t i = 0; i < change->count; i++)
            change->items[i] = (struct raft_change_item){
                (enum raft_change_kind)(source_byte(source) % 5), number(source)};
        in.change = change;
        break;
    case RAFT_IN_REPORT:
        in.report.kind = (enum raft_report)(source_byte(source) % 2);
        in.report.peer = number(source);
        break;
    case RAFT_IN_SNAPSHOT:
        in.snapshot.position = raft->making.position;
        in.snapshot.total_bytes = number(source) % 64;
        break;
    default:
        in.position = number(source);
        break;
    }
    return in;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static struct raft raft;
    static struct raft_output out;
    static struct message message;
    static struct raft_change change;
    struct source source = {bytes, count};
    const uint8_t flags = source_byte(&source);
    const struct raft_config config = {
        .id = 1,
        .tick_ns = 1000,
        .election_ticks = 3,
        .heartbeat_ticks = 1,
        .pre_vote = (flags & 1) != 0,
        .check_quorum = (flags & 2) != 0,
        .step_down_on_removal = (flags & 4) != 0,
        .reads = (flags & 2) != 0 && (flags & 8) != 0 ? RAFT_READS_LEASE : RAFT_READS_SAFE,
        .inflight_max = 2,
        .inflight_bytes_max = 64,
        .append_bytes_max = 64,
        .apply_bytes_max = 64,
        .uncommitted_bytes_max = 64,
        .chunk_bytes = 4,
        .tail_entries_max = 16,
        .tail_bytes_max = RAFT_ENTRY_BYTES_MAX,
        .tail_retain = 2,
    };
    raft_init(&raft, &config, flags);
    struct raft_durable durable = {0};
    for (uint32_t i = 0; i < (flags >> 4) % 4; i++)
        durable.group.members[durable.group.count++] = (struct raft_member){i + 1, RAFT_VOTER};
    const struct raft_input start = {.kind = RAFT_IN_START, .durable = &durable};
    raft_step(&raft, &start, &out);
    raft_check(&raft);
    while (source.left > 0) {
        const struct raft_input in = read_input(&source, &message, &change, &raft);
        raft_step(&raft, &in, &out);
        raft_check(&raft);
    }
    raft_fini(&raft);
    return 0;
}
