// gossip/gossip_int.h -- what the files of the gossip machine say to each other.
//
// Shape: machine; private to gossip/.
#ifndef OMEN_GOSSIP_GOSSIP_INT_H
#define OMEN_GOSSIP_GOSSIP_INT_H
#include "base/assert.h"
#include "gossip/gossip.h"

#define SLOT_SELF 0u
#define SLOT_NONE UINT32_MAX
#define NEVER UINT64_MAX

static inline struct gossip_member *
member_at(struct gossip *g, uint32_t slot)
{
    return slot == SLOT_SELF ? &g->self : &g->members[slot - 1];
}

static inline const struct gossip_member *
member_see(const struct gossip *g, uint32_t slot)
{
    return slot == SLOT_SELF ? &g->self : &g->members[slot - 1];
}

static inline bool
member_living(const struct gossip_member *member)
{
    return member->state <= GOSSIP_SUSPECT;
}

static inline uint64_t
ns_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// ---- gossip.c ----
void note(struct gossip *g, struct gossip_output *out, enum gossip_note_kind kind,
          const struct gossip_note *what);
void note_member(struct gossip *g, struct gossip_output *out, enum gossip_note_kind kind,
                 uint32_t slot, uint64_t number);
void awareness_add(struct gossip *g, int change);
uint64_t period_ns(const struct gossip *g); // of the protocol, scaled by awareness

static inline uint32_t
sends_left(const struct gossip_output *out)
{
    return GOSSIP_SENDS_MAX - out->send_count;
}

// ---- member.c ----
uint32_t member_slot(const struct gossip *g,
                     struct gossip_id id); // its slot, SLOT_SELF, or SLOT_NONE

// A member like the claim (which has metadata), ALIVE, in no list but the probing order. SLOT_NONE where there is no
// memory or no room, which was noted. Moves all members.
uint32_t member_add(struct gossip *g, struct gossip_output *out, const struct gossip_claim *claim);
void member_drop(struct gossip *g, struct gossip_output *out, uint32_t slot);
void member_set_state(struct gossip *g, struct gossip_output *out, uint32_t slot,
                      enum gossip_state state);
void order_shuffle(struct gossip *g);

// Who is wanted from member_pick.
enum member_want {
    WANT_LIVING,    // alive or suspect
    WANT_LISTENERS, // the same, and those who died lately
    WANT_LOST,      // dead, and nobody else has the address
};
// One at random that is not among the `count` of `not`; SLOT_NONE where there is none.
uint32_t member_pick(struct gossip *g, enum member_want want, const uint32_t * not, uint32_t count);

uint32_t tells_max(const struct gossip *g); // how often a claim is passed on, now
uint64_t log2_fixed(uint32_t x);            // log2(x) * 65536; x > 0

// ---- claim.c ----
void claim_hear(struct gossip *g, struct gossip_output *out, const struct gossip_msg *msg,
                const struct gossip_claim *claim);
void claim_of(struct gossip *g, uint32_t slot, struct gossip_claim *claim); // what we think of it
void self_announce(struct gossip *g); // a new incarnation of us

// ---- probe.c ----
void probe_run(struct gossip *g, struct gossip_output *out);
void probe_hear_ping(struct gossip *g, struct gossip_output *out, const struct gossip_input *in);
void probe_hear_ack(struct gossip *g, struct gossip_output *out, const struct gossip_msg *msg);
void probe_hear_request(struct gossip *g, struct gossip_output *out, const struct gossip_msg *msg);
void probe_hear_nack(struct gossip *g, const struct gossip_msg *msg);
void probe_abandon(struct gossip *g);

// ---- suspect.c ----
void suspect_begin(struct gossip *g, struct gossip_output *out, uint32_t slot, struct gossip_id by);
void suspect_confirm(struct gossip *g, uint32_t slot, struct gossip_id by);
void suspect_run(struct gossip *g, struct gossip_output *out);
void suspect_delay(struct gossip *g, uint64_t ns); // all of them have that much longer
void suspect_link(struct gossip *g, uint32_t slot);
void suspect_unlink(struct gossip *g, uint32_t slot);

// ---- spread.c ----
void queue_put(struct gossip *g, uint32_t slot); // its claim is news, to be told from the beginning
void queue_take(struct gossip *g, uint32_t slot);
void spread_run(struct gossip *g, struct gossip_output *out);

// A message begun with its head filled in; there must be room for it.
struct gossip_send *send_begin(struct gossip *g, struct gossip_output *out,
                               const struct gossip_address *to, enum gossip_msg_kind kind);
// Adds what it has room for: the claim about `about` (SLOT_NONE: none) first, then those in the queue.
void send_fill(struct gossip *g, struct gossip_send *send, uint32_t about);
// What process `boot` of member `id` should hear about itself first, because it would want to refute it.
uint32_t send_about(const struct gossip *g, struct gossip_id id, uint64_t boot);
// Adds a claim if it fits.
bool send_claim(struct gossip_send *send, const struct gossip_claim *claim);

// ---- sync.c ----
void sync_run(struct gossip *g, struct gossip_output *out);
void sync_hear_ask(struct gossip *g, const struct gossip_msg *msg);
void sync_hear_state(struct gossip *g, const struct gossip_msg *msg);
void sync_soon(struct gossip *g); // within a period
uint64_t random_ns(struct gossip *g, uint64_t bound);
bool seeds_set(struct gossip *g, const struct gossip_address *peers, uint32_t count);
void seed_drop(struct gossip *g, const struct gossip_address *address);
void seed_meet(struct gossip *g, struct gossip_output *out, const struct gossip_address *address);

#endif
