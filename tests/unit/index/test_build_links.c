// tests/unit/index/test_build_links.c -- stages of a bulk build that make links, each beside a dumb twin that does what its file says.
#include "tests/lib/build_stage.h"

#define RUNS 12

static struct stage stage;
static struct prng prng;

// Odd runs have floats. Of so small numbers in so few dimensions many are as far.
static void
begin(int run, uint32_t rows, uint32_t links_max)
{
    struct build_config config = build_config_for(links_max);
    config.threads = 2;
    config.seed = (uint64_t)run;
    prng_init(&prng, (uint64_t)run + 1);
    stage_rows(&stage, rows, 8, 2.0f, run % 2 == 0 ? BUILD_BYTES : BUILD_FLOATS);
    stage_open(&stage, &config);
}

// ---- choose ----

// From near to far, of equal ones the smaller number first.
static void
sort_near(uint32_t owner, uint32_t *rows, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t j = i; j > 0; j--) {
            const uint32_t a = rows[j - 1], b = rows[j];
            const float of_a = stage_apart(&stage, owner, a), of_b = stage_apart(&stage, owner, b);
            if (of_a < of_b || (of_a == of_b && a < b))
                break;
            rows[j - 1] = b;
            rows[j] = a;
        }
}

static float
nearest_of(uint32_t row, const uint32_t *chosen, uint32_t count)
{
    float nearest = INFINITY;
    for (uint32_t i = 0; i < count; i++)
        nearest = fminf(nearest, stage_apart(&stage, row, chosen[i]));
    return nearest;
}

enum rule { STRICT, RELAXED, REST };

static bool
passes(enum rule rule, uint32_t owner, uint32_t row, const uint32_t *chosen, uint32_t count)
{
    const float own = stage_apart(&stage, owner, row), nearest = nearest_of(row, chosen, count);
    const float relaxed = stage.build.config.relaxed;
    return rule == STRICT    ? own < nearest
           : rule == RELAXED ? relaxed > 0.0f && own <= relaxed * nearest
                             : true;
}

static uint32_t
dumb_choose(uint32_t owner, const uint32_t *candidates, uint32_t count, uint32_t keep,
            uint32_t *chosen)
{
    uint32_t sorted[CHOOSE_MAX], made = 0;
    memcpy(sorted, candidates, count * sizeof *sorted);
    sort_near(owner, sorted, count);
    for (enum rule rule = STRICT; rule <= REST; rule++)
        for (uint32_t i = 0; i < count && made < (rule == REST ? keep / 4 : keep); i++)
            if (!stage_has(chosen, made, sorted[i]) && passes(rule, owner, sorted[i], chosen, made))
                chosen[made++] = sorted[i];
    return made;
}

// So many different rows, none of them the owner.
static uint32_t
draw_rows(uint32_t owner, uint32_t count, uint32_t *out)
{
    for (uint32_t i = 0; i < count;) {
        out[i] = prng_below(&prng, stage.build.rows.count);
        i += out[i] != owner && !stage_has(out, i, out[i]);
    }
    return count;
}

START_TEST(who_is_chosen_is_nearer_to_the_row_than_to_any_nearer_one_then_by_the_relaxed_rule)
{
    static const float relaxed[] = {1.44f, 0.0f, 1.2f};
    uint32_t fewer = 0, full = 0;
    begin(_i, 400, 32);
    stage.build.config.relaxed = relaxed[_i % 3];
    for (uint32_t owner = 0; owner < 400; owner++) {
        uint32_t candidates[CHOOSE_MAX], want[CHOOSE_MAX], got[CHOOSE_MAX];
        const uint32_t count = draw_rows(owner, prng_below(&prng, CHOOSE_MAX + 1), candidates);
        const uint32_t keep = 1 + prng_below(&prng, 20);
        const uint32_t wanted = dumb_choose(owner, candidates, count, keep, want);
        const uint32_t made =
            choose(&stage.build, &stage.build.workers[0], owner, candidates, count, keep, got);
        CLAIM(made == wanted && memcmp(got, want, made * sizeof *got) == 0,
              "row %u: %u of %u, not %u", owner, made, count, wanted);
        fewer += made < keep && made < count;
        full += made == keep;
    }
    ck_assert(fewer > 20 && full > 20);
    stage_close(&stage);
}
END_TEST

// Row 0 is beside row 40, which is in the middle of all others: it is nearer to each of them than row 0 is.
START_TEST(who_would_be_left_with_one_link_takes_the_nearest_of_the_rest)
{
    static const uint32_t want[] = {40, 1, 2, 3, 4, 5}; // a quarter of 24
    uint32_t candidates[40], got[CHOOSE_MAX];
    begin(_i, 41, 32);
    for (uint32_t i = 0; i < 41 * 8; i++) {
        const uint32_t row = i / 8, along = row % 40 == 0 ? 0 : 1 + row % 7;
        const uint32_t far = row == 0 ? 1 : row == 40 ? 0 : 1 + row;
        stage.world.floats[i] = i % 8 == along ? (float)far : 0.0f;
        if (stage.world.bytes != NULL)
            stage.world.bytes[i] = (int8_t)stage.world.floats[i];
    }
    stage.build.config.relaxed = 0.0f;
    for (uint32_t row = 1; row < 41; row++)
        candidates[row - 1] = row;
    ck_assert_uint_eq(choose(&stage.build, &stage.build.workers[0], 0, candidates, 40, 24, got), 6);
    ck_assert_mem_eq(got, want, sizeof want);
    stage_close(&stage);
}
END_TEST

// ---- reverse ----

static uint32_t *order;

// Links that lead to few rows mostly, so that some have more choosers than can be compared at a time. Places are not rows.
static void
draw_links(uint32_t most)
{
    struct build *build = &stage.build;
    const uint32_t rows = build->rows.count;
    order = malloc(rows * sizeof *order);
    for (uint32_t i = 0; i < rows; i++)
        order[i] = i;
    for (uint32_t i = rows - 1; i > 0; i--) {
        const uint32_t j = prng_below(&prng, i + 1), row = order[i];
        order[i] = order[j];
        order[j] = row;
    }
    build->order = order;
    stage_links(&stage);
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t *const links = stage_links_of(&stage, row);
        const uint32_t count = prng_below(&prng, most + 1);
        for (uint32_t i = 0; i < count;) {
            uint32_t within = rows;
            for (uint32_t turn = 0; turn < 4; turn++)
                within = 1 + prng_below(&prng, within);
            links[i] = prng_below(&prng, within + most < rows ? within + most : rows);
            i += links[i] != row && !stage_has(links, i, links[i]);
        }
        build->counts[row] = (uint8_t)count;
    }
}

struct before {
    uint32_t *links;
    uint8_t *counts;
};

static struct before
copy_links(void)
{
    const struct build *build = &stage.build;
    struct before before = {malloc(links_bytes(build)), malloc(build->rows.count)};
    memcpy(before.links, build->links, links_bytes(build));
    memcpy(before.counts, build->counts, build->rows.count);
    return before;
}

// Those that link to a row and that it does not link to, in the order of their numbers.
static uint32_t
choosers_of(const struct before *before, uint32_t row, uint32_t *out)
{
    const uint32_t links_max = stage.build.config.links_max;
    const uint32_t *own = before->links + (size_t)row * links_max;
    uint32_t count = 0;
    for (uint32_t other = 0; other < stage.build.rows.count; other++)
        if (stage_has(before->links + (size_t)other * links_max, before->counts[other], row) &&
            !stage_has(own, before->counts[row], other))
            out[count++] = other;
    return count;
}

// Of its own and of all that chose it, as many at a time as can be compared.
static uint32_t
dumb_best(uint32_t row, const uint32_t *rows, uint32_t count, uint32_t keep, uint32_t *held,
          uint32_t held_count)
{
    for (uint32_t at = 0; at < count || held_count > keep;) {
        uint32_t chosen[CHOOSE_MAX];
        while (at < count && held_count < CHOOSE_MAX)
            held[held_count++] = rows[at++];
        held_count = dumb_choose(row, held, held_count, keep, chosen);
        memcpy(held, chosen, held_count * sizeof *held);
    }
    return held_count;
}

START_TEST(a_row_takes_all_that_chose_it_where_there_is_room_and_else_chooses_anew)
{
    static const uint32_t links_max[] = {4, 16, 32, 48};
    const uint32_t most = links_max[_i % 4];
    uint32_t again = 0, long_lists = 0;
    begin(_i, 700, most);
    draw_links(stage.build.config.chosen);
    struct before before = copy_links();
    build_reverse(&stage.build);
    for (uint32_t row = 0; row < 700; row++) {
        uint32_t choosers[700], want[CHOOSE_MAX], own = before.counts[row];
        const uint32_t count = choosers_of(&before, row, choosers);
        memcpy(want, before.links + (size_t)row * most, own * sizeof *want);
        if (own + count > most) {
            own = dumb_best(row, choosers, count, most, want, own);
            again++;
            long_lists += count > CHOOSE_MAX;
        } else {
            memcpy(want + own, choosers, count * sizeof *want);
            own += count;
        }
        CLAIM(stage.build.counts[row] == own &&
                  memcmp(stage_links_of(&stage, row), want, own * sizeof *want) == 0,
              "row %u: %u links, not %u", row, stage.build.counts[row], own);
    }
    ck_assert_uint_eq(stage.report.chosen_again, again);
    ck_assert(again > 0 && again < 700 && long_lists > 0);
    free(before.links);
    free(before.counts);
    free(order);
    stage_close(&stage);
}
END_TEST

// More than can be chosen at a time: what it had stays, and others fill it up.
START_TEST(a_row_of_many_links_keeps_its_own_and_is_filled_up_with_those_that_chose_it)
{
    enum { MOST = 96 };
    uint32_t left_out = 0;
    begin(_i, 900, MOST);
    draw_links(stage.build.config.chosen);
    struct before before = copy_links();
    build_reverse(&stage.build);
    for (uint32_t row = 0; row < 900; row++) {
        uint32_t choosers[900];
        const uint32_t own = before.counts[row], count = choosers_of(&before, row, choosers);
        const uint32_t *links = stage_links_of(&stage, row), made = stage.build.counts[row];
        CLAIM(memcmp(links, before.links + (size_t)row * MOST, own * sizeof *links) == 0,
              "row %u has lost links of its own", row);
        for (uint32_t i = own; i < made; i++)
            CLAIM(stage_has(choosers, count, links[i]) && !stage_has(links, i, links[i]),
                  "row %u: link %u did not choose it, or is there twice", row, i);
        CLAIM(made == own + count || (own + count > MOST && made > own), "row %u: %u of %u", row,
              made, own + count);
        left_out += made < own + count;
    }
    ck_assert_uint_gt(left_out, 0);
    free(before.links);
    free(before.counts);
    free(order);
    stage_close(&stage);
}
END_TEST

// ---- same ----

// Of bytes, rows are of two scales, so that some are equal in their bytes alone.
static void
read_scaled(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
            float *sketch)
{
    build_world_read(context, row, components, numbers, sketch);
    numbers->scale = row % 3 == 0 ? 2.0f : 1.0f;
}

static bool
is_same(uint32_t a, uint32_t b)
{
    return stage_apart(&stage, a, b) == 0.0f &&
           (stage.world.bytes == NULL || (a % 3 == 0) == (b % 3 == 0));
}

// The first that it is equal to, or itself.
static uint32_t
first_of(uint32_t row)
{
    for (uint32_t other = 0; other < row; other++)
        if (is_same(other, row))
            return other;
    return row;
}

// One row in three is another one again, one of five most of the time.
static void
begin_same(int run, uint32_t links_max)
{
    struct build_config config = build_config_for(links_max);
    config.threads = 3;
    prng_init(&prng, (uint64_t)run + 1);
    stage_rows(&stage, 2500, 8, 20.0f, run % 2 == 0 ? BUILD_BYTES : BUILD_FLOATS);
    for (uint32_t row = 5; row < 2500; row++) {
        const uint32_t of = prng_below(&prng, prng_below(&prng, 4) > 0 ? 5 : row);
        if (prng_below(&prng, 3) > 0)
            continue;
        memcpy(stage.world.floats + row * 8, stage.world.floats + of * 8, 8 * sizeof(float));
        if (stage.world.bytes != NULL)
            memcpy(stage.world.bytes + row * 8, stage.world.bytes + of * 8, 8);
    }
    stage_open(&stage, &config);
    stage.rows.read = stage.build.rows.read = read_scaled;
    build_same(&stage.build);
}

START_TEST(a_twin_is_told_with_the_first_row_that_it_equals_and_all_others_are_built)
{
    uint32_t members = 0, twins = 0;
    begin_same(_i, 32);
    for (uint32_t row = 0; row < 2500; row++) {
        const uint32_t first = first_of(row);
        if (first == row) {
            CLAIM(stage.build.members[members++] == row, "row %u is not built", row);
            continue;
        }
        const struct twin twin = stage.build.twins[twins++];
        CLAIM(twin.row == row && twin.of == first, "row %u is a twin of %u, not of %u", twin.row,
              twin.of, first);
    }
    ck_assert_uint_gt(twins, 400);
    ck_assert_uint_eq(stage.report.twins, twins);
    ck_assert_uint_eq(stage.build.rows.count, members);
    stage_close(&stage);
}
END_TEST

START_TEST(rows_of_which_no_two_are_equal_are_built_as_they_are)
{
    begin(_i, 300, 32);
    for (uint32_t i = 0; i < 300 * 8; i++)
        stage.world.floats[i] = (float)(i / 8 % 100 + i % 8 * (i / 800));
    for (uint32_t i = 0; i < 300 * 8 && stage.world.bytes != NULL; i++)
        stage.world.bytes[i] = (int8_t)stage.world.floats[i];
    build_same(&stage.build);
    ck_assert_uint_eq(stage.report.twins, 0);
    ck_assert(stage.build.twins == NULL && stage.build.members == NULL);
    ck_assert_uint_eq(stage.build.rows.count, 300);
    stage_close(&stage);
}
END_TEST

// A member and those that equal it, in their order; returns how many.
static uint32_t
family_of(uint32_t member, uint32_t *family)
{
    uint32_t count = 0;
    family[count++] = stage.build.members[member];
    for (uint32_t i = 0; i < stage.report.twins; i++)
        if (stage.build.twins[i].of == family[0])
            family[count++] = stage.build.twins[i].row;
    return count;
}

// Its parent, its children, then the member's links, as far as there is room.
static uint32_t
dumb_family_links(const uint32_t *family, uint32_t count, uint32_t n, const struct before *before,
                  uint32_t member, uint32_t *want)
{
    const uint32_t most = stage.build.config.links_max, children = most < 4 ? 1 : most / 4;
    uint32_t made = 0;
    if (n > 0)
        want[made++] = family[(n - 1) / children];
    for (uint32_t child = n * children + 1; child <= (n + 1) * children && child < count; child++)
        want[made++] = family[child];
    for (uint32_t i = 0; i < before->counts[member] && made < most; i++)
        want[made++] = stage.build.members[before->links[(size_t)member * most + i]];
    return made;
}

START_TEST(twins_hang_in_a_tree_below_the_first_of_them_and_link_to_its_neighbours)
{
    static const uint32_t links_max[] = {32, 2, 9};
    begin_same(_i, links_max[_i % 3]);
    const uint32_t most = links_max[_i % 3];
    static uint32_t family[2500];
    uint32_t rows = 0, largest = 0;
    stage_links(&stage);
    for (uint32_t member = 0; member < stage.build.rows.count; member++)
        stage.build.counts[member] =
            (uint8_t)draw_rows(member, prng_below(&prng, most + 1), stage_links_of(&stage, member));
    struct before before = copy_links();
    build_add_twins(&stage.build);
    for (uint32_t member = 0; member < stage.build.rows.count; member++) {
        const uint32_t count = family_of(member, family);
        largest = count > largest ? count : largest;
        for (uint32_t n = 0; n < count; n++, rows++) {
            uint32_t want[LINK_ROW_MAX + 1];
            const uint32_t wanted = dumb_family_links(family, count, n, &before, member, want);
            CLAIM(stage.build.counts[family[n]] == wanted &&
                      memcmp(stage_links_of(&stage, family[n]), want, wanted * sizeof *want) == 0,
                  "row %u, twin %u of member %u", family[n], n, member);
        }
    }
    ck_assert_uint_eq(rows, 2500);
    ck_assert_uint_gt(largest, 40); // a tree of several floors
    free(before.links);
    free(before.counts);
    stage_close(&stage);
}
END_TEST

// ---- reach ----

static uint8_t met[700];

// What row 0 leads to, by sweeps until nothing changes; returns how many rows.
static uint32_t
sweep(void)
{
    uint32_t count = 1;
    memset(met, 0, sizeof met);
    met[0] = 1;
    for (bool grew = true; grew;) {
        grew = false;
        for (uint32_t row = 0; row < stage.build.rows.count; row++)
            for (uint32_t i = 0; met[row] && i < stage.build.counts[row]; i++) {
                const uint32_t to = stage_links_of(&stage, row)[i];
                count += !met[to];
                grew |= !met[to];
                met[to] = 1;
            }
    }
    return count;
}

static void
add_link(uint32_t row, uint32_t to)
{
    uint32_t *const links = stage_links_of(&stage, row);
    if (to != row && !stage_has(links, stage.build.counts[row], to) &&
        stage.build.counts[row] < stage.build.config.links_max)
        links[stage.build.counts[row]++] = to;
}

// A ring with links across it, full or not; the last `lost` are led to by each other alone, and lead to the ring, or to nobody of it.
static void
make_rows(uint32_t lost, bool leads)
{
    const uint32_t ring = 700 - lost;
    stage_links(&stage);
    for (uint32_t row = 0; row < 700; row++) {
        if (row < ring)
            add_link(row, (row + 1) % ring);
        for (uint32_t i = prng_below(&prng, 8); i > 0; i--)
            add_link(row, row < ring ? prng_below(&prng, ring)
                          : leads    ? prng_below(&prng, 700)
                                     : ring + prng_below(&prng, lost));
    }
    ck_assert_uint_eq(sweep(), ring);
}

static void
check_links(void)
{
    for (uint32_t row = 0; row < 700; row++) {
        const uint32_t *links = stage_links_of(&stage, row), count = stage.build.counts[row];
        CLAIM(count <= stage.build.config.links_max, "row %u has %u links", row, count);
        for (uint32_t i = 0; i < count; i++)
            CLAIM(links[i] < 700 && links[i] != row && !stage_has(links, i, links[i]),
                  "row %u links to %u", row, links[i]);
    }
}

START_TEST(every_row_is_reached_and_few_links_are_given)
{
    const uint32_t lost = 1 + (uint32_t)_i;
    begin(_i, 700, 6);
    make_rows(lost, _i % 3 != 0);
    ck_assert(build_reach(&stage.build, 700));
    ck_assert_uint_eq(sweep(), 700);
    check_links();
    ck_assert_uint_eq(stage.report.unreached, lost);
    ck_assert_uint_ge(stage.report.links_given, 1);
    ck_assert_uint_le(stage.report.links_given, lost);
    stage_close(&stage);
}
END_TEST

// A group that leads to nobody is led to by the nearest of some rows, which near it is one of few.
START_TEST(who_leads_to_nobody_is_linked_by_a_row_that_is_near)
{
    begin(_i, 700, 6);
    make_rows(1, false);
    for (uint32_t row = 0; row < 700; row++)
        if (stage.build.counts[row] == 6) // there is room
            stage.build.counts[row] = 5;
    ck_assert_uint_eq(sweep(), 699);
    ck_assert(build_reach(&stage.build, 700));
    uint32_t giver = BUILD_NONE, nearer = 0;
    for (uint32_t row = 0; row < 699; row++)
        if (stage_has(stage_links_of(&stage, row), stage.build.counts[row], 699))
            giver = row;
    ck_assert_uint_ne(giver, BUILD_NONE);
    for (uint32_t row = 0; row < 699; row++)
        nearer += stage_apart(&stage, 699, row) < stage_apart(&stage, 699, giver);
    ck_assert_uint_le(nearer, 70); // of 256 draws none of the nearest tenth would be one in 10^11
    stage_close(&stage);
}
END_TEST

START_TEST(a_graph_that_leads_to_far_too_few_is_not_worth_it)
{
    begin(_i, 700, 6);
    const uint32_t most = 8 + 700 / 100;
    stage_links(&stage);
    for (uint32_t row = 0; row < 700; row++) // each of the last is a group of its own
        if (row < 700 - most - 2)
            add_link(row, (row + 1) % (700 - most - 2));
    ck_assert(!build_reach(&stage.build, 700));
    ck_assert_uint_eq(stage.report.unreached, most + 2);
    check_links();
    stage_close(&stage);
}
END_TEST

static Suite *
links_suite(void)
{
    Suite *suite = suite_create("build_links");
    TCase *tcase = tcase_create("links");
    tcase_add_loop_test(
        tcase, who_is_chosen_is_nearer_to_the_row_than_to_any_nearer_one_then_by_the_relaxed_rule,
        0, RUNS);
    tcase_add_loop_test(tcase, who_would_be_left_with_one_link_takes_the_nearest_of_the_rest, 0, 2);
    tcase_add_loop_test(
        tcase, a_row_takes_all_that_chose_it_where_there_is_room_and_else_chooses_anew, 0, 8);
    tcase_add_loop_test(
        tcase, a_row_of_many_links_keeps_its_own_and_is_filled_up_with_those_that_chose_it, 0, 2);
    tcase_add_loop_test(
        tcase, a_twin_is_told_with_the_first_row_that_it_equals_and_all_others_are_built, 0, RUNS);
    tcase_add_loop_test(tcase, rows_of_which_no_two_are_equal_are_built_as_they_are, 0, 2);
    tcase_add_loop_test(
        tcase, twins_hang_in_a_tree_below_the_first_of_them_and_link_to_its_neighbours, 0, RUNS);
    tcase_add_loop_test(tcase, every_row_is_reached_and_few_links_are_given, 0, RUNS);
    tcase_add_loop_test(tcase, who_leads_to_nobody_is_linked_by_a_row_that_is_near, 0, RUNS);
    tcase_add_loop_test(tcase, a_graph_that_leads_to_far_too_few_is_not_worth_it, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(links_suite)
