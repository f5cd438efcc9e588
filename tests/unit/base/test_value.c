// tests/unit/base/test_value.c -- the order of scalars, times and UUIDs.
#include "base/value.h"

#include <math.h>
#include <time.h>

#include "base/prng.h"
#include "tests/lib/check_main.h"
#include "tests/lib/random_filter.h"

START_TEST(every_pair_of_values_compares_as_the_twin_says)
{
    for (uint32_t i = 0; i < MODEL_VALUES; i++) {
        for (uint32_t j = 0; j < MODEL_VALUES; j++) {
            int order = 0;
            const int expected = model_order(&model_values[i], &model_values[j]);
            const bool comparable = value_compare(&model_values[i], &model_values[j], &order);
            ck_assert_msg(comparable == (expected != 2), "%u %u", i, j);
            if (comparable)
                ck_assert_msg((order > 0) - (order < 0) == expected, "%u %u", i, j);
        }
    }
}
END_TEST

static struct value
random_number(struct prng *prng)
{
    // Near the places where int64, uint64 and double round.
    const uint64_t base = 1ull << (50 + prng_below(prng, 14));
    const uint64_t near = base + prng_below(prng, 9) - 4;
    switch (prng_below(prng, 4)) {
    case 0:
        return (struct value){.kind = VALUE_INT, .integer = (int64_t)(near & INT64_MAX)};
    case 1:
        return (struct value){.kind = VALUE_INT, .integer = -(int64_t)(near & INT64_MAX)};
    case 2:
        return (struct value){.kind = VALUE_UINT, .unsigned_ = near | 1ull << 63};
    default:
        return (struct value){.kind = VALUE_FLOAT,
                              .number = (double)near * (prng_below(prng, 2) ? 1 : -1)};
    }
}

START_TEST(numbers_beyond_two_to_the_53_compare_exactly)
{
    struct prng prng;
    prng_init(&prng, 5);
    for (int i = 0; i < 200000; i++) {
        const struct value a = random_number(&prng);
        const struct value b = random_number(&prng);
        int order;
        ck_assert(value_compare(&a, &b, &order));
        ck_assert_int_eq(order, model_order(&a, &b));
    }
}
END_TEST

START_TEST(texts_of_times_and_uuids_mean_what_timestamps_and_binaries_do)
{
    static const uint8_t uuid[16] = {0xab, 0xcd, 0xef, 1, [15] = 1};
    for (uint32_t i = 0; i < MODEL_VALUES; i++) {
        for (uint32_t j = 0; j < MODEL_VALUES; j++) {
            const struct value_meaning a = value_meaning_of(&model_values[i]);
            const struct value_meaning b = value_meaning_of(&model_values[j]);
            if (a.kind == MEANING_PLAIN || b.kind == MEANING_PLAIN)
                continue;
            const int order = value_meaning_compare(&a, &b);
            const int expected = model_asked(&model_values[i], &model_values[j]);
            ck_assert_msg((a.kind == b.kind) == (expected != 2), "%u %u", i, j);
            if (expected != 2)
                ck_assert_msg((order > 0) - (order < 0) == expected, "%u %u", i, j);
        }
    }
    const struct value text = MODEL_STRING("ABcdef01-0000-0000-0000-000000000001");
    struct msgpack_value binary = {.kind = MSGPACK_BINARY};
    binary.raw.bytes = uuid;
    binary.raw.length = 16;
    const struct value_meaning a = value_meaning_of(&text), b = value_meaning_of_msgpack(&binary);
    ck_assert(a.kind == MEANING_UUID && value_meaning_compare(&a, &b) == 0);
    binary.raw.length = 15;
    ck_assert_int_eq((int)value_meaning_of_msgpack(&binary).kind, MEANING_PLAIN);
}
END_TEST

START_TEST(nan_compares_with_nothing)
{
    const struct value nan = {.kind = VALUE_FLOAT, .number = (double)NAN};
    int order;
    for (uint32_t i = 0; i < MODEL_VALUES; i++)
        ck_assert(!value_compare(&nan, &model_values[i], &order));
    ck_assert(!value_compare(&nan, &nan, &order));
}
END_TEST

static void
expect_instant(const char *text, int64_t seconds, uint32_t nanoseconds)
{
    struct instant instant;
    ck_assert_msg(instant_parse(text, strlen(text), &instant), "%s", text);
    ck_assert_int_eq(instant.seconds, seconds);
    ck_assert_uint_eq(instant.nanoseconds, nanoseconds);
}

START_TEST(rfc_3339_times_are_instants)
{
    expect_instant("1970-01-01T00:00:00Z", 0, 0);
    expect_instant("1970-01-01", 0, 0);
    expect_instant("2024-05-01T12:00:00Z", 1714564800, 0);
    expect_instant("2024-05-01t14:00:00+02:00", 1714564800, 0);
    expect_instant("2024-05-01 06:30:00-05:30", 1714564800, 0);
    expect_instant("2024-02-29T23:59:60z", 1709251200, 0);
    expect_instant("1969-12-31T23:59:59.999999999Z", -1, 999999999);
    expect_instant("2024-05-01T12:00:00.1234567899Z", 1714564800, 123456789);
    expect_instant("0000-01-01T00:00:00Z", -62167219200, 0);
    expect_instant("9999-12-31T23:59:59Z", 253402300799, 0);
}
END_TEST

START_TEST(what_is_no_time_is_refused)
{
    static const char *const cases[] = {
        "",
        "2024",
        "2024-5-01",
        "2024-13-01",
        "2023-02-29",
        "1900-02-29",
        "2024-05-01T",
        "2024-05-01T12:00Z",
        "2024-05-01T12:00:00",
        "2024-05-01T24:00:00Z",
        "2024-05-01T12:60:00Z",
        "2024-05-01T12:00:61Z",
        "2024-05-01T12:00:00.Z",
        "2024-05-01T12:00:00+2:00",
        "2024-05-01T12:00:00+02:60",
        "2024-05-01T12:00:00ZZ",
        "2024-05-00",
        "x024-05-01",
        "2024-05-01x",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct instant instant;
        ck_assert_msg(!instant_parse(cases[i], strlen(cases[i]), &instant), "%s", cases[i]);
    }
}
END_TEST

START_TEST(printed_instants_read_back_and_agree_with_the_c_library)
{
    struct prng prng;
    prng_init(&prng, 9);
    for (int i = 0; i < 100000; i++) {
        const uint64_t span = 253402300800ull + 62167219200ull;
        struct instant instant = {(int64_t)(prng_next(&prng) % span) - 62167219200ll, 0};
        if (prng_below(&prng, 2) == 0)
            instant.nanoseconds = prng_below(&prng, 1000000000);
        char text[INSTANT_TEXT_BYTES];
        struct instant back;
        ck_assert(instant_print(instant, text));
        ck_assert(instant_parse(text, strlen(text), &back));
        ck_assert_int_eq(back.seconds, instant.seconds);
        ck_assert_uint_eq(back.nanoseconds, instant.nanoseconds);

        const time_t seconds = instant.seconds;
        struct tm broken;
        char theirs[80];
        ck_assert_ptr_nonnull(gmtime_r(&seconds, &broken));
        (void)snprintf(theirs, sizeof theirs, "%04d-%02d-%02dT%02d:%02d:%02d",
                       broken.tm_year + 1900, broken.tm_mon + 1, broken.tm_mday, broken.tm_hour,
                       broken.tm_min, broken.tm_sec);
        ck_assert_msg(strncmp(text, theirs, 19) == 0, "%s is %s", text, theirs);
    }
    char text[INSTANT_TEXT_BYTES];
    ck_assert(!instant_print((struct instant){253402300800ll, 0}, text));
    ck_assert(!instant_print((struct instant){-62167219201ll, 0}, text));
}
END_TEST

START_TEST(uuids_read_in_either_spelling_and_nothing_else_does)
{
    uint8_t a[16], b[16];
    ck_assert(uuid_parse("00112233-4455-6677-8899-aAbBcCdDeEfF", 36, a));
    ck_assert(uuid_parse("00112233445566778899AABBCCDDEEFF", 32, b));
    ck_assert_mem_eq(a, b, 16);
    for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(a[i], i * 0x11);
    ck_assert(!uuid_parse("", 0, a));
    ck_assert(!uuid_parse("0011223-34455-6677-8899-aabbccddeeff", 36, a));
    ck_assert(!uuid_parse("00112233-4455-6677-8899-aabbccddeef", 35, a));
    ck_assert(!uuid_parse("00112233445566778899aabbccddeefg", 32, a));
    ck_assert(!uuid_parse("g0112233445566778899aabbccddeeff", 32, a));
}
END_TEST

static Suite *
value_suite(void)
{
    Suite *suite = suite_create("base/value");
    TCase *order = tcase_create("order");
    tcase_add_test(order, every_pair_of_values_compares_as_the_twin_says);
    tcase_add_test(order, numbers_beyond_two_to_the_53_compare_exactly);
    tcase_add_test(order, nan_compares_with_nothing);
    tcase_add_test(order, texts_of_times_and_uuids_mean_what_timestamps_and_binaries_do);
    suite_add_tcase(suite, order);
    TCase *texts = tcase_create("texts");
    tcase_add_test(texts, rfc_3339_times_are_instants);
    tcase_add_test(texts, what_is_no_time_is_refused);
    tcase_add_test(texts, printed_instants_read_back_and_agree_with_the_c_library);
    tcase_add_test(texts, uuids_read_in_either_spelling_and_nothing_else_does);
    suite_add_tcase(suite, texts);
    return suite;
}

CHECK_MAIN(value_suite)
