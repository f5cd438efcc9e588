// tests/lib/gossip_alone.h -- one gossip machine, whose world is what the test says to it.
//
// Shape: value. Header only, because tests/lib/*.c is linked into tests that have no gossip.
//
// Others are numbers: peer 3 has the id, the address and the metadata that go with 3. The machine is number 100. Every step
// is followed by gossip_check, and every message that leaves is encoded.
#ifndef OMEN_TESTS_GOSSIP_ALONE_H
#define OMEN_TESTS_GOSSIP_ALONE_H
#include <string.h>

#include "gossip/gossip_int.h"
#include "tests/lib/check_main.h"

#define ALONE_NUMBER 100u
#define ALONE_SECOND 1000000000ull
#define CLAIM(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

struct alone {
    struct gossip gossip;
    struct gossip_output out;
    struct gossip_msg msg;                     // what the next alone_say says
    uint64_t now_ns;                           // of the next step
    uint32_t notes[GOSSIP_NOTE_FULL + 1];      // all since the beginning
    uint32_t said[GOSSIP_STATE + 1];           // messages by kind, all since the beginning
    struct gossip_send last[GOSSIP_STATE + 1]; // of each kind
    uint32_t persists;
};

static inline struct gossip_id
alone_id(uint32_t number)
{
    return (struct gossip_id){.high = 0xabc, .low = number};
}

static inline struct gossip_address
alone_address(uint32_t number)
{
    struct gossip_address address = {.port = (uint16_t)(1000 + number)};
    address.ip[15] = 1;
    return address;
}

static inline struct gossip_meta
alone_meta(uint32_t number)
{
    return (struct gossip_meta){.address = alone_address(number)};
}

static inline struct gossip_config
alone_config(void)
{
    return (struct gossip_config){
        .cluster = {.high = 1, .low = 2},
        .id = alone_id(ALONE_NUMBER),
        .boot = 10,
        .meta = alone_meta(ALONE_NUMBER),
        .members_max = 64,
    };
}

static inline void
alone_step(struct alone *alone, struct gossip_input in)
{
    uint8_t bytes[GOSSIP_PACKET_BYTES_MAX];
    in.now_ns = alone->now_ns;
    gossip_step(&alone->gossip, &in, &alone->out);
    gossip_check(&alone->gossip);
    alone->persists += alone->out.persist_peers;
    for (uint32_t i = 0; i < alone->out.note_count; i++)
        alone->notes[alone->out.notes[i].kind]++;
    for (uint32_t i = 0; i < alone->out.send_count; i++) {
        const struct gossip_send *send = &alone->out.sends[i];
        CLAIM(gossip_msg_encode(&send->msg, bytes) <= GOSSIP_PACKET_BYTES_MAX, "too large");
        alone->said[send->msg.kind]++;
        alone->last[send->msg.kind] = *send;
    }
}

// Until then, one wake after the other, each at its time.
static inline void
alone_run(struct alone *alone, uint64_t ns)
{
    const uint64_t until_ns = alone->now_ns + ns;
    while (alone->out.wake_ns <= until_ns) {
        alone->now_ns = alone->out.wake_ns;
        alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_WAKE});
    }
    alone->now_ns = until_ns;
}

// Started, with the address of nobody known.
static inline struct alone *
alone_open(const struct gossip_config *config)
{
    struct alone *alone = calloc(1, sizeof *alone);
    ck_assert_ptr_nonnull(alone);
    gossip_init(&alone->gossip, config, 1);
    alone->now_ns = ALONE_SECOND;
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_START});
    return alone;
}

static inline void
alone_close(struct alone *alone)
{
    gossip_fini(&alone->gossip);
    free(alone);
}

// A message of a peer without claims.
static inline void
alone_msg(struct alone *alone, uint32_t from, enum gossip_msg_kind kind)
{
    memset(&alone->msg, 0, sizeof alone->msg);
    alone->msg.kind = (uint8_t)kind;
    alone->msg.cluster = alone->gossip.cluster;
    alone->msg.from = alone_id(from);
    alone->msg.from_boot = 1;
    alone->msg.from_address = alone_address(from);
}

static inline void
alone_say(struct alone *alone)
{
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_MESSAGE, .message = &alone->msg});
}

static inline struct gossip_claim
alone_claim(uint32_t number, enum gossip_state state, uint64_t boot, uint32_t incarnation)
{
    struct gossip_claim claim = {
        .state = (uint8_t)state,
        .has_meta = state == GOSSIP_ALIVE,
        .incarnation = incarnation,
        .boot = boot,
        .subject = alone_id(number),
        .meta = alone_meta(number),
    };
    if (state == GOSSIP_SUSPECT)
        claim.by = alone_id(number + 1000);
    return claim;
}

// Peer `from` passes one claim on.
static inline void
alone_news(struct alone *alone, uint32_t from, struct gossip_claim claim)
{
    alone_msg(alone, from, GOSSIP_NEWS);
    alone->msg.claims[alone->msg.claim_count++] = claim;
    alone_say(alone);
}

// Peers 1..count are alive, of boot 1.
static inline void
alone_meet(struct alone *alone, uint32_t count)
{
    for (uint32_t number = 1; number <= count; number++)
        alone_news(alone, number, alone_claim(number, GOSSIP_ALIVE, 1, 0));
}

// One of the usual configuration that knows `peers` others.
static inline struct alone *
alone_open_with(uint32_t peers)
{
    const struct gossip_config config = alone_config();
    struct alone *alone = alone_open(&config);
    alone_meet(alone, peers);
    return alone;
}

static inline const struct gossip_member *
alone_see(const struct alone *alone, uint32_t number)
{
    return gossip_find(&alone->gossip, alone_id(number));
}

// The claim about `number` in a message, or NULL.
static inline const struct gossip_claim *
alone_said_of(const struct gossip_msg *msg, uint32_t number)
{
    for (uint32_t i = 0; i < msg->claim_count; i++)
        if (gossip_id_equal(msg->claims[i].subject, alone_id(number)))
            return &msg->claims[i];
    return NULL;
}

// Answers the probe that is under way, if there is one.
static inline void
alone_ack(struct alone *alone)
{
    const struct gossip_probe *probe = &alone->gossip.probe;
    alone_msg(alone, (uint32_t)probe->id.low, GOSSIP_ACK);
    alone->msg.seq = probe->seq;
    alone->msg.target = probe->id;
    alone->msg.target_boot = probe->boot;
    if (probe->phase != GOSSIP_PROBE_NONE)
        alone_say(alone);
}

// Runs while everybody answers every probe at once.
static inline void
alone_run_answered(struct alone *alone, uint64_t ns)
{
    const uint64_t until_ns = alone->now_ns + ns;
    while (alone->out.wake_ns <= until_ns) {
        alone->now_ns = alone->out.wake_ns;
        alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_WAKE});
        alone_ack(alone);
    }
    alone->now_ns = until_ns;
}

#endif
