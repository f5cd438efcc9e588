// router/routes.h -- which shard answers for a hash, and where its copies are, as of one version of the cluster's map.
//
// Shape:   value; its rows grow on the heap until it is sealed, and nothing of it changes afterwards.
// Threads: any number of readers of a sealed one.
//
// It is filled row by row, so it needs to know nothing of where the rows come from: router/routes_map.h takes them from a
// published map, tests write them down.
#ifndef OMEN_ROUTER_ROUTES_H
#define OMEN_ROUTER_ROUTES_H
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

#define ROUTES_MAX 16384u      // rows, of all collections
#define ROUTES_NODES_MAX 1024u // that hold copies
#define ROUTE_COPIES_MAX 12u
#define ROUTE_NONE UINT32_MAX

// A copy that is in sync: it has every write that was acknowledged.
struct route_copy {
    uint64_t high, low; // its uuid
    uint32_t node;      // not 0
    bool near;          // in the zone of whoever asks
    uint16_t place;     // of the node in the table's `nodes`; written when it is sealed
};

struct route {
    uint64_t collection;
    uint64_t shard;       // not 0
    uint64_t parent;      // of a split, 0 for none; tokens of the parent hold for the child
    uint64_t first, last; // hashes, both inclusive
    uint64_t term,
        cfg_ver; // what a request must carry, so that a copy which knows better refuses it
    uint16_t copy_count;
    uint16_t near_count; // of `copies`; written when it is sealed, and they are the first then
    uint32_t primary;    // of `copies`; ROUTE_NONE while there is none
    struct route_copy copies[ROUTE_COPIES_MAX];
};

struct routes {
    uint64_t version;   // of the map
    struct route *rows; // by (collection, first)
    uint32_t *nodes;    // that hold copies, ascending
    uint32_t count, room, node_count;
    bool sealed;
};

void routes_init(struct routes *routes, uint64_t version);
void routes_fini(struct routes *routes);

// Rows come in any order. OMEN_E_FULL: there are ROUTES_MAX of them; OMEN_E_NO_MEMORY. Both leave it as it was.
OMEN_MUST_CHECK omen_status routes_add(struct routes *routes, const struct route *row);

// Sorts rows, and each one's copies: near ones first. Refuses with OMEN_E_INVALID what makes no sense: a range that is empty or overlaps another, a row without its
// number, a primary that is none of the copies, more nodes than ROUTES_NODES_MAX. Gaps are allowed: nobody answers there.
OMEN_MUST_CHECK omen_status routes_seal(struct routes *routes);

// Of a sealed one. The row that answers for the hash; NULL when none does.
const struct route *routes_find(const struct routes *routes, uint64_t collection, uint64_t hash);

// The same, where it is likely the row at `hint`, which may be anything.
static inline const struct route *
routes_find_near(const struct routes *routes, uint64_t collection, uint64_t hash, uint32_t hint)
{
    if (hint < routes->count) {
        const struct route *row = &routes->rows[hint];
        if (row->collection == collection && row->first <= hash && row->last >= hash)
            return row;
    }
    return routes_find(routes, collection, hash);
}

// The first row of the collection that ends at the hash or behind it; `count` when there is none. The row may begin behind the
// hash (a gap), or, for a collection that ends before it, belong to the next one.
uint32_t routes_from(const struct routes *routes, uint64_t collection, uint64_t hash);

void routes_check(const struct routes *routes); // asserts all invariants

#endif
