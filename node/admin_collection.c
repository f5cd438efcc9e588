// node/admin_collection.c -- collection.* and alias.*: names, what is behind them, and what is refused before anybody proposes it.
//
// Shape: value.
//
// What apply would refuse with a bare status is looked for here first, where there are words for it; apply stays the judge. An alias
// stands for its collection wherever one is asked about or altered, but not where one is dropped: who drops says the real name.
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "node/admin_int.h"
#include "node/admin_rows.h"

#define LINKS_DEFAULT 16u
#define BEAM_DEFAULT 200u

static enum admin_next exists_already(struct admin *a, const struct map_collection *known);
static enum admin_next create_new(struct admin *a, uint32_t nodes);
static uint32_t shards_of(const struct map *map, uint64_t collection);

const struct map_collection *
admin_collection_find(struct admin *a, struct wire_text text)
{
    const struct map_name name = name_of_text(text);
    const struct map_collection *collection = map_resolve(a->map, &name);
    if (collection == NULL)
        error_set(a->error, OMEN_E_NOT_FOUND, "no collection '%.*s'", (int)text.count, text.bytes);
    return collection;
}

// ---- create ----

static enum admin_next
refuse_replicas(struct admin *a, uint32_t replicas, uint32_t nodes)
{
    return admin_refuse(a, OMEN_E_INVALID,
                        "replicas is %" PRIu32 ", but the cluster has %" PRIu32
                        " nodes that can hold copies",
                        replicas, nodes);
}

static enum admin_next
refuse_min_insync(struct admin *a, uint32_t min_insync, uint32_t replicas)
{
    return admin_refuse(a, OMEN_E_INVALID,
                        "min_insync is %" PRIu32 ", more than the %" PRIu32 " replicas there are",
                        min_insync, replicas);
}

static enum admin_next
refuse_quotas(struct admin *a)
{
    return admin_refuse(a, OMEN_E_UNSUPPORTED,
                        "a quota waits for all nodes to run a version that knows quotas");
}

enum admin_next
admin_collection_create(struct admin *a)
{
    const struct api_collection_create *ask = a->ask;
    const struct map_name name = name_of_text(ask->name);
    const struct map_collection *known = map_resolve(a->map, &name);
    if (known != NULL)
        return exists_already(a, known);
    const uint32_t nodes = admin_data_nodes(a->map);
    if (nodes == 0)
        return admin_refuse(
            a, OMEN_E_BUSY,
            "no node of the cluster takes copies now: those that keep data drain, or none is up");
    if (ask->replicas > nodes)
        return refuse_replicas(a, ask->replicas, nodes);
    if (a->map->collection_count == MAP_COLLECTIONS_MAX)
        return admin_refuse(a, OMEN_E_FULL, "the cluster has %u collections, which is the most",
                            MAP_COLLECTIONS_MAX);
    if ((ask->memory_quota != 0 || ask->disk_quota != 0) && !map_has(a->map, MAP_FEATURE_LIMITS))
        return refuse_quotas(a);
    return create_new(a, nodes);
}

static enum admin_next
create_new(struct admin *a, uint32_t nodes)
{
    const struct api_collection_create *ask = a->ask;
    uint32_t replicas = ask->replicas, shards = ask->shards;
    if (replicas == 0)
        replicas = nodes < ADMIN_REPLICAS_DEFAULT ? nodes : ADMIN_REPLICAS_DEFAULT;
    if (shards == 0)
        shards = nodes < ADMIN_SHARDS_DEFAULT_MAX ? nodes : ADMIN_SHARDS_DEFAULT_MAX;
    if (ask->min_insync > replicas)
        return refuse_min_insync(a, ask->min_insync, replicas);
    if (a->map->shard_count + shards > MAP_SHARDS_MAX)
        return admin_refuse(a, OMEN_E_FULL,
                            "shards is %" PRIu32 ", but the cluster has %" PRIu32
                            " shards and can have %u",
                            shards, a->map->shard_count, MAP_SHARDS_MAX);
    a->step->command.collection = (struct command_collection){
        .name = name_of_text(ask->name),
        .dimension = ask->dimension,
        .shards = shards,
        .links_max = (uint16_t)(ask->m != 0 ? ask->m : LINKS_DEFAULT),
        .build_beam = (uint16_t)(ask->ef_construction != 0 ? ask->ef_construction : BEAM_DEFAULT),
        .metric = (uint8_t)(ask->metric != 0 ? ask->metric - 1 : API_COSINE - 1),
        .dtype = ask->dtype != 0 ? ask->dtype : WIRE_F32,
        .quantization = (uint8_t)(ask->quantization != 0 ? ask->quantization - 1 : API_INT8 - 1),
        .replication = (uint8_t)replicas,
        .min_insync = (uint8_t)ask->min_insync,
        .quotas = {[QUOTA_MEMORY] = ask->memory_quota, [QUOTA_DISK] = ask->disk_quota}};
    return admin_propose(a, COMMAND_COLLECTION_CREATE);
}

// What cannot be altered later, and was said: NULL, or the key that is different.
static const char *
what_differs(const struct api_collection_create *ask, const struct map_collection *known)
{
    if (ask->dimension != known->dimension)
        return "dimension";
    if (ask->metric != 0 && ask->metric - 1 != known->metric)
        return "metric";
    if (ask->dtype != 0 && ask->dtype != known->dtype)
        return "dtype";
    if (ask->m != 0 && ask->m != known->links_max)
        return "m";
    if (ask->ef_construction != 0 && ask->ef_construction != known->build_beam)
        return "ef_construction";
    if (ask->quantization != 0 && ask->quantization - 1 != known->quantization)
        return "quantization";
    return NULL;
}

static uint8_t
said_kind(uint8_t id_kind)
{
    return id_kind >= MAP_IDS_INTEGER ? (uint8_t)(id_kind - MAP_IDS_INTEGER + 1) : 0;
}

static struct api_collection
collection_row(const struct map_collection *row, uint32_t shards)
{
    return (struct api_collection){.name = text_of_name(&row->name),
                                   .id = row->id,
                                   .version = row->version,
                                   .dimension = row->dimension,
                                   .shards = shards,
                                   .replicas = row->replication,
                                   .min_insync = row->min_insync,
                                   .m = row->links_max,
                                   .ef_construction = row->build_beam,
                                   .metric = (uint8_t)(row->metric + 1),
                                   .dtype = row->dtype,
                                   .quantization = (uint8_t)(row->quantization + 1),
                                   .memory_quota = row->quotas[QUOTA_MEMORY],
                                   .disk_quota = row->quotas[QUOTA_DISK],
                                   .id_kind = said_kind(row->id_kind)};
}

static enum admin_next
answer_collection(struct admin *a, const struct map_collection *row)
{
    const struct api_collection answer = collection_row(row, shards_of(a->map, row->id));
    return admin_answer(a, &answer);
}

static enum admin_next
exists_already(struct admin *a, const struct map_collection *known)
{
    const struct api_collection_create *ask = a->ask;
    const int count = (int)ask->name.count;
    const struct map_name name = name_of_text(ask->name);
    if (map_alias(a->map, &name) != NULL)
        return admin_refuse(a, OMEN_E_EXISTS, "'%.*s' is an alias of the collection '%.*s'", count,
                            ask->name.bytes, known->name.count, known->name.bytes);
    if (!ask->if_not_exists)
        return admin_refuse(a, OMEN_E_EXISTS, "the collection '%.*s' exists already", count,
                            ask->name.bytes);
    const char *key = what_differs(ask, known);
    if (key != NULL)
        return admin_refuse(a, OMEN_E_EXISTS,
                            "the collection '%.*s' exists already, with another %s", count,
                            ask->name.bytes, key);
    return answer_collection(a, known);
}

// It may be dropped already.
enum admin_next
admin_collection_made(struct admin *a, const struct command_result *result)
{
    const struct api_collection_update *update = a->ask;
    const struct map_collection *row;
    if (a->method->number == METHOD_COLLECTION_CREATE) {
        row = map_collection(a->map, result->value);
    } else {
        const struct map_name name = name_of_text(update->collection);
        row = map_resolve(a->map, &name);
    }
    if (row == NULL)
        return admin_refuse(a, OMEN_E_NOT_FOUND, "the collection was dropped again meanwhile");
    return answer_collection(a, row);
}

// ---- get, list, update, drop ----

static uint32_t
shards_of(const struct map *map, uint64_t collection)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < map->shard_count; i++)
        count += map->shards[i].collection == collection && shard_is_routed(&map->shards[i]);
    return count;
}

// `more`: what copies have said, or NULL.
static void
write_row(const struct map_collection *row, uint32_t shards, const struct admin_row *more,
          struct encode *answer)
{
    struct api_field room[FIELDS_MAX];
    struct api_collection said = collection_row(row, shards);
    if (more != NULL)
        said.fields = admin_row_fields(more, room);
    if (more != NULL && more->told == shards) // else it would be of some shards
        said.points = wire_given(more->points);
    shape_write(answer, &api_collection, &said);
}

void
admin_collection_write(const struct map *map, const struct map_collection *row,
                       const struct admin_row *more, struct encode *answer)
{
    write_row(row, shards_of(map, row->id), more, answer);
}

enum admin_next
admin_collection_list(struct admin *a)
{
    a->step->whom = ADMIN_ANY_COPY;
    return ADMIN_ASK_SHARDS;
}

void
admin_collections_write(const struct map *map, const struct admin_rows *rows, struct encode *answer)
{
    uint32_t shards[MAP_COLLECTIONS_MAX] = {0};
    for (uint32_t i = 0; i < map->shard_count; i++) {
        const struct map_collection *row = map_collection(map, map->shards[i].collection);
        if (row != NULL && shard_is_routed(&map->shards[i]))
            shards[row - map->collections]++;
    }
    encode_map(answer, 1);
    encode_word(answer, "collections");
    encode_array(answer, map->collection_count);
    for (uint32_t i = 0; i < map->collection_count; i++)
        write_row(&map->collections[i], shards[i], admin_rows_find(rows, map->collections[i].id),
                  answer);
}

enum admin_next
admin_collection_update(struct admin *a)
{
    const struct api_collection_update *ask = a->ask;
    const struct map_collection *row = admin_collection_find(a, ask->collection);
    if (row == NULL)
        return ADMIN_REFUSED;
    const struct wire_maybe quotas[MAP_QUOTAS] = {
        [QUOTA_MEMORY] = ask->memory_quota, [QUOTA_DISK] = ask->disk_quota};
    if (ask->replicas == 0 && ask->min_insync == 0 && !quotas[QUOTA_MEMORY].given &&
        !quotas[QUOTA_DISK].given)
        return admin_refuse(a, OMEN_E_INVALID,
                            "collection.update: has neither replicas nor min_insync, nor "
                            "memory_quota or disk_quota");
    if ((quotas[QUOTA_MEMORY].value != 0 || quotas[QUOTA_DISK].value != 0) &&
        !map_has(a->map, MAP_FEATURE_LIMITS))
        return refuse_quotas(a);
    const uint32_t nodes = admin_data_nodes(a->map);
    if (ask->replicas > nodes && ask->replicas > row->replication)
        return refuse_replicas(a, ask->replicas, nodes);
    const uint32_t replicas = ask->replicas != 0 ? ask->replicas : row->replication;
    // None: as it was chosen, or the default of another replication where nobody chose.
    const bool chosen = row->min_insync != map_min_insync_default(row->replication);
    uint32_t min_insync = ask->min_insync;
    if (min_insync == 0)
        min_insync = chosen ? row->min_insync : map_min_insync_default((uint8_t)replicas);
    if (min_insync > replicas)
        return refuse_min_insync(a, min_insync, replicas);
    bool same = replicas == row->replication && min_insync == row->min_insync;
    for (uint32_t i = 0; i < MAP_QUOTAS; i++)
        same = same && (!quotas[i].given || quotas[i].value == row->quotas[i]);
    if (same)
        return answer_collection(a, row);
    a->step->command.alter = (struct command_alter){.collection = row->id,
                                                    .expected = row->version,
                                                    .replication = (uint8_t)replicas,
                                                    .min_insync = (uint8_t)min_insync};
    for (uint32_t i = 0; i < MAP_QUOTAS; i++)
        a->step->command.alter.quotas[i] = quotas[i].given ? quotas[i].value : row->quotas[i];
    return admin_propose(a, COMMAND_COLLECTION_ALTER);
}

enum admin_next
admin_collection_drop(struct admin *a)
{
    const struct api_collection_drop *ask = a->ask;
    const struct map_name name = name_of_text(ask->collection);
    const struct map_collection *row = map_collection_named(a->map, &name);
    if (map_alias(a->map, &name) != NULL)
        return admin_refuse(
            a, OMEN_E_INVALID,
            "'%.*s' is an alias: drop the alias (alias.drop), or name its collection",
            (int)ask->collection.count, ask->collection.bytes);
    if (row == NULL && ask->if_exists)
        return admin_answer_version(a);
    if (row == NULL)
        return admin_refuse(a, OMEN_E_NOT_FOUND, "no collection '%.*s'", (int)ask->collection.count,
                            ask->collection.bytes);
    a->step->command.alter =
        (struct command_alter){.collection = row->id, .expected = row->version};
    return admin_propose(a, COMMAND_COLLECTION_DROP);
}

// ---- of every shard ----

static enum admin_next
ask_shards(struct admin *a, enum admin_whom whom, struct wire_text collection)
{
    const struct map_collection *row = admin_collection_find(a, collection);
    if (row == NULL)
        return ADMIN_REFUSED;
    a->step->whom = whom;
    a->step->collection = row->id;
    return ADMIN_ASK_SHARDS;
}

enum admin_next
admin_ask_any(struct admin *a)
{
    const struct api_of_collection *ask = a->ask;
    ASSERT(a->method->ask == &api_of_collection);
    return ask_shards(a, ADMIN_ANY_COPY, ask->collection);
}

enum admin_next
admin_ask_primaries(struct admin *a)
{
    const bool drops = a->method->number == METHOD_COLLECTION_DROP_FIELD;
    const struct api_index_field *index = a->ask;
    const struct api_drop_field *drop = a->ask;
    return ask_shards(a, ADMIN_PRIMARIES, drops ? drop->collection : index->collection);
}

enum admin_next
admin_ask_every(struct admin *a)
{
    const bool builds = a->method->number == METHOD_COLLECTION_BUILD;
    const struct api_of_collection *of = a->ask;
    const struct api_build *build = a->ask;
    return ask_shards(a, ADMIN_EVERY_COPY, builds ? build->collection : of->collection);
}

// ---- builds ----

bool
admin_builder_lives(const struct admin_view *view)
{
    for (uint32_t i = 0; i < view->map->node_count; i++) {
        const struct map_node *node = &view->map->nodes[i];
        const bool builds = (node->roles & NODE_BUILDER) != 0 && (node->roles & NODE_DATA) == 0;
        const struct gossip_claim *member = admin_member(view, node->uuid);
        if (builds && node->state == NODE_UP && member != NULL && member->state == GOSSIP_ALIVE)
            return true;
    }
    return false;
}

static const struct job *
build_under_way(const struct map *map, uint64_t collection)
{
    for (uint32_t i = 0; i < map->job_count; i++) {
        const struct job *job = &map->jobs[i];
        const struct map_shard *shard = map_shard(map, job->shard);
        if (job->kind == JOB_BUILD && job->state < JOB_DONE && shard != NULL &&
            shard->collection == collection)
            return job;
    }
    return NULL;
}

static enum job_build_by
build_by(uint8_t backend)
{
    return backend == API_CUDA  ? JOB_BUILD_GPU
           : backend == API_CPU ? JOB_BUILD_CPU
                                : JOB_BUILD_AUTO;
}

// One job for all of its shards, by the number of the first (node/builder.h).
enum admin_next
admin_collection_build(struct admin *a)
{
    const struct api_build *ask = a->ask;
    const struct map_collection *row = admin_collection_find(a, ask->collection);
    if (row == NULL)
        return ADMIN_REFUSED;
    const bool requires = ask->backend == API_CUDA, lives = admin_builder_lives(a->view);
    if (ask->hold_ms > 0 || (!lives && !requires))
        return admin_ask_every(a);
    const struct job *job = build_under_way(a->map, row->id);
    if (job != NULL)
        return admin_answer(a, &(struct api_started){.job = job->id});
    const struct map_shard *first = map_route(a->map, row->id, 0);
    ASSERT(first != NULL);
    a->step->command.job = (struct command_job){
        .shard = first->id, .kind = JOB_BUILD, .argument = build_by(ask->backend)};
    return admin_propose(a, COMMAND_JOB_CREATE);
}

enum admin_next
admin_build_started(struct admin *a, const struct command_result *result)
{
    return admin_answer(a, &(struct api_started){.job = result->value});
}

// ---- aliases ----

static enum admin_next
change_alias(struct admin *a, const struct map_name *name, uint64_t collection)
{
    const struct map_alias *now = map_alias(a->map, name);
    a->step->command.aliases = (struct command_aliases){.count = 1};
    a->step->command.aliases.changes[0] =
        (struct alias_change){*name, collection, now != NULL ? now->collection : 0};
    return admin_propose(a, COMMAND_ALIASES);
}

enum admin_next
admin_alias_set(struct admin *a)
{
    const struct api_alias_set *ask = a->ask;
    const struct map_name alias = name_of_text(ask->alias), name = name_of_text(ask->collection);
    const struct map_alias *now = map_alias(a->map, &alias);
    const struct map_collection *row = map_collection_named(a->map, &name);
    if (map_alias(a->map, &name) != NULL)
        return admin_refuse(a, OMEN_E_INVALID, "'%.*s' is an alias itself: name its collection",
                            (int)ask->collection.count, ask->collection.bytes);
    if (row == NULL)
        return admin_refuse(a, OMEN_E_NOT_FOUND, "no collection '%.*s'", (int)ask->collection.count,
                            ask->collection.bytes);
    if (map_collection_named(a->map, &alias) != NULL)
        return admin_refuse(a, OMEN_E_EXISTS, "'%.*s' is a collection", (int)ask->alias.count,
                            ask->alias.bytes);
    if (now != NULL && now->collection == row->id)
        return admin_answer_version(a);
    if (now == NULL && a->map->alias_count == MAP_ALIASES_MAX)
        return admin_refuse(a, OMEN_E_FULL, "the cluster has %u aliases, which is the most",
                            MAP_ALIASES_MAX);
    return change_alias(a, &alias, row->id);
}

enum admin_next
admin_alias_list(struct admin *a)
{
    admin_answer_list(a, "aliases", a->map->alias_count);
    for (uint32_t i = 0; i < a->map->alias_count; i++) {
        const struct map_alias *alias = &a->map->aliases[i];
        const struct map_collection *collection = map_collection(a->map, alias->collection);
        ASSERT(collection != NULL);
        const struct api_alias row = {.alias = text_of_name(&alias->name),
                                      .collection = text_of_name(&collection->name)};
        shape_write(a->answer, &api_alias, &row);
    }
    return ADMIN_ANSWERED;
}

enum admin_next
admin_alias_drop(struct admin *a)
{
    const struct api_alias_drop *ask = a->ask;
    const struct map_name alias = name_of_text(ask->alias);
    if (map_alias(a->map, &alias) == NULL)
        return admin_refuse(a, OMEN_E_NOT_FOUND, "no alias '%.*s'", (int)ask->alias.count,
                            ask->alias.bytes);
    return change_alias(a, &alias, 0);
}
