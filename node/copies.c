// node/copies.c -- gives an input to the copy that it is for; makes, drops and names copies as the map wants them.
//
// Shape: machine.
//
// What is due is looked for in all copies, at every step: a node holds hundreds of them, not millions.
#include "node/copies.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/text.h"
#include "node/copies_int.h"

#define MS UINT64_C(1000000)
#define LEAST_ROOM 8u

static void step_copy(struct copies *copies, struct copy *copy, const struct copies_input *in,
                      struct replica_input *given, struct copies_output *out);
static void start_copy(struct copies *copies, struct copy *copy, const struct replica_disk *disk,
                       const struct copies_input *in, struct copies_output *out);
static void wake(struct copies *copies, const struct copies_input *in, struct copies_output *out);
static struct copy *copies_add(struct copies *copies, const struct copies_env *env);
static uint64_t next_wake(const struct copies *copies, uint64_t now_ns);
static void copies_remove(struct copies *copies, uint32_t at);

void
copies_init(struct copies *copies, const struct copies_config *config, uint64_t seed)
{
    ASSERT(config->retry_ns > 0 && config->idle_ns > 0 && !uuid_is_none(config->node));
    *copies = (struct copies){.config = *config, .shrink_ms = 2000};
    prng_init(&copies->prng, seed);
}

void
copies_fini(struct copies *copies)
{
    while (copies->count > 0)
        copies_remove(copies, copies->count - 1);
    mem_free(copies->rows);
    copies->rows = NULL;
    copies->room = 0;
}

void
copies_step(struct copies *copies, const struct copies_input *in, struct copies_output *out)
{
    out->make = (struct copies_env){0};
    out->drop = out->uuid = (struct cluster_uuid){0};
    out->stepped = out->refused = false;
    out->command.kind = 0;
    copies->now_ns = in->now_ns;
    struct copy *copy = (struct copy *)copies_find(copies, in->uuid);
    switch (in->kind) {
    case COPIES_IN_HELD:
        copy = copies_add(copies, &in->held->env);
        out->refused = copy == NULL;
        if (copy != NULL)
            start_copy(copies, copy, &in->held->disk, in, out);
        break;
    case COPIES_IN_MAP:
        copies_read_map(copies, in->map);
        break;
    case COPIES_IN_LEASE:
        copies->lease_sent_ns = in->sent_ns;
        copies->lease_ns = in->lease_ns;
        if (!copies->current)
            copies->current_ns = in->now_ns;
        copies->current = true;
        for (uint32_t i = 0; i < copies->count; i++)
            copies->rows[i]->leased = false;
        copies_expect_no_more(copies);
        break;
    case COPIES_IN_WORD:
        copies_hear(copies, in->word.node, in->word.dead);
        break;
    case COPIES_IN_LED:
        copies_hear_led(copies);
        break;
    case COPIES_IN_MADE:
        if (copy != NULL && !copy->made)
            start_copy(copies, copy, &(struct replica_disk){.first_seq = 1}, in, out);
        break;
    case COPIES_IN_REPLICA:
        if (copy != NULL && copy->made)
            step_copy(copies, copy, in, in->replica, out);
        break;
    case COPIES_IN_WAKE:
        wake(copies, in, out);
        break;
    }
    out->wake_ns = next_wake(copies, in->now_ns);
}

// ---- the rows ----

static int
compare(struct cluster_uuid a, struct cluster_uuid b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return a.low == b.low ? 0 : a.low < b.low ? -1 : 1;
}

static uint32_t
place_of(const struct copies *copies, struct cluster_uuid uuid)
{
    uint32_t low = 0, high = copies->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (compare(copies->rows[middle]->env.uuid, uuid) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct copy *
copies_find(const struct copies *copies, struct cluster_uuid uuid)
{
    const uint32_t at = place_of(copies, uuid);
    return at < copies->count && uuid_equal(copies->rows[at]->env.uuid, uuid) ? copies->rows[at]
                                                                              : NULL;
}

// NULL: no memory.
static struct copy *
copies_add(struct copies *copies, const struct copies_env *env)
{
    ASSERT(!uuid_is_none(env->uuid) && copies_find(copies, env->uuid) == NULL);
    if (copies->count == copies->room) {
        const uint32_t room = copies->room == 0 ? LEAST_ROOM : copies->room * 2;
        struct copy **grown = mem_resize(copies->rows, room * sizeof(struct copy *));
        if (grown == NULL)
            return NULL;
        copies->rows = grown;
        copies->room = room;
    }
    struct copy *copy = mem_alloc(sizeof *copy);
    if (copy == NULL)
        return NULL;
    memset(copy, 0, sizeof *copy);
    copy->env = *env;
    copy->wake_ns = UINT64_MAX;
    copy->led = true;
    const uint32_t at = place_of(copies, env->uuid);
    for (uint32_t i = copies->count++; i > at; i--)
        copies->rows[i] = copies->rows[i - 1];
    copies->rows[at] = copy;
    return copy;
}

static void
copies_remove(struct copies *copies, uint32_t at)
{
    struct copy *copy = copies->rows[at];
    if (copy->made)
        replica_fini(&copy->replica);
    mem_free(copy);
    copies->count--;
    for (uint32_t i = at; i < copies->count; i++)
        copies->rows[i] = copies->rows[i + 1];
}

// ---- one replica ----

static void
command_one(struct copies_output *out, struct shard_step step)
{
    out->command = (struct command){.kind = COMMAND_STEPS};
    out->command.steps.count = 1;
    out->command.steps.steps[0] = step;
}

static void
propose_change(const struct replica_change *change, struct copies_output *out)
{
    struct shard_step step = {.shard = change->shard,
                              .cfg_ver = change->cfg_ver,
                              .replica = {change->uuid.high, change->uuid.low}};
    switch (change->kind) {
    case REPLICA_CHANGE_NONE:
        return;
    case REPLICA_CHANGE_ADD:
        step.kind = STEP_ADD;
        break;
    case REPLICA_CHANGE_REMOVE:
        step.kind = STEP_REMOVE;
        break;
    case REPLICA_CHANGE_TRANSFER:
        step.kind = STEP_TRANSFER;
        break;
    case REPLICA_CHANGE_CUT:
        step.kind = STEP_CUT;
        step.value = change->seq;
        step.child_cfg_ver[0] = change->child_cfg_ver[0];
        step.child_cfg_ver[1] = change->child_cfg_ver[1];
        break;
    case REPLICA_CHANGE_ABORT:
        step.kind = STEP_ABORT;
        break;
    case REPLICA_CHANGE_LOST:
        step.kind = STEP_LOST;
        break;
    }
    command_one(out, step);
}

static void
step_copy(struct copies *copies, struct copy *copy, const struct copies_input *in,
          struct replica_input *given, struct copies_output *out)
{
    ASSERT(!out->stepped);
    if (given->now_ns == 0)
        given->now_ns = in->now_ns;
    given->wall_ms = in->wall_ms;
    copy->replica.config.shrink_ns = copies->shrink_ms * MS;
    replica_step(&copy->replica, given, &out->replica);
    out->stepped = true;
    out->uuid = copy->env.uuid;
    out->shard = copy->env.shard;
    copy->wake_ns = out->replica.wake_ns;
    if (copy->filled_ns == 0 && !copy_is_empty(copy))
        copy->filled_ns = in->now_ns;
    for (uint32_t i = 0; i < out->replica.msg_count; i++)
        out->nodes[i] = copy_node_of(copy, out->replica.msgs[i].to);
    propose_change(&out->replica.change, out);
}

static void
start_copy(struct copies *copies, struct copy *copy, const struct replica_disk *disk,
           const struct copies_input *in, struct copies_output *out)
{
    const struct copies_config *config = &copies->config;
    const struct replica_config replica = {.uuid = {copy->env.uuid.high, copy->env.uuid.low},
                                           .shard = copy->env.shard,
                                           .boot = config->boot,
                                           .retry_ns = config->retry_ns,
                                           .shrink_ns = copies->shrink_ms * MS,
                                           .idle_ns = config->idle_ns,
                                           .ops_max = config->ops_max,
                                           .terms_max = config->terms_max,
                                           .window_ms = config->window_ms};
    const uint64_t seed = prng_next(&copies->prng);
    replica_init(&copy->replica, &replica, seed);
    copy->made = true;
    step_copy(copies, copy, in, &(struct replica_input){.kind = REPLICA_IN_START, .disk = disk},
              out);
}

// ---- what is due ----

static bool
wants_transfer(const struct copy *copy)
{
    const struct replica *replica = &copy->replica;
    return copy->made && copy->named && copy->told && replica->role == REPLICA_PRIMARY &&
           !uuid_is_none(copy->row.wanted) && replica->meta.term == copy->row.term &&
           replica_uuid_is_none(replica->transfer_to);
}

// A lease is for who reads under it. Two thirds of a node's copies do not, and a lease is renewed twice a second: they hear of the newest
// when they lead.
static bool
wants_lease(const struct copy *copy)
{
    const enum replica_role role = copy->replica.role;
    return !copy->leased && (role == REPLICA_OPENING || role == REPLICA_PRIMARY);
}

static bool
is_told_all(const struct copy *copy)
{
    return copy->told && !wants_lease(copy) && copy->led && copy->words_due == 0;
}

static bool
tell_one(struct copies *copies, struct copy *copy, const struct copies_input *in,
         struct copies_output *out)
{
    struct replica_meta meta;
    struct replica_input given = {0};
    if (!copy->made || !copy->named || is_told_all(copy))
        return false;
    if (!copy->told) {
        copy->told = true;
        copy->words_due = copy_members_dead(copies, copy); // who is a peer only now, too
        given.kind = REPLICA_IN_META;
        given.meta = &meta;
        if (!copy_meta(copy, &meta))
            return false;
    } else if (wants_lease(copy)) {
        copy->leased = true;
        given.kind = REPLICA_IN_LEASE;
        given.boot = copies->config.boot;
        given.sent_ns = copies->lease_sent_ns;
        given.lease_ns = copies->lease_ns;
        given.known_ver = copy->row.cfg_ver;
    } else if (!copy->led) {
        copy->led = true;
        given.kind = REPLICA_IN_LED;
    } else {
        const uint32_t at = (uint32_t)__builtin_ctz(copy->words_due);
        const struct copy_member *member = &copy->members[at];
        copy->words_due &= (uint16_t)(copy->words_due - 1);
        given.kind = copies_is_dead(copies, member->node) ? REPLICA_IN_DEAD : REPLICA_IN_ALIVE;
        given.uuid = (struct replica_uuid){member->uuid.high, member->uuid.low};
    }
    step_copy(copies, copy, in, &given, out);
    return true;
}

static bool
wake_one(struct copies *copies, struct copy *copy, const struct copies_input *in,
         struct copies_output *out)
{
    if (tell_one(copies, copy, in, out))
        return true;
    struct replica_input given = {.kind = REPLICA_IN_WAKE};
    if (wants_transfer(copy) && copy->born_at_ns <= in->now_ns) {
        copy->born_at_ns = in->now_ns + copies->config.retry_ns;
        given.kind = REPLICA_IN_TRANSFER;
        given.uuid = (struct replica_uuid){copy->row.wanted.high, copy->row.wanted.low};
    } else if (!copy->made || copy->wake_ns > in->now_ns) {
        if (!copy->made || !copy_is_pending(copies, copy) || copy->born_at_ns > in->now_ns)
            return false;
        copy->born_at_ns = in->now_ns + copies->config.retry_ns;
        command_one(out, (struct shard_step){.kind = STEP_BORN,
                                             .shard = copy->env.shard,
                                             .cfg_ver = copy->row.cfg_ver,
                                             .node = copies->node,
                                             .replica = copy->env.uuid});
        return true;
    }
    step_copy(copies, copy, in, &given, out);
    return true;
}

static void
make(struct copies *copies, const struct copy_gap *gap, struct copies_output *out)
{
    struct copies_env env = {.shard = gap->shard, .position = copies->map_position};
    env.uuid.high = prng_next(&copies->prng) | 1;
    env.uuid.low = prng_next(&copies->prng);
    if (copies_add(copies, &env) != NULL)
        out->make = env;
}

static void
wake(struct copies *copies, const struct copies_input *in, struct copies_output *out)
{
    for (uint32_t n = 0; n < copies->count; n++) {
        const uint32_t i = (copies->look_at + n) % copies->count;
        if (copy_may_go(copies, copies->rows[i])) {
            out->drop = copies->rows[i]->env.uuid;
            copies_remove(copies, i);
            copies->look_at = i;
            return;
        }
        if (wake_one(copies, copies->rows[i], in, out)) {
            copies->look_at = i + 1;
            return;
        }
    }
    if (copies->gap_count == 0 || copies->gaps_at_ns > in->now_ns)
        return;
    const struct copy_gap gap = copies->gaps[--copies->gap_count];
    if (uuid_is_none(gap.uuid)) {
        make(copies, &gap, out);
        return;
    }
    command_one(out, (struct shard_step){.kind = STEP_LOST,
                                         .shard = gap.shard,
                                         .cfg_ver = gap.cfg_ver,
                                         .replica = gap.uuid});
    for (uint32_t i = copies->gap_count++; i > 0; i--)
        copies->gaps[i] = copies->gaps[i - 1];
    copies->gaps[0] = gap; // again, after the others, until a map says that it is known
    copies->gaps_at_ns = in->now_ns + copies->config.retry_ns;
}

static uint64_t
wake_of(const struct copies *copies, const struct copy *copy)
{
    if (copy_may_go(copies, copy))
        return 0;
    if (!copy->made || !copy->named)
        return copy->made ? copy->wake_ns : UINT64_MAX;
    if (!is_told_all(copy))
        return 0;
    const bool wishes = copy_is_pending(copies, copy) || wants_transfer(copy);
    return wishes && copy->born_at_ns < copy->wake_ns ? copy->born_at_ns : copy->wake_ns;
}

// Many are due at once, each in a step of its own: the next one is near where the last one was.
static uint64_t
next_wake(const struct copies *copies, uint64_t now_ns)
{
    uint64_t first = copies->gap_count > 0 ? copies->gaps_at_ns : UINT64_MAX;
    for (uint32_t n = 0; n < copies->count && first > now_ns; n++) {
        const uint64_t one = wake_of(copies, copies->rows[(copies->look_at + n) % copies->count]);
        if (one < first)
            first = one;
    }
    return first < now_ns ? now_ns : first;
}

void
copies_check(const struct copies *copies)
{
    ASSERT(copies->count <= copies->room && copies->gap_count <= COPIES_GAPS_MAX);
    ASSERT(copies->dead_count <= COPIES_DEAD_MAX);
    for (uint32_t i = 0; i < copies->count; i++) {
        const struct copy *copy = copies->rows[i];
        ASSERT(i == 0 || compare(copies->rows[i - 1]->env.uuid, copy->env.uuid) < 0);
        ASSERT(!copy->named || copy->row.id == copy->env.shard);
        ASSERT(copy->words_due >> SHARD_REPLICAS_MAX == 0);
        if (copy->made)
            replica_check(&copy->replica);
    }
}

void
copies_describe(const struct copies *copies, char *line, size_t cap)
{
    char one[512];
    struct text text;
    text_init(&text, line, cap);
    text_add(&text, "map=%llu copies=%u gaps=%u", (unsigned long long)copies->map_version,
             copies->count, copies->gap_count);
    for (uint32_t i = 0; i < copies->count; i++) {
        if (!copies->rows[i]->made)
            continue;
        replica_describe(&copies->rows[i]->replica, one, sizeof one);
        text_add(&text, " | %s", one);
    }
}
