// tests/unit/node/test_admin_shard.c -- an operator's steps of shards, the jobs that they are, and how they are taken back.
//
// Shape: shell.
#include "tests/lib/admin_world.h"
#include "tests/lib/check_main.h"

#define FIRST "00000000-0000-0000-0000-000000000100" // node 1

static uint64_t shard;

// Four nodes; one shard with copies on three of them, the first of which leads it.
static void
setup(void)
{
    admin_open(4);
    shard = world_shard(&world, 3, 3);
    admin_look();
}

static const struct map_shard *
row(void)
{
    return map_shard(&world.map, shard);
}

static omen_status
move(const char *from, const char *to)
{
    const struct api_shard_move ask = {.shard = shard, .from = TEXT(from), .to = TEXT(to)};
    return admin_do(METHOD_SHARD_MOVE, &ask);
}

static omen_status
split(const char *at)
{
    const struct api_shard_split ask = {.shard = shard, .at = TEXT(at)};
    return admin_do(METHOD_SHARD_SPLIT, &ask);
}

static const struct api_job *
job(void)
{
    const struct api_of_job ask = {.job = shard};
    ck_assert_int_eq(admin_do(METHOD_JOB_GET, &ask), OMEN_OK);
    return OUT(api_job);
}

// Nothing is kept of what is over: not how it ended, nor that it ever was.
static void
claim_no_job(void)
{
    const struct api_of_job ask = {.job = shard};
    admin_claim_refused(METHOD_JOB_GET, &ask, OMEN_E_NOT_FOUND, "no move or split of shard");
}

static omen_status
cancel(void)
{
    return admin_do(METHOD_JOB_CANCEL, &(struct api_change_job){.job = shard});
}

static uint32_t
jobs(void)
{
    ck_assert_int_eq(admin_do(METHOD_JOB_LIST, &(struct api_nothing){0}), OMEN_OK);
    return OUT(api_jobs)->jobs.count;
}

START_TEST(a_shard_is_shown_with_its_copies)
{
    const struct api_of_shard ask = {.shard = shard};
    ck_assert_int_eq(admin_do(METHOD_SHARD_GET, &ask), OMEN_OK);
    struct api_shard got = *OUT(api_shard);
    for (int i = 0; i < 2; i++) {
        struct list_cursor cursor;
        struct wire_text node;
        struct api_replica replica;
        ck_assert_uint_eq(got.shard, shard);
        ck_assert_text_eq(got.collection, "docs");
        ck_assert_text_eq(got.range, "0000000000000000-ffffffffffffffff");
        ck_assert_text_eq(got.primary, FIRST);
        ck_assert_uint_eq(got.state, API_OPEN);
        ck_assert_uint_eq(got.term, row()->term);
        ck_assert_uint_eq(got.cfg_ver, row()->cfg_ver);
        ck_assert_uint_eq(got.in_sync.count, 3);
        texts_begin(&cursor, &got.in_sync);
        ck_assert(list_next(&cursor, &node));
        ck_assert_text_eq(node, FIRST);
        ck_assert_uint_eq(got.replicas.count, 3);
        list_begin(&cursor, shape_field(&api_shard, "replicas"), &got.replicas);
        ck_assert(list_next(&cursor, &replica));
        ck_assert_text_eq(replica.node, FIRST);
        ck_assert_text_eq(replica.role, "in_sync");
        ck_assert_uint_eq(replica.replica.count, 36);
        const struct api_shards_ask all = {0};
        ck_assert_int_eq(admin_do(METHOD_SHARD_LIST, &all), OMEN_OK);
        ck_assert_uint_eq(OUT(api_shards)->shards.count, 1);
        admin_row("shards", &OUT(api_shards)->shards, 0, &got);
    }
}
END_TEST

START_TEST(a_list_of_shards_is_of_one_collection_or_of_all)
{
    world_collection(&world, "other", 5, 1);
    admin_look();
    struct api_shards_ask ask = {.map_only = (uint8_t)_i};
    ck_assert_int_eq(admin_do(METHOD_SHARD_LIST, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_shards)->shards.count, 6);
    ask.collection = TEXT("other");
    ck_assert_int_eq(admin_do(METHOD_SHARD_LIST, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_shards)->shards.count, 5);
    struct api_shard got;
    admin_row("shards", &OUT(api_shards)->shards, 0, &got);
    ck_assert_uint_eq(got.state, API_CREATING);
    ck_assert_uint_eq(got.primary.count, 0);
    ask.collection = TEXT("none");
    admin_claim_refused(METHOD_SHARD_LIST, &ask, OMEN_E_NOT_FOUND, "no collection 'none'");
    admin_claim_refused(METHOD_SHARD_GET, &(struct api_of_shard){.shard = 999}, OMEN_E_NOT_FOUND,
                        "no shard 999");
}
END_TEST

// What would ask a copy is ADMIN_ASK_SHARDS, and nothing else.
START_TEST(who_wants_the_map_only_has_its_rows_at_once_and_no_copy_is_asked)
{
    struct api_shards_ask ask = {.map_only = 1};
    ck_assert_int_eq(admin_begin(METHOD_SHARD_LIST, &ask), ADMIN_ANSWERED);
    struct api_shard got;
    admin_row("shards", &OUT(api_shards)->shards, 0, &got);
    ck_assert_uint_eq(got.term, row()->term);
    ck_assert_text_eq(got.primary, FIRST);
    ck_assert_uint_eq(got.in_sync.count, 3);
    ck_assert(!got.seq.given && !got.points.given);
    ask.map_only = 0;
    ck_assert_int_eq(admin_begin(METHOD_SHARD_LIST, &ask), ADMIN_ASK_SHARDS);
}
END_TEST

START_TEST(a_move_is_a_job_until_the_old_copy_is_gone)
{
    ck_assert_uint_eq(jobs(), 0);
    claim_no_job();
    ck_assert_int_eq(move("n1", "n4"), OMEN_OK);
    ck_assert_uint_eq(OUT(api_started)->job, shard);
    ck_assert_uint_eq(jobs(), 1);
    ck_assert_uint_eq(job()->state, API_JOB_RUNNING);
    ck_assert_uint_eq(job()->kind, API_JOB_MOVE);
    ck_assert_text_eq(job()->text, "1 copies to be made, 0 catching up, 1 leaving");
    ck_assert_text_eq(job()->node, "00000000-0000-0000-0000-000000000103");
    ck_assert_uint_lt(world_settle(&world, 100), 100);
    admin_look();
    claim_no_job();
    ck_assert_uint_eq(jobs(), 0);
    ck_assert_ptr_nonnull(shard_replica_on(row(), 4));
    ck_assert_ptr_null(shard_replica_on(row(), 1));
}
END_TEST

START_TEST(a_move_that_makes_no_sense_is_refused)
{
    struct api_shard_move ask = {.shard = shard, .from = TEXT("n4"), .to = TEXT("n4")};
    admin_claim_refused(METHOD_SHARD_MOVE, &ask, OMEN_E_NOT_FOUND, "has no copy on node 'n4'");
    ask.from = TEXT("n1");
    ask.to = TEXT("n2");
    admin_claim_refused(METHOD_SHARD_MOVE, &ask, OMEN_E_EXISTS, "has a copy on node 'n2' already");
    ask.to = TEXT("n9");
    admin_claim_refused(METHOD_SHARD_MOVE, &ask, OMEN_E_NOT_FOUND, "no node 'n9'");
    ask.to = TEXT("n4");
    ask.shard = 999;
    admin_claim_refused(METHOD_SHARD_MOVE, &ask, OMEN_E_NOT_FOUND, "no shard 999");
    ask.shard = shard;
    world_node_state(&world, 4, NODE_DRAINING);
    admin_look();
    admin_claim_refused(METHOD_SHARD_MOVE, &ask, OMEN_E_CONFLICT, "it is not up");
    world_node_state(&world, 4, NODE_UP);
    admin_look();
    ck_assert_int_eq(move("n1", "n4"), OMEN_OK);
    world_node(&world, "z", 100);
    admin_look();
    ask.to = TEXT("n5");
    admin_claim_refused(METHOD_SHARD_MOVE, &ask, OMEN_E_CONFLICT, "is leaving already");
}
END_TEST

START_TEST(nothing_is_moved_to_a_node_whose_disk_is_low_nor_split_on_one)
{
    const struct api_shard_move there = {.shard = shard, .from = TEXT("n1"), .to = TEXT("n4")};
    const struct api_shard_split here = {.shard = shard};
    world.disk_low[4] = true;
    admin_look();
    admin_claim_refused(METHOD_SHARD_MOVE, &there, OMEN_E_DISK_FULL, "node 'n4' takes no copies");
    world.disk_low[4] = false;
    world.disk_low[3] = true;
    admin_look();
    admin_claim_refused(METHOD_SHARD_SPLIT, &here, OMEN_E_DISK_FULL, "node 'n3' has a copy of");
    ck_assert_int_eq(move("n3", "n4"), OMEN_OK); // away from it
    ck_assert_int_eq(cancel(), OMEN_OK);
    world.disk_low[3] = false;
    admin_look();
    ck_assert_int_eq(split(""), OMEN_OK);
}
END_TEST

START_TEST(a_cancelled_move_leaves_the_copies_where_they_were)
{
    ck_assert_int_eq(move("n1", "n4"), OMEN_OK);
    if (_i == 1) // it has come as far as a learner
        ck_assert_int_eq(
            world_step(
                &world, shard,
                (struct shard_step){.kind = STEP_BORN, .node = 4, .replica = world_uuid(&world)}),
            OMEN_OK);
    admin_look();
    ck_assert_int_eq(cancel(), OMEN_OK);
    ck_assert_uint_eq(row()->replica_count, 3);
    ck_assert_ptr_null(shard_replica_on(row(), 4));
    ck_assert_uint_eq(shard_replica_on(row(), 1)->leaving, 0);
    claim_no_job();
    ck_assert_int_eq(cancel(), OMEN_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(admin.error.text, "is over, or was taken back"));
}
END_TEST

START_TEST(a_copy_that_is_lacking_cannot_be_cancelled)
{
    ck_assert_int_eq(world_step(&world, shard, (struct shard_step){.kind = STEP_DROP, .node = 3}),
                     OMEN_OK);
    ck_assert_int_eq(world_step(&world, shard, (struct shard_step){.kind = STEP_ASSIGN, .node = 4}),
                     OMEN_OK);
    admin_look();
    ck_assert_uint_eq(job()->state, API_JOB_RUNNING);
    admin_claim_refused(METHOD_JOB_CANCEL, &(struct api_change_job){.job = shard}, OMEN_E_CONFLICT,
                        "gets a copy that it lacks");
}
END_TEST

START_TEST(a_shard_is_split_in_its_middle_or_where_it_is_said)
{
    ck_assert_int_eq(split(_i == 0 ? "" : "4000000000000000"), OMEN_OK);
    ck_assert_uint_eq(OUT(api_started)->job, shard);
    ck_assert_uint_eq(row()->status, SHARD_SPLITTING);
    ck_assert_uint_eq(map_shard(&world.map, row()->children[1])->first,
                      _i == 0 ? UINT64_C(1) << 63 : UINT64_C(1) << 62);
    ck_assert_uint_eq(job()->kind, API_JOB_SPLIT);
    ck_assert_uint_eq(job()->state, API_JOB_RUNNING);
    const uint64_t children[2] = {row()->children[0], row()->children[1]};
    ck_assert_uint_lt(world_settle(&world, 200), 200);
    admin_look();
    ck_assert_uint_eq(map_shard(&world.map, children[0])->status, SHARD_OPEN);
    ck_assert_ptr_null(row()); // purged; its children know whose they are
    ck_assert_uint_eq(job()->kind, API_JOB_SPLIT);
    ck_assert_uint_eq(job()->state, API_JOB_DONE);
    ck_assert_text_eq(job()->text, "the shard was split: its children answer for it");
}
END_TEST

START_TEST(a_split_that_makes_no_sense_is_refused)
{
    static const char within[] = "expected it within 0000000000000002-ffffffffffffffff";
    static const char *const ats[] = {"400000000000000g", "0000000000000000", "0000000000000001"};
    static const char *const words[] = {"expected a hash in 16 hexadecimal digits", within, within};
    for (uint32_t i = 0; i < 3; i++) {
        const struct api_shard_split ask = {.shard = shard, .at = TEXT(ats[i])};
        admin_claim_refused(METHOD_SHARD_SPLIT, &ask, OMEN_E_INVALID, words[i]);
    }
    ck_assert_int_eq(split("ffffffffffffffff"), OMEN_OK);
    const uint64_t child = row()->children[1]; // of one hash
    admin_claim_refused(METHOD_SHARD_SPLIT, &(struct api_shard_split){.shard = shard},
                        OMEN_E_CONFLICT, "is splitting, expected it to be open");
    admin_claim_refused(METHOD_SHARD_SPLIT, &(struct api_shard_split){.shard = child},
                        OMEN_E_CONFLICT, "is being filled by its parent");
    ck_assert_uint_lt(world_settle(&world, 200), 200);
    admin_look();
    admin_claim_refused(METHOD_SHARD_SPLIT, &(struct api_shard_split){.shard = child},
                        OMEN_E_INVALID, "answers for one hash");
}
END_TEST

START_TEST(a_cancelled_split_takes_the_children_away)
{
    ck_assert_int_eq(split(""), OMEN_OK);
    ck_assert_int_eq(cancel(), OMEN_OK);
    ck_assert_uint_eq(row()->status, SHARD_OPEN);
    ck_assert_uint_eq(world.map.shard_count, 1);
    claim_no_job();
}
END_TEST

START_TEST(a_step_on_a_shard_that_changed_meanwhile_says_both_numbers)
{
    const struct api_shard_move ask = {.shard = shard, .from = TEXT("n1"), .to = TEXT("n4")};
    ck_assert_int_eq(admin_begin(METHOD_SHARD_MOVE, &ask), ADMIN_PROPOSE);
    const uint64_t then = row()->cfg_ver;
    ck_assert_int_eq(world_step(&world, shard, (struct shard_step){.kind = STEP_DROP, .node = 2}),
                     OMEN_OK);
    ck_assert_int_eq(admin_end(), OMEN_E_CONFLICT);
    char words[64];
    snprintf(words, sizeof words, "cfg_ver %u then, %u now", (unsigned)then, (unsigned)then + 1);
    ck_assert_msg(strstr(admin.error.text, words) != NULL, "%s", admin.error.text);
}
END_TEST

START_TEST(a_primary_hands_over_to_a_copy_in_sync)
{
    struct api_shard_to ask = {.shard = shard, .node = TEXT("n2")};
    ck_assert_int_eq(admin_do(METHOD_SHARD_TRANSFER, &ask), OMEN_OK);
    ck_assert(uuid_equal(row()->wanted, world_replica(&world, shard, 2)));
    const uint64_t version = world.map.version;
    ck_assert_int_eq(admin_do(METHOD_SHARD_TRANSFER, &ask), OMEN_OK);
    ask.node = TEXT(FIRST); // leads it
    ck_assert_int_eq(admin_do(METHOD_SHARD_TRANSFER, &ask), OMEN_OK);
    ck_assert_uint_eq(world.map.version, version);
    ask.node = TEXT("n4");
    admin_claim_refused(METHOD_SHARD_TRANSFER, &ask, OMEN_E_NOT_FOUND, "has no copy on node 'n4'");
    ck_assert_int_eq(world_step(&world, shard,
                                (struct shard_step){.kind = STEP_REMOVE,
                                                    .replica = world_replica(&world, shard, 3)}),
                     OMEN_OK);
    admin_look();
    ask.node = TEXT("n3");
    admin_claim_refused(METHOD_SHARD_TRANSFER, &ask, OMEN_E_CONFLICT,
                        "is not in sync, it is learner");
}
END_TEST

START_TEST(a_primary_is_forced_only_with_a_yes)
{
    struct api_shard_to ask = {.shard = shard, .node = TEXT("n2")};
    admin_claim_refused(METHOD_SHARD_FORCE_PRIMARY, &ask, OMEN_E_INVALID, "would be lost: say yes");
    ask.yes = 1;
    ck_assert_int_eq(admin_do(METHOD_SHARD_FORCE_PRIMARY, &ask), OMEN_OK);
    ck_assert_uint_eq(row()->replica_count, 1);
    ck_assert_uint_eq(row()->unclean, 1);
    ck_assert_uint_eq(OUT(api_changed)->version, world.map.version);
}
END_TEST

START_TEST(what_cannot_be_forced_is_refused)
{
    struct api_shard_to ask = {.shard = shard, .node = TEXT("n4"), .yes = 1};
    admin_claim_refused(METHOD_SHARD_FORCE_PRIMARY, &ask, OMEN_E_NOT_FOUND, "no copy on node");
    ck_assert_int_eq(world_step(&world, shard, (struct shard_step){.kind = STEP_ASSIGN, .node = 4}),
                     OMEN_OK);
    admin_look();
    admin_claim_refused(METHOD_SHARD_FORCE_PRIMARY, &ask, OMEN_E_CONFLICT, "was never made");
    ck_assert_int_eq(split(""), OMEN_OK);
    ask.node = TEXT("n2");
    admin_claim_refused(METHOD_SHARD_FORCE_PRIMARY, &ask, OMEN_E_CONFLICT,
                        "is splitting: cancel that first");
}
END_TEST

// ---- jobs of the map ----

START_TEST(a_job_of_the_map_is_shown_and_cancelled)
{
    struct command command = command_of(COMMAND_JOB_CREATE);
    command.job = (struct command_job){.kind = JOB_BUILD, .shard = shard};
    const uint64_t id = world_apply(&world, &command).value;
    command = command_of(COMMAND_JOB_CLAIM);
    command.job = (struct command_job){
        .job = id, .expected = VERSION_ANY, .owner = 2, .progress = 250, .lease_ms = 1000};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    admin_look();
    ck_assert_uint_eq(jobs(), 1);
    const struct api_of_job ask = {.job = id};
    ck_assert_int_eq(admin_do(METHOD_JOB_GET, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_job)->kind, API_JOB_BUILD);
    ck_assert_uint_eq(OUT(api_job)->state, API_JOB_RUNNING);
    ck_assert_uint_eq(OUT(api_job)->permille, 250);
    ck_assert_uint_eq(OUT(api_job)->attempts, 1);
    ck_assert_text_eq(OUT(api_job)->node, "00000000-0000-0000-0000-000000000101");
    const struct api_change_job cancel = {.job = ask.job};
    ck_assert_int_eq(admin_do(METHOD_JOB_CANCEL, &cancel), OMEN_OK);
    ck_assert_uint_eq(map_job(&world.map, id)->state, JOB_FAILED);
    command.kind = COMMAND_JOB_RENEW; // its owner hears of it
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_CONFLICT);
    admin_look();
    admin_claim_refused(METHOD_JOB_CANCEL, &cancel, OMEN_E_CONFLICT, "is over");
    const struct api_change_job none = {.job = 999};
    admin_claim_refused(METHOD_JOB_CANCEL, &none, OMEN_E_NOT_FOUND, "no job 999");
    const struct api_of_job no_job = {.job = 999};
    admin_claim_refused(METHOD_JOB_GET, &no_job, OMEN_E_NOT_FOUND, "no job 999");
}
END_TEST

START_TEST(a_job_is_cancelled_though_who_is_at_it_has_said_so_meanwhile_but_not_when_it_is_over)
{
    struct command command = command_of(COMMAND_JOB_CREATE);
    command.job = (struct command_job){.kind = JOB_BUILD, .shard = shard};
    const uint64_t id = world_apply(&world, &command).value;
    command.job = (struct command_job){
        .job = id, .expected = VERSION_ANY, .owner = 2, .progress = 250, .lease_ms = 1000};
    command.kind = COMMAND_JOB_CLAIM;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    admin_look();
    const struct api_change_job cancel = {.job = id};
    ck_assert_int_eq(admin_begin(METHOD_JOB_CANCEL, &cancel), ADMIN_PROPOSE);
    command.kind = _i == 0 ? COMMAND_JOB_RENEW : COMMAND_JOB_END;
    command.job.state = _i == 0 ? 0 : JOB_DONE;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_int_eq(admin_end(), _i == 0 ? OMEN_OK : OMEN_E_CONFLICT);
    ck_assert_uint_eq(map_job(&world.map, id)->state, _i == 0 ? JOB_FAILED : JOB_DONE);
    if (_i == 1)
        ck_assert(strstr(admin.error.text, "is over") != NULL);
}
END_TEST

static Suite *
admin_shard_suite(void)
{
    Suite *suite = suite_create("node/admin_shard");
    TCase *tcase = tcase_create("admin_shard");
    tcase_add_checked_fixture(tcase, setup, admin_close);
    tcase_add_test(tcase, a_shard_is_shown_with_its_copies);
    tcase_add_loop_test(tcase, a_list_of_shards_is_of_one_collection_or_of_all, 0, 2);
    tcase_add_test(tcase, who_wants_the_map_only_has_its_rows_at_once_and_no_copy_is_asked);
    tcase_add_test(tcase, a_move_is_a_job_until_the_old_copy_is_gone);
    tcase_add_test(tcase, a_move_that_makes_no_sense_is_refused);
    tcase_add_test(tcase, nothing_is_moved_to_a_node_whose_disk_is_low_nor_split_on_one);
    tcase_add_loop_test(tcase, a_cancelled_move_leaves_the_copies_where_they_were, 0, 2);
    tcase_add_test(tcase, a_copy_that_is_lacking_cannot_be_cancelled);
    tcase_add_loop_test(tcase, a_shard_is_split_in_its_middle_or_where_it_is_said, 0, 2);
    tcase_add_test(tcase, a_split_that_makes_no_sense_is_refused);
    tcase_add_test(tcase, a_cancelled_split_takes_the_children_away);
    tcase_add_test(tcase, a_step_on_a_shard_that_changed_meanwhile_says_both_numbers);
    tcase_add_test(tcase, a_primary_hands_over_to_a_copy_in_sync);
    tcase_add_test(tcase, a_primary_is_forced_only_with_a_yes);
    tcase_add_test(tcase, what_cannot_be_forced_is_refused);
    tcase_add_test(tcase, a_job_of_the_map_is_shown_and_cancelled);
    tcase_add_loop_test(
        tcase, a_job_is_cancelled_though_who_is_at_it_has_said_so_meanwhile_but_not_when_it_is_over,
        0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(admin_shard_suite)
