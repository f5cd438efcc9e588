// tests/unit/shard/test_hosted_snapshot.c -- a copy that was sent is the copy that was made; anything else is refused.
#include "base/alloc.h"
#include "shard/hosted_int.h"
#include "shard/hosted_snapshot.h"
#include "tests/lib/check_main.h"
#include "tests/lib/hosted_world.h"

static struct folder folder;
static struct world *world;
static struct omen_error error;
static char outbox[320], inbox[320];
static uint8_t bytes[HOSTED_CHUNK_BYTES];

static void
setup(void)
{
    folder_init(&folder);
    (void)snprintf(outbox, sizeof outbox, "%s/outbox", folder.path);
    (void)snprintf(inbox, sizeof inbox, "%s/inbox", folder.path);
    world = malloc(sizeof *world);
    world_init(world, &folder, 0);
}

static void
teardown(void)
{
    world_fini(world);
    free(world);
    folder_fini(&folder);
}

static void
write_some(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        world_write(world, world->copies[0].hosted);
    world_apply(world, &world->copies[0], world->last);
}

static struct hosted_snapshot *
make_snapshot(struct hosted *hosted, const void *extra, size_t extra_bytes)
{
    struct hosted_snapshot *snapshot;
    ck_assert_done(hosted_snapshot_make(hosted, outbox, &snapshot, &error), error);
    ck_assert_uint_eq(hosted_snapshot_chunks(snapshot), 0);
    ck_assert_done(hosted_snapshot_seal(snapshot, extra, extra_bytes, &error), error);
    return snapshot;
}

static void
send_chunk(const struct hosted_snapshot *snapshot, struct hosted_receive *receive, uint32_t number)
{
    struct hosted_chunk chunk = {.number = number};
    ck_assert_done(hosted_snapshot_read(snapshot, &chunk, bytes, &error), error);
    ck_assert_done(hosted_receive_store(receive, &chunk, bytes, &error), error);
}

static struct hosted_receive *
send_all(const struct hosted_snapshot *snapshot)
{
    struct hosted_receive *receive;
    ck_assert_done(hosted_receive_open(inbox, &receive, &error), error);
    for (uint32_t i = 0; i < hosted_snapshot_chunks(snapshot); i++)
        send_chunk(snapshot, receive, i);
    return receive;
}

START_TEST(a_third_copy_gets_a_snapshot_and_applies_on)
{
    struct world_copy *third = &world->copies[2];
    const struct hosted_place place = {.path = third->path};
    struct hosted_extra extra, early;
    const struct graft_record record = {.best = 0.875, .rows = 60};
    write_some(60);
    ck_assert_done(graft_record_keep(hosted_shard(world->copies[0].hosted), &record, &error),
                   error);
    struct hosted_snapshot *snapshot =
        make_snapshot(world->copies[0].hosted, "terms and operations", 20);
    ck_assert_uint_eq(hosted_snapshot_seq(snapshot), 60);
    write_some(20); // beside it
    struct hosted_receive *receive = send_all(snapshot);
    ck_assert_done(hosted_receive_finish(receive, &place, &early, &error), error);
    ck_assert_uint_eq(early.seq, 60);
    ck_assert_uint_eq(early.count, 20);
    mem_free(early.bytes);
    ck_assert_done(hosted_receive_finish(receive, &place, NULL, &error), error);
    ck_assert_uint_eq(hosted_applied(third->hosted), 0); // and goes on until it is exchanged
    hosted_close(third->hosted);
    ck_assert_done(hosted_receive_install(receive, &place, &error), error);
    hosted_receive_close(receive);
    hosted_snapshot_close(snapshot);
    ck_assert_int_ne(access(outbox, F_OK), 0);
    ck_assert_int_ne(access(inbox, F_OK), 0);

    world_open_copy(third);
    ck_assert_uint_eq(hosted_applied(third->hosted), 60);
    ck_assert_double_eq(third->hosted->builds.record.best, 0.875); // asked of its graphs as well
    ck_assert_done(hosted_extra(third->path, &extra, &error), error);
    ck_assert_uint_eq(extra.seq, 60);
    ck_assert_uint_eq(extra.count, 20);
    ck_assert_mem_eq(extra.bytes, "terms and operations", 20);
    mem_free(extra.bytes);
    ck_assert_done(hosted_extra_forget(third->path, &error), error);
    ck_assert_done(hosted_extra_forget(third->path, &error), error);
    ck_assert_int_eq(hosted_extra(third->path, &extra, &error), OMEN_E_NOT_FOUND);
    world_apply(world, third, world->last);
    world_check(world, third->hosted);
    ck_assert(sum_equal(hosted_sum(third->hosted), hosted_sum(world->copies[0].hosted)));
}
END_TEST

START_TEST(a_large_extra_and_a_large_file_come_in_many_chunks)
{
    enum { EXTRA = 3 << 20 };
    struct world_copy fresh = {0};
    uint8_t *extra = malloc(EXTRA);
    struct hosted_extra got;
    for (uint32_t i = 0; i < EXTRA; i++)
        extra[i] = (uint8_t)(i * 2654435761u >> 24);
    write_some(10);
    struct hosted_snapshot *snapshot = make_snapshot(world->copies[0].hosted, extra, EXTRA - 5);
    ck_assert_uint_gt(hosted_snapshot_chunks(snapshot), 4);
    (void)snprintf(fresh.path, sizeof fresh.path, "%s/fresh", folder.path);
    const struct hosted_place place = {.path = fresh.path};
    struct hosted_receive *receive = send_all(snapshot);
    ck_assert_done(hosted_receive_install(receive, &place, &error), error);
    hosted_receive_close(receive);
    hosted_snapshot_close(snapshot);
    world_open_copy(&fresh); // there was none
    world_check(world, fresh.hosted);
    ck_assert_done(hosted_extra(fresh.path, &got, &error), error);
    ck_assert_uint_eq(got.count, EXTRA - 5);
    ck_assert_mem_eq(got.bytes, extra, got.count);
    mem_free(got.bytes);
    hosted_close(fresh.hosted);
    free(extra);
}
END_TEST

START_TEST(halves_of_a_snapshot_add_up_to_it)
{
    const uint64_t middle = UINT64_MAX / 3;
    const struct world_range ranges[] = {{0, middle}, {middle + 1, UINT64_MAX}};
    struct hosted_sum sum = {0};
    write_some(80);
    struct hosted_snapshot *snapshot = make_snapshot(world->copies[0].hosted, NULL, 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct world_copy *half = &world->copies[1 + i];
        const struct hosted_place place = {half->path, ranges[i].first, ranges[i].last};
        hosted_close(half->hosted);
        struct hosted_receive *receive = send_all(snapshot);
        ck_assert_done(hosted_receive_install(receive, &place, &error), error);
        hosted_receive_close(receive);
        world_open_copy(half);
        world_check_range(world, half->hosted, ranges[i]);
        sum = sum_plus(sum, hosted_sum(half->hosted));
    }
    ck_assert(sum_equal(sum, hosted_sum(world->copies[0].hosted)));
    // A half is no source for the whole.
    hosted_snapshot_close(snapshot);
    snapshot = make_snapshot(world->copies[1].hosted, NULL, 0);
    struct hosted_receive *receive = send_all(snapshot);
    const struct hosted_place whole = {.path = world->copies[0].path, .last = UINT64_MAX};
    ck_assert_int_eq(hosted_receive_install(receive, &whole, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "it answers for hashes 0000000000000000 to"));
    hosted_receive_close(receive);
    hosted_snapshot_close(snapshot);
}
END_TEST

START_TEST(a_damaged_chunk_is_refused_and_the_right_one_taken)
{
    struct hosted_receive *receive;
    struct hosted_chunk chunk;
    write_some(5);
    struct hosted_snapshot *snapshot = make_snapshot(world->copies[0].hosted, "x", 1);
    ck_assert_done(hosted_receive_open(inbox, &receive, &error), error);
    for (uint32_t i = 0; i < hosted_snapshot_chunks(snapshot); i++) {
        chunk.number = i;
        ck_assert_done(hosted_snapshot_read(snapshot, &chunk, bytes, &error), error);
        bytes[chunk.count / 2] ^= 1;
        ck_assert_int_eq(hosted_receive_store(receive, &chunk, bytes, &error), OMEN_E_CORRUPT);
        ck_assert_ptr_nonnull(strstr(error.text, "does not hold"));
        bytes[chunk.count / 2] ^= 1;
        ck_assert_done(hosted_receive_store(receive, &chunk, bytes, &error), error);
        ck_assert_done(hosted_receive_store(receive, &chunk, bytes, &error), error); // again
    }
    hosted_receive_close(receive);
    ck_assert_int_ne(access(inbox, F_OK), 0);
    hosted_snapshot_close(snapshot);
}
END_TEST

// A chunk with a checksum of its own that is not the one that was packed.
START_TEST(chunks_of_two_snapshots_do_not_go_together)
{
    struct world_copy *third = &world->copies[2];
    const struct hosted_place place = {.path = third->path};
    struct hosted_receive *receive;
    struct hosted_chunk chunk = {.number = 1};
    write_some(5);
    struct hosted_snapshot *snapshot = make_snapshot(world->copies[0].hosted, "x", 1);
    ck_assert_done(hosted_receive_open(inbox, &receive, &error), error);
    send_chunk(snapshot, receive, 0);
    ck_assert_done(hosted_snapshot_read(snapshot, &chunk, bytes, &error), error);
    bytes[5] ^= 1;
    chunk.hash = hash_bytes(bytes, chunk.count);
    ck_assert_done(hosted_receive_store(receive, &chunk, bytes, &error), error);
    for (uint32_t i = 2; i < hosted_snapshot_chunks(snapshot); i++)
        send_chunk(snapshot, receive, i);
    hosted_close(third->hosted);
    ck_assert_int_eq(hosted_receive_install(receive, &place, &error), OMEN_E_CORRUPT);
    ck_assert_str_eq(error.text, "the chunks do not belong together");
    hosted_receive_close(receive);
    hosted_snapshot_close(snapshot);
    world_open_copy(third); // as it was
    ck_assert_uint_eq(hosted_applied(third->hosted), 0);
}
END_TEST

START_TEST(what_is_not_whole_is_not_installed)
{
    struct world_copy *third = &world->copies[2];
    const struct hosted_place place = {.path = third->path};
    struct hosted_receive *receive;
    struct hosted_chunk chunk = {.number = 1};
    write_some(5);
    struct hosted_snapshot *snapshot = make_snapshot(world->copies[0].hosted, NULL, 0);
    ck_assert_done(hosted_receive_open(inbox, &receive, &error), error);
    ck_assert_int_eq(hosted_receive_install(receive, &place, &error), OMEN_E_INVALID);
    ck_assert_done(hosted_snapshot_read(snapshot, &chunk, bytes, &error), error);
    ck_assert_int_eq(hosted_receive_store(receive, &chunk, bytes, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "chunk 1 cannot follow chunk -1"));
    const uint32_t count = hosted_snapshot_chunks(snapshot);
    ck_assert_uint_ge(count, 2);
    for (uint32_t i = 0; i + 1 < count; i++)
        send_chunk(snapshot, receive, i);
    ck_assert_int_eq(hosted_receive_install(receive, &place, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "chunks are there"));
    chunk.number = count;
    ck_assert_int_eq(hosted_snapshot_read(snapshot, &chunk, bytes, &error), OMEN_E_INVALID);
    ck_assert_int_eq(hosted_snapshot_seal(snapshot, NULL, 0, &error), OMEN_E_INVALID);
    struct hosted_receive *second;
    ck_assert_int_eq(hosted_receive_open(inbox, &second, &error), OMEN_E_EXISTS);
    hosted_receive_close(receive);
    hosted_snapshot_close(snapshot);
}
END_TEST

// The process ends in the middle: what it was making is in folders of its own, and the copy is as it was.
START_TEST(a_copy_is_as_it_was_until_all_is_in_its_place)
{
    struct world_copy *third = &world->copies[2];
    char aside[1024];
    write_some(20);
    world_apply(world, third, 10);
    hosted_close(third->hosted);
    struct hosted_snapshot *snapshot = make_snapshot(world->copies[0].hosted, NULL, 0);
    struct hosted_receive *receive = send_all(snapshot);
    world_open_copy(third);
    ck_assert_uint_eq(hosted_applied(third->hosted), 10);
    hosted_close(third->hosted);
    // Where folders cannot be exchanged at once, the old one is put aside first.
    (void)snprintf(aside, sizeof aside, "%s.old", third->path);
    ck_assert_int_eq(rename(third->path, aside), 0);
    world_open_copy(third);
    ck_assert_uint_eq(hosted_applied(third->hosted), 10);
    hosted_close(third->hosted);
    ck_assert_int_ne(access(aside, F_OK), 0);
    const struct hosted_place place = {.path = third->path};
    ck_assert_done(hosted_receive_install(receive, &place, &error), error);
    hosted_receive_close(receive);
    hosted_snapshot_close(snapshot);
    world_open_copy(third);
    ck_assert_uint_eq(hosted_applied(third->hosted), 20);
    world_check(world, third->hosted);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/hosted_snapshot");
    TCase *tcase = tcase_create("snapshot");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_third_copy_gets_a_snapshot_and_applies_on);
    tcase_add_test(tcase, a_large_extra_and_a_large_file_come_in_many_chunks);
    tcase_add_test(tcase, halves_of_a_snapshot_add_up_to_it);
    tcase_add_test(tcase, a_damaged_chunk_is_refused_and_the_right_one_taken);
    tcase_add_test(tcase, chunks_of_two_snapshots_do_not_go_together);
    tcase_add_test(tcase, what_is_not_whole_is_not_installed);
    tcase_add_test(tcase, a_copy_is_as_it_was_until_all_is_in_its_place);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
