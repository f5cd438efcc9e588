// tests/unit/shard/test_field_column.c -- ranges by a column beside the same ranges by the index.
#include "shard/field_column.h"

#include "base/alloc.h"
#include "base/bitmap.h"
#include "base/prng.h"
#include "tests/lib/check_main.h"

#define SLOTS 20000u

// How the values of rows are drawn: all different, a few, one that most have, in order of the slots.
enum law { DISTINCT, FEW, SKEWED, ORDERED, LAWS };

struct world {
    struct field_index *index;
    struct field_column *column;
    struct field_key keys[SLOTS * 2];
    bool there[SLOTS * 2];
    struct prng prng;
    enum law law;
};

static struct world world;

static struct field_key
draw(uint32_t slot)
{
    static const uint32_t below[] = {1000000, 30, 5000, 0};
    if (world.law == ORDERED)
        return field_key_of_integer((int64_t)slot / 3 - 1000);
    if (world.law == SKEWED && prng_below(&world.prng, 3) > 0)
        return field_key_of_integer(17);
    return field_key_of_integer((int64_t)prng_below(&world.prng, below[world.law]) - 500);
}

// In the index only.
static void
put(uint32_t slot)
{
    world.keys[slot] = draw(slot);
    world.there[slot] = true;
    ck_assert(field_index_claim(world.index, &world.keys[slot], SLOTS * 2));
    ck_assert(field_index_add(world.index, &world.keys[slot], slot));
}

static void
begin(enum law law)
{
    memset(&world, 0, sizeof world);
    world.law = law;
    prng_init(&world.prng, (uint64_t)law + 1);
    ck_assert_int_eq(field_index_open(FIELD_INTEGER, &world.index), OMEN_OK);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        put(slot);
    world.column = field_column_make(world.index, SLOTS);
    ck_assert_ptr_nonnull(world.column);
}

static void
end(void)
{
    field_column_close(world.column);
    field_index_close(world.index);
}

static void
expect_same_range(const struct field_range *range, uint32_t slots)
{
    static uint64_t by_column[SLOTS * 2 / 64 + 1], by_index[SLOTS * 2 / 64 + 1];
    memset(by_column, 0, sizeof by_column);
    memset(by_index, 0, sizeof by_index);
    field_column_range(world.column, world.index, range, by_column, slots);
    field_index_range(world.index, range, by_index, slots);
    for (uint32_t slot = 0; slot < slots; slot++)
        if ((by_column[slot / 64] ^ by_index[slot / 64]) >> (slot % 64) & 1)
            ck_abort_msg("slot %u of %u, bounds %d %lld and %d %lld", slot, slots, range->low_bound,
                         (long long)field_key_integer(&range->low), range->high_bound,
                         (long long)field_key_integer(&range->high));
}

// Bounds are values of rows, their neighbours, and beyond all of them; they may cross.
static void
expect_same_ranges(uint32_t rounds, uint32_t slots)
{
    for (uint32_t i = 0; i < rounds; i++) {
        struct field_range range = {.low_bound = (enum field_bound)prng_below(&world.prng, 3)};
        range.high_bound = (enum field_bound)prng_below(&world.prng, 3);
        struct field_key *bounds[2] = {&range.low, &range.high};
        for (uint32_t side = 0; side < 2; side++) {
            const struct field_key key = draw(prng_below(&world.prng, SLOTS));
            const int64_t integer = prng_below(&world.prng, 20) == 0
                                        ? (side == 0 ? INT64_MIN : INT64_MAX)
                                        : field_key_integer(&key);
            *bounds[side] = field_key_of_integer(integer);
        }
        expect_same_range(
            &range, prng_below(&world.prng, 4) == 0 ? 1 + prng_below(&world.prng, slots) : slots);
    }
}

START_TEST(ranges_are_those_of_the_index)
{
    begin((enum law)_i);
    expect_same_ranges(400, SLOTS);
    end();
}
END_TEST

// Rows come, go and change, up to where the column has to be made anew.
START_TEST(ranges_are_those_of_the_index_after_rows_came_and_went)
{
    begin((enum law)_i);
    uint32_t next = SLOTS, added = 0;
    for (; added < SLOTS / 2; added++) {
        const uint32_t gone = prng_below(&world.prng, next);
        if (world.there[gone]) {
            ck_assert(field_index_remove(world.index, &world.keys[gone], gone));
            field_column_remove(world.column, gone);
            world.there[gone] = false;
        }
        const uint32_t slot = prng_below(&world.prng, 2) ? gone : next++;
        put(slot);
        ck_assert(field_column_add(world.column, &world.keys[slot], slot));
        if (added % 500 == 0)
            expect_same_ranges(20, next);
    }
    ck_assert(!field_column_add(world.column, &world.keys[0], next)); // uneven by now
    end();
}
END_TEST

START_TEST(a_slot_with_two_values_has_no_column)
{
    begin(DISTINCT);
    const struct field_key second = field_key_of_integer(-7);
    ck_assert(!field_column_add(world.column, &second, 5));
    ck_assert(field_index_claim(world.index, &second, SLOTS));
    ck_assert(field_index_add(world.index, &second, 5));
    ck_assert_ptr_null(field_column_make(world.index, SLOTS));
    end();
}
END_TEST

START_TEST(texts_have_no_column)
{
    struct field_index *index;
    ck_assert_int_eq(field_index_open(FIELD_KEYWORD, &index), OMEN_OK);
    ck_assert_ptr_null(field_column_make(index, 100));
    field_index_close(index);
}
END_TEST

START_TEST(memory_that_is_short_is_an_answer)
{
    begin(FEW);
    mem_fail_after(1);
    ck_assert(!field_column_add(world.column, &world.keys[0], SLOTS * 2));
    ck_assert_ptr_null(field_column_make(world.index, SLOTS));
    mem_fail_after(2);
    ck_assert_ptr_null(field_column_make(world.index, SLOTS));
    mem_fail_after(0);
    end();
}
END_TEST

START_TEST(an_index_without_rows_has_an_empty_column_or_none)
{
    static uint64_t words[2];
    struct field_index *index;
    const struct field_range all = {0};
    ck_assert_int_eq(field_index_open(FIELD_INTEGER, &index), OMEN_OK);
    ck_assert_ptr_null(field_column_make(index, 0));
    const struct field_key key = field_key_of_integer(1);
    ck_assert(field_index_claim(index, &key, 100)); // a value that nobody has
    struct field_column *column = field_column_make(index, 100);
    ck_assert_ptr_nonnull(column);
    field_column_range(column, index, &all, words, 100);
    ck_assert_uint_eq(words[0] | words[1], 0);
    field_column_close(column);
    field_index_close(index);
}
END_TEST

static Suite *
field_column_suite(void)
{
    Suite *suite = suite_create("field_column");
    TCase *tcase = tcase_create("field_column");
    tcase_add_loop_test(tcase, ranges_are_those_of_the_index, 0, LAWS);
    tcase_add_loop_test(tcase, ranges_are_those_of_the_index_after_rows_came_and_went, 0, LAWS);
    tcase_add_test(tcase, a_slot_with_two_values_has_no_column);
    tcase_add_test(tcase, texts_have_no_column);
    tcase_add_test(tcase, memory_that_is_short_is_an_answer);
    tcase_add_test(tcase, an_index_without_rows_has_an_empty_column_or_none);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(field_column_suite)
