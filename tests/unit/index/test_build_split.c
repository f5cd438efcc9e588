// tests/unit/index/test_build_split.c -- stages of a bulk build that bring near rows together and compare them, each beside a dumb twin.
#include "tests/lib/build_stage.h"

#define ROWS 900u
#define RUNS 8

static struct stage stage;
static struct prng prng;

// Odd runs have floats. Of so small numbers in so few dimensions many are as far.
static void
begin(int run, uint32_t rows, uint32_t dim)
{
    struct build_config config = build_config_for(32);
    config.seed = (uint64_t)run;
    prng_init(&prng, (uint64_t)run + 1);
    stage_rows(&stage, rows, dim, 4.0f, run % 2 == 0 ? BUILD_BYTES : BUILD_FLOATS);
    stage_open(&stage, &config);
}

// As index/kernel/tile.h has them: the upper bits of the distance, then who it is to.
static uint32_t
key_of(uint32_t a, uint32_t b, uint32_t number)
{
    const float distance = stage_apart(&stage, a, b);
    uint32_t bits;
    memcpy(&bits, &distance, sizeof bits);
    return (bits & ~TILE_ID_MASK) | number;
}

static void
sort_keys(uint32_t *keys, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t j = i; j > 0 && keys[j - 1] > keys[j]; j--) {
            const uint32_t key = keys[j];
            keys[j] = keys[j - 1];
            keys[j - 1] = key;
        }
}

static void
draw_ids(uint32_t count, uint32_t *out)
{
    for (uint32_t i = 0; i < count;) {
        out[i] = prng_below(&prng, ROWS);
        i += !stage_has(out, i, out[i]);
    }
}

// ---- which leaders a row goes to ----

// After the sure ones only those that are at most so much farther than the last of these.
static bool
is_too_far(const struct build_config *config, const uint32_t *keys, uint32_t k)
{
    if (k < config->fanout_sure)
        return false;
    float sure, own;
    const uint32_t bits[] = {keys[config->fanout_sure - 1] & ~TILE_ID_MASK,
                             keys[k] & ~TILE_ID_MASK};
    memcpy(&sure, &bits[0], sizeof sure);
    memcpy(&own, &bits[1], sizeof own);
    const float most = sure * config->fanout_far;
    uint32_t most_bits;
    memcpy(&most_bits, &most, sizeof most_bits);
    return bits[1] > (most_bits & ~TILE_ID_MASK);
}

static void
dumb_assign(uint32_t row, const uint32_t *leaders, const struct spread *spread, bool sure,
            uint16_t *want)
{
    uint32_t keys[LEADERS_MAX];
    for (uint32_t i = 0; i < spread->leaders; i++)
        keys[i] = key_of(row, leaders[i], i);
    sort_keys(keys, spread->leaders);
    for (uint32_t k = 0; k < spread->fanout; k++)
        want[k] = k >= spread->leaders || (!sure && is_too_far(&stage.build.config, keys, k))
                      ? NO_LEADER
                      : (uint16_t)(keys[k] & TILE_ID_MASK);
}

// Three of a lane are kept, so three are exact however many leaders there are.
START_TEST(a_row_goes_to_its_nearest_leaders_and_to_no_far_one)
{
    static const uint32_t leaders_of[] = {1, 2, 3, 16, 63, 64, 65, 300};
    const uint32_t count = leaders_of[_i];
    const struct spread spread = {count, count < 3 ? count : 3};
    uint32_t ids[ROWS], leaders[LEADERS_MAX], left_out = 0;
    uint16_t got[ROWS * 3], want[3];
    begin(_i, ROWS, 8);
    stage.build.config.fanout_sure = 1;
    stage.build.config.fanout_far = 1.5f;
    draw_ids(count, leaders);
    draw_ids(ROWS, ids);
    struct build_worker *worker = &stage.build.workers[0];
    ck_assert_uint_ge(stage.build.rows_room, count);
    split_pack(&stage.build, worker, leaders, count);
    const struct tile_packed packed = worker_packed(worker);
    split_assign(&stage.build, worker, ids, ROWS, &packed, &spread, got);
    for (uint32_t i = 0; i < ROWS; i++) {
        dumb_assign(ids[i], leaders, &spread, false, want);
        CLAIM(memcmp(got + (size_t)i * spread.fanout, want, spread.fanout * sizeof *want) == 0,
              "row %u goes elsewhere", ids[i]);
        left_out += want[spread.fanout - 1] == NO_LEADER;
    }
    ck_assert_int_eq(left_out > 0, count > 1);
    ck_assert_uint_lt(left_out, ROWS);
    stage_close(&stage);
}
END_TEST

START_TEST(few_leaders_are_assigned_the_other_way_round_with_the_same_result)
{
    static const uint32_t leaders_of[] = {1, 2, 5, 6, 7, 12, 31, 32};
    const uint32_t count = leaders_of[_i];
    const struct spread spread = {count, count < 2 || _i % 3 == 0 ? 1 : 2};
    uint32_t ids[ROWS], leaders[33];
    uint16_t got[ROWS * 2], want[2];
    begin(_i, ROWS, 8);
    draw_ids(count, leaders);
    draw_ids(ROWS, ids);
    struct build_worker *worker = &stage.build.workers[0];
    split_pack(&stage.build, worker, leaders, count);
    ck_assert(split_assign_few(&stage.build, worker, ids, ROWS, &spread, got));
    for (uint32_t i = 0; i < ROWS; i++) {
        dumb_assign(ids[i], leaders, &spread, true, want);
        CLAIM(memcmp(got + (size_t)i * spread.fanout, want, spread.fanout * sizeof *want) == 0,
              "row %u goes elsewhere", ids[i]);
    }
    draw_ids(33, leaders);
    split_pack(&stage.build, worker, leaders, 33);
    ck_assert(!split_assign_few(&stage.build, worker, ids, ROWS, &(struct spread){33, 2}, got));
    ck_assert(!split_assign_few(&stage.build, worker, ids, ROWS, &(struct spread){32, 3}, got));
    stage_close(&stage);
}
END_TEST

// ---- the first split ----

// Every row has one place; its cluster is that of its nearest leader, and of others it is a member.
START_TEST(clusters_hold_every_row_and_places_follow_the_nearest_leader)
{
    const uint32_t rows = 4000;
    begin(_i, rows, 8);
    struct build *build = &stage.build;
    build_split(build);
    ck_assert_int_eq(atomic_load(&build->status), OMEN_OK);
    ck_assert_uint_gt(build->leaders, 5);
    uint8_t *seen = calloc(rows, 1), *places_met = calloc(rows, 1);
    uint32_t *places = malloc(rows * sizeof *places);
    for (uint32_t place = 0; place < rows; place++) {
        CLAIM(build->order[place] < rows && !seen[build->order[place]], "place %u", place);
        seen[build->order[place]] = 1;
    }
    uint64_t members = 0;
    for (uint32_t leader = 0; leader < build->leaders; leader++) {
        const uint64_t count = build->starts[leader + 1] - build->starts[leader];
        ck_assert_uint_le(count, rows);
        gaps_unpack(build, leader, places);
        for (uint64_t i = 0; i < count; i++) {
            CLAIM(places[i] < rows && (i == 0 || places[i] > places[i - 1]), "place %u", places[i]);
            places_met[places[i]] = places_met[places[i]] < 255 ? places_met[places[i]] + 1 : 255;
        }
        members += count;
    }
    for (uint32_t place = 0; place < rows; place++)
        CLAIM(places_met[place] >= build->config.fanout_sure &&
                  places_met[place] <= build->config.fanout[0],
              "place %u is in %u clusters", place, places_met[place]);
    ck_assert_uint_eq(members, build->starts[build->leaders]);
    free(seen);
    free(places_met);
    free(places);
    clusters_close(build);
    split_close(build);
    stage_close(&stage);
}
END_TEST

// ---- leaves ----

// Of each lane two are kept, so the nearest two are exact, and all of a few.
START_TEST(members_of_a_leaf_find_their_nearest)
{
    static const uint32_t counts[] = {2, 5, 16, 17, 64, 65, 130, 280};
    const uint32_t count = counts[_i];
    uint32_t ids[ROWS], right = 0, wanted = 0;
    begin(_i, ROWS, 12);
    draw_ids(count, ids);
    struct build_worker *worker = &stage.build.workers[0];
    rows_read(&stage.build, worker, ids, count, SKETCH_READ);
    rows_pack(&stage.build, worker, count);
    leaf_gram(&stage.build, worker, count);
    for (uint32_t member = 0; member < count; member++) {
        uint32_t keys[ROWS], others = 0;
        const uint32_t *nearest = worker->nearest + (size_t)member * TILE_LANES;
        for (uint32_t other = 0; other < count; other++)
            if (other != member)
                keys[others++] = key_of(ids[member], ids[other], other);
        sort_keys(keys, others);
        const uint32_t most = others < TILE_LANES ? others : TILE_LANES;
        const uint32_t exact = count <= TILE_LANES ? most : most < 2 ? most : 2;
        CLAIM(memcmp(nearest, keys, exact * sizeof *keys) == 0, "member %u of %u", member, count);
        for (uint32_t i = 0; i < TILE_LANES; i++) {
            CLAIM(i >= most ? nearest[i] >= TILE_KEY_INFINITE || stage_has(keys, others, nearest[i])
                            : stage_has(keys, others, nearest[i]),
                  "member %u of %u: key %u is of nobody", member, count, i);
            CLAIM(i == 0 || nearest[i] == TILE_NO_KEY || nearest[i] > nearest[i - 1], "key %u", i);
            right += i < most && stage_has(nearest, most, keys[i]);
        }
        wanted += most;
    }
    ck_assert_msg(right >= wanted * 9 / 10, "%u of %u", right, wanted);
    stage_close(&stage);
}
END_TEST

// ---- axes ----

#define WIDTH 128u

// Eigenvalues of the rows' second moments by Jacobi's rotations, largest first.
static void
eigenvalues(double (*m)[WIDTH], double *out)
{
    for (uint32_t sweep = 0; sweep < 12; sweep++)
        for (uint32_t p = 0; p < WIDTH; p++)
            for (uint32_t q = p + 1; q < WIDTH; q++) {
                if (fabs(m[p][q]) < 1e-9)
                    continue;
                const double theta = (m[q][q] - m[p][p]) / (2.0 * m[p][q]);
                const double t =
                    (theta < 0.0 ? -1.0 : 1.0) / (fabs(theta) + sqrt(theta * theta + 1.0));
                const double c = 1.0 / sqrt(t * t + 1.0), s = t * c;
                for (uint32_t k = 0; k < WIDTH; k++) {
                    const double a = m[k][p], b = m[k][q];
                    m[k][p] = c * a - s * b;
                    m[k][q] = s * a + c * b;
                }
                for (uint32_t k = 0; k < WIDTH; k++) {
                    const double a = m[p][k], b = m[q][k];
                    m[p][k] = c * a - s * b;
                    m[q][k] = s * a + c * b;
                }
            }
    for (uint32_t i = 0; i < WIDTH; i++) {
        const double value = m[i][i];
        uint32_t at = i;
        for (; at > 0 && out[at - 1] < value; at--)
            out[at] = out[at - 1];
        out[at] = value;
    }
}

// What of all rows' squares lies along the first AXES_STEP of the best axes that there are.
static double
best_share(void)
{
    static double moments[WIDTH][WIDTH], values[WIDTH];
    double share = 0.0;
    memset(moments, 0, sizeof moments);
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t a = 0; a < WIDTH; a++)
            for (uint32_t b = 0; b < WIDTH; b++)
                moments[a][b] += (double)stage.world.floats[row * WIDTH + a] *
                                 (double)stage.world.floats[row * WIDTH + b];
    eigenvalues(moments, values);
    for (uint32_t i = 0; i < AXES_STEP; i++)
        share += values[i];
    return share;
}

static double
product(const float *a, const float *b)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < WIDTH; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static const float *
row_of(uint32_t row)
{
    return stage.world.floats + (size_t)row * WIDTH;
}

// Rows that differ in all directions, in some more than in others: so that axes which were carried through the moments once would not do.
static void
fill_unevenly(void)
{
    for (uint32_t i = 0; i < ROWS * WIDTH; i++) {
        const float value = rintf(60.0f * world_gauss(&prng) / (1.0f + (float)(i % WIDTH) / 5.0f));
        stage.world.floats[i] = fminf(fmaxf(value, -127.0f), 127.0f);
        stage.world.bytes[i] = (int8_t)stage.world.floats[i];
    }
}

START_TEST(axes_are_orthogonal_and_hold_nearly_all_that_eigenvectors_would)
{
    begin(0, ROWS, WIDTH);
    fill_unevenly();
    struct axes *axes = axes_open(&stage.build);
    ck_assert_ptr_nonnull(axes);
    axes_more(axes);
    double share = 0.0;
    for (uint32_t i = 0; i < AXES_STEP; i++) {
        const double length2 = product(axes_at(axes, i), axes_at(axes, i));
        ck_assert(length2 == 0.0 || fabs(length2 - 1.0) <= 1e-4); // 0: no row has a part along it
        for (uint32_t j = 0; j < i; j++)
            ck_assert_double_le(fabs(product(axes_at(axes, i), axes_at(axes, j))), 1e-4);
        for (uint32_t row = 0; row < ROWS; row++)
            share += pow(product(axes_at(axes, i), row_of(row)), 2.0);
    }
    const double best = best_share();
    ck_assert_msg(share >= 0.99 * best && share <= 1.0001 * best, "%g of %g", share, best);
    axes_close(axes);
    stage_close(&stage);
}
END_TEST

// ---- short copies ----

// Of what two rows have along the axes.
static double
product_along(const struct axes *axes, uint32_t a, uint32_t b)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < AXES_STEP; i++)
        sum += product(axes_at(axes, i), row_of(a)) * product(axes_at(axes, i), row_of(b));
    return sum;
}

static double
product_of_copies(const uint8_t *copies, const struct tile_numbers *numbers, uint32_t a, uint32_t b)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < AXES_STEP; i++)
        sum += (copies[a * AXES_STEP + i] - TILE_BIAS) * (copies[b * AXES_STEP + i] - TILE_BIAS);
    return (double)numbers[a].scale * (double)numbers[b].scale * (double)sum;
}

START_TEST(copies_have_the_products_of_the_parts_along_the_axes_and_the_lengths_of_the_rows)
{
    enum { COPIES = 96 }; // whole tiles of rows
    static uint8_t copies[COPIES * AXES_STEP], alone[AXES_STEP];
    struct tile_numbers numbers[COPIES], own, components;
    uint32_t rows[COPIES];
    uint8_t bytes[WIDTH];
    begin(0, ROWS, WIDTH);
    struct build *build = &stage.build;
    struct build_worker *worker = &build->workers[0];
    struct axes *axes = axes_open(build);
    axes_more(axes);
    struct lens lens = {0};
    uint8_t *memory = aligned_alloc(64, lens_lay_out(&lens, WIDTH, AXES_STEP, NULL));
    (void)lens_lay_out(&lens, WIDTH, AXES_STEP, memory);
    lens_widen(build, &lens, axes);
    ck_assert_uint_eq(lens.count, AXES_STEP);
    draw_ids(COPIES, rows);
    for (uint32_t i = 0; i < COPIES; i += TILE_ROWS)
        lens_copy(build, worker, &lens, &build->rows, rows + i, TILE_ROWS,
                  copies + (size_t)i * AXES_STEP, numbers + i);
    for (uint32_t i = 0; i < COPIES; i++) {
        lens_copy(build, worker, &lens, &build->rows, rows + i, 1, alone, &own);
        ck_assert_mem_eq(alone, copies + (size_t)i * AXES_STEP, AXES_STEP);
        build_world_read(&stage.world, rows[i], bytes, &components, NULL);
        ck_assert(own.add == numbers[i].add && own.add == components.add);
        for (uint32_t j = 0; j <= i; j++) {
            const double want = product_along(axes, rows[i], rows[j]);
            const double got = product_of_copies(copies, numbers, i, j);
            const double lengths = sqrt((double)numbers[i].add * (double)numbers[j].add);
            CLAIM(fabs(got - want) <= 0.02 * lengths, "%g, not %g", got, want);
        }
    }
    free(memory);
    axes_close(axes);
    stage_close(&stage);
}
END_TEST

static Suite *
split_suite(void)
{
    Suite *suite = suite_create("build_split");
    TCase *tcase = tcase_create("split");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, a_row_goes_to_its_nearest_leaders_and_to_no_far_one, 0, RUNS);
    tcase_add_loop_test(tcase, few_leaders_are_assigned_the_other_way_round_with_the_same_result, 0,
                        RUNS);
    tcase_add_loop_test(tcase, clusters_hold_every_row_and_places_follow_the_nearest_leader, 0, 2);
    tcase_add_loop_test(tcase, members_of_a_leaf_find_their_nearest, 0, RUNS);
    tcase_add_test(tcase, axes_are_orthogonal_and_hold_nearly_all_that_eigenvectors_would);
    tcase_add_test(
        tcase, copies_have_the_products_of_the_parts_along_the_axes_and_the_lengths_of_the_rows);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(split_suite)
