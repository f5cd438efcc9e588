// router/front_int.h -- a client's request under way, and what the files of the front are to each other.
//
// Shape: handle, in memory.
//
//   front_request --front_ask.c: read, resolved, looked at--> a round is started, or refused
//   a round: the fan-out sends parts (front_pack.c), hears them (front_hear.c), and ends it (front_answer.c)
//   its end --a method of one round, or its last--> the client is answered
//           --front_round.c: a search by id, a recommendation, why_not, a page that is not full--> another round
#ifndef OMEN_ROUTER_FRONT_INT_H
#define OMEN_ROUTER_FRONT_INT_H
#include <stdatomic.h>
#include <stddef.h>

#include "base/prng.h"
#include "base/utf8.h"
#include "router/front.h"
#include "wire/found.h"
#include "wire/inner.h"

#define FRONT_K 10u      // where a client gives none
#define FRONT_PAGE 100u  // points of a page
#define FRONT_FACETS 10u // values
#define FRONT_SAMPLES 1000u

// What all asks about points begin with.
struct front_read {
    API_READ
};
struct front_write {
    API_WRITE
};

// A reply that the fan-out has taken.
struct front_lent {
    struct front_lent *next;
    void *owner;
    struct wire_bytes answer;
    uint32_t item_first, item_count; // of the request's, then by `next`
    struct found found;              // of searches
    union method_body body;          // of others: what reply_shape says
    bool texts;                      // some hit has a text for its id
};

// Where the rows of a request lie in its frame: row i is at[i]..at[i + 1] behind the list's first byte.
struct front_rows {
    uint32_t *ids, *payloads,
        *vectors; // one block, which `ids` owns; NULL: not looked for yet, or none
};

struct front_call {
    struct front_call *next, **link; // of all
    struct front_call *then;         // of those that want another round
    void *client;
    uint32_t id;
    const struct method *method;
    uint8_t errors; // enum api_errors
    bool gone;      // nobody waits for the answer
    uint8_t *frame;
    struct front_kept *kept; // the frame is its; NULL: nobody needs it but this
    union method_body ask;   // points into the frame
    struct wire_bytes raw;   // the map in the frame
    // Of the collection, which may be dropped while the request is under way.
    uint64_t collection;
    uint32_t dimension;
    uint8_t metric, dtype; // numbers of include/omendb.h
    uint8_t id_kind;       // enum map_id_kind
    // A round.
    enum method_number asks; // the method of its parts
    struct wire_bytes whole; // what a part with all the items is asked: `raw`, or `packed`
    struct encode packed;
    struct wire_list ids; // of METHOD_POINT_GET, packed; and what is asked of them
    uint32_t with;
    uint32_t k; // hits that are asked for, of each of so many queries
    uint32_t queries;
    uint32_t excluded; // the first so many items are no hits, and are counted in k
    uint8_t round;
    uint64_t number; // of the fan-out; 0: nothing is under way
    struct fanout_start start;
    struct fanout_item *items;   // owned
    bool texts;                  // for ids; the last list's
    struct fanout_token *tokens; // owned
    struct front_rows rows;
    struct front_lent *lent, **lent_end;
    struct omen_error
        said; // the last sentence of a copy that refused, which counts rows among those of its part
    uint64_t said_shard;
    struct front_done done;
    // Of earlier rounds.
    uint64_t cursor;
    struct encode points; // of a page
    uint32_t point_count, warnings;
    struct wire_token *seen; // owned: the shards of a page
    uint32_t seen_count;
    struct inner_why why;
};

struct front_kept { // bytes that more than the front needs
    _Atomic uint32_t users;
    uint8_t *bytes; // owned
};

struct front_block { // of front_take
    struct front_block *older;
    size_t used, room;
    max_align_t bytes[];
};

struct front {
    struct front_config config;
    uint64_t now_ns, due_ns;
    const struct map *map; // NULL before the first
    struct routes routes[2];
    uint32_t current; // of `routes`
    struct front_call *calls;
    uint32_t call_count;
    struct front_call *then; // want another round
    struct front_call *by_slot[FANOUT_REQUESTS_MAX];
    struct prng prng;
    struct encode packed;       // of the part that is sent
    struct front_block *blocks; // of front_take; the newest first
    struct front_call *sends;   // within config.part
    struct wire_bytes sent;     // and what it asks
    struct fanout_output out;
    struct fanout fanout;
};

// front.c
void front_turn(struct front *front, const struct fanout_input *in, struct front_call *begun,
                struct front_lent *lent);
// Memory that holds for this turn; NULL: there is none.
void *front_take(struct front *front, size_t bytes);
// Once; the call is gone afterwards.
void front_say(struct front *front, struct front_call *call, const void *answer);
void front_refuse(struct front *front, struct front_call *call, const struct omen_error *error,
                  enum api_outcome outcome);
void front_let_go(struct front *front, struct front_call *call); // what a round was lent

// front_ask.c
OMEN_MUST_CHECK omen_status front_ask(struct front *front, struct front_call *call,
                                      const struct rpc_request *request, struct omen_error *error);
// Items of the ids; `first` of them are there already.
OMEN_MUST_CHECK omen_status front_items(struct front_call *call, const struct wire_list *ids,
                                        struct omen_error *error);
// Whether a write has to wait for its collection's kind of ids, and which it claims. Where that is known and another one it is refused.
OMEN_MUST_CHECK omen_status front_claims(const struct front_call *call, uint8_t *kind,
                                         struct omen_error *error);

// front_keep.c
void front_let_frame(struct front_call *call);

// front_pack.c: what the part is asked. False: no memory.
bool front_pack(struct front *front, struct front_call *call, const struct fanout_send *send,
                struct wire_bytes *ask);
void front_rows_fini(struct front_rows *rows);

// front_hear.c: OMEN_OK and *statuses of the part's items (NULL: none are told; of front_take), or INTERNAL where the reply's bytes are not what they should be.
omen_status front_hear(struct front *front, const struct front_call *call,
                       const struct wire_reply *reply, struct front_lent *lent,
                       const omen_status **statuses);

omen_status front_status_of(uint32_t failure); // as it comes: with its sign turned

// front_answer.c: a round ended.
// Items' points in the order of the items, wherever each came from; in the call's memory, or the reply's.
OMEN_MUST_CHECK omen_status front_gather_points(struct front *front, struct front_call *call,
                                                struct wire_list *out);
void front_end(struct front *front, struct front_call *call, const struct fanout_answer *answer);
// What the reports of the answer say: tokens of those that answered, names of those that did not. Of front_take.
struct front_told {
    struct wire_list token, failed;
};
OMEN_MUST_CHECK omen_status front_told(struct front *front, const struct fanout_answer *answer,
                                       struct front_told *out);

#endif
