// tests/unit/replica/test_peer.c -- what a primary sends to a copy, and what it makes of answers that are late, odd or from nobody.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/replica_alone.h"

static struct alone one;

static void
nack(uint64_t from, uint64_t term, uint64_t prev_seq, uint64_t seq)
{
    alone_message(&one, (struct replica_msg){.kind = REPLICA_NACK,
                                             .from = uuid_of(from),
                                             .term = term,
                                             .prev_seq = prev_seq,
                                             .seq = seq});
}

static void
ack(uint64_t from, uint64_t term, uint64_t seq, uint64_t agreed)
{
    alone_message(&one, (struct replica_msg){.kind = REPLICA_ACK,
                                             .from = uuid_of(from),
                                             .term = term,
                                             .seq = seq,
                                             .prev_seq = agreed});
}

static const struct replica_peer *
peer_of(uint64_t uuid)
{
    for (uint32_t i = 0; i < one.replica.peer_count; i++)
        if (one.replica.peers[i].uuid.low == uuid)
            return &one.replica.peers[i];
    ck_abort_msg("no peer %llu", (unsigned long long)uuid);
}

// The shell answers with `count` entries from `first` on.
static void
entries(uint64_t reader, uint64_t term, uint64_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        one.entries[i] =
            (struct replica_entry){.seq = first + i, .term = 1, .kind = REPLICA_ENTRY_OP};
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_ENTRIES,
                                            .reader = uuid_of(reader),
                                            .reader_term = term,
                                            .entries = one.entries,
                                            .entry_count = count});
}

// Leads term 2 with 2..last of term 1 in its log, which begins at `first`.
static void
lead_old_log(uint64_t first, uint64_t last)
{
    const struct replica_term terms[] = {{1, first > 1 ? first - 1 : 1}};
    const struct replica_disk disk = {.promised = 1,
                                      .first_seq = first,
                                      .last_seq = last,
                                      .commit_seq = first - 1,
                                      .applied_seq = first - 1,
                                      .terms = terms,
                                      .term_count = 1};
    alone_open(&one, 1, 2);
    alone_restart(&one, &disk);
    alone_meta(&one, 2, 1);
    alone_persisted(&one);
}

// It had said that it knew of the commit, so nothing would be sent to it before the next write.
START_TEST(a_copy_that_was_started_again_hears_what_is_committed)
{
    alone_lead(&one);
    alone_propose(&one, 1, 1);
    alone_persisted(&one);
    const uint64_t last = one.replica.last_seq;
    for (uint64_t uuid = 2; uuid <= 3; uuid++)
        ack(uuid, 1, last, last);
    ck_assert_uint_eq(one.replica.commit_seq, last);
    for (uint64_t uuid = 2; uuid <= 3; uuid++)
        alone_message(&one, (struct replica_msg){.kind = REPLICA_ACK,
                                                 .from = uuid_of(uuid),
                                                 .term = 1,
                                                 .seq = last,
                                                 .prev_seq = last,
                                                 .commit = last});
    alone_wait(&one, 50 * MS);
    ck_assert_uint_eq(one.out.msg_count, 0); // there is nothing to be said
    alone_message(&one,
                  (struct replica_msg){
                      .kind = REPLICA_ACK, .from = uuid_of(3), .term = 1, .commit = last - 1});
    const struct replica_msg *told = NULL;
    for (uint32_t i = 0; i < one.out.msg_count; i++)
        if (one.out.msgs[i].kind == REPLICA_APPEND && one.out.msgs[i].to.low == 3)
            told = &one.out.msgs[i];
    ck_assert_ptr_nonnull(told);
    ck_assert_uint_eq(told->prev_seq, last);
    ck_assert_uint_eq(told->commit, last);
    ck_assert_uint_eq(peer_of(3)->match, last); // what it has acknowledged, it has
}
END_TEST

START_TEST(a_silent_copy_that_cannot_be_spared_does_not_keep_its_primary_awake)
{
    alone_lead(&one);
    one.meta.min_insync = 3;
    alone_meta(&one, 1, 1);
    alone_propose(&one, 1, 1);
    alone_persisted(&one);
    for (int i = 0; i < 20; i++) { // longer than shrink_ns
        alone_wait(&one, 20 * MS);
        ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_NONE);
        ck_assert_uint_gt(one.out.wake_ns, one.now_ns);
    }
}
END_TEST

START_TEST(a_primary_that_reads_its_log_for_a_copy_sleeps_until_it_has_read)
{
    alone_lead(&one);
    alone_propose(&one, 1, 1);
    alone_persisted(&one);
    alone_wait(&one, 20 * MS);
    ck_assert_uint_gt(one.out.read_count, 0);
    ck_assert_uint_gt(one.out.wake_ns, one.now_ns);
    alone_wait(&one, 20 * MS);
    ck_assert_uint_gt(one.out.wake_ns, one.now_ns);
}
END_TEST

START_TEST(an_ack_that_cannot_be_is_ignored)
{
    alone_open(&one, 1, 2);
    ack(3, 0, 0, 0); // it does not lead
    ck_assert_uint_eq(one.replica.counters.fenced_msgs, 1);
    alone_open(&one, 1, 1);
    alone_persisted(&one);
    ack(2, 0, 1, 1);
    ack(9, 1, 1, 1);
    ack(2, 1, 1, 2);
    ack(2, 1, 2, 1);
    ck_assert_uint_eq(one.replica.counters.fenced_msgs, 4);
    ck_assert_uint_eq(peer_of(2)->match, 0);
}
END_TEST

START_TEST(a_refusal_that_cannot_be_or_is_late_changes_nothing)
{
    alone_open(&one, 1, 2);
    nack(3, 1, 0, 0); // it does not lead
    ck_assert_uint_eq(one.out.msg_count, 0);
    alone_lead(&one);
    nack(9, 1, 1, 0);
    nack(2, 0, 1, 0);
    nack(2, 1, 5, 0);
    nack(2, 1, 1, 0); // below what it acknowledged
    ck_assert_int_eq(peer_of(2)->state, REPLICA_STREAM);
    ck_assert_uint_eq(peer_of(2)->next, 2);
}
END_TEST

START_TEST(a_refusal_at_a_newer_term_asks_for_the_metadata)
{
    alone_lead(&one);
    nack(2, 9, 1, 0);
    ck_assert_int_eq(one.out.notes[0].kind, REPLICA_NOTE_WANT_META);
    ck_assert(replica_is_open(&one.replica)); // only the metadata and a newer primary end a term
}
END_TEST

START_TEST(a_refusal_leads_back_to_where_the_logs_may_agree)
{
    lead_old_log(1, 8);
    ck_assert_uint_eq(peer_of(2)->next, 10); // it was asked whether it has all
    nack(2, 2, 9, 3);
    ck_assert_uint_eq(one.out.reads[0].first_seq, 4);
    entries(2, 2, 4, 2);
    nack(2, 2, 3, 3); // no further than one below what was refused
    ck_assert_uint_eq(one.out.reads[0].first_seq, 3);
    nack(2, 2, 7, 1); // to another question
    ck_assert_uint_eq(peer_of(2)->next, 3);
}
END_TEST

START_TEST(a_refusal_never_goes_below_what_was_acknowledged)
{
    lead_old_log(1, 8);
    ack(2, 2, 5, 9);
    ck_assert_uint_eq(peer_of(2)->match, 5);
    nack(2, 2, 9, 2);
    ck_assert_uint_eq(peer_of(2)->next, 6);
}
END_TEST

START_TEST(a_stretch_of_the_log_that_nobody_waits_for_is_not_sent)
{
    alone_open(&one, 1, 2);
    entries(2, 1, 1, 1); // it does not lead
    ck_assert_uint_eq(one.out.msg_count, 0);
    lead_old_log(1, 8);
    nack(2, 2, 9, 7);
    entries(9, 2, 8, 1);
    entries(2, 1, 8, 1);
    ck_assert_uint_eq(one.out.msg_count, 0);
    entries(2, 2, 7, 1); // not where it is any more
    ck_assert_ptr_null(alone_sent(&one, REPLICA_APPEND));
    ck_assert_uint_eq(one.out.read_count, 1);
    entries(2, 2, 8, 1);
    ck_assert_ptr_nonnull(alone_sent(&one, REPLICA_APPEND));
    entries(2, 2, 8, 1); // twice
    ck_assert_uint_eq(one.out.msg_count, 0);
}
END_TEST

START_TEST(a_stretch_that_was_trimmed_meanwhile_is_looked_at_again_at_once)
{
    lead_old_log(1, 8);
    nack(2, 2, 9, 7);
    entries(2, 2, 8, 0);
    ck_assert_uint_eq(one.out.wake_ns, one.now_ns);
    ck_assert(one.out.read_count > 0 || !peer_of(2)->reading);
}
END_TEST

START_TEST(no_more_is_read_at_once_than_fits_a_message)
{
    lead_old_log(1, 200);
    nack(2, 2, 201, 0);
    ck_assert_uint_eq(one.out.reads[0].first_seq, 1);
    ck_assert_uint_eq(one.out.reads[0].count, REPLICA_ENTRIES_MAX);
}
END_TEST

START_TEST(who_ends_before_the_log_begins_needs_a_snapshot)
{
    lead_old_log(6, 8);
    nack(2, 2, 9, 2);
    const struct replica_msg *need = alone_sent(&one, REPLICA_NEED_SNAPSHOT);
    ck_assert_uint_eq(need->prev_seq, 5);
    ck_assert_uint_eq(need->prev_term, 1);
    ck_assert_uint_eq(need->source.low, 1);
    ck_assert_uint_eq(replica_keep_from(&one.replica), 1); // 3 may still need what there is
    alone_wait(&one, 20 * MS);
    ck_assert_ptr_nonnull(alone_sent(&one, REPLICA_NEED_SNAPSHOT));
    nack(2, 2, 5, 4); // still too early
    ck_assert_int_eq(peer_of(2)->state, REPLICA_SNAPSHOT);
    nack(2, 2, 5, 5); // it has it
    ck_assert_uint_eq(peer_of(2)->next, 6);
    ack(2, 2, 5, 5);
    ck_assert_int_eq(peer_of(2)->state, REPLICA_STREAM);
}
END_TEST

START_TEST(the_start_of_the_65th_term_pushes_the_first_out)
{
    alone_open(&one, 1, 2);
    for (uint64_t term = 1; term <= REPLICA_TERMS_MAX + 1; term++) {
        alone_append(&one, 2 + (term + 1) % 2, term, term - 1, term - 1, term, 1, term - 1);
        alone_persisted(&one);
        alone_applied(&one);
    }
    ck_assert_uint_eq(one.replica.terms.count, REPLICA_TERMS_MAX);
    ck_assert_uint_eq(one.replica.terms.near[0].term, 2);
    ck_assert_uint_eq(replica_term_at(&one.replica, 1), 0);
}
END_TEST

// 0: as many terms as are known; 1: one more, so that an entry follows of which nobody could say what it follows.
START_TEST(who_ends_before_the_terms_that_are_known_needs_a_snapshot)
{
    struct replica_term terms[REPLICA_TERMS_MAX];
    const uint64_t last = REPLICA_TERMS_MAX - 1 + (uint64_t)_i; // one entry of each; and TERM_START
    for (uint64_t term = 1; term <= last; term++)
        if (term > last - (REPLICA_TERMS_MAX - 1))
            terms[term - 1 - (uint64_t)_i] = (struct replica_term){term, term};
    const struct replica_disk disk = {.promised = last,
                                      .first_seq = 1,
                                      .last_seq = last,
                                      .commit_seq = last,
                                      .applied_seq = last,
                                      .terms = terms,
                                      .term_count = REPLICA_TERMS_MAX - 1};
    alone_open(&one, 1, 2);
    alone_restart(&one, &disk);
    alone_meta(&one, last + 1, 1);
    alone_persisted(&one);
    ck_assert_uint_eq(one.replica.terms.count, REPLICA_TERMS_MAX);
    nack(2, last + 1, last + 1, 0);
    const struct replica_msg *need = alone_sent(&one, REPLICA_NEED_SNAPSHOT);
    ck_assert(_i == 1 ? need != NULL : need == NULL);
    ck_assert_uint_eq(one.out.read_count, _i == 1 ? 0 : 1);
    ck_assert(replica_can_follow(&one.replica, last + 1) && replica_can_follow(&one.replica, 2));
    ck_assert(!replica_can_follow(&one.replica, last + 2)); // there is none
    ck_assert(replica_can_follow(&one.replica, 1) == (_i == 0));
    if (_i == 1) {
        ck_assert_uint_eq(need->prev_seq, 2);
        ck_assert_uint_eq(need->prev_term, 2);
    }
}
END_TEST

// It began a term each time that it was started, and found nobody to commit with.
START_TEST(however_many_terms_began_since_who_has_what_is_applied_can_go_on_behind_it)
{
    enum { STARTS = 3 * REPLICA_TERMS_MAX };
    struct replica_term terms[1 + STARTS] = {{1, 1}};
    for (uint64_t i = 1; i <= STARTS; i++)
        terms[i] = (struct replica_term){i + 1, 5 + i};
    const struct replica_disk disk = {.promised = STARTS + 1,
                                      .first_seq = 3,
                                      .last_seq = 5 + STARTS,
                                      .commit_seq = 5,
                                      .applied_seq = 5,
                                      .terms = terms,
                                      .term_count = 1 + STARTS};
    alone_open(&one, 1, 2);
    alone_restart(&one, &disk);
    alone_meta(&one, STARTS + 2, 1);
    alone_persisted(&one);
    ck_assert(replica_can_follow(&one.replica, 5));
    nack(2, STARTS + 2, 5 + STARTS + 1, 5); // that one has the snapshot, and no more
    ck_assert_ptr_null(alone_sent(&one, REPLICA_NEED_SNAPSHOT));
    ck_assert_uint_eq(one.out.read_count, 1);
    ck_assert_uint_eq(one.out.reads[0].first_seq, 6);
}
END_TEST

START_TEST(who_acknowledges_nothing_is_sent_one_window_and_no_more)
{
    const uint64_t last = REPLICA_WINDOW; // with TERM_START
    lead_old_log(1, last - 1);
    ack(4, 2, 0, 0);
    uint64_t first = 1;
    for (; one.out.read_count > 0; first += REPLICA_ENTRIES_MAX) {
        ck_assert_uint_eq(one.out.reads[0].reader.low, 4);
        ck_assert_uint_eq(one.out.reads[0].first_seq, first);
        entries(4, 2, first, REPLICA_ENTRIES_MAX);
    }
    ck_assert_uint_eq(first, last + 1);
    ck_assert(!peer_of(4)->pending); // too far behind to count
    ack(2, 2, last, last);
    ack(3, 2, last, last);
    alone_propose(&one, 11, 1);
    ck_assert_ptr_nonnull(alone_sent(&one, REPLICA_APPEND));
    for (uint32_t i = 0; i < one.out.msg_count; i++)
        ck_assert_uint_ne(one.out.msgs[i].to.low, 4);
    ack(4, 2, last, last);
    ck_assert_uint_eq(one.out.reads[0].first_seq, last + 1);
    ck_assert(peer_of(4)->pending);
}
END_TEST

START_TEST(acknowledgements_that_were_late_spare_what_they_cover)
{
    lead_old_log(1, 8);
    nack(2, 2, 9, 0);
    entries(2, 2, 1, 3);
    ack(2, 2, 3, 3);
    ck_assert_uint_eq(one.out.reads[0].first_seq, 4);
    ack(2, 2, 6, 6); // of what was sent before the refusal
    entries(2, 2, 4, 2);
    ck_assert_ptr_null(alone_sent(&one, REPLICA_APPEND));
    ck_assert_uint_eq(one.out.reads[0].first_seq, 7);
}
END_TEST

START_TEST(a_place_beyond_the_log_ends_no_snapshot)
{
    lead_old_log(6, 8);
    nack(2, 2, 9, 2);
    nack(2, 2, 5, 10);
    ck_assert_int_eq(peer_of(2)->state, REPLICA_SNAPSHOT);
}
END_TEST

START_TEST(a_log_that_has_no_numbers_left_takes_nothing)
{
    const struct replica_proposal proposal = {.request = 1};
    const uint64_t last = REPLICA_NUMBER_MAX - REPLICA_ENTRIES_MAX;
    lead_old_log(last, last - 1);
    ack(2, 2, last, last);
    ack(3, 2, last, last);
    ck_assert(replica_is_open(&one.replica));
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_PROPOSE,
                                            .proposals = &proposal,
                                            .proposal_count = 1,
                                            .cfg_ver = one.replica.meta.cfg_ver});
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CHECKSUM});
    ck_assert_uint_eq(one.out.append_count, 0);
}
END_TEST

START_TEST(a_trim_beyond_what_is_applied_is_not_believed)
{
    lead_old_log(3, 8);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRIMMED, .seq = 4});
    ck_assert_uint_eq(one.replica.first_seq, 3);
}
END_TEST

static void
teardown(void)
{
    replica_fini(&one.replica);
}

static Suite *
peer_suite(void)
{
    Suite *suite = suite_create("replica/peer");
    TCase *tcase = tcase_create("peer");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, a_copy_that_was_started_again_hears_what_is_committed);
    tcase_add_test(tcase, a_silent_copy_that_cannot_be_spared_does_not_keep_its_primary_awake);
    tcase_add_test(tcase, a_primary_that_reads_its_log_for_a_copy_sleeps_until_it_has_read);
    tcase_add_test(tcase, an_ack_that_cannot_be_is_ignored);
    tcase_add_test(tcase, a_refusal_that_cannot_be_or_is_late_changes_nothing);
    tcase_add_test(tcase, a_refusal_at_a_newer_term_asks_for_the_metadata);
    tcase_add_test(tcase, a_refusal_leads_back_to_where_the_logs_may_agree);
    tcase_add_test(tcase, a_refusal_never_goes_below_what_was_acknowledged);
    tcase_add_test(tcase, a_stretch_of_the_log_that_nobody_waits_for_is_not_sent);
    tcase_add_test(tcase, a_stretch_that_was_trimmed_meanwhile_is_looked_at_again_at_once);
    tcase_add_test(tcase, no_more_is_read_at_once_than_fits_a_message);
    tcase_add_test(tcase, who_ends_before_the_log_begins_needs_a_snapshot);
    tcase_add_test(tcase, the_start_of_the_65th_term_pushes_the_first_out);
    tcase_add_loop_test(tcase, who_ends_before_the_terms_that_are_known_needs_a_snapshot, 0, 2);
    tcase_add_test(tcase,
                   however_many_terms_began_since_who_has_what_is_applied_can_go_on_behind_it);
    tcase_add_test(tcase, who_acknowledges_nothing_is_sent_one_window_and_no_more);
    tcase_add_test(tcase, acknowledgements_that_were_late_spare_what_they_cover);
    tcase_add_test(tcase, a_place_beyond_the_log_ends_no_snapshot);
    tcase_add_test(tcase, a_log_that_has_no_numbers_left_takes_nothing);
    tcase_add_test(tcase, a_trim_beyond_what_is_applied_is_not_believed);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(peer_suite)
