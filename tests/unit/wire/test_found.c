// tests/unit/wire/test_found.c -- lists of hits come back as they were found, and bytes that are none are known.
//
// Shape: shell.
#include "wire/found.h"

#include <math.h>

#include "base/limits.h"
#include "tests/lib/check_main.h"
#include "tests/lib/codec_claims.h"
#include "tests/lib/wire_random.h"

#define LISTS 3u
#define HITS 5u

static struct encode encode, again;
static struct wire_pool pool;
static struct found one, other;
static struct found_hit hits[LISTS][HITS], others[LISTS][HITS];
static uint32_t counts[LISTS], other_counts[LISTS];

static void
fresh(void)
{
    encode_init(&encode, 1 << 20);
    encode_init(&again, 1 << 20);
}

static void
tidy_up(void)
{
    encode_fini(&encode);
    encode_fini(&again);
}

static void
draw_hit(struct prng *prng, struct found_hit *hit)
{
    *hit = (struct found_hit){.distance = prng_unit(prng),
                              .version = prng_next(prng),
                              .id = {.given = 1, .number = random_within(prng, 0, ID_MAX)}};
    if (prng_below(prng, 2) == 0) {
        const struct wire_text text = random_text(prng, &pool, 1, ID_TEXT_BYTES_MAX);
        hit->id = (struct wire_id){.given = 1, .text = text.bytes, .text_bytes = text.count};
    }
    if (prng_below(prng, 2) == 0)
        hit->payload = random_bytes(prng, &pool, 1 + prng_below(prng, 30));
    if (prng_below(prng, 2) == 0) {
        hit->vector.form = VECTORS_RAW;
        hit->vector.dtype = (uint8_t)(WIRE_F32 + prng_below(prng, 5));
        hit->vector.count = 1 + prng_below(prng, 9);
        hit->vector.bytes = random_bytes(
            prng, &pool, hit->vector.count * (uint32_t)wire_dtype_bytes(hit->vector.dtype));
    }
}

static void
draw(struct prng *prng)
{
    pool.used = 0;
    one = (struct found){.shard = random_within(prng, 0, UINT64_MAX / 4),
                         .took_us = prng_below(prng, 3),
                         .evaluations = prng_next(prng),
                         .matches = prng_below(prng, 2),
                         .warnings = prng_below(prng, 8),
                         .list_count = prng_below(prng, LISTS + 1),
                         .strategy = (uint8_t)prng_below(prng, 3)};
    for (uint32_t i = 0; i < one.list_count; i++) {
        counts[i] = prng_below(prng, HITS + 1);
        for (uint32_t j = 0; j < counts[i]; j++)
            draw_hit(prng, &hits[i][j]);
    }
}

static void
write_all(struct encode *to, const struct found *found, struct found_hit (*lists)[HITS],
          const uint32_t *list_counts)
{
    found_write(to, found);
    for (uint32_t i = 0; i < found->list_count; i++) {
        found_list_write(to, list_counts[i]);
        for (uint32_t j = 0; j < list_counts[i]; j++)
            found_hit_write(to, &lists[i][j]);
    }
}

static void
write_one(struct encode *to)
{
    write_all(to, &one, hits, counts);
}

static void
write_other(struct encode *to)
{
    write_all(to, &other, others, other_counts);
}

static bool
read_other(struct wire_bytes bytes)
{
    struct plain plain = plain_of(bytes);
    found_read(&plain, &other);
    if (other.list_count > LISTS)
        return false;
    for (uint32_t i = 0; i < other.list_count; i++) {
        other_counts[i] = found_list_read(&plain);
        if (other_counts[i] > HITS)
            return false;
        for (uint32_t j = 0; j < other_counts[i]; j++) {
            struct found_hit twice;
            const uint8_t *row;
            found_hit_read(&plain, &others[i][j], &row);
            if (plain.failed)
                return false;
            found_hit_at(row, &twice);
            ck_assert(memcmp(&twice, &others[i][j], sizeof twice) == 0);
        }
    }
    return plain_done(&plain);
}

static const struct codec_claims codec = {draw, write_one, read_other, write_other, NULL};

START_TEST(what_is_written_is_read_as_it_was)
{
    codec_reads_what_it_wrote(&codec, &encode, &again, (uint64_t)_i, 50);
}
END_TEST

START_TEST(every_cut_and_every_byte_more_is_refused)
{
    codec_refuses_cuts(&codec, &encode, (uint64_t)_i);
}
END_TEST

START_TEST(every_flipped_bit_is_refused_or_other_hits)
{
    codec_knows_flips(&codec, &encode, &again, (uint64_t)_i);
}
END_TEST

// Without bytes for them, so no memory is asked for.
START_TEST(a_count_is_believed_as_far_as_there_are_bytes)
{
    encode_plain(&encode, UINT32_MAX, 4);
    struct plain plain = plain_of(codec_written(&encode));
    ck_assert_uint_eq(found_list_read(&plain), 0);
    ck_assert(plain.failed);
}
END_TEST

START_TEST(ids_and_vectors_that_cannot_be_are_refused)
{
    static const uint8_t rows[][32] = {
        {8, 0, 0, 0, 0},                             // an unknown bit
        {0, [13] = 0, [20] = 0x80},                  // id 2^63
        {1, [13] = 0},                               // an empty text
        {1, [13] = 0, [14] = 1},                     // one of 256 bytes
        {2, [13] = 1, [21] = 0},                     // an empty payload
        {4, [13] = 1, [21] = 0, [22] = 4},           // no type
        {4, [13] = 1, [21] = WIRE_F32, [22] = 3},    // three bytes of f32
        {4, [13] = 1, [21] = WIRE_U8 + 1, [22] = 1}, // another type
    };
    struct plain plain = plain_of((struct wire_bytes){rows[_i], 32});
    struct found_hit hit;
    found_hit_read(&plain, &hit, NULL);
    ck_assert(plain.failed);
}
END_TEST

// Of hits that are a distance and an integer id.
START_TEST(numbers_are_the_bytes_that_hits_are_and_read_as_they_are)
{
    enum { NUMBERS = 20 };
    struct prng prng = {(uint64_t)_i + 1};
    uint64_t ids[NUMBERS];
    float distances[NUMBERS];
    found_list_write(&again, NUMBERS);
    for (uint32_t i = 0; i < NUMBERS; i++) {
        ids[i] = random_within(&prng, 0, ID_MAX);
        distances[i] = prng_unit(&prng) - 0.5f;
        found_hit_write(&again, &(struct found_hit){.distance = distances[i],
                                                    .id = {.given = 1, .number = ids[i]}});
    }
    found_numbers_write(&encode, ids, distances, NUMBERS);
    const struct wire_bytes written = codec_written(&encode);
    ck_assert_uint_eq(written.count, again.count);
    ck_assert_mem_eq(written.bytes, again.bytes, written.count);
    struct plain plain = plain_of(written);
    ck_assert_uint_eq(found_list_read(&plain), NUMBERS);
    for (uint32_t i = 0; i < NUMBERS; i++) {
        struct found_number number;
        ck_assert(found_number_read(&plain, &number));
        ck_assert(number.distance == distances[i] && number.id == ids[i] && number.version == 0);
    }
    ck_assert(plain_done(&plain));
}
END_TEST

START_TEST(what_is_no_number_or_not_whole_is_left_to_who_reads_hits)
{
    struct prng prng = {(uint64_t)_i + 1};
    for (uint32_t i = 0; i < 200; i++) {
        struct found_hit hit, same;
        struct found_number number = {0};
        encode_reset(&encode);
        pool.used = 0;
        draw_hit(&prng, &hit);
        found_hit_write(&encode, &hit);
        const struct wire_bytes bytes = codec_written(&encode);
        struct plain plain = plain_of(bytes), whole = plain_of(bytes);
        found_hit_read(&whole, &same, NULL);
        const bool plainly =
            hit.id.text_bytes == 0 && hit.payload.count == 0 && hit.vector.form == VECTORS_NONE;
        ck_assert(found_number_read(&plain, &number) == plainly);
        ck_assert_ptr_eq(plain.at, plainly ? whole.at : bytes.bytes);
        ck_assert(!plainly || (number.distance == same.distance && number.id == same.id.number &&
                               number.version == same.version));
        for (uint32_t cut = 0; cut < FOUND_HIT_BYTES_MIN; cut++) {
            plain = plain_of((struct wire_bytes){bytes.bytes, cut});
            ck_assert(!found_number_read(&plain, &number));
            ck_assert_uint_eq(plain_left(&plain), cut);
        }
    }
    static const uint8_t beyond[FOUND_HIT_BYTES_MIN] = {0, [20] = 0x80}; // id 2^63
    struct plain plain = plain_of((struct wire_bytes){beyond, sizeof beyond});
    struct found_number number;
    ck_assert(!found_number_read(&plain, &number));
    static const uint8_t well[FOUND_HIT_BYTES_MIN] = {0};
    plain = plain_of((struct wire_bytes){well, sizeof well});
    plain.failed = true;
    ck_assert(!found_number_read(&plain, &number));
}
END_TEST

static Suite *
found_suite(void)
{
    Suite *suite = suite_create("wire/found");
    TCase *tcase = tcase_create("found");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    tcase_add_loop_test(tcase, what_is_written_is_read_as_it_was, 0, 4);
    tcase_add_loop_test(tcase, every_cut_and_every_byte_more_is_refused, 0, 20);
    tcase_add_loop_test(tcase, every_flipped_bit_is_refused_or_other_hits, 0, 20);
    tcase_add_test(tcase, a_count_is_believed_as_far_as_there_are_bytes);
    tcase_add_loop_test(tcase, ids_and_vectors_that_cannot_be_are_refused, 0, 8);
    tcase_add_loop_test(tcase, numbers_are_the_bytes_that_hits_are_and_read_as_they_are, 0, 5);
    tcase_add_loop_test(tcase, what_is_no_number_or_not_whole_is_left_to_who_reads_hits, 0, 5);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(found_suite)
