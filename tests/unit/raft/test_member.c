// tests/unit/raft/test_member.c -- configuration changes, held against etcd's tables; and hostile bytes.
//
// Shape: shell.
#include "raft/member.h"

#include "base/prng.h"
#include "base/text.h"
#include "tests/lib/check_main.h"
#include "tools/raft-interact/story.h"

static struct raft_change
change_of(const char *input)
{
    struct raft_change change = {0};
    for (const char *at = input; *at != 0;) {
        if (*at == ' ' || *at == '\n') {
            at++;
            continue;
        }
        struct raft_change_item *item = &change.items[change.count++];
        item->kind = (enum raft_change_kind)(strchr("vlru", *at) - "vlru");
        char *end;
        item->id = strtoull(at + 1, &end, 10);
        at = end;
    }
    return change;
}

// As in the tables: the configuration, then the place from which each member's progress begins, which is that of the log's
// end when it was added. Their log grows by one a command.
static unsigned
replay(const char *path)
{
    struct story story = {.file = fopen(path, "r")};
    ck_assert_msg(story.file != NULL, "%s", path);
    static struct story_step step;
    struct raft_group group = {0};
    uint64_t next[64] = {0}; // by id
    unsigned steps = 0;
    for (; story_next(&story, &step); steps++) {
        const struct raft_change change = change_of(step.input);
        const struct story_arg *auto_leave = story_arg(&step, "autoleave");
        enum member_status status;
        if (strcmp(step.command, "simple") == 0)
            status = member_simple(&group, &change, &group);
        else if (strcmp(step.command, "enter-joint") == 0)
            status = member_enter_joint(
                &group, &change, auto_leave != NULL && strcmp(auto_leave->values[0], "true") == 0,
                &group);
        else
            status = member_leave_joint(&group, &group);
        char line[STORY_TEXT];
        struct text text;
        text_init(&text, line, sizeof line);
        if (status != MEMBER_OK) {
            text_add(&text, "%s\n", member_status_text(status));
        } else {
            char described[512];
            member_describe(&group, described, sizeof described);
            text_add(&text, "%s\n", described);
            for (uint32_t i = 0; i < group.count; i++) {
                struct raft_member *member = &group.members[i];
                if ((member->roles & RAFT_FRESH) != 0)
                    next[member->id] = steps > 1 ? steps : 1;
                member->roles &= (uint8_t)~RAFT_FRESH;
                text_add(&text, "%llu: StateProbe match=0 next=%llu%s\n",
                         (unsigned long long)member->id, (unsigned long long)next[member->id],
                         (member->roles & RAFT_LEARNER) != 0 ? " learner" : "");
            }
        }
        ck_assert(member_valid(&group));
        ck_assert_msg(strcmp(line, step.expected) == 0, "%s:%u\n%s\nexpected\n%s", path, step.line,
                      line, step.expected);
    }
    fclose(story.file);
    return steps;
}

START_TEST(changes_answer_as_the_tables_say)
{
    static const char *const files[] = {
        "joint_autoleave",
        "joint_idempotency",
        "joint_learners_next",
        "joint_safety",
        "simple_idempotency",
        "simple_promote_demote",
        "simple_safety",
        "update",
        "zero",
    };
    unsigned cases = 0;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "tests/script/etcd/confchange/%s.txt", files[i]);
        cases += replay(path);
    }
    ck_assert_uint_eq(cases, 58);
}
END_TEST

START_TEST(a_change_survives_its_encoding)
{
    struct raft_change change = {.transition = RAFT_TRANSITION_EXPLICIT, .count = 3};
    change.items[0] = (struct raft_change_item){RAFT_ADD_VOTER, 1};
    change.items[1] = (struct raft_change_item){RAFT_UPDATE, UINT64_MAX};
    change.items[2] = (struct raft_change_item){RAFT_REMOVE, 0x0102030405060708};
    uint8_t bytes[RAFT_CHANGE_BYTES_MAX];
    struct raft_change back;
    ck_assert_int_eq(member_decode(bytes, member_encode(&change, bytes), &back), OMEN_OK);
    ck_assert_mem_eq(&change, &back, sizeof back);
    const struct raft_change leave = {0};
    ck_assert_uint_eq(member_encode(&leave, bytes), 0);
    ck_assert_int_eq(member_decode(bytes, 0, &back), OMEN_OK);
    ck_assert(member_leaves_joint(&back));
}
END_TEST

START_TEST(bytes_that_are_no_change_are_refused)
{
    struct raft_change change;
    const uint8_t short_item[] = {0, 0, 1};
    const uint8_t transition[] = {3};
    const uint8_t kind[] = {0, 4, 1, 0, 0, 0, 0, 0, 0, 0};
    const uint8_t empty[] = {0};
    const uint8_t long_one[RAFT_CHANGE_BYTES_MAX + 9] = {0};
    ck_assert_int_ne(member_decode(short_item, sizeof short_item, &change), OMEN_OK);
    ck_assert_int_ne(member_decode(transition, sizeof transition, &change), OMEN_OK);
    ck_assert_int_ne(member_decode(kind, sizeof kind, &change), OMEN_OK);
    ck_assert_int_ne(member_decode(empty, sizeof empty, &change), OMEN_OK);
    ck_assert_int_ne(member_decode(long_one, sizeof long_one, &change), OMEN_OK);
}
END_TEST

START_TEST(one_member_too_many_is_refused_whole)
{
    struct raft_group group = {0};
    struct raft_change change = {.count = 1, .items = {{RAFT_ADD_VOTER, 1}}};
    ck_assert_int_eq(member_simple(&group, &change, &group), MEMBER_OK);
    change.count = RAFT_CHANGES_MAX;
    for (uint32_t i = 0; i < change.count; i++)
        change.items[i] = (struct raft_change_item){RAFT_ADD_LEARNER, i + 2};
    const struct raft_group before = group;
    ck_assert_int_eq(member_simple(&group, &change, &group), MEMBER_TOO_MANY);
    ck_assert_mem_eq(&group, &before, sizeof group);
    change.count--;
    ck_assert_int_eq(member_simple(&group, &change, &group), MEMBER_OK);
    ck_assert_uint_eq(group.count, RAFT_MEMBERS_MAX);
}
END_TEST

START_TEST(random_changes_leave_a_valid_configuration_and_one_voter_apart)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    struct raft_group group = {0};
    for (int round = 0; round < 300; round++) {
        struct raft_change change = {.transition = (enum raft_transition)prng_below(&prng, 3)};
        change.count = prng_below(&prng, 4);
        for (uint32_t i = 0; i < change.count; i++) {
            const enum raft_change_kind kind = (enum raft_change_kind)prng_below(&prng, 4);
            change.items[i] = (struct raft_change_item){kind, prng_below(&prng, 6)};
        }
        const struct raft_group before = group;
        const enum member_status status = member_change(&group, &change, &group);
        if (status != MEMBER_OK)
            ck_assert_mem_eq(&group, &before, sizeof group);
        for (uint32_t i = 0; i < group.count; i++)
            group.members[i].roles &= (uint8_t)~RAFT_FRESH;
        ck_assert(member_valid(&group));
    }
}
END_TEST

START_TEST(roles_that_do_not_go_together_are_no_configuration)
{
    static const uint8_t bad[] = {0,
                                  RAFT_FRESH | RAFT_VOTER,
                                  RAFT_VOTER | RAFT_LEARNER,
                                  RAFT_OUTGOING | RAFT_LEARNER,
                                  RAFT_LEARNER_NEXT,
                                  RAFT_LEARNER_NEXT | RAFT_OUTGOING | RAFT_VOTER};
    for (size_t i = 0; i < sizeof bad; i++) {
        const struct raft_group group = {.count = 2, .members = {{1, RAFT_VOTER}, {2, bad[i]}}};
        ck_assert_msg(!member_valid(&group), "%d", bad[i]);
    }
    const struct raft_group twice = {.count = 2, .members = {{1, RAFT_VOTER}, {1, RAFT_VOTER}}};
    ck_assert(!member_valid(&twice));
    const struct raft_group nobody = {.count = 1, .members = {{0, RAFT_VOTER}}};
    ck_assert(!member_valid(&nobody));
    const struct raft_group no_voter = {.count = 1, .members = {{1, RAFT_LEARNER}}};
    ck_assert(!member_valid(&no_voter));
    const struct raft_group leaves = {.count = 1, .members = {{1, RAFT_VOTER}}, .auto_leave = true};
    ck_assert(!member_valid(&leaves));
    const struct raft_group many = {.count = RAFT_MEMBERS_MAX + 1};
    ck_assert(!member_valid(&many));
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("raft/member");
    TCase *tables = tcase_create("tables");
    tcase_add_test(tables, changes_answer_as_the_tables_say);
    suite_add_tcase(s, tables);
    TCase *bytes = tcase_create("bytes");
    tcase_add_test(bytes, a_change_survives_its_encoding);
    tcase_add_test(bytes, bytes_that_are_no_change_are_refused);
    tcase_add_test(bytes, one_member_too_many_is_refused_whole);
    tcase_add_test(bytes, roles_that_do_not_go_together_are_no_configuration);
    suite_add_tcase(s, bytes);
    TCase *property = tcase_create("property");
    tcase_add_loop_test(property, random_changes_leave_a_valid_configuration_and_one_voter_apart, 0,
                        50);
    suite_add_tcase(s, property);
    return s;
}

CHECK_MAIN(suite)
