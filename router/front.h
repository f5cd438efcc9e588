// router/front.h -- clients' requests about points, on top of router/fanout: which collection and items, what each shard is asked,
// and what the client is answered.
//
// Shape:   handle, in memory; knows no thread, socket or clock. Outputs are callbacks, which must not call back into the front.
// Threads: one at a time: a front belongs to one loop.
// Memory:  a request is two or three blocks on the heap, and keeps its frame and the replies that it needs until it is answered.
// Errors:  every request is answered exactly once, at its deadline at the latest: with what was asked, or with an error that says
//          what was wrong. The answer of a write says whether it was done.
//
// A client names a collection or an alias, gives ids, and waits at most `deadline_ms` (FRONT_DEADLINE_MS where it gives none). What
// it asked stays in its frame: a shard that has all the items of a request is asked with the client's own bytes, a shard that has
// some of them with a map of these. docs/internals/router.md says what happens with each method.
#ifndef OMEN_ROUTER_FRONT_H
#define OMEN_ROUTER_FRONT_H
#include "cluster/map.h"
#include "router/fanout.h"
#include "wire/node_codec.h"
#include "wire/rpc_server.h"

#define FRONT_DEADLINE_MS 10000u

struct front;      // opaque
struct front_kept; // opaque

// A request that was answered, for who counts and who looks for slow ones. Lent for the call.
struct front_done {
    const struct method *method;
    const void *ask; // of method->ask; what was not read of it is zeros
    omen_status status;
    uint64_t received_ns; // of rpc_request; where that is 0 as begun_ns
    uint64_t begun_ns;    // front_request
    uint64_t heard_ns;    // the last part was heard; what is left is to put the answer together
    uint32_t k;           // of searches
    uint32_t rounds;
    uint32_t parts;      // of the last round: shards, or copies
    uint64_t slowest_us; // of the shards' own searches, in the last round; so are the next two
    uint64_t evaluations, exact_distances;
    uint64_t written; // points
};

struct front_claim {
    uint64_t collection;
    uint64_t deadline_ns;
    uint8_t kind; // enum map_id_kind, of the ids that it names
};

struct front_config {
    struct fanout_config fanout;
    struct map_name zone; // of this node: its copies are near
    uint64_t seed;        // nobody else's: operations that clients gave no id are named with it
    void *context;
    uint64_t (*date_ms)(void *context); // since 1970, for names of operations
    // To a node by its number in the map. `part` and its `ask` are lent for the call.
    void (*part)(void *context, uint32_t node, const struct wire_part *part, uint32_t deadline_ms);
    // Nobody waits for that part any more.
    void (*cancel)(void *context, uint32_t node, uint64_t request, uint32_t part, uint32_t attempt);
    // A whole message, whose bytes are the callee's from now on (encode_fini). Once for each front_request, also after front_gone.
    // One whose `status` is not OMEN_OK could not be written for want of memory: the connection is of no more use.
    void (*answer)(void *context, void *client, uint32_t id, struct encode *message);
    void (*done)(void *context,
                 const struct front_done *done);       // after the answer; NULL: nobody counts
    void (*want_map)(void *context, uint64_t version); // somebody knows one that new
    void (*release)(void *context, void *owner);       // of a reply
    // A request is begun that has so many points, ids or queries, samples of a measurement among them; 1 where it has none. Not of what is
    // refused before that. NULL: nobody counts.
    void (*cost)(void *context, const struct rpc_session *session, uint32_t items);
    // Of a write that makes points, of a collection that has no kind of ids yet; nobody was asked anything. Takes the request over, its frame
    // included, and gives it again (front_request) when there is a map in which that collection is not MAP_IDS_OPEN any more, or
    // answers it itself. NULL: the shards judge.
    void (*claim)(void *context, void *client, const struct rpc_request *request,
                  const struct front_claim *claim);
};

// On success the caller owns *out and ends it with front_close, which answers nobody.
OMEN_MUST_CHECK omen_status front_open(const struct front_config *config, struct front **out);
void front_close(struct front *front); // accepts NULL

// Lent until one of a newer version was given; older ones are ignored. OMEN_E_NO_MEMORY: the old one holds, which stays lent.
OMEN_MUST_CHECK omen_status front_map(struct front *front, uint64_t now_ns,
                                      const struct map *published);
void front_node(struct front *front, uint64_t now_ns, uint32_t node, bool dead, bool draining);

// Of one of the methods that are about points (front_takes). Takes the frame over.
bool front_takes(const struct method *method);
void front_request(struct front *front, uint64_t now_ns, void *client,
                   const struct rpc_request *request);
// What a client that is gone asked for is not looked for any longer; its writes are.
void front_gone(struct front *front, uint64_t now_ns, void *client);

// `node` is whom the bus heard it from. What the reply points to belongs to `owner`, which goes to release() when it is no longer
// needed: in this call, or with an answer.
void front_reply(struct front *front, uint64_t now_ns, uint32_t node,
                 const struct wire_reply *reply, void *owner);

// Within config.part, of the part that is sent. Whether it is a search that looks at little: no filter, no exact scan, and an ef and a
// dimension of which the product is small.
bool front_sends_light(const struct front *front);
// The ask of it, for who needs it after the call: the client's own bytes stay as they are until front_unkeep, what was put together for
// the part is copied. NULL: no memory.
struct front_kept *front_keep(struct front *front, struct wire_bytes *ask);
void front_unkeep(struct front_kept *kept); // in any thread

uint64_t front_due(const struct front *front); // call front_wake no later; UINT64_MAX: never
void front_wake(struct front *front, uint64_t now_ns);

uint32_t front_pending(const struct front *front); // requests that were not answered
const struct fanout_counters *front_counters(const struct front *front);
void front_check(const struct front *front); // asserts all invariants

#endif
