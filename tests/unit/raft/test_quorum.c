// tests/unit/raft/test_quorum.c -- majorities, held against etcd's tables and a slow definition.
//
// Shape: shell.
#include "raft/quorum.h"

#include "base/prng.h"
#include "base/text.h"
#include "tests/lib/check_main.h"
#include "tools/raft-interact/story.h"

// A table row: ids in the order in which its numbers are given, and the configuration they make.
struct row {
    uint64_t ids[RAFT_MEMBERS_MAX];
    uint32_t count;
    struct raft_group group;
    uint64_t reached[RAFT_MEMBERS_MAX]; // by member of the group; 0 is unknown
    enum quorum_ballot ballots[RAFT_MEMBERS_MAX];
};

static void
row_add(struct row *row, const struct story_arg *ids, uint8_t role)
{
    for (unsigned i = 0; ids != NULL && i < ids->count; i++) {
        const uint64_t id = strtoull(ids->values[i], NULL, 10);
        if (id == 0)
            continue; // cfgj=zero
        bool known = false;
        for (uint32_t j = 0; j < row->count; j++)
            known |= row->ids[j] == id;
        if (!known)
            row->ids[row->count++] = id;
        uint32_t at = 0;
        while (at < row->group.count && row->group.members[at].id < id)
            at++;
        if (at == row->group.count || row->group.members[at].id != id) {
            for (uint32_t j = row->group.count++; j > at; j--)
                row->group.members[j] = row->group.members[j - 1];
            row->group.members[at] = (struct raft_member){.id = id};
        }
        row->group.members[at].roles |= role;
    }
}

static struct row
row_of(const struct story_step *step)
{
    struct row row = {0};
    row_add(&row, story_arg(step, "cfg"), RAFT_VOTER);
    row_add(&row, story_arg(step, "cfgj"), RAFT_OUTGOING);
    const struct story_arg *idx = story_arg(step, "idx");
    const struct story_arg *votes = story_arg(step, "votes");
    for (uint32_t i = 0; i < row.group.count; i++) {
        uint32_t given = 0;
        while (row.ids[given] != row.group.members[i].id)
            given++;
        if (idx != NULL)
            row.reached[i] = strtoull(idx->values[given], NULL, 10);
        if (votes != NULL)
            row.ballots[i] = votes->values[given][0] == 'y'   ? BALLOT_YES
                             : votes->values[given][0] == 'n' ? BALLOT_NO
                                                              : BALLOT_NONE;
    }
    return row;
}

// The picture in the tables: a bar per member, longer the more members lie behind it.
static void
picture(const struct row *row, struct text *text)
{
    const uint32_t count = row->group.count;
    if (count == 0) {
        text_add(text, "<empty majority quorum>");
        return;
    }
    text_add(text, "%*s    idx\n", (int)count, "");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t behind = 0;
        for (uint32_t j = 0; j < count; j++)
            behind += row->reached[j] < row->reached[i];
        if (row->reached[i] == 0)
            text_add(text, "?%*s", (int)count, "");
        else
            text_add(text, "%.*s>%*s", (int)behind, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                     (int)(count - behind), "");
        text_add(text, " %5llu    (id=%llu)\n", (unsigned long long)row->reached[i],
                 (unsigned long long)row->group.members[i].id);
    }
}

static unsigned
replay(const char *path)
{
    struct story story = {.file = fopen(path, "r")};
    ck_assert_msg(story.file != NULL, "%s", path);
    static struct story_step step;
    unsigned steps = 0;
    for (; story_next(&story, &step); steps++) {
        const struct row row = row_of(&step);
        char line[STORY_TEXT];
        struct text text;
        text_init(&text, line, sizeof line);
        if (strcmp(step.command, "vote") == 0) {
            static const char *const names[] = {"VotePending", "VoteWon", "VoteLost"};
            text_add(&text, "%s\n", names[quorum_vote(&row.group, row.ballots)]);
        } else {
            ck_assert_str_eq(step.command, "committed");
            picture(&row, &text);
            const uint64_t position = quorum_position(&row.group, row.reached);
            if (position == UINT64_MAX)
                text_add(&text, "\u221e\n");
            else
                text_add(&text, "%llu\n", (unsigned long long)position);
        }
        ck_assert_msg(strcmp(line, step.expected) == 0, "%s:%u\n%s\nexpected\n%s", path, step.line,
                      line, step.expected);
    }
    fclose(story.file);
    return steps;
}

START_TEST(majorities_answer_as_the_tables_say)
{
    unsigned cases = 0;
    cases += replay("tests/script/etcd/quorum/majority_commit.txt");
    cases += replay("tests/script/etcd/quorum/majority_vote.txt");
    cases += replay("tests/script/etcd/quorum/joint_commit.txt");
    cases += replay("tests/script/etcd/quorum/joint_vote.txt");
    ck_assert_uint_eq(cases, 127);
}
END_TEST

// By the definition: the largest of the given positions that more than half have reached.
static uint64_t
slow_position(const struct raft_group *group, uint8_t role, const uint64_t *reached)
{
    uint64_t best = 0;
    uint32_t voters = 0;
    for (uint32_t i = 0; i < group->count; i++)
        voters += (group->members[i].roles & role) != 0;
    for (uint32_t i = 0; i < group->count; i++) {
        uint32_t have = 0;
        for (uint32_t j = 0; j < group->count; j++)
            have += (group->members[j].roles & role) != 0 && reached[j] >= reached[i];
        if ((group->members[i].roles & role) != 0 && 2 * have > voters && reached[i] > best)
            best = reached[i];
    }
    return voters == 0 ? UINT64_MAX : best;
}

START_TEST(random_configurations_agree_with_the_definition)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (int round = 0; round < 200; round++) {
        struct raft_group group = {.count = prng_below(&prng, 12)};
        uint64_t reached[RAFT_MEMBERS_MAX];
        enum quorum_ballot ballots[RAFT_MEMBERS_MAX];
        for (uint32_t i = 0; i < group.count; i++) {
            group.members[i].id = i + 1;
            group.members[i].roles = (uint8_t)(1 + prng_below(&prng, 3));
            reached[i] = prng_below(&prng, 8);
            ballots[i] = (enum quorum_ballot)prng_below(&prng, 3);
        }
        const uint64_t in = slow_position(&group, RAFT_VOTER, reached);
        const uint64_t out = slow_position(&group, RAFT_OUTGOING, reached);
        ck_assert_uint_eq(quorum_half_position(&group, RAFT_VOTER, reached), in);
        ck_assert_uint_eq(quorum_position(&group, reached), in < out ? in : out);
        // A vote is won when the yes, as positions, commit; lost when even the missing would not make it so.
        uint64_t yes[RAFT_MEMBERS_MAX], hope[RAFT_MEMBERS_MAX];
        for (uint32_t i = 0; i < group.count; i++) {
            yes[i] = ballots[i] == BALLOT_YES;
            hope[i] = ballots[i] != BALLOT_NO;
        }
        const enum quorum_result result = quorum_vote(&group, ballots);
        ck_assert_int_eq(result == QUORUM_WON, quorum_position(&group, yes) > 0);
        ck_assert_int_eq(result == QUORUM_LOST, quorum_position(&group, hope) == 0);
    }
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("raft/quorum");
    TCase *tables = tcase_create("tables");
    tcase_add_test(tables, majorities_answer_as_the_tables_say);
    suite_add_tcase(s, tables);
    TCase *property = tcase_create("property");
    tcase_add_loop_test(property, random_configurations_agree_with_the_definition, 0, 50);
    suite_add_tcase(s, property);
    return s;
}

CHECK_MAIN(suite)
