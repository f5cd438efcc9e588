// tests/unit/index/kernel/test_codes.c -- what works on codes: every table answers the oracle's
// very bits.
//
// One graph must come out of every kernel, so nothing here has a tolerance. Memory is handed over
// to the exact byte, at odd addresses where the contract allows them.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "index/kernel/kernel.h"
#include "tests/lib/check_main.h"
#include "tests/unit/index/kernel/blocks.h"

enum { ROWS_MAX = 72 }; // not a multiple of 32, and more than two of them

// The lengths of a plane's row: every legal one to beyond 4,000 components, then a few to 65,536.
static const uint32_t row_bytes_large[] = {4096, 4112, 8192 + 32, 16384 - 16, 32768 - 48, 32768};
enum { ROW_BYTES_SMALL = (2200 - 32) / 16 + 1, ROW_BYTES_COUNT = ROW_BYTES_SMALL + 6 };

static uint32_t
row_bytes_at(uint32_t i)
{
    return i < ROW_BYTES_SMALL ? 32 + 16 * i : row_bytes_large[i - ROW_BYTES_SMALL];
}

// What the numbers are: drawn, or at the ends of their ranges, where narrow sums would overflow.
enum fill { FILL_RANDOM, FILL_HIGHEST, FILL_LOWEST, FILL_ZERO, FILL_ALTERNATE, FILL_COUNT };

static uint8_t
fill_code(enum fill fill, uint64_t *seed, uint32_t i)
{
    switch (fill) {
    case FILL_HIGHEST:
        return 255;
    case FILL_LOWEST:
    case FILL_ZERO:
        return 0;
    case FILL_ALTERNATE:
        return i % 2 == 0 ? 255 : 0;
    default:
        return (uint8_t)(random_next(seed) >> 56);
    }
}

static int8_t
fill_component(enum fill fill, uint64_t *seed, uint32_t i)
{
    switch (fill) {
    case FILL_HIGHEST:
        return 127;
    case FILL_LOWEST:
        return -127;
    case FILL_ZERO:
        return 0;
    case FILL_ALTERNATE:
        return i % 2 == 0 ? 127 : -127;
    default:
        return (int8_t)((int)(random_next(seed) % 255) - 127);
    }
}

// A query and ROWS_MAX rows of one length, each plane row in its own exact block.
struct codes {
    uint32_t row_bytes;
    struct block components;
    int32_t component_sum;
    struct block high_blocks[ROWS_MAX], low_blocks[ROWS_MAX];
    const uint8_t *high[ROWS_MAX], *low[ROWS_MAX];
    struct byte_meta metas[ROWS_MAX];
    const struct byte_meta *meta[ROWS_MAX];
};

// The two f16 numbers of a row go into the lowest bits of its first bytes.
static void
set_meta(uint8_t *row, uint16_t factor, uint16_t norm)
{
    const uint32_t bits = factor | (uint32_t)norm << 16;
    for (uint32_t j = 0; j < NIBBLE_META_BYTES; j++)
        row[j] = (uint8_t)((row[j] & 0xfe) | (bits >> j & 1));
}

static void
codes_open(struct codes *codes, uint32_t row_bytes, enum fill query, enum fill rows, uint32_t count)
{
    uint64_t seed = row_bytes * 64ull + query * 8ull + rows;
    const uint32_t components = (row_bytes + 63) / 64 * 128;
    codes->row_bytes = row_bytes;
    codes->components = block_open(components, row_bytes / 16 % 8 * 3);
    codes->component_sum = 0;
    for (uint32_t i = 0; i < components; i++) {
        // Beyond the last, shorter block's bytes a query is zero.
        const int8_t value =
            i / 128 * 64 + i % 64 < row_bytes ? fill_component(query, &seed, i) : (int8_t)0;
        codes->components.bytes[i] = (uint8_t)value;
        codes->component_sum += value;
    }
    for (uint32_t r = 0; r < count; r++) {
        codes->high_blocks[r] = block_open(row_bytes, r % 7);
        codes->low_blocks[r] = block_open(row_bytes, r * 3 % 5);
        for (uint32_t i = 0; i < row_bytes; i++) {
            codes->high_blocks[r].bytes[i] = fill_code(rows, &seed, i);
            codes->low_blocks[r].bytes[i] = fill_code(rows, &seed, i);
        }
        // Ordinary numbers in most rows, or filled codes would all have a factor of zero or NaN,
        // which hide the product.
        const uint16_t factor = float_to_half(random_float(&seed));
        const uint16_t norm = float_to_half(random_float(&seed));
        if (r % 4 != 3)
            set_meta(codes->high_blocks[r].bytes, factor, norm);
        codes->high[r] = codes->high_blocks[r].bytes;
        codes->low[r] = codes->low_blocks[r].bytes;
        const float byte_factor = random_float(&seed);
        codes->metas[r] = (struct byte_meta){byte_factor, random_float(&seed) * 50};
        codes->meta[r] = &codes->metas[r];
    }
}

static void
codes_close(struct codes *codes, uint32_t count)
{
    block_close(codes->components);
    for (uint32_t r = 0; r < count; r++) {
        block_close(codes->high_blocks[r]);
        block_close(codes->low_blocks[r]);
    }
}

// Runs one table on the first `count` rows with exactly the room that the contract promises.
static void
check_nibble(const struct kernels *table, const struct nibble_query *query,
             const uint8_t *const *high, uint32_t count, float bound)
{
    float want[32];
    const uint8_t *oracle_rows[32];
    memcpy(oracle_rows, high, count * sizeof *high);
    const uint32_t want_below = kernels_scalar.nibble(query, oracle_rows, count, bound, want);

    const uint32_t room = (count + 3) / 4 * 4;
    struct block rows = block_open(room * sizeof(uint8_t *), 0),
                 out = block_open(room * sizeof(float), 4);
    memcpy(rows.bytes, high, count * sizeof *high);
    const uint32_t below =
        table->nibble(query, (const uint8_t **)rows.base, count, bound, (float *)(void *)out.bytes);
    CLAIM(below == want_below && memcmp(out.bytes, want, count * sizeof(float)) == 0,
          "%s, row of %u bytes, %u rows", table->name, query->row_bytes, count);
    block_close(rows);
    block_close(out);
}

static void
check_nibble_counts(const struct kernels *table, const struct codes *codes)
{
    uint64_t seed = codes->row_bytes;
    struct nibble_query query = {.components = (const int8_t *)codes->components.bytes,
                                 .row_bytes = codes->row_bytes,
                                 .center = 7.5f * (float)codes->component_sum};
    query.offset = random_float(&seed) + 1;
    query.factor_scale = random_float(&seed) / 100;
    query.norm_scale = random_float(&seed) + 1;
    float out[32];
    const uint8_t *rows[32];
    memcpy(rows, codes->high, sizeof rows);
    kernels_scalar.nibble(&query, rows, 32, 0, out);
    for (uint32_t count = 0; count <= 32;
         count++) // the bound is one of the answers: below is not at
        check_nibble(table, &query, codes->high, count, out[count % 32]);
    check_nibble(table, &query, codes->high, 32, INFINITY);
    check_nibble(table, &query, codes->high, 31, 0.0f);
    check_nibble(table, &query, codes->high, 30, NAN);
}

// What the contract says of one row: a row is below no bound that is its own number, and below the next larger.
static float
glance_number(const struct glance_query *query, const uint8_t *row)
{
    uint32_t bits = 0;
    int32_t dot = 0;
    float own = 0;
    for (uint32_t j = 0; j < NIBBLE_META_BYTES; j++)
        bits |= (uint32_t)(row[j] & 1) << j;
    for (uint32_t j = 0; j < query->bytes; j++) {
        const int8_t *block = query->components + j / 64 * 128 + j % 64;
        const float low = (float)(row[j] & 15) - 7.5f, high = (float)(row[j] >> 4) - 7.5f;
        dot += (row[j] & 15) * block[0] + (row[j] >> 4) * block[64];
        own += low * low + high * high; // quarters: exact
    }
    const float factor = half_to_float((uint16_t)bits);
    const float norm = half_to_float((uint16_t)(bits >> 16));
    return ((factor * factor) * (own * query->own_scale) + query->offset) -
           ((factor * query->factor_scale) * ((float)dot - query->center) +
            norm * query->norm_scale);
}

// `numbers` are those of the rows.
static void
check_glance(const struct kernels *table, const struct glance_query *query,
             const uint8_t *const *high, const float *numbers, uint32_t count, float bound)
{
    uint32_t want = 0;
    for (uint32_t i = 0; i < count; i++)
        want |= (uint32_t)(numbers[i] < bound) << i;
    struct block rows = block_open((count + 3) / 4 * 4 * sizeof(uint8_t *), 0);
    memcpy(rows.bytes, high, count * sizeof *high);
    CLAIM(table->glance(query, (const uint8_t **)rows.base, count, bound) == want,
          "%s, %u bytes, %u rows, bound %g", table->name, query->bytes, count, (double)bound);
    block_close(rows);
}

static void
check_glance_counts(const struct kernels *table, const struct codes *codes)
{
    uint64_t seed = codes->row_bytes;
    float numbers[32];
    if (codes->row_bytes < 64)
        return;
    struct glance_query query = {.components = (const int8_t *)codes->components.bytes,
                                 .bytes = codes->row_bytes / 64 * 64,
                                 .offset = random_float(&seed) + 1,
                                 .factor_scale = random_float(&seed) / 100,
                                 .own_scale = random_float(&seed) / 100,
                                 .norm_scale = random_float(&seed) / 10};
    for (uint32_t i = 0; i < query.bytes * 2; i++)
        query.center += 7.5f * (float)query.components[i];
    for (uint32_t i = 0; i < 32; i++)
        numbers[i] = glance_number(&query, codes->high[i]);
    for (uint32_t count = 1; count <= 32; count++) {
        const float own = numbers[count - 1];
        check_glance(table, &query, codes->high, numbers, count, own);
        check_glance(table, &query, codes->high, numbers, count, nextafterf(own, INFINITY));
    }
    check_glance(table, &query, codes->high, numbers, 0, INFINITY);
    check_glance(table, &query, codes->high, numbers, 32, INFINITY);
    check_glance(table, &query, codes->high, numbers, 31, NAN);
}

typedef void (*codes_check)(const struct kernels *table, const struct codes *codes);

static void
check_all_lengths(codes_check check, uint32_t rows)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    static struct codes codes;
    for (uint32_t i = 0; i < ROW_BYTES_COUNT; i++) {
        const uint32_t row_bytes = row_bytes_at(i);
        for (uint32_t p = 0; p < 4; p++) {
            // Drawn numbers and the two ends of a product on every length; in turn, all the other
            // pairs.
            const uint32_t pair = p == 0   ? FILL_RANDOM * FILL_COUNT + FILL_RANDOM
                                  : p == 1 ? FILL_HIGHEST * FILL_COUNT + FILL_HIGHEST
                                  : p == 2 ? FILL_LOWEST * FILL_COUNT + FILL_HIGHEST
                                           : i % (FILL_COUNT * FILL_COUNT);
            const enum fill query = (enum fill)(pair / FILL_COUNT);
            const enum fill row = (enum fill)(pair % FILL_COUNT);
            codes_open(&codes, row_bytes, query, row, rows);
            for (uint32_t t = check == check_glance_counts ? 0 : 1; t < tables; t++)
                check(list[t], &codes);
            codes_close(&codes, rows);
        }
    }
}

START_TEST(nibble_is_the_oracle_for_every_length_and_count)
{
    check_all_lengths(check_nibble_counts, 32);
}
END_TEST

// The oracle among them: the test restates what it computes.
START_TEST(glance_is_what_the_contract_says_for_every_length_and_count)
{
    check_all_lengths(check_glance_counts, 32);
}
END_TEST

static void
check_byte_counts(const struct kernels *table, const struct codes *codes)
{
    uint64_t seed = codes->row_bytes;
    struct byte_query query = {.components = (const int8_t *)codes->components.bytes,
                               .row_bytes = codes->row_bytes,
                               .center = 128 * codes->component_sum};
    query.offset = random_float(&seed) + 1;
    query.scale = random_float(&seed) / 100;
    query.norm_scale = random_float(&seed) + 1;
    float want[ROWS_MAX];
    kernels_scalar.byte(&query, codes->high, codes->low, codes->meta, ROWS_MAX, want);
    for (uint32_t count = 0; count <= ROWS_MAX; count += count < 34 ? 1 : 19) {
        struct block out = block_open(count * sizeof(float), 4);
        table->byte(&query, codes->high, codes->low, codes->meta, count,
                    (float *)(void *)out.bytes);
        CLAIM(memcmp(out.bytes, want, count * sizeof(float)) == 0, "%s, row of %u bytes, %u rows",
              table->name, codes->row_bytes, count);
        block_close(out);
    }
}

START_TEST(byte_is_the_oracle_for_every_length_and_count)
{
    check_all_lengths(check_byte_counts, ROWS_MAX);
}
END_TEST

static void
check_join(const struct kernels *table, const struct codes *codes)
{
    const size_t room = (codes->row_bytes + 63) / 64 * 128;
    struct block want = block_open(room, 0), got = block_open(room, codes->row_bytes / 16 % 3);
    for (uint32_t r = 0; r < 3; r++) {
        memset(got.bytes, 0xaa, room);
        kernels_scalar.join(codes->high[r], codes->low[r], codes->row_bytes, want.bytes);
        table->join(codes->high[r], codes->low[r], codes->row_bytes, got.bytes);
        CLAIM(memcmp(got.bytes, want.bytes, room) == 0, "%s, row of %u bytes", table->name,
              codes->row_bytes);
    }
    block_close(want);
    block_close(got);
}

START_TEST(join_is_the_oracle_and_fills_its_whole_room)
{
    check_all_lengths(check_join, 3);
}
END_TEST

// The byte kernel and join + dots are two ways to one number.
START_TEST(joined_codes_have_the_product_that_byte_uses)
{
    static struct codes codes;
    for (uint32_t i = 0; i < ROW_BYTES_COUNT; i += 5) {
        codes_open(&codes, row_bytes_at(i), FILL_RANDOM, FILL_RANDOM, 1);
        const uint32_t room = (codes.row_bytes + 63) / 64 * 128;
        uint8_t *joined = aligned_alloc(64, room);
        kernels_scalar.join(codes.high[0], codes.low[0], codes.row_bytes, joined);
        int32_t dot[4];
        kernels_scalar.dots((const int8_t *)codes.components.bytes, joined, room, 1, dot);
        // With these numbers byte answers the product itself, in a float.
        const struct byte_query query = {.components = (const int8_t *)codes.components.bytes,
                                         .row_bytes = codes.row_bytes,
                                         .scale = dot[0] < 0 ? 1.0f : -1.0f};
        codes.metas[0] = (struct byte_meta){.factor = 1};
        float out;
        kernels_scalar.byte(&query, codes.high, codes.low, codes.meta, 1, &out);
        CLAIM(out == fabsf((float)dot[0]), "row of %u bytes", codes.row_bytes);
        free(joined);
        codes_close(&codes, 1);
    }
}
END_TEST

static void
check_dots(uint32_t bytes, uint32_t rows_max, enum fill query, enum fill rows)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    uint64_t seed = bytes;
    struct block one = block_open(bytes, bytes / 128 % 5);
    uint8_t *all = aligned_alloc(64, (size_t)bytes * rows_max);
    int32_t *want = malloc(rows_max * sizeof *want);
    ck_assert(all != NULL && want != NULL);
    for (uint32_t i = 0; i < bytes; i++)
        one.bytes[i] = (uint8_t)fill_component(query, &seed, i);
    for (uint32_t i = 0; i < bytes * rows_max; i++)
        all[i] = fill_code(rows, &seed, i);
    kernels_scalar.dots((const int8_t *)one.bytes, all, bytes, rows_max, want);
    for (uint32_t t = 1; t < tables; t++)
        for (uint32_t count = 0; count <= rows_max;
             count += count < 9 || count == rows_max ? 1 : rows_max - count) {
            // The rows in use are the last ones, so that the last row's end is the allocation's.
            const uint32_t skip = rows_max - count;
            struct block out = block_open((count + 3) / 4 * 4 * sizeof *want, 4);
            list[t]->dots((const int8_t *)one.bytes, all + (size_t)skip * bytes, bytes, count,
                          (int32_t *)(void *)out.bytes);
            CLAIM(memcmp(out.bytes, want + skip, count * sizeof *want) == 0,
                  "%s, %u rows of %u bytes", list[t]->name, count, bytes);
            block_close(out);
        }
    block_close(one);
    free(all);
    free(want);
}

START_TEST(dots_are_the_oracles_for_every_length)
{
    for (uint32_t bytes = 128; bytes <= 4224; bytes += 128) {
        check_dots(bytes, 13, FILL_RANDOM, FILL_RANDOM);
        for (uint32_t pair = 0; pair < FILL_COUNT * FILL_COUNT; pair++)
            check_dots(bytes, 9 + pair % 4, (enum fill)(pair / FILL_COUNT),
                       (enum fill)(pair % FILL_COUNT));
    }
    check_dots(768, 301, FILL_RANDOM, FILL_RANDOM);
    check_dots(65536, 10, FILL_HIGHEST, FILL_HIGHEST);
    check_dots(65536, 11, FILL_LOWEST, FILL_HIGHEST);
}
END_TEST

// Every half, once as a row's norm and once as its factor, and its sign turned by the centre.
START_TEST(nibble_reads_every_half_as_the_oracle_does)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    static const int8_t components[128];
    static uint8_t planes[32][32];
    const uint8_t *rows[32];
    for (uint32_t r = 0; r < 32; r++)
        rows[r] = planes[r];
    const struct nibble_query norms = {.components = components, .row_bytes = 32, .norm_scale = 1};
    const struct nibble_query negated = {
        .components = components, .row_bytes = 32, .norm_scale = -1};
    const struct nibble_query factors = {
        .components = components, .row_bytes = 32, .factor_scale = 1, .center = 1};
    const struct nibble_query turned = {
        .components = components, .row_bytes = 32, .factor_scale = 1, .center = -1};
    for (uint32_t first = 0; first < 65536; first += 32) {
        for (uint32_t r = 0; r < 32; r++)
            set_meta(planes[r], 0, (uint16_t)(first + r));
        for (uint32_t t = 1; t < tables; t++) {
            check_nibble(list[t], &norms, rows, 32, 1.0f);
            check_nibble(list[t], &negated, rows, 32, 1.0f);
        }
        for (uint32_t r = 0; r < 32; r++)
            set_meta(planes[r], (uint16_t)(first + r), 0);
        for (uint32_t t = 1; t < tables; t++) {
            check_nibble(list[t], &factors, rows, 32, 1.0f);
            check_nibble(list[t], &turned, rows, 32, 1.0f);
        }
    }
}
END_TEST

static Suite *
codes_suite(void)
{
    Suite *suite = suite_create("index/kernel codes");
    TCase *tcase = tcase_create("codes");
    tcase_add_test(tcase, nibble_is_the_oracle_for_every_length_and_count);
    tcase_add_test(tcase, nibble_reads_every_half_as_the_oracle_does);
    tcase_add_test(tcase, glance_is_what_the_contract_says_for_every_length_and_count);
    tcase_add_test(tcase, byte_is_the_oracle_for_every_length_and_count);
    tcase_add_test(tcase, join_is_the_oracle_and_fills_its_whole_room);
    tcase_add_test(tcase, joined_codes_have_the_product_that_byte_uses);
    tcase_add_test(tcase, dots_are_the_oracles_for_every_length);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(codes_suite)
