// cluster/voters_plan.c -- the parts of a plan for who votes, in the order in which the header has them.
//
// Shape: value over the machine's state.
//
// A part that finds something to do fills the output and says so; then the others wait for the next look.
#include <string.h>

#include "base/assert.h"
#include "cluster/voters_int.h"

#define NOBODY UINT32_MAX

static uint32_t
count_voters(const struct voters *voters)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < voters->row_count; i++)
        count += voters->rows[i].votes;
    return count;
}

static uint32_t
in_zone(const struct voters *voters, uint32_t zone)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < voters->row_count; i++)
        count += voters->rows[i].votes && voters->rows[i].zone == zone;
    return count;
}

static bool
is_bad(const struct voters_row *row)
{
    return !row->may || row->lost;
}

// ---- what a change leads to ----

static bool
says(struct voters_output *output, const char *why)
{
    output->kind = VOTERS_CHANGE;
    output->why = why;
    return true;
}

// What becomes of one that votes no more: it learns on, unless it is to be no member at all.
static void
take_out(struct voters *voters, struct voters_output *output, uint32_t at)
{
    ASSERT(output->count < VOTERS_ITEMS_MAX);
    struct voters_row *row = &voters->rows[at];
    output->items[output->count++] =
        (struct voters_item){row->member, row->stays ? VOTERS_LEARNS : VOTERS_GOES};
    row->votes = false;
}

static void
put_in(struct voters *voters, struct voters_output *output, uint32_t at)
{
    ASSERT(output->count < VOTERS_ITEMS_MAX);
    output->items[output->count++] = (struct voters_item){voters->rows[at].member, VOTERS_VOTES};
    voters->rows[at].votes = true;
}

static uint32_t
count_well(const struct voters *voters)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < voters->row_count; i++)
        count += voters->rows[i].votes && voters->rows[i].well;
    return count;
}

// How many more may fail; negative: there is no majority.
static int32_t
bears(const struct voters *voters)
{
    return (int32_t)count_well(voters) - (int32_t)(count_voters(voters) / 2 + 1);
}

// A plan is tried on the rows, and kept where both halves of the joint group have a majority of those who are well.
struct trial {
    struct voters_row rows[VOTERS_MEMBERS_MAX];
    int32_t before;
};

static void
begin_trial(const struct voters *voters, struct trial *trial)
{
    memcpy(trial->rows, voters->rows, sizeof trial->rows);
    trial->before = bears(voters);
}

static bool
end_trial(struct voters *voters, const struct trial *trial, struct voters_output *output,
          int32_t least)
{
    const int32_t after = bears(voters);
    memcpy(voters->rows, trial->rows, sizeof trial->rows);
    if (trial->before >= 0 && after >= 0 && after >= least)
        return true;
    output->count = 0;
    return false;
}

// ---- who ----

// The learner that may vote and is where the fewest do.
static uint32_t
best_spare(const struct voters *voters)
{
    uint32_t best = NOBODY, best_in_zone = 0;
    for (uint32_t i = 0; i < voters->row_count; i++) {
        const struct voters_row *row = &voters->rows[i];
        if (row->votes || !row->steady || !row->may)
            continue;
        const uint32_t count = in_zone(voters, row->zone);
        if (best != NOBODY && count >= best_in_zone)
            continue;
        best = i;
        best_in_zone = count;
    }
    return best;
}

// How much a voter is to go: those that are nobody, lost or drained first, then who is ill, the leader last; where many are.
static uint64_t
badness(const struct voters *voters, const struct voters_row *row)
{
    uint64_t bad = !row->stays ? 4 : 0;
    bad += row->lost ? 2 : 0;
    bad += !row->may ? 1 : 0;
    bad = bad << 1 | !row->well;
    bad = bad << 1 | (row->member != voters->self);
    return bad << 8 | in_zone(voters, row->zone);
}

static uint32_t
worst_voter(const struct voters *voters)
{
    uint32_t worst = NOBODY;
    uint64_t most = 0;
    for (uint32_t i = 0; i < voters->row_count; i++) {
        const struct voters_row *row = &voters->rows[i];
        const uint64_t bad = row->votes ? badness(voters, row) : 0;
        if (!row->votes || (worst != NOBODY && bad < most))
            continue;
        worst = i;
        most = bad;
    }
    return worst;
}

// ---- the parts ----

static bool
prune(struct voters *voters, struct voters_output *output)
{
    for (uint32_t i = 0; i < voters->row_count; i++) {
        const struct voters_row *row = &voters->rows[i];
        if (row->votes || row->stays)
            continue;
        output->items[output->count++] = (struct voters_item){row->member, VOTERS_GOES};
        return says(output, "prune");
    }
    return false;
}

static bool
is_member(const struct voters *voters, uint64_t member)
{
    for (uint32_t i = 0; i < voters->row_count; i++)
        if (voters->rows[i].member == member)
            return true;
    return false;
}

static uint32_t
members_in_zone(struct voters *voters, const struct map_name *zone)
{
    const uint32_t number = voters_zone(voters, zone);
    uint32_t count = 0;
    for (uint32_t i = 0; i < voters->row_count; i++)
        count += voters->rows[i].zone == number;
    return count;
}

// Of the nodes that are no members one whose zone has the fewest, then by its number.
static const struct voters_node *
newcomer(struct voters *voters, const struct voters_input *input)
{
    const struct voters_node *best = NULL;
    uint32_t best_in_zone = 0;
    for (uint32_t i = 0; i < input->node_count; i++) {
        const struct voters_node *node = &input->nodes[i];
        if (!node->alive || node->member == 0 || is_member(voters, node->member))
            continue;
        const struct voters_place place = voters_place(input, node);
        if (!place.stays)
            continue;
        const uint32_t count = members_in_zone(voters, place.zone);
        if (best != NULL &&
            (count > best_in_zone || (count == best_in_zone && node->member > best->member)))
            continue;
        best = node;
        best_in_zone = count;
    }
    return best;
}

// Where the group is full a learner that is lost makes room.
static bool
admit(struct voters *voters, const struct voters_input *input, struct voters_output *output)
{
    const struct voters_node *node = newcomer(voters, input);
    if (node == NULL)
        return false;
    if (voters->row_count < voters->config.members_max) {
        output->items[output->count++] = (struct voters_item){node->member, VOTERS_LEARNS};
        return says(output, "admit");
    }
    for (uint32_t i = 0; i < voters->row_count; i++) {
        if (voters->rows[i].votes || !voters->rows[i].lost)
            continue;
        output->items[output->count++] = (struct voters_item){voters->rows[i].member, VOTERS_GOES};
        return says(output, "admit");
    }
    return false;
}

static bool
shrink(struct voters *voters, struct voters_output *output)
{
    const uint32_t count = count_voters(voters);
    if (count <= voters->wanted)
        return false;
    struct trial trial;
    begin_trial(voters, &trial);
    for (uint32_t i = 0; i < 2 && i < count - voters->wanted; i++)
        take_out(voters, output, worst_voter(voters));
    return end_trial(voters, &trial, output, 0) && says(output, "shrink");
}

// Once in a while only: a transfer that does not succeed stops the metadata for as long.
static bool
hand_over(struct voters *voters, uint64_t now_ns, struct voters_output *output)
{
    uint32_t best = NOBODY;
    bool is_to_go = false;
    for (uint32_t i = 0; i < voters->row_count; i++) {
        const struct voters_row *row = &voters->rows[i];
        is_to_go |= row->votes && row->member == voters->self && !row->may;
        if (row->votes && row->steady && row->may && row->member != voters->self &&
            (best == NOBODY || row->reached > voters->rows[best].reached))
            best = i;
    }
    if (!is_to_go || best == NOBODY || now_ns < voters->transfer_at_ns)
        return false;
    voters->transfer_at_ns = now_ns + voters->config.replace_delay_ns;
    output->kind = VOTERS_TRANSFER;
    output->why = "hand-over";
    output->items[output->count++] = (struct voters_item){voters->rows[best].member, VOTERS_VOTES};
    return true;
}

static bool
replace(struct voters *voters, struct voters_output *output)
{
    const uint32_t worst = worst_voter(voters);
    if (worst == NOBODY || !is_bad(&voters->rows[worst]))
        return false;
    struct trial trial;
    begin_trial(voters, &trial);
    take_out(voters, output, worst);
    const uint32_t spare = best_spare(voters);
    if (spare != NOBODY)
        put_in(voters, output, spare);
    return end_trial(voters, &trial, output, spare != NOBODY ? trial.before : INT32_MAX) &&
           says(output, "replace");
}

static bool
one_is_coming(const struct voters *voters)
{
    for (uint32_t i = 0; i < voters->row_count; i++)
        if (!voters->rows[i].votes && voters->rows[i].may && voters->rows[i].well &&
            !voters->rows[i].steady)
            return true;
    return false;
}

// Who will be steady soon is waited for.
static bool
make_odd(struct voters *voters, struct voters_output *output)
{
    const uint32_t count = count_voters(voters);
    if (count % 2 == 1 || (count < voters->wanted && one_is_coming(voters)))
        return false;
    struct trial trial;
    begin_trial(voters, &trial);
    const uint32_t spare = best_spare(voters);
    if (count < voters->wanted && spare != NOBODY)
        put_in(voters, output, spare);
    else
        take_out(voters, output, worst_voter(voters));
    return end_trial(voters, &trial, output, 0) && says(output, "make-odd");
}

static bool
let_go(struct voters *voters, struct voters_output *output)
{
    if (count_voters(voters) < 3)
        return false;
    struct trial trial;
    begin_trial(voters, &trial);
    bool drained = true;
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t worst = worst_voter(voters);
        const struct voters_row *row = &voters->rows[worst];
        drained &= !row->may;
        if (is_bad(row))
            take_out(voters, output, worst);
    }
    const int32_t least = drained ? 0 : trial.before + 1;
    return end_trial(voters, &trial, output, output->count == 2 ? least : INT32_MAX) &&
           says(output, "let-go");
}

// A learner that is ill may be well before it is lost, and then votes in its place.
static bool
one_may_come(const struct voters *voters)
{
    for (uint32_t i = 0; i < voters->row_count; i++)
        if (!voters->rows[i].votes && voters->rows[i].may && !voters->rows[i].lost)
            return true;
    return false;
}

// Who leads has another one lead first.
static uint32_t
leaving_voter(const struct voters *voters)
{
    for (uint32_t i = 0; i < voters->row_count; i++)
        if (voters->rows[i].votes && voters->rows[i].leaves &&
            voters->rows[i].member != voters->self)
            return i;
    return NOBODY;
}

static bool
release(struct voters *voters, struct voters_output *output)
{
    const uint32_t leaving = leaving_voter(voters);
    if (leaving == NOBODY || one_may_come(voters))
        return false;
    struct trial trial;
    begin_trial(voters, &trial);
    take_out(voters, output, leaving);
    if (count_voters(voters) % 2 == 0)
        take_out(voters, output, worst_voter(voters));
    return end_trial(voters, &trial, output, 0) && says(output, "release");
}

static bool
grow(struct voters *voters, struct voters_output *output)
{
    if (count_voters(voters) + 2 > voters->wanted)
        return false;
    struct trial trial;
    begin_trial(voters, &trial);
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t spare = best_spare(voters);
        if (spare != NOBODY)
            put_in(voters, output, spare);
    }
    const bool both = output->count == 2;
    return end_trial(voters, &trial, output, both ? 0 : INT32_MAX) && says(output, "grow");
}

// Only where all is well: nothing is lost by waiting. A zone that has two more than another has one that does not lead.
static bool
spread(struct voters *voters, struct voters_output *output)
{
    uint32_t from = NOBODY, most = 0;
    for (uint32_t i = 0; i < voters->row_count; i++) {
        const struct voters_row *row = &voters->rows[i];
        if (!row->votes)
            continue;
        if (!row->steady || is_bad(row))
            return false;
        const uint32_t count = in_zone(voters, row->zone);
        if (row->member == voters->self || count < most)
            continue;
        from = i;
        most = count;
    }
    const uint32_t spare = best_spare(voters);
    if (from == NOBODY || spare == NOBODY || in_zone(voters, voters->rows[spare].zone) + 2 > most)
        return false;
    struct trial trial;
    begin_trial(voters, &trial);
    take_out(voters, output, from);
    put_in(voters, output, spare);
    return end_trial(voters, &trial, output, trial.before) && says(output, "spread");
}

void
voters_plan(struct voters *voters, const struct voters_input *input, struct voters_output *output)
{
    if (count_voters(voters) == 0 || !is_member(voters, voters->self))
        return; // a leader that is removed leads until its removal is applied
    if (prune(voters, output) || admit(voters, input, output) || shrink(voters, output) ||
        hand_over(voters, input->now_ns, output) || replace(voters, output) ||
        make_odd(voters, output) || let_go(voters, output) || release(voters, output) ||
        grow(voters, output) || spread(voters, output))
        ASSERT(output->count > 0);
    else
        ASSERT(output->count == 0);
}
