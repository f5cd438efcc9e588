// tests/unit/replica/test_message.c -- what breaks a limit is dropped, whatever else is in it; so are metadata that cannot be.
//
// Shape: shell. Each case breaks one limit of a message that is taken without it.
#include "tests/lib/check_main.h"
#include "tests/lib/replica_alone.h"

static struct alone one;
static const uint8_t bytes[4] = "data";
static const struct replica_sum sums[2];
static struct replica_entry entries[3];

static struct replica_msg
good_append(void)
{
    for (uint32_t i = 0; i < 3; i++)
        entries[i] = (struct replica_entry){.seq = i + 1,
                                            .term = 1,
                                            .stamp_ms = i + 1,
                                            .kind = REPLICA_ENTRY_OP,
                                            .bytes = bytes,
                                            .byte_count = 4};
    return (struct replica_msg){.kind = REPLICA_APPEND,
                                .from = uuid_of(2),
                                .to = uuid_of(1),
                                .shard = 7,
                                .term = 1,
                                .entries = entries,
                                .entry_count = 3,
                                .bytes = bytes,
                                .byte_count = 4,
                                .buckets = sums,
                                .bucket_count = 2};
}

// One limit of the message itself after the other; false: there are no more.
static bool
break_number(struct replica_msg *msg, int which)
{
    uint64_t *const numbers[] = {&msg->term,     &msg->cfg_ver, &msg->seq,
                                 &msg->prev_seq, &msg->round,   &msg->commit};
    if (which >= 2 * (int)(sizeof numbers / sizeof *numbers))
        return false;
    *numbers[which / 2] = which % 2 == 0 ? REPLICA_NUMBER_MAX : UINT64_MAX;
    return true;
}

static bool
break_field(struct replica_msg *msg, int which)
{
    switch (which) {
    case 0:
        msg->kind = (enum replica_msg_kind)0;
        break;
    case 1:
        msg->kind = REPLICA_MSG_KINDS;
        break;
    case 2:
        msg->shard = 8;
        break;
    case 3:
        msg->to = uuid_of(2);
        break;
    case 4:
        msg->from = uuid_of(0);
        break;
    case 5:
        msg->from = uuid_of(1);
        break;
    case 6:
        msg->prev_term = 2;
        break;
    case 7:
        msg->prev_term = 1;
        break; // of a place that is before the first
    case 8:
        msg->chunk = REPLICA_CHUNKS_MAX;
        break;
    case 9:
        msg->chunk_count = REPLICA_CHUNKS_MAX + 1;
        break;
    case 10:
        msg->byte_count = REPLICA_CHUNK_BYTES_MAX + 1;
        break;
    case 11:
        msg->bytes = NULL;
        break;
    case 12:
        msg->bucket_count = REPLICA_BUCKETS_PER_MSG + 1;
        break;
    case 13:
        msg->buckets = NULL;
        break;
    case 14:
        msg->entry_count = REPLICA_ENTRIES_MAX + 1;
        break;
    case 15:
        msg->entries = NULL;
        break;
    default:
        return false;
    }
    return true;
}

static bool
break_entry(struct replica_msg *msg, int which)
{
    switch (which) {
    case 0:
        entries[1].seq = 3;
        break;
    case 1:
        entries[0].term = 0;
        break;
    case 2:
        entries[2].term = 2;
        break;
    case 3:
        entries[1].stamp_ms = 0;
        break;
    case 4:
        entries[1].kind = (enum replica_entry_kind)0;
        break;
    case 5:
        entries[1].kind = (enum replica_entry_kind)(REPLICA_ENTRY_CHECKSUM + 1);
        break;
    case 6:
        entries[1].byte_count = REPLICA_ENTRY_BYTES_MAX + 1;
        break;
    case 7:
        entries[1].bytes = NULL;
        break;
    case 8:
        msg->term = 3;
        entries[1].term = 2;
        break; // and the third has 1 again
    default:
        return false;
    }
    return true;
}

static void
give(const struct replica_msg *msg)
{
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_MESSAGE, .message = msg});
}

static void
refuse_all(bool (*break_limit)(struct replica_msg *msg, int which))
{
    int which = 0;
    replica_fini(&one.replica); // of the limits before
    alone_open(&one, 1, 2);
    for (struct replica_msg msg = good_append(); break_limit(&msg, which); msg = good_append()) {
        give(&msg);
        which++;
        ck_assert_msg(one.replica.counters.refused_msgs == (uint64_t)which, "limit %d", which - 1);
        ck_assert_uint_eq(one.replica.last_seq, 0);
        ck_assert_uint_eq(one.out.msg_count, 0);
    }
    ck_assert_int_gt(which, 8);
    const struct replica_msg msg = good_append();
    give(&msg);
    ck_assert_uint_eq(one.replica.last_seq, 3);
}

START_TEST(a_message_that_breaks_one_limit_is_dropped)
{
    refuse_all(break_number);
    refuse_all(break_field);
    refuse_all(break_entry);
}
END_TEST

START_TEST(nothing_is_heard_before_the_start)
{
    const struct replica_msg msg = good_append();
    alone_open(&one, 1, 2);
    const struct replica_config config = one.replica.config;
    replica_init(&one.replica, &config, 1);
    give(&msg);
    ck_assert_uint_eq(one.replica.counters.refused_msgs, 1);
    alone_wait(&one, MS);
    ck_assert_int_eq(one.replica.role, REPLICA_IDLE);
}
END_TEST

static bool
break_meta(struct replica_meta *meta, int which)
{
    switch (which) {
    case 0:
        meta->cfg_ver = 1;
        break;
    case 1:
        meta->term = 1;
        break;
    case 2:
        meta->term = REPLICA_NUMBER_MAX;
        break;
    case 3:
        meta->min_insync = 0;
        break;
    case 4:
        meta->primary = uuid_of(4);
        break; // it only learns
    case 5:
        meta->in_sync_count = REPLICA_MEMBERS_MAX + 1;
        break;
    case 6:
        meta->learner_count = REPLICA_MEMBERS_MAX - 2;
        break;
    case 7:
        meta->primary = uuid_of(3);
        break; // another of the same term
    case 8:
        meta->in_sync[1] = uuid_of(1);
        break;
    default:
        return false;
    }
    return true;
}

START_TEST(metadata_that_cannot_be_are_refused)
{
    alone_open(&one, 2, 2);
    const struct replica_meta good = one.meta;
    struct replica_meta meta = good;
    meta.cfg_ver = 2;
    for (int which = 0; break_meta(&meta, which); which++) {
        alone_step(&one, (struct replica_input){.kind = REPLICA_IN_META, .meta = &meta});
        ck_assert_msg(one.replica.meta.cfg_ver == good.cfg_ver, "%d", which);
        meta = good;
        meta.cfg_ver = 2;
    }
    ck_assert_uint_eq(one.replica.counters.refused_meta, 8); // an old version is no offence
}
END_TEST

static void
teardown(void)
{
    replica_fini(&one.replica);
}

static Suite *
message_suite(void)
{
    Suite *suite = suite_create("replica/message");
    TCase *tcase = tcase_create("message");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, a_message_that_breaks_one_limit_is_dropped);
    tcase_add_test(tcase, nothing_is_heard_before_the_start);
    tcase_add_test(tcase, metadata_that_cannot_be_are_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(message_suite)
