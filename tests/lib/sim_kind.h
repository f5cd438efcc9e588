// tests/lib/sim_kind.h -- the kinds of ids in a simulation: what maps say of them, and what may be applied.
//
// Shape: shell, simulated.
//
// All ids of the first collection are integers. Another one, which an operator makes and drops all the time, is written by clients
// with ids of both kinds: which of them is first is what the metadata decides (COMMAND_COLLECTION_IDS), and then no shard of it takes the
// other. In one seed of three the nodes begin with a program that does not know the feature, and are exchanged one by one.
#ifndef OMEN_TESTS_SIM_KIND_H
#define OMEN_TESTS_SIM_KIND_H
#include "tests/lib/sim_net.h"

static inline struct sim_collection *
sim_collection(struct sim *sim, uint64_t id)
{
    for (uint32_t i = 0; i < sim->collection_count; i++)
        if (sim->collections[i].id == id)
            return &sim->collections[i];
    ASSERT(sim->collection_count < sizeof sim->collections / sizeof *sim->collections);
    sim->collections[sim->collection_count].id = id;
    return &sim->collections[sim->collection_count++];
}

// ---- what a map says ----

static inline void
sim_read_kind(struct sim *sim, const struct map *map, const struct map_collection *row)
{
    struct sim_collection *collection = sim_collection(sim, row->id);
    if (row->name.count == 1 && row->name.bytes[0] == 'c')
        sim->first = row->id;
    if (map->version >= collection->version) {
        collection->version = map->version;
        collection->known = row->id_kind;
    }
    if (row->id_kind >= MAP_IDS_INTEGER) {
        SIM_REQUIRE(sim, collection->decided == 0 || collection->decided == row->id_kind,
                    "the kind of a collection's ids never changes");
        SIM_REQUIRE(sim, (collection->written & ~(1u << row->id_kind)) == 0,
                    "nothing of the other kind was applied before a kind was decided");
        sim->decided += collection->decided == 0;
        collection->decided = row->id_kind;
        if (collection->decided_version == 0 || map->version < collection->decided_version)
            collection->decided_version = map->version;
    }
    SIM_REQUIRE(sim,
                collection->decided_version == 0 || map->version < collection->decided_version ||
                    row->id_kind == collection->decided,
                "a kind that was decided is in every map from then on");
}

static inline void
sim_read_kinds(struct sim *sim, const struct map *map)
{
    for (uint32_t i = 0; i < map->collection_count; i++)
        sim_read_kind(sim, map, &map->collections[i]);
}

// ---- what is applied ----

// An upsert with such ids, for the first time.
static inline void
sim_kind_applied(struct sim *sim, uint64_t id, uint8_t kind)
{
    struct sim_collection *collection = sim_collection(sim, id);
    collection->written |= 1u << kind;
    if (collection->known != MAP_IDS_UNKEPT)
        SIM_REQUIRE(
            sim, collection->decided == kind,
            "no point is made before its collection has a kind of ids, and none of another");
}

// ---- programs ----

// When the node gets a program that knows the feature; 0: it always had. Drawn of the seed alone.
static inline uint64_t
sim_upgrade_ns(const struct sim *sim, uint32_t at)
{
    const uint64_t seed = sim->options.seed;
    if (sim->options.profile->kinds == 0 || seed / 7 % 3 != 0)
        return 0;
    const uint64_t within_ns = sim->options.seconds * SIM_SECOND * 3 / 4;
    return 1 + mix64(seed + mix64(0x6b696e6473 + at)) % within_ns;
}

static inline uint64_t
sim_features(const struct sim *sim, uint32_t at)
{
    return sim->now_ns >= sim_upgrade_ns(sim, at) ? MAP_FEATURE_ID_KINDS : 0;
}

// ---- the operator ----

static inline const struct map_collection *
sim_other(const struct map *map)
{
    const struct map_name name = {.count = 1, .bytes = {'d'}};
    return map_collection_named(map, &name);
}

static inline void
sim_want_collection(const struct sim *sim, char name, struct command *command)
{
    *command = (struct command){.kind = COMMAND_COLLECTION_CREATE};
    const bool valid = map_name_set(&command->collection.name, &name, 1);
    ASSERT(valid);
    command->collection.dimension = 8;
    command->collection.links_max = 16;
    command->collection.build_beam = 100;
    command->collection.shards = SIM_SHARDS;
    command->collection.replication = (uint8_t)(2 + sim->options.seed / 2 % 2);
}

// When the last node gets its newer program; 0: all always had it.
static inline uint64_t
sim_last_upgrade_ns(const struct sim *sim)
{
    uint64_t last_ns = 0;
    for (uint32_t at = 0; at < sim->options.nodes; at++)
        if (sim_upgrade_ns(sim, at) > last_ns)
            last_ns = sim_upgrade_ns(sim, at);
    return last_ns;
}

// Then the feature is switched on, and a collection that is being made meanwhile is one of before.
static inline bool
sim_upgrade_is_near(const struct sim *sim)
{
    const uint64_t last_ns = sim_last_upgrade_ns(sim);
    return last_ns != 0 && sim->now_ns + 300 * SIM_MS >= last_ns &&
           sim->now_ns < last_ns + 1500 * SIM_MS;
}

// False: nothing today. After the faults one is made where there is none, and stays.
static inline bool
sim_plan_kinds(struct sim *sim, const struct map *map, struct command *command)
{
    const uint32_t usual = sim->options.profile->kinds;
    const uint32_t permille =
        usual > 0 && sim_upgrade_is_near(sim) && map->features == 0 ? 1000 : usual;
    const struct map_collection *other = sim_other(map);
    if (permille == 0 || (sim->calm ? other != NULL : !sim_chance(sim, permille)))
        return false;
    if (other == NULL) {
        sim_want_collection(sim, 'd', command);
        return sim->collection_count < SIM_OTHERS_MAX;
    }
    *command = (struct command){.kind = COMMAND_COLLECTION_DROP};
    command->alter.collection = other->id;
    command->alter.expected = other->version;
    return sim->collection_count < SIM_OTHERS_MAX - 1; // so that one can be made afterwards
}

static inline bool
sim_is_being_made(const struct map *map, const struct map_collection *collection)
{
    for (uint32_t i = 0; i < map->shard_count; i++)
        if (map->shards[i].collection == collection->id && map->shards[i].status == SHARD_CREATING)
            return true;
    return false;
}

// From just before the last upgrade on: a collection is being made at any time, until there is one that the feature found so.
static inline void
sim_hurry_kinds(struct sim *sim)
{
    const uint32_t at = prng_below(&sim->prng, sim->options.nodes);
    const struct sim_node *node = &sim->nodes[at];
    static struct command command;
    if (!sim_upgrade_is_near(sim))
        return;
    sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + 80 * SIM_MS, .kind = SIM_HURRY});
    const struct map *map = &node->turn.map;
    if (!node->up || node->paused_until_ns > sim->now_ns || map->collection_count == 0 ||
        map->features != 0 || (sim_other(map) != NULL && sim_is_being_made(map, sim_other(map))))
        return;
    if (sim_plan_kinds(sim, map, &command))
        sim_wish(sim, at, &command);
}

#endif
