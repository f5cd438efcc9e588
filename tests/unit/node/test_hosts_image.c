// tests/unit/node/test_hosts_image.c -- what goes with a snapshot says what the log knew, up to the snapshot's place, or is refused.
#include "node/hosts_int.h"
#include "tests/lib/check_main.h"

static struct replica replica;
static uint8_t *bytes;
static size_t count;

// A log with terms from 1, 11 and 21 on, and an operation at each even place.
static void
setup(void)
{
    const struct replica_config config = {.uuid = {1, 2},
                                          .shard = 3,
                                          .boot = 1,
                                          .retry_ns = 1,
                                          .shrink_ns = 1,
                                          .idle_ns = 1,
                                          .ops_max = 1000,
                                          .terms_max = REPLICA_TERMS_MAX,
                                          .window_ms = 1000};
    replica_init(&replica, &config, 1);
    for (uint64_t i = 0; i < 3; i++)
        replica.terms.near[replica.terms.count++] = (struct replica_term){5 + i, 1 + 10 * i};
    replica.last_seq = replica.commit_seq = 30;
    replica.stamp_ms = 777;
    ck_assert_int_eq(dedupe_reserve(&replica.ops, 20, 0), OMEN_OK);
    for (uint64_t seq = 2; seq <= 30; seq += 2)
        dedupe_add(&replica.ops, &(struct dedupe_op){{9, seq}, seq, 700 + seq});
    bytes = host_image_write(&replica, &count);
    ck_assert_ptr_nonnull(bytes);
}

static void
teardown(void)
{
    mem_free(bytes);
    replica_fini(&replica);
}

START_TEST(all_that_is_at_or_below_the_place_is_read_and_nothing_behind_it)
{
    struct host_image *image = host_image_read(bytes, count, 20);
    ck_assert_ptr_nonnull(image);
    ck_assert_uint_eq(image->seq, 20);
    ck_assert_uint_eq(image->stamp_ms, 777);
    ck_assert_uint_eq(image->term_count, 2);
    ck_assert_uint_eq(image->terms[1].term, 6);
    ck_assert_uint_eq(image->terms[1].first_seq, 11);
    ck_assert_uint_eq(image->op_count, 10);
    ck_assert_uint_eq(image->ops[9].seq, 20);
    ck_assert_uint_eq(image->ops[9].id.low, 20);
    ck_assert_uint_eq(image->ops[9].stamp_ms, 720);
    const struct replica_disk disk = host_image_disk(image, 8);
    ck_assert_uint_eq(disk.promised, 8);
    ck_assert_uint_eq(disk.first_seq, 21);
    ck_assert_uint_eq(disk.last_seq, 20);
    ck_assert_uint_eq(disk.applied_seq, 20);
    ck_assert_uint_eq(disk.op_count, 10);
    host_image_free(image);
}
END_TEST

START_TEST(what_the_table_has_forgotten_goes_with_it)
{
    struct dedupe table;
    mem_free(bytes);
    replica.ops.forgot_ms = 555;
    bytes = host_image_write(&replica, &count);
    struct host_image *image = host_image_read(bytes, count, 20);
    ck_assert_ptr_nonnull(image);
    ck_assert_uint_eq(image->op_count, 11);
    const struct dedupe_kept kept = {
        .ops = image->ops, .count = image->op_count, .whole = true, .commit = 20};
    dedupe_init(&table, 1000, 1000);
    ck_assert_int_eq(dedupe_load(&table, &kept), OMEN_OK);
    ck_assert_uint_eq(table.count, 10);
    ck_assert_uint_eq(table.forgot_ms, 555);
    dedupe_fini(&table);
    host_image_free(image);
}
END_TEST

START_TEST(a_cut_and_a_byte_more_are_refused)
{
    for (size_t shorter = 0; shorter < count; shorter++)
        ck_assert_ptr_null(host_image_read(bytes, shorter, 20));
    uint8_t *longer = mem_alloc(count + 1);
    ck_assert_ptr_nonnull(longer);
    memcpy(longer, bytes, count);
    longer[count] = 0;
    ck_assert_ptr_null(host_image_read(longer, count + 1, 20));
    mem_free(longer);
}
END_TEST

// Whatever the bytes say, a replica can start from what is read.
START_TEST(bytes_that_were_changed_are_refused_or_sound)
{
    for (size_t at = 0; at < count; at++) {
        bytes[at] ^= 0xff;
        struct host_image *image = host_image_read(bytes, count, 25);
        bytes[at] ^= 0xff;
        if (image == NULL || !host_image_fits(image, 100)) {
            host_image_free(image);
            continue;
        }
        struct replica other;
        struct replica_output *out = calloc(1, sizeof *out);
        const struct replica_disk disk = host_image_disk(image, 100);
        const struct replica_input start = {.now_ns = 1, .kind = REPLICA_IN_START, .disk = &disk};
        ck_assert_ptr_nonnull(out);
        replica_init(&other, &replica.config, 1);
        replica_step(&other, &start, out);
        replica_check(&other);
        replica_fini(&other);
        free(out);
        host_image_free(image);
    }
}
END_TEST

START_TEST(a_copy_takes_nothing_of_a_term_that_it_has_not_promised)
{
    struct host_image *image = host_image_read(bytes, count, 20);
    ck_assert(!host_image_fits(image, 5));
    ck_assert(host_image_fits(image, 6));
    host_image_free(image);
}
END_TEST

START_TEST(a_place_before_every_term_is_refused)
{
    ck_assert_ptr_null(host_image_read(bytes, count, 0));
}
END_TEST

static Suite *
hosts_image_suite(void)
{
    Suite *suite = suite_create("node/hosts_image");
    TCase *tcase = tcase_create("hosts_image");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, all_that_is_at_or_below_the_place_is_read_and_nothing_behind_it);
    tcase_add_test(tcase, what_the_table_has_forgotten_goes_with_it);
    tcase_add_test(tcase, a_cut_and_a_byte_more_are_refused);
    tcase_add_test(tcase, bytes_that_were_changed_are_refused_or_sound);
    tcase_add_test(tcase, a_copy_takes_nothing_of_a_term_that_it_has_not_promised);
    tcase_add_test(tcase, a_place_before_every_term_is_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hosts_image_suite)
