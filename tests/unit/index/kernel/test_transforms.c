// tests/unit/index/kernel/test_transforms.c -- link rows, the Hadamard transform and rounding: the
// oracle's bits.
#include <math.h>
#include <string.h>

#include "index/kernel/kernel.h"
#include "tests/lib/check_main.h"
#include "tests/unit/index/kernel/blocks.h"

enum { LINKS = 32, ID_EMPTY = 0xffffff };

// A row of numbers of `bytes` bytes each, at an odd address, by every table.
static void
check_unpack_of(uint32_t bytes, const uint32_t ids[LINKS], uint32_t limit)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    for (uint32_t t = 0; t < tables; t++) {
        struct block row = block_open(bytes * LINKS, limit % 7), out = block_open(LINKS * 4, 4);
        uint32_t *const got = (uint32_t *)(void *)out.bytes;
        for (uint32_t i = 0; i < LINKS; i++)
            for (uint32_t b = 0; b < bytes; b++)
                row.bytes[bytes * i + b] = (uint8_t)(ids[i] >> 8 * b);
        const uint32_t count = bytes == 3 ? list[t]->unpack(row.bytes, limit, got)
                                          : list[t]->unpack32(row.bytes, limit, got);
        uint32_t want = 0;
        for (uint32_t i = 0; i < LINKS; i++)
            if (ids[i] < limit) {
                CLAIM(got[want] == ids[i], "%s, %u bytes, limit %u: %u, not %u", list[t]->name,
                      bytes, limit, got[want], ids[i]);
                want++;
            }
        CLAIM(count == want, "%s, %u bytes, limit %u: %u ids, not %u", list[t]->name, bytes, limit,
              count, want);
        block_close(row);
        block_close(out);
    }
}

// Ids of 24 bits, in rows of either width.
static void
check_unpack(const uint32_t ids[LINKS], uint32_t limit)
{
    check_unpack_of(3, ids, limit);
    check_unpack_of(4, ids, limit);
}

START_TEST(unpack_keeps_ids_below_the_limit_in_order)
{
    uint64_t seed = 24;
    for (uint32_t round = 0; round < 200; round++) {
        uint32_t ids[LINKS], wide[LINKS];
        for (uint32_t i = 0; i < LINKS; i++) {
            ids[i] = (uint32_t)random_next(&seed) & ID_EMPTY;
            wide[i] = (uint32_t)random_next(&seed) >> (round % 2 == 0 ? 0 : i % 32);
        }
        for (uint32_t i = 0; i < LINKS; i++) {
            check_unpack(ids, ids[i]);
            check_unpack(ids, ids[i] + 1);
            check_unpack_of(4, wide, wide[i]);
            check_unpack_of(4, wide, wide[i] + 1);
        }
        const uint32_t limits[] = {
            0,         1,        1u << 23,       ID_EMPTY,  ID_EMPTY + 1, ID_EMPTY + 2,
            INT32_MAX, 1u << 31, UINT32_MAX - 1, UINT32_MAX};
        for (uint32_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            check_unpack(ids, limits[i]);
            check_unpack_of(4, wide, limits[i]);
        }
    }
}
END_TEST

START_TEST(unpack_of_a_partly_filled_row_answers_its_first_ids)
{
    for (uint32_t filled = 0; filled <= LINKS; filled++) {
        uint32_t ids[LINKS], wide[LINKS];
        for (uint32_t i = 0; i < LINKS; i++) {
            ids[i] = i < filled ? i * 1000 : ID_EMPTY;
            wide[i] = i < filled ? i * 100000000 : UINT32_MAX;
        }
        check_unpack(ids, ID_EMPTY);
        check_unpack(ids, 1000 * LINKS);
        check_unpack(ids, 1000 * filled);
        check_unpack_of(4, wide, UINT32_MAX);
    }
}
END_TEST

// Every pair of kept and dropped within a group of eight, on each of the four groups.
START_TEST(unpack_knows_every_pattern_of_holes)
{
    for (uint32_t pattern = 0; pattern < 65536; pattern += 1 + pattern / 256) {
        uint32_t ids[LINKS];
        for (uint32_t i = 0; i < LINKS; i++)
            ids[i] = (pattern >> i % 16 & 1) != 0 ? i : ID_EMPTY - i;
        check_unpack(ids, LINKS);
    }
}
END_TEST

START_TEST(butterfly_has_the_oracles_bits_up_to_65536)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    uint64_t seed = 7;
    for (uint32_t count = 16; count <= 65536; count *= 2)
        for (uint32_t round = 0; round < 3; round++) {
            const size_t bytes = count * sizeof(float);
            struct block from = block_open(bytes, 0), want = block_open(bytes, 0),
                         got = block_open(bytes, 4 * round);
            float *values = from.base;
            // Round 1 has many equal values and zeros of both signs, round 2 magnitudes that round
            // at every step.
            for (uint32_t i = 0; i < count; i++) {
                const float value = random_float(&seed);
                values[i] = round == 1   ? roundf(value * 2)
                            : round == 2 ? ldexpf(value, (int)(i % 40) - 20)
                                         : value;
            }
            memcpy(want.bytes, from.bytes, bytes);
            kernels_scalar.butterfly(want.base, count);
            for (uint32_t t = 1; t < tables; t++) {
                memcpy(got.bytes, from.bytes, bytes);
                list[t]->butterfly((float *)(void *)got.bytes, count);
                CLAIM(memcmp(got.bytes, want.bytes, bytes) == 0, "%s, %u values", list[t]->name,
                      count);
            }
            block_close(from);
            block_close(want);
            block_close(got);
        }
}
END_TEST

START_TEST(butterfly_twice_is_the_identity)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    float values[1024];
    for (uint32_t t = 0; t < tables; t++) {
        for (uint32_t i = 0; i < 1024; i++)
            values[i] = (float)(i % 10);
        list[t]->butterfly(values, 1024);
        list[t]->butterfly(values, 1024);
        for (uint32_t i = 0; i < 1024; i++)
            ck_assert(fabsf(values[i] - (float)(i % 10)) < 1e-4f);
    }
}
END_TEST

static void
check_encode(const struct kernels *table, const float *values, uint32_t count, float inverse)
{
    struct block want = block_open(count, 0), got = block_open(count, count / 16 % 7);
    kernels_scalar.encode(values, count, inverse, want.bytes);
    table->encode(values, count, inverse, got.bytes);
    CLAIM(memcmp(got.bytes, want.bytes, count) == 0, "%s, %u values", table->name, count);
    block_close(want);
    block_close(got);
}

START_TEST(encode_rounds_ties_to_even)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    float values[512];
    uint8_t codes[512];
    for (uint32_t i = 0; i < 512; i++) // -127, -126.5 .. 127, then 127
        values[i] = fminf(127, (float)i / 2 - 127);
    for (uint32_t t = 0; t < tables; t++) {
        list[t]->encode(values, 512, 1.0f, codes);
        for (uint32_t i = 0; i < 512; i++) {
            const int whole = (int)floorf(values[i]);
            const int even = values[i] > (float)whole && whole % 2 != 0 ? whole + 1 : whole;
            CLAIM(codes[i] == even + 128, "%s, %g", list[t]->name, (double)values[i]);
        }
    }
}
END_TEST

START_TEST(encode_has_the_oracles_codes)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    uint64_t seed = 99;
    for (uint32_t count = 0; count <= 2112; count += 16) {
        struct block values = block_open(count * sizeof(float), 4 * (count / 16 % 4));
        float *v = (float *)(void *)values.bytes;
        for (uint32_t i = 0; i < count; i++)
            v[i] = random_float(&seed) * 3;
        for (uint32_t t = 1; t < tables; t++)
            check_encode(list[t], v, count, 127.0f / 3);
        block_close(values);
    }
}
END_TEST

static Suite *
transforms_suite(void)
{
    Suite *suite = suite_create("index/kernel transforms");
    TCase *tcase = tcase_create("transforms");
    tcase_add_test(tcase, unpack_keeps_ids_below_the_limit_in_order);
    tcase_add_test(tcase, unpack_of_a_partly_filled_row_answers_its_first_ids);
    tcase_add_test(tcase, unpack_knows_every_pattern_of_holes);
    tcase_add_test(tcase, butterfly_has_the_oracles_bits_up_to_65536);
    tcase_add_test(tcase, butterfly_twice_is_the_identity);
    tcase_add_test(tcase, encode_rounds_ties_to_even);
    tcase_add_test(tcase, encode_has_the_oracles_codes);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(transforms_suite)
