// tests/unit/router/test_front_mean.c -- what is searched for is the middle of the wanted, away from the unwanted, whatever the type.
//
// Shape: shell.
#include "router/front_mean.h"

#include "tests/lib/check_main.h"

#define DIM 4u

static double sums[2 * DIM];
static float row[DIM], out[DIM];
static struct mean mean;

static void
fresh(void)
{
    for (uint32_t i = 0; i < 2 * DIM; i++)
        sums[i] = 0;
    mean = (struct mean){.dimension = DIM, .metric = 1, .sums = sums};
}

static struct wire_vectors
vector_of(uint8_t dtype, const void *bytes)
{
    return (struct wire_vectors){.form = VECTORS_RAW,
                                 .dtype = dtype,
                                 .count = DIM,
                                 .bytes = {bytes, DIM * (uint32_t)wire_dtype_bytes(dtype)}};
}

static void
add(enum mean_side side, float first, float second)
{
    const float values[DIM] = {first, second, 0, 0};
    const struct wire_vectors vector = vector_of(WIRE_F32, values);
    mean_add(&mean, side, &vector, row);
}

START_TEST(without_negative_ones_it_is_the_mean)
{
    add(MEAN_POSITIVE, 2, 4);
    add(MEAN_POSITIVE, 4, 0);
    mean_end(&mean, out);
    ck_assert(out[0] == 3 && out[1] == 2 && out[2] == 0);
}
END_TEST

START_TEST(negative_ones_push_it_as_far_away_as_they_are)
{
    add(MEAN_POSITIVE, 3, 2);
    add(MEAN_NEGATIVE, 1, 0);
    add(MEAN_NEGATIVE, 1, 2);
    mean_end(&mean, out);
    ck_assert(out[0] == 5 && out[1] == 3);
}
END_TEST

START_TEST(under_cosine_lengths_do_not_count)
{
    mean.metric = 0;
    add(MEAN_POSITIVE, 100, 0);
    add(MEAN_POSITIVE, 0, 0.5f);
    mean_end(&mean, out);
    ck_assert(out[0] == 0.5f && out[1] == 0.5f);
}
END_TEST

// 1, -2, a value below the normal ones of f16 or a larger one, 0.
START_TEST(every_type_is_read_as_the_numbers_that_it_holds)
{
    static const uint16_t half[DIM] = {0x3c00, 0xc000, 0x0001, 0};
    static const uint16_t brain[DIM] = {0x3f80, 0xc000, 0x4040, 0};
    static const int8_t signed_bytes[DIM] = {1, -2, 127, 0};
    static const uint8_t bytes[DIM] = {1, 254, 3, 0};
    static const struct {
        uint8_t dtype;
        const void *bytes;
        float second, third;
    } cases[] = {{WIRE_F16, half, -2, 0x1p-24f},
                 {WIRE_BF16, brain, -2, 3},
                 {WIRE_I8, signed_bytes, -2, 127},
                 {WIRE_U8, bytes, 254, 3}};
    const struct wire_vectors vector = vector_of(cases[_i].dtype, cases[_i].bytes);
    mean_add(&mean, MEAN_POSITIVE, &vector, row);
    mean_end(&mean, out);
    ck_assert(out[0] == 1 && out[1] == cases[_i].second && out[2] == cases[_i].third);
    ck_assert(out[3] == 0);
}
END_TEST

static Suite *
front_mean_suite(void)
{
    Suite *suite = suite_create("router/front_mean");
    TCase *tcase = tcase_create("front_mean");
    tcase_add_checked_fixture(tcase, fresh, NULL);
    tcase_add_test(tcase, without_negative_ones_it_is_the_mean);
    tcase_add_test(tcase, negative_ones_push_it_as_far_away_as_they_are);
    tcase_add_test(tcase, under_cosine_lengths_do_not_count);
    tcase_add_loop_test(tcase, every_type_is_read_as_the_numbers_that_it_holds, 0, 4);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(front_mean_suite)
