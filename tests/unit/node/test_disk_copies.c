// tests/unit/node/test_disk_copies.c -- a start finds each copy as it was acknowledged, trimmed, dropped, or with a snapshot in its log's place.
//
// Shape:  shell.
// Labels: tsan
#include "tests/lib/disk_found.h"

START_TEST(a_start_finds_a_copy_as_it_was_acknowledged)
{
    static struct replica_output out;
    make(one);
    append_and_wait(one, 1, 10, 100);
    append_term(one, 5, 11, 2, 100);
    out = (struct replica_output){.ticket = 13, .promised = 6, .commit_seq = 11};
    disk_write_copy(disk, one, &out, notes_loop);
    notes_wait(4);
    restart();
    start_copies(1);
    ck_assert_int_eq(held.status, OMEN_OK);
    ck_assert_uint_eq(held.durable.env.uuid.low, 1);
    ck_assert_uint_eq(held.durable.env.shard, 9);
    ck_assert_uint_eq(held.durable.env.position, 33);
    struct replica_disk *now = &held.durable.disk;
    ck_assert_uint_eq(now->promised, 6);
    ck_assert_uint_eq(now->commit_seq, 11);
    ck_assert_uint_eq(now->first_seq, 1);
    ck_assert_uint_eq(now->last_seq, 12);
    ck_assert_uint_eq(now->stamp_ms, 120);
    ck_assert_uint_eq(now->term_count, 2);
    ck_assert_uint_eq(held_terms[1].term, 5);
    ck_assert_uint_eq(held_terms[1].first_seq, 11);
    ck_assert_uint_eq(now->op_count, 12);
    ck_assert_uint_eq(held_ops[11].id.low, 12);
    ok(disk_copy_applied(now, 12));
    ck_assert_uint_eq(now->commit_seq, 12);
    ck_assert_int_eq(disk_copy_applied(now, 13), OMEN_E_CORRUPT);
}
END_TEST

START_TEST(a_trimmed_log_keeps_its_operations_and_says_where_it_begins)
{
    make(one);
    for (uint64_t first = 1; first <= 91; first += 10)
        append_and_wait(one, first, 10, 100);
    const struct disk_trim trim = {.through = 55, .window_ms = 700, .ops_max = 100};
    disk_trim(disk, one, &trim, notes_loop);
    notes_wait(12);
    ck_assert_int_eq(notes[11].kind, DISK_TRIMMED);
    ck_assert_uint_eq(notes[11].number, 56);
    struct disk_entries entries;
    ck_assert_int_eq(disk_read(disk, one, 55, 1, 1, &entries, &error), OMEN_E_NOT_FOUND);
    check_read(one, 56, 64, 1u << 20, 45, 100);
    restart();
    start_copies(1);
    struct replica_disk *now = &held.durable.disk;
    ck_assert_uint_eq(now->first_seq, 56);
    ck_assert_uint_eq(now->term_count, 1);
    ck_assert_uint_eq(held_terms[0].first_seq, 55);
    ck_assert_uint_eq(held_ops[0].seq, 30);
    ck_assert_uint_eq(now->op_count, 71);
    ck_assert_int_eq(disk_copy_applied(now, 54), OMEN_E_CORRUPT);
    ok(disk_copy_applied(now, 55));
}
END_TEST

START_TEST(a_dropped_copy_is_gone_with_what_is_on_its_way)
{
    make(one);
    make(two);
    append_and_wait(two, 1, 2, 100);
    struct kv_txn *txn = hold();
    disk_drop(disk, one, notes_loop);
    append(one, 1, 1, 100);
    append(two, 3, 1, 100);
    struct disk_entries entries;
    kv_abort(txn);
    notes_wait(5);
    ck_assert_int_eq(notes[3].kind, DISK_DROPPED);
    ck_assert_int_eq(notes[4].kind, DISK_COPY_DONE);
    ck_assert_uint_eq(notes[4].copy.low, 2);
    ck_assert_int_eq(disk_read(disk, one, 1, 1, 1, &entries, &error), OMEN_E_NOT_FOUND);
    disk_drop(disk, one, notes_loop); // twice is once
    notes_wait(6);
    ck_assert_int_eq(notes[5].kind, DISK_DROPPED);
    restart();
    start_copies(1);
    ck_assert_uint_eq(held.durable.env.uuid.low, 2);
    ck_assert_uint_eq(held.durable.disk.last_seq, 3);
}
END_TEST

static const struct replica_term install_terms[2] = {{4, 20}, {9, 40}};
static const struct dedupe_op now_ops[2] = {{{6, 41}, 41, 410}, {{6, 50}, 50, 500}};
static const struct replica_disk now = {.promised = 9,
                                        .first_seq = 51,
                                        .last_seq = 50,
                                        .commit_seq = 50,
                                        .applied_seq = 50,
                                        .stamp_ms = 500,
                                        .terms = install_terms,
                                        .term_count = 2,
                                        .ops = now_ops,
                                        .op_count = 2};

static void
check_installed(void)
{
    start_copies(1);
    struct replica_disk *disk_now = &held.durable.disk;
    ck_assert_uint_eq(disk_now->promised, 3); // its own
    ck_assert_uint_eq(disk_now->first_seq, 51);
    ck_assert_uint_eq(disk_now->last_seq, 50);
    ck_assert_uint_eq(disk_now->commit_seq, 50);
    ck_assert_uint_eq(disk_now->stamp_ms, 500);
    ck_assert_uint_eq(disk_now->term_count, 1);
    ck_assert_uint_eq(held_terms[0].term, 9);
    ck_assert_uint_eq(held_terms[0].first_seq, 50);
    ck_assert_uint_eq(disk_now->op_count, 2);
    ck_assert_mem_eq(held_ops, now_ops, sizeof now_ops);
}

START_TEST(a_snapshot_takes_the_place_of_the_log)
{
    make(one);
    append_and_wait(one, 1, 10, 100);
    disk_install(disk, one, &now, notes_loop);
    notes_wait(3);
    ck_assert_int_eq(notes[2].kind, DISK_INSTALLED);
    check_installed();
    restart();
    check_installed();
    append_and_wait(one, 51, 2, 100);
    check_read(one, 51, 10, 1000, 2, 60);
}
END_TEST

static Suite *
node_disk_copies_suite(void)
{
    Suite *suite = suite_create("node/disk_copies");
    TCase *tcase = tcase_create("disk_copies");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_start_finds_a_copy_as_it_was_acknowledged);
    tcase_add_test(tcase, a_trimmed_log_keeps_its_operations_and_says_where_it_begins);
    tcase_add_test(tcase, a_dropped_copy_is_gone_with_what_is_on_its_way);
    tcase_add_test(tcase, a_snapshot_takes_the_place_of_the_log);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(node_disk_copies_suite)
