// node/admin.c -- which function a method is, and what became of a command that was proposed for it.
//
// Shape: value.
#include "node/admin.h"

#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "cluster/apply.h"
#include "node/admin_int.h"

static enum admin_next finish_version(struct admin *a, const struct command_result *result);
static enum admin_next finish_nothing(struct admin *a, const struct command_result *result);
static void conflict_say(const struct map *map, const struct command *command,
                         struct omen_error *error);

static const struct {
    enum admin_next (*start)(struct admin *a);
    // NULL: it proposes nothing.
    enum admin_next (*finish)(struct admin *a, const struct command_result *result);
} methods[METHODS_END] = {
    [METHOD_SYSTEM_PING] = {admin_ping, NULL},
    [METHOD_SYSTEM_HEALTH] = {admin_health, NULL},
    [METHOD_SYSTEM_INFO] = {admin_info, NULL},
    [METHOD_SYSTEM_METRICS] = {admin_metrics, NULL},
    [METHOD_CLUSTER_INFO] = {admin_cluster_info, NULL},
    [METHOD_CLUSTER_MEMBERS] = {admin_members, NULL},
    [METHOD_CLUSTER_EVENTS] = {admin_events, NULL},
    [METHOD_CLUSTER_JOIN] = {admin_meet, NULL},
    [METHOD_CLUSTER_REBALANCE] = {admin_rebalance, admin_moves_said},
    [METHOD_NODE_LIST] = {admin_node_list, NULL},
    [METHOD_NODE_GET] = {admin_node_get, NULL},
    [METHOD_NODE_DRAIN] = {admin_node_drain, finish_version},
    [METHOD_NODE_UNDRAIN] = {admin_node_undrain, finish_version},
    [METHOD_NODE_DECOMMISSION] = {admin_node_decommission, finish_version},
    [METHOD_SHARD_LIST] = {admin_shard_list, NULL},
    [METHOD_SHARD_GET] = {admin_shard_get, NULL},
    [METHOD_SHARD_MOVE] = {admin_shard_move, admin_shard_started},
    [METHOD_SHARD_SPLIT] = {admin_shard_split, admin_shard_started},
    [METHOD_SHARD_VERIFY] = {admin_ask_every, NULL},
    [METHOD_SHARD_TRANSFER] = {admin_shard_transfer, finish_version},
    [METHOD_SHARD_FORCE_PRIMARY] = {admin_shard_force, finish_version},
    [METHOD_COLLECTION_CREATE] = {admin_collection_create, admin_collection_made},
    [METHOD_COLLECTION_GET] = {admin_ask_any, NULL},
    [METHOD_COLLECTION_LIST] = {admin_collection_list, NULL},
    [METHOD_COLLECTION_DROP] = {admin_collection_drop, finish_version},
    [METHOD_COLLECTION_UPDATE] = {admin_collection_update, admin_collection_made},
    [METHOD_COLLECTION_STATS] = {admin_ask_any, NULL},
    [METHOD_COLLECTION_INDEX_FIELD] = {admin_ask_primaries, NULL},
    [METHOD_COLLECTION_DROP_FIELD] = {admin_ask_primaries, NULL},
    [METHOD_COLLECTION_OPTIMIZE] = {admin_ask_every, NULL},
    [METHOD_COLLECTION_BUILD] = {admin_collection_build, admin_build_started},
    [METHOD_ALIAS_SET] = {admin_alias_set, finish_version},
    [METHOD_ALIAS_LIST] = {admin_alias_list, NULL},
    [METHOD_ALIAS_DROP] = {admin_alias_drop, finish_version},
    [METHOD_JOB_LIST] = {admin_job_list, NULL},
    [METHOD_JOB_GET] = {admin_job_get, NULL},
    [METHOD_JOB_CANCEL] = {admin_job_cancel, finish_nothing},
    [METHOD_KEY_CREATE] = {admin_key_create, admin_key_said},
    [METHOD_KEY_LIST] = {admin_key_list, NULL},
    [METHOD_KEY_REVOKE] = {admin_key_revoke, finish_version},
};

bool
admin_has(enum method_number number)
{
    return number < METHODS_END && methods[number].start != NULL;
}

bool
admin_is_led(enum method_number number)
{
    return admin_has(number) && methods[number].finish != NULL;
}

static struct admin
admin_of(const struct admin_view *view, const struct admin_call *call, struct admin_step *step,
         struct encode *answer, struct omen_error *error)
{
    return (struct admin){.view = view,
                          .map = view->map,
                          .method = call->method,
                          .ask = call->ask,
                          .step = step,
                          .answer = answer,
                          .error = error};
}

// An answer that is too large for its frame is no answer.
static omen_status
answer_status(struct admin *a, size_t before)
{
    const omen_status status = a->answer->status;
    if (status == OMEN_OK)
        return OMEN_OK;
    encode_rewind(a->answer, before);
    if (status == OMEN_E_FULL)
        return error_set(a->error, status, "the answer of %s is larger than a message may be",
                         a->method->name);
    return error_set_plain(a->error, status);
}

enum admin_next
admin_start(const struct admin_view *view, const struct admin_call *call, struct admin_step *step,
            struct encode *answer, struct omen_error *error)
{
    ASSERT(admin_has((enum method_number)call->method->number));
    struct admin a = admin_of(view, call, step, answer, error);
    const size_t before = answer->count;
    struct cluster_uuid op;
    struct command_result result;
    enum admin_next next;
    memset(step, 0, sizeof *step);
    if (admin_op(view, call, &op, error) != OMEN_OK)
        return ADMIN_REFUSED;
    if (!uuid_is_none(op) && cluster_answered(view->map, op, &result) && result.status == OMEN_OK)
        next = methods[call->method->number].finish(&a, &result);
    else
        next = methods[call->method->number].start(&a);
    ASSERT(next != ADMIN_PROPOSE || (methods[call->method->number].finish != NULL &&
                                     step->command.kind != 0 && answer->count == before));
    step->command.op = op;
    return answer_status(&a, before) == OMEN_OK ? next : ADMIN_REFUSED;
}

// The map's answer about an operation that it does not apply (cluster/session_int.h), in words; any other as it is.
static void
refusal_say(const struct map *map, const struct command *command, omen_status status,
            struct omen_error *error)
{
    struct command_result first;
    if (cluster_answered(map, command->op, &first) && first.status != OMEN_OK)
        status = first.status; // an earlier try's
    else if (!uuid_is_none(command->op) && status == OMEN_E_TIMEOUT)
        status = OMEN_E_OP_EXPIRED;
    error_set_plain(error, status);
    if (status == OMEN_E_CONFLICT)
        conflict_say(map, command, error);
}

// What was refused is asked again of the map of now: it knows the reason, or that it is so already.
omen_status
admin_finish(const struct admin_view *view, const struct admin_call *call, struct admin_step *step,
             const struct command_result *result, struct encode *answer, struct omen_error *error)
{
    ASSERT(admin_has((enum method_number)call->method->number));
    ASSERT(step->command.kind != 0 && view->map->version >= result->version);
    struct admin a = admin_of(view, call, step, answer, error);
    const size_t before = answer->count;
    if (result->status == OMEN_OK) {
        if (methods[call->method->number].finish(&a, result) == ADMIN_REFUSED)
            return error->status;
        return answer_status(&a, before);
    }
    struct omen_error refusal;
    refusal_say(view->map, &step->command, result->status, &refusal);
    switch (admin_start(view, call, step, answer, error)) {
    case ADMIN_ANSWERED:
        return OMEN_OK;
    case ADMIN_REFUSED:
        return error->status;
    default:
        encode_rewind(answer, before);
        *error = refusal;
        return refusal.status;
    }
}

// ---- answers ----

enum admin_next
admin_answer(struct admin *a, const void *answer)
{
    shape_write(a->answer, a->method->answer, answer);
    return ADMIN_ANSWERED;
}

enum admin_next
admin_answer_version(struct admin *a)
{
    ASSERT(a->method->answer == &api_changed);
    return admin_answer(a, &(struct api_changed){.version = a->map->version});
}

enum admin_next
admin_answer_nothing(struct admin *a)
{
    ASSERT(a->method->answer == &api_nothing);
    return admin_answer(a, &(struct api_nothing){0});
}

void
admin_answer_list(struct admin *a, const char *key, uint32_t count)
{
    ASSERT(shape_field(a->method->answer, key)->kind == FIELD_LIST);
    encode_map(a->answer, 1);
    encode_word(a->answer, key);
    encode_array(a->answer, count);
}

static enum admin_next
finish_version(struct admin *a, const struct command_result *result)
{
    return admin_answer(a, &(struct api_changed){.version = result->version});
}

static enum admin_next
finish_nothing(struct admin *a, const struct command_result *result)
{
    (void)result;
    return admin_answer_nothing(a);
}

// ---- proposals ----

enum admin_next
admin_propose(struct admin *a, enum command_kind kind)
{
    a->step->command.kind = (uint8_t)kind;
    return ADMIN_PROPOSE;
}

enum admin_next
admin_propose_step(struct admin *a, const struct map_shard *shard, const struct shard_step *step)
{
    struct command_steps *steps = &a->step->command.steps;
    ASSERT(steps->count < COMMAND_STEPS_MAX);
    struct shard_step *row = &steps->steps[steps->count];
    *row = *step;
    row->shard = shard->id;
    row->cfg_ver = shard->cfg_ver + steps->count; // each step makes a new one
    steps->count++;
    return admin_propose(a, COMMAND_STEPS);
}

// ---- conflicts ----

static void
say_version(struct omen_error *error, const char *what, uint64_t expected, uint64_t now)
{
    error_set(error, OMEN_E_CONFLICT,
              "%s was changed by somebody else meanwhile: version %" PRIu64 " then, %" PRIu64
              " now; nothing was done, ask again",
              what, expected, now);
}

static void
say_shard(const struct map *map, const struct shard_step *step, struct omen_error *error)
{
    const struct map_shard *shard = map_shard(map, step->shard);
    if (shard != NULL)
        error_set(error, OMEN_E_CONFLICT,
                  "shard %" PRIu64 " was changed meanwhile: cfg_ver %" PRIu64 " then, %" PRIu64
                  " now; nothing was done, ask again",
                  step->shard, step->cfg_ver, shard->cfg_ver);
}

// Of what the command expected and what is there now. What is not there any more is said by who looks again.
static void
conflict_say(const struct map *map, const struct command *command, struct omen_error *error)
{
    const struct map_collection *collection = NULL;
    const struct map_node *node = NULL;
    const struct api_key *key = NULL;
    switch ((enum command_kind)command->kind) {
    case COMMAND_STEPS:
        say_shard(map, &command->steps.steps[0], error);
        break;
    case COMMAND_COLLECTION_ALTER:
    case COMMAND_COLLECTION_DROP:
        collection = map_collection(map, command->alter.collection);
        if (collection != NULL)
            say_version(error, "the collection", command->alter.expected, collection->version);
        break;
    case COMMAND_NODE_STATE:
        node = map_node(map, command->node_state.node);
        if (node != NULL)
            say_version(error, "the node", command->node_state.expected, node->version);
        break;
    case COMMAND_KEY_PUT:
    case COMMAND_KEY_DROP:
        key = map_key(map, &command->key.name);
        if (key != NULL)
            say_version(error, "the key", command->key.expected, key->version);
        break;
    case COMMAND_JOB_CANCEL:
        error_set(error, OMEN_E_CONFLICT, "job %" PRIu64 " is over", command->job.job);
        break;
    case COMMAND_ALIASES:
        error_set(error, OMEN_E_CONFLICT,
                  "the alias was set or dropped by somebody else meanwhile; nothing was done, ask "
                  "again");
        break;
    default:
        break;
    }
}
