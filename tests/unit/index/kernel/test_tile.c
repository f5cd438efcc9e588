// tests/unit/index/kernel/test_tile.c -- tiles: every table answers the oracle's very bits, and the oracle a sum's.
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "index/kernel/kernel.h"
#include "tests/lib/check_main.h"
#include "tests/unit/index/kernel/blocks.h"

enum { CELLS = TILE_ROWS * TILE_COLUMNS, BYTES_MAX = 4096, STRIDE = BYTES_MAX };

static const uint32_t widths[] = {4, 8, 12, 32, 64, 68, 96, 128, 384, 800, 1536, 4096};
enum { WIDTHS = sizeof widths / sizeof widths[0] };

// Memory of one tile of bytes.
struct bytes_world {
    struct tile_bytes tile;
    uint8_t *rows, *columns; // STRIDE apart
    int8_t *packed;
    int32_t starts[TILE_COLUMNS];
    float scales[TILE_COLUMNS], adds[TILE_COLUMNS], extras[TILE_COLUMNS];
};

static void
bytes_open(struct bytes_world *world, uint32_t bytes, uint64_t *seed)
{
    world->rows = aligned_alloc(64, (size_t)TILE_ROWS * STRIDE);
    world->columns = aligned_alloc(64, (size_t)TILE_COLUMNS * STRIDE);
    world->packed = aligned_alloc(64, (size_t)TILE_COLUMNS * BYTES_MAX);
    random_fill(seed, world->rows, (size_t)TILE_ROWS * STRIDE);
    random_fill(seed, world->columns, (size_t)TILE_COLUMNS * STRIDE);
    memset(world->rows, 255, bytes); // the ends of the range, where narrow sums overflow
    memset(world->columns, 0, bytes);
    memset(world->columns + STRIDE, 255, bytes);
    world->tile = (struct tile_bytes){.columns = world->packed,
                                      .starts = world->starts,
                                      .bytes = bytes,
                                      .scales = world->scales,
                                      .adds = world->adds,
                                      .extras = world->extras};
    for (uint32_t r = 0; r < TILE_ROWS; r++) {
        world->tile.rows[r] = world->rows + (size_t)r * STRIDE;
        world->tile.numbers[r] = (struct tile_numbers){
            random_float(seed), 1e4f + random_float(seed), random_float(seed)};
    }
    for (uint32_t c = 0; c < TILE_COLUMNS; c++) {
        world->scales[c] = random_float(seed);
        world->adds[c] = 1e4f * random_float(seed);
        world->extras[c] = random_float(seed);
    }
    world->adds[7] = INFINITY;
}

static void
bytes_close(struct bytes_world *world)
{
    free(world->rows);
    free(world->columns);
    free(world->packed);
}

static void
pack(struct bytes_world *world, uint32_t count)
{
    tiles_scalar.pack_bytes(world->columns, STRIDE, count, world->tile.bytes, world->packed,
                            world->starts);
}

START_TEST(the_distances_of_a_tile_are_those_of_plain_sums)
{
    uint64_t seed = 1 + (uint64_t)_i;
    const uint32_t bytes = widths[_i];
    struct bytes_world world;
    _Alignas(64) float out[CELLS];
    bytes_open(&world, bytes, &seed);
    pack(&world, TILE_COLUMNS);
    tiles_scalar.bytes(&world.tile, out);
    for (uint32_t r = 0; r < TILE_ROWS; r++)
        for (uint32_t c = 0; c < TILE_COLUMNS; c++) {
            int32_t dot = 0;
            for (uint32_t i = 0; i < bytes; i++)
                dot +=
                    (world.tile.rows[r][i] - 128) * (world.columns[(size_t)c * STRIDE + i] - 128);
            const struct tile_numbers *numbers = &world.tile.numbers[r];
            float product = (numbers->scale * world.scales[c]) * (float)dot;
            product += numbers->extra * world.extras[c];
            const float distance = (numbers->add + world.adds[c]) - 2.0f * product;
            const float want = distance > 0.0f ? distance : 0.0f;
            CLAIM(out[r * TILE_COLUMNS + c] == want, "row %u column %u: %g, not %g", r, c,
                  (double)out[r * TILE_COLUMNS + c], (double)want);
        }
    bytes_close(&world);
}
END_TEST

START_TEST(every_table_packs_and_measures_bytes_alike)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list), bytes = widths[_i];
    uint64_t seed = 100 + (uint64_t)_i;
    struct bytes_world world;
    int8_t *packed = aligned_alloc(64, (size_t)TILE_COLUMNS * BYTES_MAX);
    int32_t starts[TILE_COLUMNS];
    bytes_open(&world, bytes, &seed);
    for (uint32_t count = 1; count <= TILE_COLUMNS; count += 7)
        for (uint32_t t = 1; t < tables; t++) {
            const size_t used = (size_t)((count + 15) / 16) * 16 * bytes;
            pack(&world, count);
            list[t]->tiles->pack_bytes(world.columns, STRIDE, count, bytes, packed, starts);
            CLAIM(memcmp(packed, world.packed, used) == 0, "%s packs otherwise", list[t]->name);
            CLAIM(memcmp(starts, world.starts, used / bytes * sizeof *starts) == 0,
                  "%s begins otherwise", list[t]->name);
        }
    pack(&world, TILE_COLUMNS);
    for (uint32_t t = 1; t < tables; t++)
        for (int extras = 0; extras < 2; extras++) {
            _Alignas(64) float want[CELLS], out[CELLS];
            world.tile.extras = extras ? world.extras : NULL;
            tiles_scalar.bytes(&world.tile, want);
            list[t]->tiles->bytes(&world.tile, out);
            CLAIM(memcmp(out, want, sizeof out) == 0, "%s: a tile", list[t]->name);
            for (uint32_t groups = 1; groups <= TILE_GROUPS; groups++) {
                memset(out, 0, sizeof out);
                list[t]->tiles->bytes_one(&world.tile, groups, out);
                CLAIM(memcmp(out, want, groups * TILE_LANES * sizeof *out) == 0, "%s: one row",
                      list[t]->name);
            }
        }
    free(packed);
    bytes_close(&world);
}
END_TEST

START_TEST(every_table_measures_floats_alike)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list), count = 1 + 13 * (uint32_t)_i;
    uint64_t seed = 200 + (uint64_t)_i;
    float *columns = aligned_alloc(64, (size_t)count * TILE_COLUMNS * sizeof *columns);
    float *rows = malloc((size_t)count * TILE_ROWS * sizeof *rows);
    float adds[TILE_COLUMNS] = {0};
    adds[63] = INFINITY;
    for (uint32_t i = 0; i < count * TILE_COLUMNS; i++)
        columns[i] = random_float(&seed);
    for (uint32_t i = 0; i < count * TILE_ROWS; i++)
        rows[i] = random_float(&seed);
    struct tile_floats tile = {.columns = columns, .count = count, .adds = adds};
    for (uint32_t r = 0; r < TILE_ROWS; r++)
        tile.rows[r] = rows + (size_t)r * count;
    _Alignas(64) float want[CELLS], out[CELLS];
    tiles_scalar.floats(&tile, want);
    for (uint32_t c = 0; c < TILE_COLUMNS - 1; c++) {
        double sum = 0.0;
        for (uint32_t i = 0; i < count; i++) {
            const double apart =
                (double)rows[i] -
                (double)columns[((size_t)(c / 16) * count + i) * TILE_LANES + c % TILE_LANES];
            sum += apart * apart;
        }
        CLAIM(fabs((double)want[c] - sum) <= 1e-5 * (1.0 + sum), "column %u", c);
    }
    for (uint32_t t = 1; t < tables; t++) {
        list[t]->tiles->floats(&tile, out);
        CLAIM(memcmp(out, want, sizeof out) == 0, "%s: floats", list[t]->name);
        memset(out, 0, sizeof out);
        list[t]->tiles->floats_one(&tile, TILE_GROUPS, out);
        CLAIM(memcmp(out, want, TILE_COLUMNS * sizeof *out) == 0, "%s: one row of floats",
              list[t]->name);
    }
    free(columns);
    free(rows);
}
END_TEST

// Distances with many ties.
static void
fill_distances(float *out, uint64_t *seed)
{
    for (uint32_t i = 0; i < CELLS; i++)
        out[i] = (float)(random_next(seed) >> 52);
    out[5] = INFINITY;
}

START_TEST(every_table_keeps_the_same_best_of_a_leaf)
{
    enum { MEMBERS = 192, GROUPS = MEMBERS / TILE_LANES };
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    static uint32_t row_best[4][MEMBERS * TILE_ROW_BEST], column_best[4][GROUPS * TILE_COLUMN_BEST];
    static uint32_t out[4][MEMBERS * TILE_LANES];
    for (uint32_t t = 0; t < tables; t++) {
        uint64_t seed = 7;
        memset(row_best[t], 255, sizeof row_best[t]);
        memset(column_best[t], 255, sizeof column_best[t]);
        for (uint32_t column = 0; column < MEMBERS; column += TILE_COLUMNS)
            for (uint32_t row = column; row < MEMBERS; row += TILE_ROWS) {
                _Alignas(64) float distances[CELLS];
                fill_distances(distances, &seed);
                const uint32_t rows = MEMBERS - row < TILE_ROWS ? MEMBERS - row : TILE_ROWS;
                const struct tile_gram gram = {distances, row,         rows,
                                               column,    row_best[t], column_best[t]};
                list[t]->tiles->gram(&gram);
            }
        for (uint32_t group = 0; group < GROUPS; group++)
            list[t]->tiles->gram_finish(row_best[t] + (size_t)group * TILE_LANES * TILE_ROW_BEST,
                                        column_best[t] + (size_t)group * TILE_COLUMN_BEST,
                                        out[t] + (size_t)group * TILE_LANES * TILE_LANES);
        CLAIM(memcmp(row_best[t], row_best[0], sizeof row_best[t]) == 0, "%s: rows", list[t]->name);
        CLAIM(memcmp(column_best[t], column_best[0], sizeof column_best[t]) == 0, "%s: columns",
              list[t]->name);
        CLAIM(memcmp(out[t], out[0], sizeof out[t]) == 0, "%s: the end", list[t]->name);
    }
    for (uint32_t member = 0; member < MEMBERS; member++)
        for (uint32_t i = 0; i < TILE_LANES; i++) {
            const uint32_t key = out[0][member * TILE_LANES + i];
            ck_assert_uint_lt(key, TILE_KEY_INFINITE);
            ck_assert_uint_ne(key & TILE_ID_MASK, member);
            ck_assert(i == 0 || key > out[0][member * TILE_LANES + i - 1]);
        }
}
END_TEST

START_TEST(every_table_assigns_to_the_same_leaders)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    static uint32_t best[4][TILE_ROWS * TILE_ASSIGN_BEST], out[4][TILE_LANES];
    for (uint32_t t = 0; t < tables; t++) {
        uint64_t seed = 8 + (uint64_t)_i;
        memset(best[t], 255, sizeof best[t]);
        for (uint32_t column = 0; column < 16 * TILE_COLUMNS; column += TILE_COLUMNS) {
            _Alignas(64) float distances[CELLS];
            fill_distances(distances, &seed);
            list[t]->tiles->assign(distances, column, best[t]);
        }
        CLAIM(memcmp(best[t], best[0], sizeof best[t]) == 0, "%s: best", list[t]->name);
    }
    memset(best[0] + TILE_LANES, 255, 2 * TILE_LANES * sizeof(uint32_t)); // one a lane, and few
    memset(best[0] + 3, 255, (TILE_LANES - 3) * sizeof(uint32_t));
    best[0][1] = TILE_KEY_INFINITE | 9; // a column that fills up
    for (uint32_t t = 0; t < tables; t++)
        for (uint32_t want = 1; want <= TILE_LANES; want++)
            for (uint32_t r = 0; r < TILE_ROWS; r++) {
                list[0]->tiles->assign_finish(best[0] + (size_t)r * TILE_ASSIGN_BEST, want, out[0]);
                list[t]->tiles->assign_finish(best[0] + (size_t)r * TILE_ASSIGN_BEST, want, out[t]);
                CLAIM(memcmp(out[t], out[0], want * sizeof *out[t]) == 0, "%s: %u of row %u",
                      list[t]->name, want, r);
            }
}
END_TEST

START_TEST(every_table_makes_the_same_candidates)
{
    enum { COUNT = 40, MEMBERS = 100 };
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    uint64_t seed = 77, out[COUNT];
    uint32_t keys[COUNT], ids[MEMBERS];
    float sketches[MEMBERS * TILE_SKETCH];
    for (uint32_t i = 0; i < MEMBERS; i++)
        ids[i] = (uint32_t)random_next(&seed);
    for (uint32_t i = 0; i < MEMBERS * TILE_SKETCH; i++)
        sketches[i] = (float)(random_next(&seed) % 5);
    for (uint32_t i = 0; i < COUNT; i++)
        keys[i] =
            (uint32_t)(random_next(&seed) >> 43) << 10 | (uint32_t)(random_next(&seed) % MEMBERS);
    for (uint32_t t = 0; t < tables; t++) {
        list[t]->tiles->candidates(keys, COUNT, ids, sketches, sketches + 3 * TILE_SKETCH, out);
        for (uint32_t i = 0; i < COUNT; i++) {
            const uint32_t member = keys[i] & TILE_ID_MASK;
            ck_assert_uint_eq((uint32_t)out[i], ids[member]);
            ck_assert_uint_eq(out[i] >> 40, keys[i] >> TILE_KEY_SHIFT);
            for (uint32_t bit = 0; bit < TILE_SKETCH; bit++)
                CLAIM((out[i] >> (32 + bit) & 1) ==
                          (sketches[member * TILE_SKETCH + bit] >= sketches[3 * TILE_SKETCH + bit]),
                      "%s: bit %u of candidate %u", list[t]->name, bit, i);
        }
    }
}
END_TEST

static int
by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// The 64 smallest of each hash's smallest, sorted.
static uint32_t
dumb_reservoir(const uint64_t *candidates, uint32_t count, uint64_t *out)
{
    uint64_t smallest[256];
    memset(smallest, 255, sizeof smallest);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t *const at = &smallest[candidates[i] >> 32 & 255];
        *at = candidates[i] < *at ? candidates[i] : *at;
    }
    qsort(smallest, 256, sizeof *smallest, by_value);
    uint32_t held = 0;
    for (; held < RESERVOIR_SLOTS && smallest[held] != UINT64_MAX; held++)
        out[held] = smallest[held];
    return held;
}

START_TEST(a_reservoir_holds_the_nearest_of_each_hash_in_any_order_of_coming)
{
    enum { COUNT = 600 };
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    uint64_t seed = 9 + (uint64_t)_i, candidates[COUNT], want[RESERVOIR_SLOTS];
    const uint64_t keys = 1ull << (1 + _i % 16), hashes = 1ull << (_i % 9);
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint64_t id = random_next(&seed) % 300;
        candidates[i] = (random_next(&seed) % keys) << 40 | (id % hashes) << 32 | id;
    }
    const uint32_t count = dumb_reservoir(candidates, COUNT, want);
    for (uint32_t t = 0; t < tables; t++)
        for (int turn = 0; turn < 3; turn++) {
            struct reservoir reservoir;
            uint32_t head = 0;
            uint64_t held[RESERVOIR_SLOTS];
            memset(&reservoir, 0xa5, sizeof reservoir);
            for (uint32_t i = COUNT - 1; i > 0; i--) {
                const uint32_t j = (uint32_t)(random_next(&seed) % (i + 1));
                const uint64_t swap = candidates[i];
                candidates[i] = candidates[j];
                candidates[j] = swap;
            }
            for (uint32_t i = 0; i < COUNT; i += 10)
                head = list[t]->tiles->keep(&reservoir, head, candidates + i, 10);
            ck_assert_uint_eq(reservoir_count(head), count);
            for (uint32_t i = 0; i < count; i++)
                held[i] = (uint64_t)reservoir.keys[i] << 40 | (uint64_t)reservoir.hashes[i] << 32 |
                          reservoir.ids[i];
            qsort(held, count, sizeof *held, by_value);
            ck_assert_mem_eq(held, want, count * sizeof *held);
            if (count == RESERVOIR_SLOTS)
                ck_assert_uint_eq(reservoir_bound(head), want[count - 1] >> 32);
        }
}
END_TEST

START_TEST(every_table_orders_alike)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list), count = (uint32_t)_i;
    uint64_t seed = 10 + (uint64_t)_i, values[64];
    for (uint32_t i = 0; i < 64; i++)
        values[i] = (random_next(&seed) >> (count % 3 == 0 ? 32 : 60)) << 32 | i * 7919 % 64;
    for (uint32_t t = 0; t < tables; t++) {
        uint8_t order[64];
        list[t]->tiles->order(values, count, order);
        for (uint32_t i = 1; i < count; i++)
            CLAIM(values[order[i - 1]] < values[order[i]], "%s: place %u", list[t]->name, i);
    }
}
END_TEST

// Columns of some groups, how far they are from somebody, and from the nearest that was chosen before.
struct occluded_world {
    _Alignas(64) float own[TILE_COLUMNS], start[TILE_COLUMNS];
    uint8_t order[TILE_COLUMNS];
};

// Around the distances that there are, so that about half are nearer; what is in no group is equal.
static void
occluded_open(struct occluded_world *world, const float *between, uint32_t groups, uint64_t *seed)
{
    for (uint32_t i = 0; i < TILE_COLUMNS; i++) {
        const bool there = i < groups * TILE_LANES;
        world->own[i] = there ? between[i] * (float)(random_next(seed) % 3) / 1.5f : INFINITY;
        world->start[i] =
            there && i % 3 != 0 ? between[i] * (float)(random_next(seed) % 3) / 1.5f : INFINITY;
        world->order[i] = (uint8_t)(i * 37 % TILE_COLUMNS);
    }
    world->own[5] = between[5]; // as far is not farther
    world->start[5] = INFINITY;
}

static void
claim_occluded(const struct occluded_world *world, const float *between, uint32_t groups,
               const float *nearest, uint64_t answer)
{
    for (uint32_t i = 0; i < TILE_COLUMNS; i++) {
        const float want =
            i < groups * TILE_LANES ? fminf(between[i], world->start[i]) : world->start[i];
        CLAIM(nearest[i] == want, "column %u: %g, not %g", i, (double)nearest[i], (double)want);
    }
    for (uint32_t i = 0; i < TILE_COLUMNS; i++) {
        const uint8_t at = world->order[i];
        CLAIM((answer >> i & 1) == (nearest[at] > world->own[at]), "rank %u, column %u", i, at);
    }
}

START_TEST(every_table_occludes_alike)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list), groups = 1 + (uint32_t)_i;
    uint64_t seed = 20 + (uint64_t)_i;
    struct bytes_world world;
    bytes_open(&world, 100, &seed);
    world.adds[7] = 1.0f;
    pack(&world, TILE_COLUMNS);
    const struct tile_floats floats = {
        .rows = {world.adds}, .columns = world.adds, .count = 1, .adds = world.adds};
    for (uint32_t t = 0; t < tables; t++)
        for (int bytes = 0; bytes < 2; bytes++) {
            struct occluded_world occluded;
            _Alignas(64) float between[TILE_COLUMNS], nearest[TILE_COLUMNS];
            if (bytes)
                tiles_scalar.bytes_one(&world.tile, groups, between);
            else
                tiles_scalar.floats_one(&floats, groups, between);
            occluded_open(&occluded, between, groups, &seed);
            memcpy(nearest, occluded.start, sizeof nearest);
            const struct tile_occlusion occlusion = {
                .own = occluded.own, .nearest = nearest, .order = occluded.order};
            const uint64_t answer =
                bytes ? list[t]->tiles->bytes_occlude(&world.tile, groups, &occlusion)
                      : list[t]->tiles->floats_occlude(&floats, groups, &occlusion);
            claim_occluded(&occluded, between, groups, nearest, answer);
        }
    bytes_close(&world);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("tile");
    TCase *tiles = tcase_create("tiles");
    tcase_add_loop_test(tiles, the_distances_of_a_tile_are_those_of_plain_sums, 0, WIDTHS);
    tcase_add_loop_test(tiles, every_table_packs_and_measures_bytes_alike, 0, WIDTHS);
    tcase_add_loop_test(tiles, every_table_measures_floats_alike, 0, 5);
    tcase_add_test(tiles, every_table_keeps_the_same_best_of_a_leaf);
    tcase_add_loop_test(tiles, every_table_assigns_to_the_same_leaders, 0, 4);
    suite_add_tcase(suite, tiles);
    TCase *lists = tcase_create("lists");
    tcase_add_loop_test(lists, a_reservoir_holds_the_nearest_of_each_hash_in_any_order_of_coming, 0,
                        20);
    tcase_add_test(lists, every_table_makes_the_same_candidates);
    tcase_add_loop_test(lists, every_table_orders_alike, 0, 65);
    tcase_add_loop_test(lists, every_table_occludes_alike, 0, TILE_GROUPS);
    suite_add_tcase(suite, lists);
    return suite;
}
CHECK_MAIN(suite)
