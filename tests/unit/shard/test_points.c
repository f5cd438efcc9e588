// tests/unit/shard/test_points.c -- what is added comes back, in order, with exactly the parts that were asked for.
#include <check.h>
#include <string.h>

#include "shard/points.h"
#include "tests/lib/check_main.h"

#define POINTS 3000u

static struct point
point_of(uint32_t i, float *vector, char *payload)
{
    *vector = (float)i;
    memset(payload, (int)('a' + i % 26), 40);
    return (struct point){.id = i * 3ull,
                          .distance = (float)i / 2,
                          .found = i % 7 != 0,
                          .vector = vector,
                          .payload = i % 3 == 0 ? NULL : payload,
                          .payload_bytes = i % 3 == 0 ? 0 : 1 + i % 40};
}

START_TEST(points_come_back_as_they_went_in)
{
    const bool vectors = _i % 2 != 0, payloads = _i / 2 != 0;
    const struct points_config config = {.room = _i == 0 ? SIZE_MAX : 1,
                                         .row_bytes = vectors ? sizeof(float) : 0,
                                         .payloads = payloads};
    struct points *points;
    struct point out;
    float vector;
    char payload[40];
    ck_assert_int_eq(points_open(&config, &points), OMEN_OK);
    for (uint32_t i = 0; i < POINTS; i++) {
        const struct point in = point_of(i, &vector, payload);
        ck_assert_int_eq(points_add(points, &in), OMEN_OK);
    }
    ck_assert_uint_eq(points_count(points), POINTS);
    for (uint32_t i = 0; i < POINTS; i++) {
        const struct point in = point_of(i, &vector, payload);
        points_at(points, i, &out);
        ck_assert_uint_eq(out.id, in.id);
        ck_assert_int_eq(out.found, in.found);
        ck_assert_float_eq(out.distance, in.distance);
        ck_assert_int_eq(out.vector != NULL, vectors && in.found);
        ck_assert_int_eq(out.payload != NULL, payloads && in.found && in.payload != NULL);
        if (out.vector != NULL)
            ck_assert_mem_eq(out.vector, in.vector, sizeof(float));
        if (out.payload != NULL) {
            ck_assert_uint_eq(out.payload_bytes, in.payload_bytes);
            ck_assert_mem_eq(out.payload, in.payload, in.payload_bytes);
        }
    }
    points_close(points);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/points");
    TCase *tcase = tcase_create("points");
    tcase_add_loop_test(tcase, points_come_back_as_they_went_in, 0, 4);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
