// tests/unit/gpu/test_device_cpu.c -- the oracle of each operation beside a dumb twin that does what gpu/device.h says.
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "gpu/device.h"
#include "index/codec.h"
#include "index/graph.h"
#include "index/nearest.h"
#include "tests/lib/index_world.h"

#define ROWS 90u
#define STRIDE 64u
#define RUNS 8

static struct device_handle device;
static struct prng prng;
static int8_t codes[ROWS][STRIDE];
static struct byte_meta metas[ROWS];

static void
begin(int seed)
{
    struct omen_error error;
    ck_assert_int_eq(device_open(DEVICE_NEVER, &device, &error), OMEN_OK);
    prng_init(&prng, (uint64_t)seed + 1);
    // Small numbers and copies, so that distances are often equal, also to 0.
    for (uint32_t row = 0; row < ROWS; row++) {
        int32_t norm = 0;
        const bool copy = row > 0 && prng_below(&prng, 2) == 0;
        const uint32_t of = copy ? prng_below(&prng, row) : row;
        for (uint32_t c = 0; c < STRIDE; c++) {
            codes[row][c] = copy    ? codes[of][c]
                            : c < 5 ? (int8_t)((int32_t)prng_below(&prng, 5) - 2)
                                    : 0;
            norm += codes[row][c] * codes[row][c];
        }
        metas[row] = (struct byte_meta){1.0f, (float)norm};
    }
}

static void
end(void)
{
    device_close(&device);
}

#define MUST(op, of) ck_assert_int_eq(device.ops->op(device.device, of), OMEN_OK)

static struct device_rows
rows_of(uint32_t count)
{
    return (struct device_rows){
        .codes = codes[0], .metas = metas, .count = count, .stride = STRIDE};
}

// By differences, not by products: all are whole numbers, which floats hold exactly.
static float
apart(uint32_t a, uint32_t b)
{
    int32_t sum = 0;
    for (uint32_t c = 0; c < STRIDE; c++)
        sum += (codes[a][c] - codes[b][c]) * (codes[a][c] - codes[b][c]);
    return (float)sum;
}

static int
by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

// The list of different keys, sorted, `width` of them or DEVICE_NONE behind.
static void
sorted_list(uint64_t *keys, uint32_t count, uint64_t *list, uint32_t width)
{
    qsort(keys, count, sizeof *keys, by_value);
    uint32_t put = 0;
    for (uint32_t i = 0; i < count && put < width; i++)
        if (keys[i] != DEVICE_NONE && (i == 0 || keys[i] != keys[i - 1]))
            list[put++] = keys[i];
    while (put < width)
        list[put++] = DEVICE_NONE;
}

static void
same_keys(const uint64_t *got, const uint64_t *want, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++)
        CLAIM(got[i] == want[i], "%s: key %zu is %g to %u and not %g to %u", what, i,
              (double)nearest_distance(got[i]), nearest_slot(got[i]),
              (double)nearest_distance(want[i]), nearest_slot(want[i]));
}

static bool
has(const uint64_t *keys, uint32_t count, uint64_t key)
{
    for (uint32_t i = 0; i < count; i++)
        if (keys[i] == key)
            return true;
    return false;
}

// Up to `most` links of each row to others, sorted, their true distances in them.
static void
draw_lists(uint32_t count, uint32_t width, uint32_t most, uint64_t *lists)
{
    for (uint32_t row = 0; row < count; row++) {
        uint64_t keys[DEVICE_LIST_MAX];
        uint32_t drawn = 0;
        for (uint32_t left = prng_below(&prng, most + 1); left > 0; left--) {
            const uint32_t other = prng_below(&prng, count);
            if (other != row)
                keys[drawn++] = nearest_key(apart(row, other), other);
        }
        sorted_list(keys, drawn, lists + (size_t)row * width, width);
    }
}

// ---- rows ----
START_TEST(joined_planes_are_the_codes_that_were_encoded)
{
    static const uint32_t dims[] = {3, 64, 72, 96, 130, 200, 384};
    begin(_i);
    struct codec codec;
    float vectors[20 * 384], rotated[384];
    const uint32_t dim = dims[_i];
    ck_assert_int_eq(codec_init(&codec, dim, METRIC_L2, VECTOR_F32, 7), OMEN_OK);
    for (uint32_t i = 0; i < 20 * dim; i++)
        vectors[i] = world_gauss(&prng);
    codec_found(&codec, vectors, 20, rotated);
    const uint32_t stride = (codec.width + DEVICE_STRIDE - 1) / DEVICE_STRIDE * DEVICE_STRIDE;
    uint8_t want[20][512], high[20 * 256], low[20 * 256];
    int8_t got[20 * 512];
    memset(got, 0x55, sizeof got);
    for (uint32_t row = 0; row < 20; row++) {
        struct byte_meta meta;
        codec_rotate(&codec, vectors + (size_t)row * dim, rotated);
        codec_encode(&codec, rotated, 0.0f, want[row], high + (size_t)row * codec.row_bytes,
                     low + (size_t)row * codec.row_bytes, &meta);
    }
    const struct device_join join = {.high = high,
                                     .low = low,
                                     .count = 20,
                                     .row_bytes = codec.row_bytes,
                                     .stride = stride,
                                     .codes = got};
    MUST(join, &join);
    for (uint32_t row = 0; row < 20; row++)
        for (uint32_t c = 0; c < stride; c++)
            CLAIM(got[row * stride + c] == (c < codec.width ? want[row][c] - 128 : 0),
                  "row %u, component %u", row, c);
    codec_fini(&codec);
    end();
}
END_TEST

START_TEST(gathered_rows_are_the_rows_that_were_named)
{
    begin(1);
    uint32_t numbers[40];
    int8_t got[40][STRIDE];
    struct byte_meta got_metas[40];
    for (uint32_t i = 0; i < 40; i++)
        numbers[i] = prng_below(&prng, ROWS);
    const struct device_gather gather = {.rows = rows_of(ROWS),
                                         .numbers = numbers,
                                         .count = 40,
                                         .codes = got[0],
                                         .metas = got_metas};
    MUST(gather, &gather);
    for (uint32_t i = 0; i < 40; i++) {
        ck_assert_mem_eq(got[i], codes[numbers[i]], STRIDE);
        ck_assert_mem_eq(&got_metas[i], &metas[numbers[i]], sizeof *metas);
    }
    end();
}
END_TEST

START_TEST(memory_holds_what_was_put_and_filled)
{
    begin(2);
    void *memory = NULL;
    uint8_t got[100], want[100];
    ck_assert_int_eq(device.ops->alloc(device.device, sizeof got, &memory), OMEN_OK);
    ck_assert_uint_eq((uintptr_t)memory % 256, 0);
    for (uint32_t i = 0; i < sizeof want; i++)
        want[i] = (uint8_t)prng_below(&prng, 256);
    ck_assert_int_eq(device.ops->put(device.device, memory, want, sizeof want), OMEN_OK);
    ck_assert_int_eq(device.ops->fill(device.device, (char *)memory + 30, 0xa7, 20), OMEN_OK);
    ck_assert_int_eq(device.ops->get(device.device, got, memory, sizeof got), OMEN_OK);
    memset(want + 30, 0xa7, 20);
    ck_assert_mem_eq(got, want, sizeof want);
    device.ops->free(device.device, memory);
    float ms = -1.0f;
    ck_assert_int_eq(device.ops->mark(device.device, 3), OMEN_OK);
    ck_assert_int_eq(device.ops->mark(device.device, 4), OMEN_OK);
    ck_assert_int_eq(device.ops->between(device.device, 3, 4, &ms), OMEN_OK);
    ck_assert_float_ge(ms, 0.0f);
    end();
}
END_TEST

// ---- nearest ----
START_TEST(nearest_of_all_are_the_first_of_all_keys_sorted)
{
    begin(_i);
    static const uint32_t ks[] = {1, 2, 10, 33, DEVICE_LIST_MAX};
    const uint32_t k = ks[_i % 5], base = _i % 3 == 0 ? 7 : ROWS;
    static uint64_t got[ROWS * DEVICE_LIST_MAX];
    for (uint32_t skip = 0; skip < 2; skip++) {
        const struct device_nearest in = {.queries = rows_of(ROWS),
                                          .base = rows_of(base),
                                          .k = k,
                                          .skip_self = skip,
                                          .keys = got};
        MUST(nearest, &in);
        for (uint32_t row = 0; row < ROWS; row++) {
            uint64_t keys[ROWS], want[DEVICE_LIST_MAX];
            uint32_t count = 0;
            for (uint32_t other = 0; other < base; other++)
                if (skip == 0 || other != row)
                    keys[count++] = nearest_key(apart(row, other), other);
            sorted_list(keys, count, want, k);
            same_keys(got + (size_t)row * k, want, k, "nearest");
        }
    }
    end();
}
END_TEST

#define RADIUS2 50.0f

// Rows under ip, shorter than R but for a few.
static struct device_rows
rows_by_product(void)
{
    for (uint32_t row = 0; row < ROWS; row++)
        metas[row].norm = row % 9 == 0 ? -(float)(row % 4) : (float)(row % 7);
    struct device_rows rows = rows_of(ROWS);
    rows.ip = 1;
    rows.radius2 = RADIUS2;
    return rows;
}

static uint64_t
key_by_product(uint32_t row, uint32_t other, bool thought)
{
    float dot = 0.0f;
    for (uint32_t c = 0; c < STRIDE; c++)
        dot += (float)(codes[row][c] * codes[other][c]);
    const float a = metas[row].norm, b = metas[other].norm;
    const float longer = (a < 0.0f ? a * a : 0.0f) + (b < 0.0f ? b * b : 0.0f);
    const float extras = thought && a > 0.0f && b > 0.0f ? a * b : 0.0f;
    const float distance = 2.0f * RADIUS2 - 2.0f * extras + longer - 2.0f * dot;
    return nearest_key(distance > 0.0f ? distance : 0.0f, other);
}

START_TEST(nearest_under_ip_goes_by_the_components_that_are_thought)
{
    begin(3);
    uint64_t got[ROWS];
    const struct device_rows rows = rows_by_product();
    const struct device_nearest in = {
        .queries = rows, .base = rows, .k = 1, .skip_self = 1, .keys = got};
    MUST(nearest, &in);
    for (uint32_t row = 0; row < ROWS; row++) {
        uint64_t want = DEVICE_NONE;
        for (uint32_t other = 0; other < ROWS; other++)
            if (other != row && key_by_product(row, other, true) < want)
                want = key_by_product(row, other, true);
        same_keys(&got[row], &want, 1, "nearest under ip");
    }
    end();
}
END_TEST

// What looks for products finds what the components that are thought hide; measured anew it is as far as they say.
START_TEST(products_are_found_without_the_components_that_are_thought_and_measured_with_them)
{
    begin(_i);
    enum { K = 7 };
    uint64_t got[ROWS * K], want[ROWS * K];
    uint32_t places[ROWS], differ = 0;
    for (uint32_t row = 0; row < ROWS; row++) // turns 0, 1, 2 of fanout 3
        places[row] = row * 3 + row % 3;
    const struct device_tile tile = {.count = ROWS, .base_count = ROWS};
    const struct device_rows rows = rows_by_product();
    const struct device_nearest in = {.queries = rows,
                                      .base = rows,
                                      .places = places,
                                      .tiles = &tile,
                                      .tile_count = 1,
                                      .fanout = 3,
                                      .k = K,
                                      .skip_self = 1,
                                      .near_turns = 1,
                                      .one_each = 1,
                                      .keys = got};
    MUST(nearest, &in);
    for (uint32_t row = 0; row < ROWS; row++) {
        uint64_t keys[ROWS];
        uint32_t count = 0;
        for (uint32_t other = 0; other < ROWS; other++)
            if (other != row)
                keys[count++] = key_by_product(row, other, row % 3 == 0);
        sorted_list(keys, count, want + (size_t)row * K, K);
    }
    same_keys(got, want, ROWS * K, "products");
    enum { FIRST = 13 }; // lists of some rows alone
    got[FIRST * K + 2] = want[FIRST * K + 2] = DEVICE_NONE;
    const struct device_measure measure = {.rows = rows,
                                           .first = FIRST,
                                           .count = ROWS - FIRST - 1,
                                           .width = K,
                                           .keys = got + FIRST * K};
    MUST(measure, &measure);
    for (uint32_t i = FIRST * K; i < (ROWS - 1) * K; i++) {
        if (want[i] != DEVICE_NONE)
            want[i] = key_by_product(i / K, nearest_slot(want[i]), true);
        differ += want[i] != DEVICE_NONE &&
                  key_by_product(i / K, nearest_slot(want[i]), false) != want[i];
    }
    same_keys(got, want, ROWS * K, "measured");
    ck_assert_uint_gt(differ, ROWS * K / 4);
    end();
}
END_TEST

// Each row is in two groups: those of its number modulo 4, and of its number by 24.
START_TEST(nearest_of_tiles_are_those_of_the_place_s_group)
{
    begin(_i);
    enum { FANOUT = 2, K = 5, GROUPS = 8 };
    uint64_t keys[ROWS * FANOUT], got[ROWS * FANOUT * K];
    uint32_t places[ROWS * FANOUT], starts[GROUPS + 1], tiles_count = 0;
    for (uint32_t row = 0; row < ROWS; row++) {
        keys[row * FANOUT] = nearest_key(1.0f, row % 4);
        keys[row * FANOUT + 1] = row % 10 == 3 ? DEVICE_NONE : nearest_key(2.0f, 4 + row / 24);
    }
    const struct device_group group = {.keys = keys,
                                       .count = ROWS,
                                       .fanout = FANOUT,
                                       .groups = GROUPS,
                                       .places = places,
                                       .starts = starts};
    MUST(group, &group);
    struct device_tile tiles[GROUPS * 3];
    for (uint32_t g = 0; g < GROUPS; g++)
        for (uint32_t at = starts[g]; at < starts[g + 1]; at += 10)
            tiles[tiles_count++] =
                (struct device_tile){.first = at,
                                     .count = starts[g + 1] - at < 10 ? starts[g + 1] - at : 10,
                                     .base_first = starts[g],
                                     .base_count = starts[g + 1] - starts[g]};
    memset(got, 0x11, sizeof got);
    const struct device_nearest in = {.queries = rows_of(ROWS),
                                      .base = rows_of(ROWS),
                                      .places = places,
                                      .tiles = tiles,
                                      .tile_count = tiles_count,
                                      .fanout = FANOUT,
                                      .k = K,
                                      .skip_self = 1,
                                      .keys = got};
    MUST(nearest, &in);
    for (uint32_t place = 0; place < ROWS * FANOUT; place++) {
        uint64_t of_group[ROWS], want[K];
        uint32_t count = 0;
        for (uint32_t other = 0; other < ROWS; other++)
            if (other != place / FANOUT && keys[other * FANOUT + place % FANOUT] == keys[place])
                of_group[count++] = nearest_key(apart(place / FANOUT, other), other);
        sorted_list(of_group, count, want, K);
        if (keys[place] == DEVICE_NONE)
            memset(want, 0x11, sizeof want); // in no tile: as it was
        same_keys(got + (size_t)place * K, want, K, "tile");
    }
    end();
}
END_TEST

// ---- lists ----
START_TEST(a_group_holds_its_places_in_order)
{
    begin(_i);
    enum { FANOUT = 3 };
    const uint32_t groups = 1 + prng_below(&prng, 40);
    uint64_t keys[ROWS * FANOUT];
    uint32_t places[ROWS * FANOUT], starts[42], want = 0;
    for (uint32_t p = 0; p < ROWS * FANOUT; p++)
        keys[p] = prng_below(&prng, 5) == 0
                      ? DEVICE_NONE
                      : nearest_key(prng_unit(&prng), prng_below(&prng, groups));
    const struct device_group group = {.keys = keys,
                                       .count = ROWS,
                                       .fanout = FANOUT,
                                       .groups = groups,
                                       .places = places,
                                       .starts = starts};
    MUST(group, &group);
    for (uint32_t g = 0; g < groups; g++) {
        ck_assert_uint_eq(starts[g], want);
        for (uint32_t p = 0; p < ROWS * FANOUT; p++)
            if (keys[p] != DEVICE_NONE && nearest_slot(keys[p]) == g)
                ck_assert_uint_eq(places[want++], p);
    }
    ck_assert_uint_eq(starts[groups], want);
    end();
}
END_TEST

START_TEST(a_merged_list_has_the_nearest_different_keys)
{
    begin(_i);
    static const uint32_t widths[] = {1, 2, 31, 64, 130, DEVICE_MERGE_MAX};
    const uint32_t width = widths[_i % 6], kept = 1 + prng_below(&prng, DEVICE_LIST_MAX);
    static uint64_t keys[ROWS * DEVICE_MERGE_MAX], got[ROWS * DEVICE_LIST_MAX];
    for (uint32_t i = 0; i < ROWS * width; i++)
        keys[i] = prng_below(&prng, 4) == 0
                      ? DEVICE_NONE
                      : nearest_key((float)prng_below(&prng, 6), prng_below(&prng, 12));
    const struct device_merge merge = {
        .keys = keys, .count = ROWS, .width = width, .kept = kept, .merged = got};
    MUST(merge, &merge);
    for (uint32_t row = 0; row < ROWS; row++) {
        uint64_t want[DEVICE_LIST_MAX];
        sorted_list(keys + (size_t)row * width, width, want, kept);
        same_keys(got + (size_t)row * kept, want, kept, "merge");
    }
    if (width > DEVICE_LIST_MAX) {
        end();
        return;
    }
    static uint64_t want[ROWS * DEVICE_LIST_MAX]; // lists that are put in order where they lie
    for (uint32_t row = 0; row < ROWS; row++) {
        uint64_t copy[DEVICE_LIST_MAX];
        memcpy(copy, keys + (size_t)row * width, width * sizeof *copy);
        sorted_list(copy, width, want + (size_t)row * width, width);
    }
    const struct device_merge in_place = {
        .keys = keys, .count = ROWS, .width = width, .kept = width, .merged = keys};
    MUST(merge, &in_place);
    same_keys(keys, want, (size_t)ROWS * width, "merge in place");
    end();
}
END_TEST

// ---- links ----
static bool
is_occluded(const uint64_t *chosen, uint32_t taken, uint64_t key, float alpha2)
{
    for (uint32_t r = 0; r < taken; r++) {
        const float between = apart(nearest_slot(chosen[r]), nearest_slot(key));
        const float own = nearest_distance(key);
        if (chosen[r] < key && (between == 0.0f ? own != 0.0f : own / between > alpha2))
            return true;
    }
    return false;
}

// Chosen ones in the order in which they are, then sorted; returns how many the first pass leaves to the second.
static uint32_t
choose(const uint64_t *list, const struct device_prune *prune, uint64_t *want)
{
    uint64_t chosen[DEVICE_LIST_MAX], left[DEVICE_LIST_MAX];
    uint32_t count = 0, taken = 0, zeros = 0, later = 0;
    while (count < prune->width && list[count] != DEVICE_NONE)
        count++;
    const uint32_t zeros_max = prune->keep < 8 ? 1 : prune->keep / 4;
    for (uint32_t i = 0; i < count && taken < prune->keep; i++) {
        if (nearest_distance(list[i]) == 0.0f && ++zeros > zeros_max)
            continue;
        if (count <= prune->whole || !is_occluded(chosen, taken, list[i], 1.0f))
            chosen[taken++] = list[i];
        else
            left[later++] = list[i];
    }
    const uint32_t strict = taken;
    for (uint32_t i = 0; i < later && taken < prune->keep; i++)
        if (!is_occluded(chosen, taken, left[i], prune->alpha2))
            chosen[taken++] = left[i];
    sorted_list(chosen, taken, want, prune->keep);
    return taken - strict;
}

START_TEST(links_are_chosen_that_no_nearer_one_occludes_then_by_the_relaxed_rule)
{
    begin(_i);
    static uint64_t lists[ROWS * DEVICE_LIST_MAX], got[ROWS * DEVICE_LIST_MAX + 1];
    static const uint32_t keeps[] = {1, 3, 9, 24};
    struct device_prune prune = {.rows = rows_of(ROWS),
                                 .count = _i % 2 == 0 ? ROWS : ROWS / 2,
                                 .candidates = lists,
                                 .width = 40,
                                 .keep = keeps[_i % 4],
                                 .alpha2 = _i / 4 == 1 ? 1.0f : 1.5f, // both without rounding
                                 .chosen = got};
    prune.whole = _i % 3 == 0 ? prune.keep : 0;
    draw_lists(ROWS, prune.width, prune.width, lists);
    memset(got, 0x11, sizeof got);
    MUST(prune, &prune);
    ck_assert_uint_eq(got[(size_t)prune.count * prune.keep], 0x1111111111111111ull); // and no more
    uint32_t chosen = 0, relaxed = 0;
    for (uint32_t row = 0; row < prune.count; row++) {
        uint64_t want[DEVICE_LIST_MAX];
        relaxed += choose(lists + (size_t)row * prune.width, &prune, want);
        for (uint32_t i = 0; i < prune.keep; i++)
            chosen += want[i] != DEVICE_NONE;
        same_keys(got + (size_t)row * prune.keep, want, prune.keep, "prune");
    }
    ck_assert_uint_gt(chosen, prune.count / 2);
    // The first of a list is never occluded, so that one link leaves nothing to the second pass.
    ck_assert_int_eq(relaxed > 0, prune.alpha2 > 1.0f && prune.keep > 1);
    end();
}
END_TEST

START_TEST(links_offer_themselves_the_other_way_where_there_is_room)
{
    begin(_i);
    enum { KEEP = 6 };
    const uint32_t width = KEEP + (uint32_t)_i;
    const uint32_t farthest = _i % 3 == 0 ? 0 : _i % 3 == 1 ? 1 + prng_below(&prng, width) : width;
    static uint64_t links[ROWS * KEEP], got[ROWS * DEVICE_LIST_MAX];
    draw_lists(ROWS, KEEP, KEEP, links);
    const struct device_reverse reverse = {.links = links,
                                           .count = ROWS,
                                           .keep = KEEP,
                                           .width = width,
                                           .farthest = farthest,
                                           .candidates = got};
    MUST(reverse, &reverse);
    for (uint32_t row = 0; row < ROWS; row++) {
        uint64_t offered[ROWS], want[DEVICE_LIST_MAX], all[DEVICE_LIST_MAX];
        const uint64_t *own = links + (size_t)row * KEEP;
        uint32_t own_count = 0, count = 0;
        while (own_count < KEEP && own[own_count] != DEVICE_NONE)
            own_count++;
        for (uint32_t other = 0; other < ROWS; other++)
            for (uint32_t i = 0; i < KEEP; i++) {
                const uint64_t key = links[other * KEEP + i];
                const uint64_t back = nearest_key(nearest_distance(key), other);
                if (key != DEVICE_NONE && nearest_slot(key) == row && !has(own, own_count, back))
                    offered[count++] = back;
            }
        if (farthest == 0) {
            sorted_list(offered, count, all, width - own_count);
            memcpy(all + width - own_count, own, own_count * sizeof *own);
        } else { // their farthest, then its own nearest for what is left
            uint64_t sorted[ROWS];
            const uint32_t room = width - own_count, most = room > farthest ? room : farthest;
            const uint32_t others = count < most ? count : most;
            sorted_list(offered, count, sorted, count);
            memset(all, 0xff, sizeof all);
            memcpy(all, sorted + count - others, others * sizeof *all);
            const uint32_t left = width - others;
            memcpy(all + others, own, (left < own_count ? left : own_count) * sizeof *own);
        }
        sorted_list(all, width, want, width);
        same_keys(got + (size_t)row * width, want, width, "reverse");
    }
    end();
}
END_TEST

// Ways grow by one link in each sweep over all rows, until none grows.
START_TEST(what_links_lead_to_is_reached_and_its_steps_counted)
{
    begin(_i);
    enum { KEEP = 2 };
    static uint64_t links[ROWS * KEEP];
    draw_lists(ROWS, KEEP, KEEP, links);
    uint32_t seen[(ROWS + 31) / 32], reached, steps;
    const uint32_t entry = prng_below(&prng, ROWS);
    const struct device_reach reach = {.links = links,
                                       .count = ROWS,
                                       .keep = KEEP,
                                       .entry = entry,
                                       .seen = seen,
                                       .reached = &reached,
                                       .steps = &steps};
    MUST(reach, &reach);
    uint32_t way[ROWS], longest = 0, met = 0;
    for (uint32_t row = 0; row < ROWS; row++)
        way[row] = row == entry ? 0 : ROWS;
    for (bool grew = true; grew;) {
        grew = false;
        for (uint32_t p = 0; p < ROWS * KEEP; p++) {
            if (links[p] == DEVICE_NONE || way[nearest_slot(links[p])] <= way[p / KEEP] + 1)
                continue;
            way[nearest_slot(links[p])] = way[p / KEEP] + 1;
            grew = true;
        }
    }
    for (uint32_t row = 0; row < ROWS; row++) {
        const bool is_met = way[row] < ROWS;
        CLAIM((seen[row / 32] >> row % 32 & 1) == is_met, "row %u", row);
        met += is_met;
        longest = is_met && way[row] > longest ? way[row] : longest;
    }
    ck_assert_uint_eq(reached, met);
    ck_assert_uint_eq(steps, longest);
    end();
}
END_TEST

START_TEST(packed_links_lie_as_the_graph_has_them)
{
    begin(_i);
    const enum link_width width = _i % 2 == 0 ? LINKS_24 : LINKS_32;
    const uint32_t links_max = _i < 4 ? 32 : 40, keep = 20;
    const uint32_t bytes = link_row_bytes(links_max, width);
    static uint64_t links[ROWS * 20];
    static uint8_t blocks[ROWS * 64 * LINKS_32];
    draw_lists(ROWS, keep, keep, links);
    const struct device_pack pack = {.links = links,
                                     .count = ROWS,
                                     .keep = keep,
                                     .links_max = links_max,
                                     .width = width,
                                     .blocks = blocks};
    MUST(pack, &pack);
    for (uint32_t row = 0; row < ROWS; row++) {
        const uint8_t *at = blocks + (size_t)row * bytes;
        for (uint32_t i = 0; i < bytes / width; i++) {
            uint32_t got = 0; // a machine of little ends
            memcpy(&got, at + (size_t)i * width, width);
            const uint64_t key = i < keep ? links[row * keep + i] : DEVICE_NONE;
            CLAIM(got == (key == DEVICE_NONE ? link_empty(width) : nearest_slot(key)),
                  "row %u, link %u is %u", row, i, got);
        }
    }
    end();
}
END_TEST

START_TEST(there_is_one_cpu_device)
{
    struct device *other;
    struct omen_error error;
    ck_assert_int_eq(device_cpu.open(1, &other, &error), OMEN_E_UNSUPPORTED);
    ck_assert_ptr_null(other);
    ck_assert_str_eq(error.text, "there is one CPU device, not 1");
}
END_TEST

static Suite *
device_cpu_suite(void)
{
    Suite *suite = suite_create("gpu/device_cpu");
    TCase *tests = tcase_create("operations");
    tcase_add_loop_test(tests, joined_planes_are_the_codes_that_were_encoded, 0, 7);
    tcase_add_test(tests, gathered_rows_are_the_rows_that_were_named);
    tcase_add_test(tests, memory_holds_what_was_put_and_filled);
    tcase_add_loop_test(tests, nearest_of_all_are_the_first_of_all_keys_sorted, 0, RUNS);
    tcase_add_test(tests, nearest_under_ip_goes_by_the_components_that_are_thought);
    tcase_add_loop_test(
        tests, products_are_found_without_the_components_that_are_thought_and_measured_with_them, 0,
        RUNS);
    tcase_add_loop_test(tests, nearest_of_tiles_are_those_of_the_place_s_group, 0, RUNS);
    tcase_add_loop_test(tests, a_group_holds_its_places_in_order, 0, RUNS);
    tcase_add_loop_test(tests, a_merged_list_has_the_nearest_different_keys, 0, RUNS);
    tcase_add_loop_test(
        tests, links_are_chosen_that_no_nearer_one_occludes_then_by_the_relaxed_rule, 0, 12);
    tcase_add_loop_test(tests, links_offer_themselves_the_other_way_where_there_is_room, 0, RUNS);
    tcase_add_loop_test(tests, what_links_lead_to_is_reached_and_its_steps_counted, 0, RUNS);
    tcase_add_loop_test(tests, packed_links_lie_as_the_graph_has_them, 0, RUNS);
    tcase_add_test(tests, there_is_one_cpu_device);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(device_cpu_suite)
