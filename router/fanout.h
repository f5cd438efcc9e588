// router/fanout.h -- takes requests apart over the shards, sends each part to a copy, and puts the answers together.
//
// Shape:   machine. Knows no socket, clock or codec; links base/ only.
// Threads: one at a time: a machine belongs to one loop and to the connections of that loop.
// Memory:  requests and what is known of nodes are inside the struct. Parts of requests, and scratch for merging, grow on the heap
//          up to parts_max; where memory is refused a request is answered so, or a part waits.
// Units:   nanoseconds of a monotonic clock, pushed in.
//
// It never sees what is asked: bodies stay with the shell, which finds them by the request's number. A request is answered exactly
// once, at its deadline at the latest. What a shard did not say is never said in its place: docs/internals/router.md.
#ifndef OMEN_ROUTER_FANOUT_H
#define OMEN_ROUTER_FANOUT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prng.h"
#include "base/status.h"
#include "router/merge.h"
#include "router/routes.h"

#define FANOUT_REQUESTS_MAX 1024u // under way; more are answered BUSY
#define FANOUT_PARTS_MAX 65536u   // the largest parts_max
#define FANOUT_FLIGHTS_MAX 4u     // unanswered sub-requests of one part
#define FANOUT_TRIES_MAX 64u      // the largest tries_max
#define FANOUT_ITEMS_MAX 65536u   // ids of one request
// Of one step; what does not fit goes on at the next WAKE, which is then due at once.
#define FANOUT_SENDS_MAX 64u
#define FANOUT_CANCELS_MAX 64u
#define FANOUT_ANSWERS_MAX 16u
#define FANOUT_REPORTS_MAX                                                                         \
    1024u // shards of one answer that are told one by one; the failed ones first
// Versions, terms and places in a log stay below it.
#define FANOUT_NUMBER_MAX (UINT64_MAX / 4)
#define FANOUT_NO_PART UINT32_MAX

struct fanout_config {
    uint32_t requests_max; // 1..FANOUT_REQUESTS_MAX
    uint32_t parts_max;    // 1..FANOUT_PARTS_MAX; of all requests together
    uint32_t tries_max;    // 1..FANOUT_TRIES_MAX; sub-requests for one part
    // A second copy is asked when the first has not answered after the time that 95 of 100 answers take, within these bounds.
    uint64_t hedge_min_ns, hedge_max_ns;
    uint32_t hedge_permille; // of parts that may be asked for twice so; 0: none
    uint64_t retry_ns;       // before the next try where every copy refused; doubles up to
    uint64_t retry_max_ns;
    // An unanswered try is followed by another after half of the time left, within these bounds.
    uint64_t try_min_ns, try_max_ns;
    // Before the deadline, for merging and answering; at most a quarter of the time given.
    uint64_t reserve_ns;
    uint64_t avoid_ns;    // who said BUSY is asked only where nobody else is there
    uint32_t far_percent; // 100..1000: what a copy in another zone weighs against one in ours
};

enum fanout_kind {
    FANOUT_SEARCH =
        1,        // of every shard: hits, merged; with k == 0 the shell joins what the shards say
    FANOUT_GET,   // of the shards of some ids
    FANOUT_WRITE, // to the primaries of the shards of some ids, or of every shard
};

enum fanout_consistency {
    FANOUT_ANY,     // any copy in sync
    FANOUT_SESSION, // one that has applied what the tokens say
    FANOUT_STRONG,  // the primary, which looks at its lease
};

enum fanout_outcome { FANOUT_NOT_APPLIED, FANOUT_APPLIED, FANOUT_UNKNOWN };

struct fanout_op {
    uint64_t high, low;
};

// One id of a request. `hash` is given; the rest is written here.
struct fanout_item {
    uint64_t hash;
    omen_status status; // NOT_FOUND and the like are the shard's
    uint32_t next;      // of the same part, in the caller's order; item_count: none
    uint8_t outcome;    // enum fanout_outcome, of a write
};

struct fanout_token {
    uint64_t shard, term, seq;
};

// All pointers are lent until the request is answered.
struct fanout_start {
    uint64_t client; // comes back with the answer
    enum fanout_kind kind;
    enum fanout_consistency consistency;
    bool partial; // SEARCH: an answer without some shards is better than none
    uint64_t collection;
    uint64_t deadline_ns;
    struct fanout_op
        op_id; // WRITE: not none. The same for all shards; see docs/internals/router.md
    struct fanout_item *items; // GET, WRITE; NULL: every shard
    uint32_t item_count;
    const struct fanout_token *tokens; // SESSION
    uint32_t token_count;
    struct merge_hit *hits; // SEARCH: room for k
    uint32_t k;
};

// What a copy said. Every field may be anything.
struct fanout_reply {
    uint64_t request; // as it was sent
    uint32_t part, attempt;
    uint32_t node; // who says it; the bus knows
    omen_status status;
    bool draining;
    uint32_t queue;       // requests that wait there
    uint64_t map_version; // that it knows
    uint64_t term, seq;   // the token
    // Lent until the request is answered, if the output says that it was taken.
    struct merge_list hits;      // SEARCH
    const omen_status *statuses; // of the part's items in their order; NULL: all are OK
    uint32_t item_count;         // of `statuses`
};

enum fanout_input_kind {
    FANOUT_IN_ROUTES,
    FANOUT_IN_NODE, // a hint of the failure detector
    FANOUT_IN_START,
    FANOUT_IN_REPLY,
    FANOUT_IN_CANCEL, // the client went away
    FANOUT_IN_WAKE,
};

struct fanout_input {
    uint64_t now_ns;
    enum fanout_input_kind kind;
    union {
        const struct routes *routes; // sealed; lent until one of a newer version was given
        const struct fanout_start *start;
        const struct fanout_reply *reply;
        uint64_t request; // CANCEL
        struct {
            uint32_t node;
            bool dead, draining;
        };
    };
};

// A sub-request. The copy refuses it with STALE_MAP when it knows another cfg_ver, is not the copy that is meant, or, for a
// write and a strong read, is not the primary. It answers for the hashes first..last only.
struct fanout_send {
    uint64_t request;
    uint32_t part, attempt;
    uint32_t node;
    enum fanout_kind kind;
    enum fanout_consistency consistency;
    uint64_t copy_high, copy_low;
    uint64_t shard, term, cfg_ver, map_version;
    uint64_t first, last;
    uint64_t deadline_ns;
    uint64_t after_term, after_seq; // SESSION: BUSY unless it has applied that much
    struct fanout_op op_id;         // WRITE
    uint32_t item_first;            // then by `next`
    uint32_t item_count;            // 0: every point of the range
};

struct fanout_cancel {
    uint64_t request;
    uint32_t part, attempt, node;
};

// What became of one part of a request.
struct fanout_report {
    uint64_t shard; // 0: nobody answers for first..last
    uint64_t first, last;
    omen_status status;
    enum fanout_outcome outcome;
    uint64_t term, seq; // the token
};

struct fanout_answer {
    uint64_t request; // 0: it was refused at once
    uint64_t client;
    omen_status status; // of a search with parts missing that may be partial: OK
    uint64_t shard;     // that `status` is about; 0: none
    uint32_t hit_count;
    uint32_t part_count, failed_count;
    uint32_t report_first, report_count; // in `reports`
};

// The shell obeys the numbered steps in order.
struct fanout_output {
    uint64_t started; // 1. START: the request's number, 0 when it was answered at once
    bool taken;       //    REPLY: what it lends is needed until the answer; else it may be let go
    uint32_t send_count; // 2. send
    struct fanout_send sends[FANOUT_SENDS_MAX];
    uint32_t cancel_count; //    nobody waits for these any more
    struct fanout_cancel cancels[FANOUT_CANCELS_MAX];
    uint32_t answer_count; // 3. answer; then what the request lent may be let go
    struct fanout_answer answers[FANOUT_ANSWERS_MAX];
    uint64_t want_version; //    somebody knows a map that new: fetch it. 0: nothing is wanted
    uint64_t wake_ns;      // 4. step again (kind WAKE) no later than this; UINT64_MAX: never
    uint32_t report_count;
    struct fanout_report reports[FANOUT_REPORTS_MAX];
};

// ---- the state ----

struct fanout_node {
    uint32_t number;
    uint32_t outstanding; // sub-requests that were not answered
    uint32_t queue;       // it said
    bool dead, draining;
    uint64_t latency_ns;     // a moving mean, of which half is forgotten each second
    uint64_t sampled_ns;     // when it was last added to
    uint64_t avoid_until_ns; // it said BUSY
};

#define FANOUT_LAPSED UINT64_MAX

// A sub-request that was not answered.
struct fanout_flight {
    uint32_t attempt; // 0: none
    uint32_t node;
    uint64_t copy_high, copy_low;
    uint64_t shard;
    uint64_t map_version; // by which it was sent
    uint64_t after_seq;
    uint64_t sent_ns;
    uint64_t lapse_ns; // another is due then, and the answer still welcome; or FANOUT_LAPSED
};

enum fanout_part_state {
    FANOUT_PART_FREE,
    FANOUT_PART_WAITS,
    FANOUT_PART_DONE,
    FANOUT_PART_FAILED
};

// It begins with a line of the cache, and so does each flight: with 64 shards most of a search's time here is lines.
struct fanout_part {
    _Alignas(64) uint64_t first, last; // hashes
    uint64_t shard;                    // of the last try
    uint64_t due_ns;                   // a try goes out; UINT64_MAX: when something happens
    uint64_t hedge_ns;                 // a second one does
    uint64_t term, seq;                // DONE
    struct merge_list hits;
    omen_status status; // DONE: OK; else of the last refusal
    uint32_t request;   // slot
    uint32_t row;       // of the table, where it was when the part was cut
    uint32_t next;      // of the request in the order of hashes, or free
    uint32_t item_first, item_last, item_count;
    uint32_t tries;
    uint32_t refusals; // in a row, for the pause before the next
    enum fanout_part_state state;
    bool stale;             // refused, because one of us has an old map
    bool maybe;             // a write whose sub-request may have been obeyed
    uint32_t refused_count; // of those below; pieces begin with none
    _Alignas(64) struct fanout_flight flights[FANOUT_FLIGHTS_MAX];
    uint32_t refused[ROUTE_COPIES_MAX]; // nodes that refused since the last pause
};

struct fanout_request {
    uint64_t number; // 0: free
    struct fanout_start start;
    uint64_t give_up_ns;
    uint32_t parts; // the first
    uint32_t part_count, waiting;
    uint32_t attempts;        // of all parts: a number is never used twice in a request
    uint64_t lineage_version; // of the table by which `lost_shard` was found out
    uint64_t lost_shard;      // the newest that a token is of and no row is or comes from; 0: none
    bool over;                // no part is looked at any more; cancels and the answer go out
    omen_status
        over_with; // CANCELLED, TIMEOUT, or what a shard said about the request itself; OK: the parts say it
    uint64_t over_shard;
};

struct fanout_counters {
    uint64_t started, answered, busy, sends, retries, hedges, splits, cancels;
    uint64_t late_replies, refused_replies, old_routes, no_memory;
};

struct fanout {
    struct fanout_config config;
    struct prng prng;
    uint64_t now_ns;
    const struct routes *routes; // NULL before the first
    uint64_t heard_version;      // the newest that anybody named
    uint64_t wanted_ns;          // when it was asked for
    uint64_t numbers;            // of requests, given
    uint64_t slow_ns[2];         // what 95 of 100 answers take: SEARCH, GET
    uint32_t hedge_credit;       // permille of a second try
    uint32_t request_count;
    uint32_t scan;                       // the slot that is looked at first
    uint64_t wake_ns;                    // none of `wakes` is earlier
    uint64_t wakes[FANOUT_REQUESTS_MAX]; // UINT64_MAX where none is
    struct fanout_request requests[FANOUT_REQUESTS_MAX];
    struct fanout_part *parts;
    uint32_t *parts_free; // behind them in one block: which are free, the next to be taken last
    uint32_t part_room, parts_used;
    struct fanout_node nodes[ROUTES_NODES_MAX]; // ascending
    uint32_t node_count;
    void *scratch;
    size_t scratch_bytes;
    struct fanout_counters counters;
};

// The configuration is ours: it is asserted to be within its limits.
void fanout_init(struct fanout *fanout, const struct fanout_config *config, uint64_t seed);
void fanout_fini(struct fanout *fanout); // what is under way is forgotten without an answer
void fanout_step(struct fanout *fanout, const struct fanout_input *in, struct fanout_output *out);
void fanout_check(const struct fanout *fanout);                            // asserts all invariants
void fanout_describe(const struct fanout *fanout, char *line, size_t cap); // one stable line

#endif
