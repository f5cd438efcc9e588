// node/clients_int.h -- what the files of the clients' loop share.
//
// Shape: shell.
#ifndef OMEN_NODE_CLIENTS_INT_H
#define OMEN_NODE_CLIENTS_INT_H
#include "base/os_lock.h"
#include "node/admin.h"
#include "node/admin_gather.h"
#include "node/clients.h"
#include "node/events.h"
#include "node/hosts.h"
#include "node/led.h"
#include "node/metrics.h"
#include "node/rates.h"
#include "node/untaken.h"
#include "router/front.h"

enum {
    NOTE_CLIENTS_REQUEST = NOTE_OTHERS,
    NOTE_CLIENTS_GONE,
    NOTE_CLIENTS_LOST,
    NOTE_CLIENTS_DOWN
};

struct clients_request_note {
    struct loop_note note;
    struct rpc_conn *conn; // kept
    struct rpc_request request;
    struct clients_request_note *next; // of those that are held
    bool let_in;                       // by its key's rate, which it has paid for
};

struct clients_gone_note {
    struct loop_note note;
    struct rpc_conn *conn; // kept
};

// A part that the bus did not take: nothing was done.
struct clients_lost_note {
    struct loop_note note;
    uint32_t node;
    struct wire_reply reply;
};

// A lane to this node is gone.
struct clients_down_note {
    struct loop_note note;
    struct cluster_uuid node;
};

// Answers leave together: of so many connections, and so many, at the most.
#define CLIENTS_CONNS_AT_ONCE 16u
#define CLIENTS_ANSWERS_AT_ONCE 32u

// A request about the map.
struct clients_call {
    struct clients_call *next, **link;
    // Who asked: a client, or (conn NULL) another node, or nobody (untaken).
    struct rpc_conn *conn; // kept
    uint32_t id;
    uint8_t errors; // enum api_errors
    struct cluster_uuid from;
    uint64_t correlation; // theirs
    struct wire_part part;
    // What.
    const struct method *method;
    uint64_t received_ns;
    void *owned;           // what `ask` points into
    union method_body ask; // of method->ask
    struct admin_step step;
    uint64_t until_ns;
    // How far it is.
    bool proposed;  // meta has a pointer to it
    bool answered;  // and it is kept for that pointer alone
    struct led led; // asked by whom it was proposed, or is to be
    struct gather *gather;
    uint64_t gather_sent;  // correlation of the first copy's part
    struct encode held;    // the answer, which waits for the map
    uint64_t held_version; // that and one more; 0: none waits
    bool untaken;          // of clients_untaken.c, which hears what came of it
};

// Requests of clients that came before this node knew enough of the cluster (clients_held.c).
struct clients_held {
    struct clients_request_note *first, **end;
    uint32_t count;
    bool current; // a lease came: the map is as new as any that an earlier process knew
};

// A write that waits for its collection's kind of ids (clients_claim.c).
struct clients_claim {
    struct clients_claim *next;
    struct front_claim what;
    struct clients_request_note request; // with what it keeps
};

struct clients_claims {
    struct clients_claim *first, **end;
    uint32_t count;
    uint64_t again_ns; // what they claim is said again; UINT64_MAX: none waits
    uint64_t look_ns;  // a newer map is asked for; so again after twice as long
    uint64_t look_after_ns;
};

struct clients {
    struct clients_config config;
    struct rebalance_config rebalance;
    struct loop *loop;
    struct front *front;
    const struct map *map;        // the newest; NULL: none yet
    struct meta_members *members; // the newest; NULL: none yet
    struct event_ring events;
    struct clients_call *calls;
    uint32_t call_count;
    uint64_t correlations; // the last; bit 63 is set in all of them
    uint64_t begun_ns;
    struct encode encode;
    struct near *near_begun,
        **near_end; // in the front's step; served or given away when it is over
    uint32_t near_begun_count;
    struct near *near_away;           // workers have them
    _Atomic(struct near *) near_help; // of who brought requests and may serve one; clients_near.c
    struct clients_held held;
    struct clients_claims claims;
    struct untaken untaken;
    struct rates rates;                      // of the keys that have one
    const struct clients_call *untaken_call; // the copies are asked; NULL: they are not
    // Kept: what they are answered has yet to leave.
    struct rpc_conn *answered[CLIENTS_CONNS_AT_ONCE];
    uint32_t answered_count, answers;
    uint64_t show_ns; // it is time to show what there is
    struct lock lock;
    struct clients_seen seen; // under `lock`
};

// Bit 63 tells those of calls about the map from those of parts of the front.
#define CLIENTS_CALL_BIT (UINT64_C(1) << 63)

// clients.c
void clients_send(struct clients *clients, struct cluster_uuid to, enum peer_kind kind,
                  uint64_t correlation, uint32_t deadline_ms); // what is in clients->encode
bool clients_try_send(struct clients *clients, struct cluster_uuid to, enum peer_kind kind,
                      uint64_t correlation, uint32_t deadline_ms);
void clients_take_request(struct clients *clients, struct clients_request_note *note);
void clients_drop_request(struct clients_request_note *note); // nobody answers it
// Before it was begun: nothing was done. Takes what the note keeps. retry_after_ms: before, it is refused again; 0: nobody knows.
void clients_refuse_request_for(struct clients *clients, const struct clients_request_note *note,
                                const struct omen_error *error, uint32_t retry_after_ms);
void clients_refuse_request(struct clients *clients, const struct clients_request_note *note,
                            const struct omen_error *error);
struct cluster_uuid clients_leader(const struct clients *clients);

// clients_rate.c
// Whether the key may ask now; then it has paid for one. Else *error says why not, and *retry_after_ms until when.
bool clients_rate_admits(struct clients *clients, const struct rpc_request *request,
                         struct omen_error *error, uint32_t *retry_after_ms);
// Of the front: what was let in has so many points or queries.
void clients_rate_cost(void *context, const struct rpc_session *session, uint32_t items);

// clients_held.c
// Whether the request has to wait; then it is taken.
bool clients_hold(struct clients *clients, struct clients_request_note *note);
void clients_held_go(struct clients *clients); // if they need not wait any longer
uint64_t clients_held_due(const struct clients *clients);
void clients_held_close(struct clients *clients);

// clients_claim.c
void clients_claim(void *context, void *client, const struct rpc_request *request,
                   const struct front_claim *claim); // of the front
void clients_claims_map(struct clients *clients);    // there is a newer one
void clients_claims_led(struct clients *clients);    // another may lead
void clients_claims_gone(struct clients *clients, const struct rpc_conn *conn);
void clients_claims_late(struct clients *clients, uint64_t now_ns);
uint64_t clients_claims_due(const struct clients *clients);
void clients_claims_init(struct clients *clients);
void clients_claims_close(struct clients *clients);

// clients_near.c
// In a step of the front. False: it has to go by a frame.
bool clients_near_begin(struct clients *clients, const struct wire_part *part,
                        uint32_t deadline_ms);
// Whether it was one of these.
bool clients_near_cancel(struct clients *clients, uint64_t request, uint32_t part,
                         uint32_t attempt);
void clients_near_go(struct clients *clients);         // after each step, or several
bool clients_near_many(const struct clients *clients); // as many as are given away at once
// For a thread that brings requests: before, whether it is the one that helps; and then, behind them, what it was left.
bool clients_near_may_help(struct clients *clients);
void clients_near_help(struct clients *clients);
void clients_near_take(struct clients *clients, struct near *near);
void clients_near_free(struct near *near);
void clients_near_close(struct clients *clients);

// clients_seen.c
void clients_show(struct clients *clients);
// Of the front, and of clients_admin.
void clients_count(struct clients *clients, const struct front_done *done);

// clients_admin.c
struct admin_view clients_view(const struct clients *clients);
void clients_admin(struct clients *clients, struct clients_request_note *note);
// On the newest map, or where it is led.
void clients_begin(struct clients *clients, struct clients_call *call);
void clients_admin_part(struct clients *clients, struct frame_note *frame,
                        const struct wire_part *part); // takes the frame

// clients_became.c
void clients_admin_reply(struct clients *clients, uint64_t correlation,
                         const struct wire_reply *reply); // with CLIENTS_CALL_BIT
void clients_admin_answer(struct clients *clients, const struct meta_answer *answer);
void clients_admin_map(struct clients *clients); // there is a newer one
void clients_admin_gone(struct clients *clients, const struct rpc_conn *conn);
void clients_admin_late(struct clients *clients, uint64_t now_ns);
uint64_t clients_admin_due(const struct clients *clients);

// clients_call.c
// NULL: there are too many, or no memory. Else `owned` is taken, and freed with the call.
struct clients_call *clients_call_new(struct clients *clients, const struct method *method,
                                      void *owned);
void clients_call_free(struct clients *clients, struct clients_call *call);
void clients_call_end(struct clients *clients, struct clients_call *call); // it was answered
void clients_admin_close(struct clients *clients);
void clients_head(const struct clients_call *call, struct encode *message);
// Takes the message, whose answer is behind its head.
void clients_finish(struct clients *clients, struct clients_call *call, struct encode *message);
void clients_refuse(struct clients *clients, struct clients_call *call,
                    const struct omen_error *error, enum api_outcome outcome);
// With the method's name before it.
void clients_refuse_as(struct clients *clients, struct clients_call *call, omen_status status,
                       const char *why, enum api_outcome outcome);

// clients_untaken.c
void clients_untaken_init(struct clients *clients);
void clients_untaken_look(struct clients *clients); // map or members are new, or time has passed
// Before the call goes.
void clients_untaken_ended(struct clients *clients, const struct clients_call *call,
                           omen_status status);

// clients_led.c
// Whether this node leads, and does it. If not it was sent to who does, waits for somebody, or is refused and gone.
bool clients_led_look(struct clients *clients, struct clients_call *call);
// The last try was refused. True: it is tried again.
bool clients_led_again(struct clients_call *call, omen_status refusal);
void clients_led_wake(struct clients *clients, uint64_t now_ns); // also of a new leader
void clients_led_down(struct clients *clients, struct cluster_uuid node);
uint64_t clients_led_due(const struct clients *clients);

// clients_shards.c
void clients_shards_ask(struct clients *clients, struct clients_call *call);
void clients_shards_take(struct clients *clients, struct clients_call *call, uint32_t at,
                         const struct wire_reply *reply);
void clients_shards_end(struct clients *clients, struct clients_call *call);
void clients_shards_members(struct clients *clients); // gossip says something new of nodes

#endif
