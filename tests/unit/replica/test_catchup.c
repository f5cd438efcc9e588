// tests/unit/replica/test_catchup.c -- a learner far behind takes a snapshot, and nothing that it vouches for is replaced by one.
//
// Shape: shell.
#include "base/hash.h"
#include "tests/lib/check_main.h"
#include "tests/lib/replica_alone.h"

static struct alone one;
static const uint8_t bytes[4] = "data";

// Uuid 1 learns; 2 leads term 1, and its log begins behind 9.
static void
open_learner(void)
{
    alone_open(&one, 1, 2);
    one.meta.in_sync[0] = uuid_of(4);
    one.meta.learners[0] = uuid_of(1);
    alone_meta(&one, 1, 2);
}

static void
need(uint64_t source)
{
    alone_message(&one, (struct replica_msg){.kind = REPLICA_NEED_SNAPSHOT,
                                             .from = uuid_of(2),
                                             .term = 1,
                                             .prev_seq = 9,
                                             .prev_term = 1,
                                             .source = uuid_of(source)});
}

static void
head(uint64_t snapshot, uint64_t seq, uint32_t chunks)
{
    alone_message(&one, (struct replica_msg){.kind = REPLICA_SNAPSHOT_HEAD,
                                             .from = uuid_of(3),
                                             .term = 1,
                                             .snapshot = snapshot,
                                             .seq = seq,
                                             .prev_term = 1,
                                             .chunk_count = chunks});
}

static void
chunk(uint64_t snapshot, uint32_t number, uint64_t hash, uint32_t count)
{
    alone_message(&one, (struct replica_msg){.kind = REPLICA_CHUNK,
                                             .from = uuid_of(3),
                                             .term = 1,
                                             .snapshot = snapshot,
                                             .chunk = number,
                                             .bytes = bytes,
                                             .byte_count = count,
                                             .hash = hash});
}

static void
stored(uint32_t number, omen_status status)
{
    alone_step(&one, (struct replica_input){
                         .kind = REPLICA_IN_CHUNK_STORED, .chunk = number, .status = status});
}

static void
good_chunk(uint32_t number)
{
    chunk(9, number, hash_bytes(bytes, 4), 4);
    stored(number, OMEN_OK);
}

static void
installed(const struct replica_disk *disk)
{
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_INSTALLED, .disk = disk});
}

START_TEST(a_snapshot_comes_chunk_by_chunk_and_the_log_goes_on_behind_it)
{
    const struct replica_term term = {1, 9};
    const struct replica_disk disk = {.promised = 1,
                                      .first_seq = 10,
                                      .last_seq = 9,
                                      .commit_seq = 9,
                                      .applied_seq = 9,
                                      .terms = &term,
                                      .term_count = 1};
    open_learner();
    need(3);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_SNAPSHOT_ASK)->to.low, 3);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_SNAPSHOT_ASK)->snapshot, 0);
    alone_persisted(&one);
    head(9, 9, 2);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_SNAPSHOT_ASK)->snapshot, 9);
    chunk(9, 0, hash_bytes(bytes, 4), 4);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_STORE);
    stored(0, OMEN_OK);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_SNAPSHOT_ASK)->chunk, 1);
    good_chunk(1);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_INSTALL);
    ck_assert_uint_eq(one.out.serve.seq, 9);
    alone_append(&one, 2, 1, 9, 1, 1, 1, 9); // the old log is going away under it
    ck_assert_uint_eq(one.replica.last_seq, 0);
    installed(&disk);
    alone_append(&one, 2, 1, 9, 1, 1, 1, 9);
    ck_assert_uint_eq(one.replica.last_seq, 10);
    ck_assert_uint_eq(one.replica.first_seq, 10);
}
END_TEST

START_TEST(who_takes_entries_meanwhile_is_not_replaced_by_the_older_snapshot)
{
    open_learner();
    need(3);
    alone_persisted(&one);
    head(9, 9, 2);
    good_chunk(0);
    chunk(9, 1, hash_bytes(bytes, 4), 4);
    alone_append(&one, 2, 1, 0, 0, 1, 12, 0); // somebody had them after all
    alone_persisted(&one);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_ACK)->seq, 12);
    stored(1, OMEN_OK);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
    alone_wait(&one, 100 * MS);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
    ck_assert(!one.replica.download.active);
    ck_assert_uint_eq(one.replica.last_seq, 12);
}
END_TEST

START_TEST(a_source_that_is_nobody_or_oneself_is_not_asked)
{
    open_learner();
    need(0);
    need(1);
    ck_assert(!one.replica.download.active);
}
END_TEST

START_TEST(who_is_in_sync_never_installs)
{
    alone_open(&one, 1, 2);
    need(3);
    ck_assert(!one.replica.download.active);
    open_learner();
    need(3);
    alone_persisted(&one);
    head(9, 9, 1);
    chunk(9, 0, hash_bytes(bytes, 4), 4);
    one.meta.in_sync[0] = uuid_of(1);
    one.meta.learners[0] = uuid_of(4);
    alone_meta(&one, 1, 2);
    stored(0, OMEN_OK);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
    ck_assert(!one.replica.download.active);
}
END_TEST

START_TEST(a_damaged_chunk_is_asked_for_again)
{
    open_learner();
    need(3);
    alone_persisted(&one);
    head(9, 9, 2);
    chunk(9, 0, 1, 4);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
    ck_assert_uint_eq(one.replica.counters.bad_chunks, 1);
    alone_wait(&one, 20 * MS);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_SNAPSHOT_ASK)->chunk, 0);
}
END_TEST

START_TEST(chunks_that_were_not_asked_for_are_ignored)
{
    open_learner();
    chunk(9, 0, hash_bytes(bytes, 4), 4);
    need(3);
    alone_persisted(&one);
    chunk(9, 0, hash_bytes(bytes, 4), 4); // before the head
    head(9, 9, 2);
    head(8, 9, 2); // a second head
    chunk(8, 0, hash_bytes(bytes, 4), 4);
    chunk(9, 1, hash_bytes(bytes, 4), 4);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
    stored(0, OMEN_OK);
    ck_assert_uint_eq(one.replica.download.chunk, 0);
    chunk(9, 0, hash_bytes(bytes, 4), 4);
    chunk(9, 0, hash_bytes(bytes, 4), 4); // it is being stored
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
    stored(3, OMEN_OK);
    ck_assert_uint_eq(one.replica.download.chunk, 0);
    ck_assert(one.replica.download.storing);
}
END_TEST

START_TEST(a_source_without_a_snapshot_ends_the_download)
{
    open_learner();
    need(3);
    head(0, 9, 2);
    ck_assert(!one.replica.download.active);
    need(3);
    head(9, 0, 2); // older than what is committed here
    ck_assert(!one.replica.download.active);
    need(3);
    head(9, 9, 0);
    ck_assert(!one.replica.download.active);
    need(3);
    head(9, 9, 2);
    chunk(9, 0, 0, 0); // it has it no more
    ck_assert(!one.replica.download.active);
    need(3);
    head(9, 9, 2);
    chunk(9, 0, hash_bytes(bytes, 4), 4);
    stored(0, OMEN_E_IO);
    ck_assert(!one.replica.download.active);
}
END_TEST

START_TEST(regress_a_snapshot_of_a_term_that_is_not_promised_is_not_taken)
{
    open_learner();
    need(3);
    alone_message(&one, (struct replica_msg){.kind = REPLICA_SNAPSHOT_HEAD,
                                             .from = uuid_of(3),
                                             .term = one.replica.promised + 1,
                                             .snapshot = 9,
                                             .seq = 9,
                                             .prev_term = one.replica.promised + 1,
                                             .chunk_count = 2});
    ck_assert(!one.replica.download.active);
}
END_TEST

START_TEST(a_source_that_never_answers_is_given_up)
{
    open_learner();
    need(3);
    for (uint32_t i = 0; i < 32; i++) {
        alone_wait(&one, 20 * MS);
        ck_assert_ptr_nonnull(alone_sent(&one, REPLICA_SNAPSHOT_ASK));
    }
    alone_wait(&one, 20 * MS);
    ck_assert(!one.replica.download.active);
}
END_TEST

START_TEST(a_bad_snapshot_leaves_the_copy_as_it_was)
{
    open_learner();
    installed(NULL); // nothing is being installed
    need(3);
    alone_persisted(&one);
    head(9, 9, 1);
    good_chunk(0);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_INSTALL);
    installed(NULL);
    ck_assert(!one.replica.download.active);
    ck_assert_uint_eq(one.replica.last_seq, 0);
}
END_TEST

START_TEST(it_leads_nothing_while_its_environment_is_replaced)
{
    open_learner();
    need(3);
    alone_persisted(&one);
    head(9, 9, 1);
    good_chunk(0);
    one.meta.in_sync[0] = uuid_of(1);
    one.meta.learner_count = 0;
    alone_meta(&one, 2, 1);
    ck_assert_int_eq(one.replica.role, REPLICA_BACKUP);
    installed(NULL);
    ck_assert_int_eq(one.replica.role, REPLICA_OPENING);
}
END_TEST

START_TEST(it_is_installed_when_nothing_of_the_old_log_is_under_way)
{
    open_learner();
    need(3);
    head(9, 9, 1); // its promise is not durable yet
    good_chunk(0);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
    alone_persisted(&one);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_INSTALL);
    chunk(9, 0, hash_bytes(bytes, 4), 4);
    head(9, 9, 1);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
    alone_wait(&one, 900 * MS);
    ck_assert_uint_eq(one.out.msg_count, 0);
}
END_TEST

START_TEST(what_another_than_the_source_sends_is_ignored)
{
    open_learner();
    need(3);
    alone_message(&one, (struct replica_msg){.kind = REPLICA_SNAPSHOT_HEAD,
                                             .from = uuid_of(4),
                                             .term = 1,
                                             .snapshot = 8,
                                             .seq = 9,
                                             .chunk_count = 1});
    ck_assert_uint_eq(one.replica.download.snapshot, 0);
}
END_TEST

// Found by the simulator, seed 1242 of its profile `amid`.
START_TEST(a_snapshot_of_a_term_that_was_not_promised_is_not_taken)
{
    open_learner();
    need(3);
    alone_message(&one, (struct replica_msg){.kind = REPLICA_SNAPSHOT_HEAD,
                                             .from = uuid_of(3),
                                             .term = 2,
                                             .snapshot = 9,
                                             .seq = 9,
                                             .prev_term = 2,
                                             .chunk_count = 1});
    ck_assert(!one.replica.download.active);
    ck_assert_uint_eq(one.replica.promised, 1);
    need(3); // and again when the primary says so
    ck_assert(one.replica.download.active);
    head(9, 9, 1);
    ck_assert_uint_eq(one.replica.download.snapshot, 9);
}
END_TEST

START_TEST(who_agrees_with_the_log_that_begins_late_says_where)
{
    open_learner();
    alone_append(&one, 2, 1, 0, 0, 1, 12, 0);
    need(3);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_NACK)->seq, 9);
    ck_assert(!one.replica.download.active);
}
END_TEST

START_TEST(only_learners_get_snapshots_and_only_from_who_is_in_sync)
{
    struct replica_msg ask = {.kind = REPLICA_SNAPSHOT_ASK, .from = uuid_of(4), .term = 1};
    alone_lead(&one);
    alone_message(&one, ask);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_SNAPSHOT);
    ask.snapshot = 9;
    ask.chunk = 3;
    alone_message(&one, ask);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_CHUNK);
    ck_assert_uint_eq(one.out.serve.chunk, 3);
    ask.from = uuid_of(2);
    alone_message(&one, ask);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
    open_learner();
    ask.from = uuid_of(4);
    alone_message(&one, ask);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
}
END_TEST

START_TEST(what_the_shell_made_or_read_is_sent)
{
    alone_lead(&one);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_SNAPSHOT_READY,
                                            .uuid = uuid_of(4),
                                            .snapshot = 9,
                                            .seq = 1,
                                            .snapshot_term = 1,
                                            .chunk_count = 2});
    const struct replica_msg *head_sent = alone_sent(&one, REPLICA_SNAPSHOT_HEAD);
    ck_assert_uint_eq(head_sent->snapshot, 9);
    ck_assert_uint_eq(head_sent->chunk_count, 2);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CHUNK_READ,
                                            .uuid = uuid_of(4),
                                            .snapshot = 9,
                                            .chunk = 1,
                                            .bytes = bytes,
                                            .byte_count = 4,
                                            .hash = 77});
    ck_assert_uint_eq(alone_sent(&one, REPLICA_CHUNK)->hash, 77);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_CHUNK)->chunk, 1);
}
END_TEST

START_TEST(it_is_installed_when_nothing_is_being_applied_or_promised)
{
    open_learner();
    alone_append(&one, 2, 1, 0, 0, 1, 1, 1);
    alone_persisted(&one);
    ck_assert_uint_eq(one.out.apply_last, 1);
    need(3);
    head(9, 9, 1);
    good_chunk(0);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE); // 1 is being applied
    alone_append(&one, 3, 2, 20, 1, 2, 1, 1); // nothing that could be taken, but a newer term
    ck_assert_uint_eq(one.out.promised, 2);
    alone_applied(&one);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
    alone_persisted(&one);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_INSTALL);
}
END_TEST

static void
teardown(void)
{
    replica_fini(&one.replica);
}

static Suite *
catchup_suite(void)
{
    Suite *suite = suite_create("replica/catchup");
    TCase *tcase = tcase_create("catchup");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, a_snapshot_comes_chunk_by_chunk_and_the_log_goes_on_behind_it);
    tcase_add_test(tcase, who_takes_entries_meanwhile_is_not_replaced_by_the_older_snapshot);
    tcase_add_test(tcase, a_source_that_is_nobody_or_oneself_is_not_asked);
    tcase_add_test(tcase, who_is_in_sync_never_installs);
    tcase_add_test(tcase, a_damaged_chunk_is_asked_for_again);
    tcase_add_test(tcase, chunks_that_were_not_asked_for_are_ignored);
    tcase_add_test(tcase, a_source_without_a_snapshot_ends_the_download);
    tcase_add_test(tcase, regress_a_snapshot_of_a_term_that_is_not_promised_is_not_taken);
    tcase_add_test(tcase, a_source_that_never_answers_is_given_up);
    tcase_add_test(tcase, a_bad_snapshot_leaves_the_copy_as_it_was);
    tcase_add_test(tcase, it_leads_nothing_while_its_environment_is_replaced);
    tcase_add_test(tcase, it_is_installed_when_nothing_of_the_old_log_is_under_way);
    tcase_add_test(tcase, what_another_than_the_source_sends_is_ignored);
    tcase_add_test(tcase, a_snapshot_of_a_term_that_was_not_promised_is_not_taken);
    tcase_add_test(tcase, who_agrees_with_the_log_that_begins_late_says_where);
    tcase_add_test(tcase, only_learners_get_snapshots_and_only_from_who_is_in_sync);
    tcase_add_test(tcase, what_the_shell_made_or_read_is_sent);
    tcase_add_test(tcase, it_is_installed_when_nothing_is_being_applied_or_promised);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(catchup_suite)
