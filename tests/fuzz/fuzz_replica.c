// tests/fuzz/fuzz_replica.c -- any bytes as messages to a copy of a shard, between inputs of its shell: its invariants hold.
//
// The copy is uuid 1. The shell and the metadata are ours and say nothing impossible; what comes from others may be anything.
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "replica/replica.h"
#include "tests/lib/fuzz_source.h"

#define UUIDS 6u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static struct replica replica;
static struct replica_output out;
static struct replica_meta meta;
static uint64_t now_ns;

static uint64_t
number(struct source *source)
{
    return source_number(source, REPLICA_NUMBER_MAX);
}

static struct replica_uuid
uuid(struct source *source)
{
    return (struct replica_uuid){0, source_byte(source) % UUIDS};
}

static uint64_t
wall_ms(void)
{
    return now_ns / 1000;
}

// One of eight of every 16 ms, from too old to too far ahead for a window of 30; none; or no UUIDv7.
static struct replica_uuid
op_id(struct source *source)
{
    const uint8_t byte = source_byte(source);
    const uint64_t began_ms = wall_ms() - wall_ms() % 16;
    const uint64_t off_ms = (uint64_t)(byte >> 5) * 8;
    const struct opid id =
        opid_draw(began_ms > 32 ? began_ms - 32 + off_ms : off_ms, (struct opid){0, byte % 32});
    if (byte % 32 < 2)
        return (struct replica_uuid){0, byte % 32};
    return (struct replica_uuid){id.high, id.low};
}

static void
step(struct replica_input in)
{
    in.now_ns = now_ns;
    in.wall_ms = wall_ms();
    replica_step(&replica, &in, &out);
    replica_check(&replica);
}

// Everybody learns or is in sync; the primary is in sync, as it must be.
static void
newer_meta(struct source *source)
{
    const uint8_t flags = source_byte(source);
    const uint32_t in_sync = 1 + flags % 4;
    meta.cfg_ver++;
    meta.in_sync_count = meta.learner_count = 0;
    for (uint32_t i = 0; i < 5; i++) {
        const struct replica_uuid each = {0, 1 + (i + (flags >> 2 & 3)) % 5};
        if (i < in_sync)
            meta.in_sync[meta.in_sync_count++] = each;
        else
            meta.learners[meta.learner_count++] = each;
    }
    meta.min_insync = 1 + (flags >> 4 & 1);
    if ((flags & 32) != 0 || !replica_uuid_equal(meta.primary, meta.in_sync[0])) {
        meta.term += 1 + (flags >> 6);
        meta.primary = meta.in_sync[0];
    }
    step((struct replica_input){.kind = REPLICA_IN_META, .meta = &meta});
}

static void
message(struct source *source)
{
    static const uint8_t bytes[32] = {1, 2, 3};
    static const struct replica_sum sums[8];
    struct replica_entry entries[4];
    const uint8_t flags = source_byte(source);
    struct replica_msg msg = {
        .kind = (enum replica_msg_kind)(source_byte(source) % (REPLICA_MSG_KINDS + 1)),
        .from = uuid(source),
        .to = {0, 1 + (flags == 255)},
        .shard = 7 + (flags == 254),
        .term = number(source),
        .cfg_ver = number(source),
        .seq = number(source),
        .prev_seq = number(source),
        .prev_term = number(source),
        .commit = number(source),
        .entry_count = flags & 3,
        .entries = entries};
    const bool others = (flags & 4) != 0;
    if (others) {
        msg.round = number(source);
        msg.source = uuid(source);
        msg.snapshot = number(source);
        msg.chunk = (uint32_t)number(source);
        msg.chunk_count = (uint32_t)number(source);
        msg.bytes = (flags & 8) != 0 ? bytes : NULL;
        msg.byte_count = (uint32_t)number(source);
        if (msg.bytes != NULL && msg.byte_count <= sizeof bytes)
            msg.hash = hash_bytes(bytes, msg.byte_count) + (flags >> 7);
        else if (msg.byte_count <= REPLICA_CHUNK_BYTES_MAX)
            msg.bytes = NULL; // a codec gives as many bytes as it says
        msg.bucket_count = (uint32_t)number(source);
        msg.buckets = msg.bucket_count <= 8 ? sums : NULL;
        msg.sum = (struct replica_sum){flags >> 6, flags >> 5};
    }
    for (uint32_t i = 0; i < msg.entry_count; i++)
        entries[i] = (struct replica_entry){
            .seq = (flags & 16) != 0 ? number(source) : msg.prev_seq + 1 + i,
            .term = (flags & 32) != 0 ? number(source) : msg.term,
            .kind = (enum replica_entry_kind)(source_byte(source) % 5),
            .stamp_ms = (flags & 64) != 0 ? number(source) : 0,
            .op_id = op_id(source),
            .bytes = bytes,
            .byte_count = (flags & 128) != 0 ? (uint32_t)number(source) : 3,
        };
    if (flags == 253) // more than one message carries: there need be nothing behind it
        msg.entry_count = REPLICA_ENTRIES_MAX + 1 + (uint32_t)number(source);
    if (flags == 252)
        msg.entries = NULL;
    if (flags == 251)
        entries[0].bytes = NULL;
    if (flags == 250)
        msg.kind = (enum replica_msg_kind)(255u << source_byte(source) % 25);
    step((struct replica_input){.kind = REPLICA_IN_MESSAGE, .message = &msg});
}

static void
propose(struct source *source)
{
    struct replica_proposal proposals[3];
    struct replica_input in = {.kind = REPLICA_IN_PROPOSE,
                               .proposals = proposals,
                               .proposal_count = 1 + source_byte(source) % 3,
                               .cfg_ver = meta.cfg_ver - (source_byte(source) == 255)};
    for (uint32_t i = 0; i < in.proposal_count; i++)
        proposals[i] =
            (struct replica_proposal){.request = i, .op_id = op_id(source), .primary_only = i == 1};
    step(in);
}

// What was asked for, from a log that has nothing but terms.
static void
entries_of(const struct replica_log_read *read, uint32_t count)
{
    static struct replica_entry entries[REPLICA_ENTRIES_MAX];
    struct replica_input in = {.kind = REPLICA_IN_ENTRIES,
                               .reader = read->reader,
                               .reader_term = read->term,
                               .entries = entries};
    while (in.entry_count < read->count && in.entry_count < count &&
           read->first_seq + in.entry_count <= replica.last_seq) {
        const uint64_t seq = read->first_seq + in.entry_count;
        entries[in.entry_count++] = (struct replica_entry){
            .seq = seq, .term = replica_term_at(&replica, seq), .kind = REPLICA_ENTRY_OP};
    }
    step(in);
}

// The shell does what the last step asked for, or a part of it.
static void
obey(struct source *source)
{
    static const uint8_t bytes[4] = "data";
    const struct replica_output said = out;
    struct replica_input in = {.uuid = said.serve.uuid,
                               .snapshot = 1 + said.serve.snapshot,
                               .chunk = said.serve.chunk,
                               .seq = replica.applied_seq};
    if (said.read_count > 0) {
        entries_of(&said.reads[0], source_byte(source) % 8);
        return;
    }
    switch (said.serve.kind) {
    case REPLICA_SERVE_SNAPSHOT:
        in.kind = REPLICA_IN_SNAPSHOT_READY;
        in.chunk_count = source_byte(source) % 4;
        break;
    case REPLICA_SERVE_CHUNK:
        in.kind = REPLICA_IN_CHUNK_READ;
        in.bytes = bytes;
        in.byte_count = source_byte(source) % 5;
        break;
    case REPLICA_SERVE_STORE:
        in.kind = REPLICA_IN_CHUNK_STORED;
        in.status = source_byte(source) % 8 == 0 ? OMEN_E_IO : OMEN_OK;
        break;
    case REPLICA_SERVE_BUCKETS:
        in.kind = REPLICA_IN_BUCKETS;
        break;
    default:
        in = (struct replica_input){.kind = REPLICA_IN_READ_DONE,
                                    .request = said.serve_read_count > 0 ? said.serve_reads[0] : 0};
        break;
    }
    step(in);
}

static void
install(struct source *source)
{
    const struct replica_term term = {replica.download.snapshot_term, replica.download.seq};
    const struct replica_disk disk = {.first_seq = term.first_seq + 1,
                                      .last_seq = term.first_seq,
                                      .commit_seq = term.first_seq,
                                      .applied_seq = term.first_seq,
                                      .terms = &term,
                                      .term_count = 1};
    const bool good = replica.download.installing && term.term > 0 && term.term <= replica.promised;
    step((struct replica_input){.kind = REPLICA_IN_INSTALLED,
                                .disk = good && source_byte(source) % 4 != 0 ? &disk : NULL});
}

static void
shell(struct source *source)
{
    struct replica_input in = {.kind = REPLICA_IN_WAKE, .uuid = uuid(source)};
    switch (source_byte(source) % 12) {
    case 0:
        in = (struct replica_input){.kind = REPLICA_IN_PERSISTED, .ticket = replica.tickets_made};
        break;
    case 1:
        in = (struct replica_input){.kind = REPLICA_IN_APPLIED, .seq = replica.applying_seq};
        break;
    case 2:
        in.kind = REPLICA_IN_TRIMMED;
        in.seq = number(source);
        break;
    case 3:
        in = (struct replica_input){.kind = REPLICA_IN_READ, .request = source_byte(source)};
        break;
    case 4:
        in = (struct replica_input){.kind = REPLICA_IN_LEASE,
                                    .sent_ns = now_ns,
                                    .lease_ns = 50,
                                    .known_ver = number(source)};
        break;
    case 5:
        in.kind = source_byte(source) % 2 == 0 ? REPLICA_IN_DEAD : REPLICA_IN_ALIVE;
        break;
    case 6:
        in.kind = REPLICA_IN_TRANSFER;
        break;
    case 7:
        in.kind = REPLICA_IN_CHECKSUM;
        break;
    case 8:
        in.kind = REPLICA_IN_ROOT;
        in.seq = replica.check_seq != 0 ? replica.check_seq : replica.applied_seq;
        break;
    case 9:
        in = (struct replica_input){.kind = REPLICA_IN_RESUME};
        break;
    case 10:
        install(source);
        return;
    default:
        now_ns += 1 + source_byte(source);
        break;
    }
    step(in);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct source source = {bytes, count};
    const struct replica_config config = {.uuid = {0, 1},
                                          .shard = 7,
                                          .retry_ns = 20,
                                          .shrink_ns = 100,
                                          .idle_ns = 10,
                                          .ops_max = 16,
                                          .terms_max = 4,
                                          .window_ms = 30};
    const struct replica_disk disk = {.first_seq = 1};
    memset(&out, 0, sizeof out);
    meta = (struct replica_meta){.cfg_ver = 1, .term = 1, .min_insync = 1};
    now_ns = 1000;
    replica_init(&replica, &config, 1);
    step((struct replica_input){.kind = REPLICA_IN_START, .disk = &disk});
    newer_meta(&source);
    while (source.left > 0) {
        switch (source_byte(&source) % 8) {
        case 0:
            newer_meta(&source);
            break;
        case 1:
        case 2:
            shell(&source);
            break;
        case 3:
            propose(&source);
            break;
        case 4:
            obey(&source);
            break;
        default:
            message(&source);
            break;
        }
    }
    replica_fini(&replica);
    return 0;
}
