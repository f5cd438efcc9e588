// cluster/voters.c -- one look at raft's group: who is well and since when, then the first change that there is to make.
//
// Shape: machine.
#include "cluster/voters.h"

#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "cluster/map_int.h"
#include "cluster/voters_int.h"

static void note_time(struct voters *voters, uint64_t now_ns);
static void set_rows(struct voters *voters, const struct voters_input *input);
static void note_seen(struct voters *voters, uint64_t now_ns);
static uint32_t wanted_of(const struct voters *voters, const struct map *map);

void
voters_init(struct voters *voters, const struct voters_config *config)
{
    ASSERT(config->wanted <= VOTERS_WANTED_MAX);
    ASSERT(config->wanted == 0 || config->wanted % 2 == 1);
    ASSERT(config->wanted == 0 ||
           (config->members_max > 0 && config->members_max <= VOTERS_MEMBERS_MAX &&
            config->interval_ns > 0 && config->retry_ns > 0));
    memset(voters, 0, sizeof *voters);
    voters->config = *config;
}

void
voters_step(struct voters *voters, const struct voters_input *input, struct voters_output *output)
{
    ASSERT(input->member_count <= VOTERS_MEMBERS_MAX && input->node_count <= VOTERS_NODES_MAX);
    *output = (struct voters_output){.kind = VOTERS_REST, .why = "rest", .wake_ns = UINT64_MAX};
    if (voters->config.wanted == 0)
        return;
    note_time(voters, input->now_ns);
    set_rows(voters, input);
    note_seen(voters, input->now_ns);
    output->wake_ns = input->now_ns + voters->config.interval_ns;
    if (input->group == VOTERS_CHANGING)
        return;
    if (input->now_ns < voters->retry_at_ns) {
        output->wake_ns = voters->retry_at_ns; // what was planned may be on its way
        return;
    }
    if (input->group == VOTERS_JOINT) {
        output->kind = VOTERS_LEAVE;
        output->why = "leave";
    } else {
        voters_plan(voters, input, output);
    }
    if (output->kind != VOTERS_REST)
        output->wake_ns = voters->retry_at_ns = input->now_ns + voters->config.retry_ns;
}

// ---- since when ----

// While nobody looked, because the leader was stopped, nobody was seen to be ill.
static void
note_time(struct voters *voters, uint64_t now_ns)
{
    const uint64_t longest = 2 * voters->config.interval_ns;
    const uint64_t gap = voters->looked_at_ns != 0 && now_ns > voters->looked_at_ns
                             ? now_ns - voters->looked_at_ns
                             : 0;
    for (uint32_t i = 0; gap > longest && i < voters->seen_count; i++)
        voters->seen[i].since_ns += gap - longest;
    voters->looked_at_ns = now_ns;
}

static const struct voters_seen *
seen_of(const struct voters *voters, uint64_t member)
{
    for (uint32_t i = 0; i < voters->seen_count; i++)
        if (voters->seen[i].member == member)
            return &voters->seen[i];
    return NULL;
}

static void
note_seen(struct voters *voters, uint64_t now_ns)
{
    struct voters_seen next[VOTERS_MEMBERS_MAX];
    for (uint32_t i = 0; i < voters->row_count; i++) {
        struct voters_row *row = &voters->rows[i];
        const struct voters_seen *seen = seen_of(voters, row->member);
        const bool same = seen != NULL && seen->well == row->well;
        next[i] = (struct voters_seen){row->member, same ? seen->since_ns : now_ns, row->well};
        const uint64_t for_ns = now_ns - next[i].since_ns;
        row->lost = !row->well && for_ns >= voters->config.replace_delay_ns;
        row->steady = row->well && for_ns >= voters->config.steady_ns;
        if (!row->known) { // a leader that is new has not heard of all; one that is well goes by its number
            row->leaves = row->lost && !voters->may_be_unheard;
            row->stays = row->may = !row->leaves;
        }
    }
    memcpy(voters->seen, next, voters->row_count * sizeof *next);
    voters->seen_count = voters->row_count;
}

// ---- the table ----

uint32_t
voters_zone(struct voters *voters, const struct map_name *zone)
{
    uint32_t at = 0;
    while (at < voters->zone_count && map_name_compare(&voters->zones[at], zone) != 0)
        at++;
    if (at == voters->zone_count && at < VOTERS_MEMBERS_MAX)
        voters->zones[voters->zone_count++] = *zone;
    return at;
}

static bool
is_heard(const struct voters_input *input, struct cluster_uuid uuid)
{
    for (uint32_t i = 0; i < input->node_count; i++)
        if (uuid_equal(input->nodes[i].uuid, uuid))
            return true;
    return false;
}

static const struct voters_node *
node_of(const struct voters_input *input, uint64_t member)
{
    for (uint32_t i = 0; i < input->node_count; i++)
        if (input->nodes[i].member == member)
            return &input->nodes[i];
    return NULL;
}

static struct voters_place
place_of(const struct map *map, const struct map_node *mapped, bool data)
{
    const bool stays = data && mapped->state != NODE_GONE;
    const bool drains = mapped->state == NODE_DRAINING;
    return (struct voters_place){&mapped->zone, stays, stays && !drains,
                                 !stays || (drains && !map_node_is_used(map, mapped->number))};
}

// Whether a node is to stay of which the leader has not heard since it began, so that nobody knows its number: one that is down since
// before may be any member that nobody goes by.
static bool
one_is_unheard(const struct voters_input *input)
{
    for (uint32_t i = 0; i < input->map->node_count; i++) {
        const struct map_node *node = &input->map->nodes[i];
        if (!is_heard(input, node->uuid) &&
            !place_of(input->map, node, (node->roles & NODE_DATA) != 0).leaves)
            return true;
    }
    return false;
}

static void
set_rows(struct voters *voters, const struct voters_input *input)
{
    static const struct map_name nowhere = {0};
    voters->wanted = wanted_of(voters, input->map);
    voters->self = input->self;
    voters->zone_count = 0;
    voters->row_count = input->member_count;
    bool all_known = true;
    for (uint32_t i = 0; i < input->member_count; i++) {
        const struct voters_member *member = &input->members[i];
        const struct voters_node *node = node_of(input, member->member);
        const struct voters_place place =
            node != NULL ? voters_place(input, node) : (struct voters_place){.zone = &nowhere};
        voters->rows[i] =
            (struct voters_row){.member = member->member,
                                .reached = member->reached,
                                .zone = voters_zone(voters, place.zone),
                                .votes = member->votes,
                                .known = node != NULL,
                                .stays = place.stays,
                                .may = place.may,
                                .leaves = place.leaves,
                                .well = member->member == input->self ||
                                        (member->current && node != NULL && node->alive)};
        all_known &= node != NULL;
    }
    voters->may_be_unheard = !all_known && one_is_unheard(input);
}

struct voters_place
voters_place(const struct voters_input *input, const struct voters_node *node)
{
    const struct map_node *mapped = map_node_by_uuid(input->map, node->uuid);
    if (mapped == NULL)
        return (struct voters_place){&node->zone, node->data, node->data, !node->data};
    return place_of(input->map, mapped, node->data);
}

static uint32_t
wanted_of(const struct voters *voters, const struct map *map)
{
    struct map_name name;
    const bool valid = map_name_set(&name, VOTERS_SETTING, sizeof VOTERS_SETTING - 1);
    ASSERT(valid);
    const struct setting *setting = map_setting(map, &name);
    if (setting == NULL || setting->value.count != 1)
        return voters->config.wanted;
    const char digit = setting->value.bytes[0];
    const bool one = digit == '1' || digit == '3' || digit == '5' || digit == '7';
    return one ? (uint32_t)(digit - '0') : voters->config.wanted;
}

void
voters_check(const struct voters *voters)
{
    ASSERT(voters->seen_count <= VOTERS_MEMBERS_MAX && voters->row_count <= VOTERS_MEMBERS_MAX);
    ASSERT(voters->zone_count <= VOTERS_MEMBERS_MAX);
    for (uint32_t i = 1; i < voters->seen_count; i++)
        ASSERT(voters->seen[i - 1].member < voters->seen[i].member);
    for (uint32_t i = 0; i < voters->seen_count; i++)
        ASSERT(voters->seen[i].since_ns <= voters->looked_at_ns);
}

void
voters_describe(const struct voters *voters, char *line, size_t capacity)
{
    struct text text;
    text_init(&text, line, capacity);
    text_add(&text, "voters wanted=%u", voters->wanted);
    for (uint32_t i = 0; i < voters->row_count; i++) {
        const struct voters_row *row = &voters->rows[i];
        text_add(&text, " %llu%s%s%s", (unsigned long long)row->member,
                 row->votes ? ":votes" : ":learns",
                 row->lost     ? ":lost"
                 : !row->well  ? ":ill"
                 : row->steady ? ""
                               : ":new",
                 !row->stays ? ":goes"
                 : row->may  ? ""
                             : ":drains");
    }
}
