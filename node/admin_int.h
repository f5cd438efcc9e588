// node/admin_int.h -- one function a method; private to node/admin*.
//
// Shape: value.
//
// A start looks at everything before it answers or fills in a command. A finish writes the answer of a command that was applied: from what
// was asked, the result and the map, for the command may be that of an earlier try, which nobody has any more.
#ifndef OMEN_NODE_ADMIN_INT_H
#define OMEN_NODE_ADMIN_INT_H
#include "base/limits.h"
#include "node/admin.h"

#define UUID_TEXT_BYTES 37u
#define ADDRESS_TEXT_BYTES 64u // "[v6]:port"

struct admin {
    const struct admin_view *view;
    const struct map *map;
    const struct method *method;
    const void *ask;
    struct admin_step *step;
    struct encode *answer;
    struct omen_error *error;
};

// REFUSED, with *error set; for `return admin_refuse(a, OMEN_E_..., "...", ...);`.
#define admin_refuse(admin, ...) (error_set((admin)->error, __VA_ARGS__), ADMIN_REFUSED)

enum admin_next admin_answer(struct admin *a, const void *answer); // a struct of method->answer
enum admin_next admin_answer_version(struct admin *a); // api_changed, of the map as it is
enum admin_next admin_answer_nothing(struct admin *a); // api_nothing
// A map of one list, whose rows follow one by one: a struct each would need memory for all of them.
void admin_answer_list(struct admin *a, const char *key, uint32_t count);

enum admin_next admin_propose(struct admin *a,
                              enum command_kind kind); // the rest of the command is filled in
// One step of a shard, on the cfg_ver that is seen.
enum admin_next admin_propose_step(struct admin *a, const struct map_shard *shard,
                                   const struct shard_step *step);

// ---- operations (admin_op.c) ----

// None: it has no op_id. OMEN_E_OP_EXPIRED, OMEN_E_INVALID: one that may have been forgotten, or will be too soon; OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status admin_op(const struct admin_view *view, const struct admin_call *call,
                                     struct cluster_uuid *op, struct omen_error *error);

// ---- texts (admin_text.c) ----

void uuid_write(struct cluster_uuid uuid, char text[UUID_TEXT_BYTES]); // none: ""
bool uuid_read(struct wire_text text, struct cluster_uuid *uuid);
void address_write(const struct gossip_address *address, char text[ADDRESS_TEXT_BYTES]); // none: ""
bool address_read(struct wire_text text, struct gossip_address *address);
struct map_name name_of_text(struct wire_text text); // that a shape has let through
struct wire_text text_of_name(const struct map_name *name);
bool hash_read(struct wire_text text, uint64_t *hash); // 16 hexadecimal digits

// ---- nodes (admin_node.c) ----

const struct gossip_claim *admin_member(const struct admin_view *view,
                                        struct cluster_uuid node); // NULL: unheard of
// False: it says none, or a bad one.
bool admin_said_name(const struct gossip_claim *member, char name[WIRE_NAME_BYTES_MAX + 1]);
void admin_node_name(const struct admin_view *view, const struct map_node *node,
                     char name[WIRE_NAME_BYTES_MAX + 1]);
// As they are told: who keeps data links its own copies and builds for nobody else, whatever it was started as.
uint32_t admin_roles(uint32_t roles);
// By uuid or name. NULL: *error says why.
const struct map_node *admin_node_find(struct admin *a, struct wire_text text);
uint32_t admin_data_nodes(const struct map *map); // that may be given copies
bool admin_node_lives(const struct admin_view *view, const struct map_node *node);
// As it has said itself.
bool admin_disk_is_low(const struct admin_view *view, const struct map_node *node);

// ---- shards (admin_shard.c) ----

// What is under way in it: JOB_MOVE, JOB_SPLIT, or 0.
enum job_kind admin_shard_motion(const struct map_shard *shard);
struct admin_census { // of the routed shards
    uint32_t shards;
    uint32_t degraded; // with fewer living copies in sync than replication asks for
    uint32_t lost;     // without a living primary
};
struct admin_census admin_census(const struct admin_view *view);

// What a copy has said of itself; `told` where it has.
struct admin_place {
    uint64_t shard;
    struct cluster_uuid copy;
    uint64_t seq, points;
    bool told;
};
struct admin_places {
    const struct admin_place *list; // by their shards' numbers, ascending
    uint32_t count;
};
// The map's rows with that: of one collection (0: of all), or of one shard.
void admin_shards_write(const struct map *map, uint64_t collection, struct admin_places places,
                        struct encode *answer);
void admin_shard_write(const struct map *map, const struct map_shard *shard,
                       struct admin_places places, struct encode *answer);

// ---- collections (admin_collection.c) ----

const struct map_collection *admin_collection_find(struct admin *a,
                                                   struct wire_text text); // NULL: *error

// The map's rows, with what copies have said of them (node/admin_rows.h; NULL: nothing).
struct admin_row;
struct admin_rows;
void admin_collection_write(const struct map *map, const struct map_collection *row,
                            const struct admin_row *more, struct encode *answer);
void admin_collections_write(const struct map *map, const struct admin_rows *rows,
                             struct encode *answer);

#define ADMIN_STARTS(X)                                                                            \
    X(admin_ping)                                                                                  \
    X(admin_health)                                                                                \
    X(admin_info)                                                                                  \
    X(admin_metrics)                                                                               \
    X(admin_cluster_info)                                                                          \
    X(admin_members)                                                                               \
    X(admin_events)                                                                                \
    X(admin_meet)                                                                                  \
    X(admin_rebalance)                                                                             \
    X(admin_node_list)                                                                             \
    X(admin_node_get)                                                                              \
    X(admin_node_drain)                                                                            \
    X(admin_node_undrain)                                                                          \
    X(admin_node_decommission)                                                                     \
    X(admin_shard_list)                                                                            \
    X(admin_shard_get)                                                                             \
    X(admin_shard_move)                                                                            \
    X(admin_shard_split)                                                                           \
    X(admin_shard_transfer)                                                                        \
    X(admin_shard_force)                                                                           \
    X(admin_ask_any)                                                                               \
    X(admin_ask_primaries)                                                                         \
    X(admin_ask_every)                                                                             \
    X(admin_collection_build)                                                                      \
    X(admin_collection_create)                                                                     \
    X(admin_collection_list)                                                                       \
    X(admin_collection_drop)                                                                       \
    X(admin_collection_update)                                                                     \
    X(admin_alias_set)                                                                             \
    X(admin_alias_list)                                                                            \
    X(admin_alias_drop)                                                                            \
    X(admin_job_list)                                                                              \
    X(admin_job_get)                                                                               \
    X(admin_job_cancel)                                                                            \
    X(admin_key_create)                                                                            \
    X(admin_key_list)                                                                              \
    X(admin_key_revoke)
#define ADMIN_START(name) enum admin_next name(struct admin *a);
ADMIN_STARTS(ADMIN_START)
#undef ADMIN_START

enum admin_next admin_collection_made(struct admin *a, const struct command_result *result);
enum admin_next admin_shard_started(struct admin *a, const struct command_result *result);
enum admin_next admin_build_started(struct admin *a, const struct command_result *result);
enum admin_next admin_key_said(struct admin *a, const struct command_result *result);
enum admin_next admin_moves_said(struct admin *a, const struct command_result *result);

#endif
