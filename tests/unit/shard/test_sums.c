// tests/unit/shard/test_sums.c -- sums tell points apart, add up in any order, and survive the disk.
#include "shard/sums.h"

#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "tests/lib/check_main.h"
#include "tests/lib/image_table.h"

static struct sums_point
point_of(uint64_t id_hash)
{
    static const float vector[] = {1.0f, -2.5f, 0.0f};
    static const uint8_t payload[] = {0x81, 0xa1, 'a', 1};
    return (struct sums_point){
        .id_hash = id_hash,
        .version = 7,
        .vector = vector,
        .vector_bytes = sizeof vector,
        .payload = payload,
        .payload_bytes = sizeof payload,
    };
}

#define FROZEN_HIGH 0x7fe2f88466049e6bull
#define FROZEN_LOW 0x258ddcac02aced30ull
#define FROZEN_BARE 0x4d476de02b8c5d86ull

// Nodes of different versions compare them, and files keep them.
START_TEST(terms_are_frozen)
{
    struct sums_point point = point_of(0x0123456789abcdefull);
    const struct hosted_sum term = sums_term(&point);
    ck_assert_uint_eq(term.high, FROZEN_HIGH);
    ck_assert_uint_eq(term.low, FROZEN_LOW);
    point.payload = NULL;
    ck_assert_uint_eq(sums_term(&point).high, FROZEN_BARE);
}
END_TEST

START_TEST(every_part_of_a_point_is_in_its_term)
{
    const struct sums_point point = point_of(1);
    const float other[] = {1.0f, -2.5f, 0.5f};
    struct sums_point changed[6];
    for (int i = 0; i < 6; i++)
        changed[i] = point;
    changed[0].id_hash = 2;
    changed[1].version = 8;
    changed[2].vector = other;
    changed[3].payload = NULL;
    changed[4].payload_bytes = 3;
    changed[5].vector_bytes = 8;
    const struct hosted_sum term = sums_term(&point);
    for (int i = 0; i < 6; i++) {
        ck_assert_uint_ne(sums_term(&changed[i]).high, term.high);
        ck_assert_uint_ne(sums_term(&changed[i]).low, term.low);
    }
    ck_assert_uint_ne(term.high, term.low);
}
END_TEST

START_TEST(the_order_does_not_matter_and_what_is_taken_away_is_gone)
{
    struct sums *a, *b;
    struct hosted_sum buckets[SUMS_BUCKETS], root = {0};
    struct prng prng;
    prng_init(&prng, 3);
    ck_assert_int_eq(sums_open(&a), OMEN_OK);
    ck_assert_int_eq(sums_open(&b), OMEN_OK);
    uint64_t hashes[200];
    for (int i = 0; i < 200; i++) {
        hashes[i] = prng_next(&prng);
        const struct sums_point point = point_of(hashes[i]);
        sums_add(a, hashes[i], sums_term(&point));
    }
    for (int i = 199; i >= 0; i--) {
        const struct sums_point point = point_of(hashes[i]);
        sums_add(b, hashes[i], sums_term(&point));
    }
    ck_assert(sum_equal(sums_root(a), sums_root(b)));
    sums_buckets(a, 0, SUMS_BUCKETS, buckets);
    for (uint32_t i = 0; i < SUMS_BUCKETS; i++)
        root = sum_plus(root, buckets[i]);
    ck_assert(sum_equal(root, sums_root(a)));
    for (int i = 0; i < 200; i++) {
        const struct sums_point point = point_of(hashes[i]);
        sums_add(a, hashes[i], sum_minus((struct hosted_sum){0}, sums_term(&point)));
    }
    ck_assert(sum_equal(sums_root(a), (struct hosted_sum){0}));
    sums_clear(b);
    ck_assert(sum_equal(sums_root(b), (struct hosted_sum){0}));
    sums_close(a);
    sums_close(b);
}
END_TEST

START_TEST(what_was_put_is_loaded_and_nothing_else_is)
{
    struct image_table *table = image_table_open();
    struct sums *saved, *loaded;
    static struct hosted_sum buckets[SUMS_BUCKETS], found[SUMS_BUCKETS];
    ck_assert_int_eq(sums_open(&saved), OMEN_OK);
    ck_assert_int_eq(sums_open(&loaded), OMEN_OK);
    const struct image_sink sink = image_table_sink(table);
    const struct image_source source = image_table_source(table);
    ck_assert(!sums_load(loaded, &source));
    for (uint64_t hash = 0; hash < 9000; hash += 7) {
        const struct sums_point point = point_of(hash);
        sums_add(saved, hash, sums_term(&point));
    }
    sums_buckets(saved, 0, SUMS_BUCKETS, buckets);
    ck_assert_int_eq(sums_put(buckets, &sink), OMEN_OK);
    ck_assert(sums_load(loaded, &source));
    sums_buckets(loaded, 0, SUMS_BUCKETS, found);
    ck_assert_mem_eq(found, buckets, sizeof buckets);
    ck_assert(sum_equal(sums_root(saved), sums_root(loaded)));
    ck_assert_int_eq(sink.put(sink.context, IMAGE_SUMS, 0, buckets, 64), OMEN_OK);
    ck_assert(!sums_load(loaded, &source));
    sums_close(saved);
    sums_close(loaded);
    image_table_close(table);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/sums");
    TCase *tcase = tcase_create("sums");
    tcase_add_test(tcase, terms_are_frozen);
    tcase_add_test(tcase, every_part_of_a_point_is_in_its_term);
    tcase_add_test(tcase, the_order_does_not_matter_and_what_is_taken_away_is_gone);
    tcase_add_test(tcase, what_was_put_is_loaded_and_nothing_else_is);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
