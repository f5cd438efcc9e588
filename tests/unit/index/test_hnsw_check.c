// tests/unit/index/test_hnsw_check.c -- the check finds a sound index sound, and names every kind of damage.
#include "tests/lib/index_world.h"

#define ROWS 1200u

static struct world world;

static void
setup(void)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, ROWS);
    ck_assert_uint_eq(world_check(&world), 0);
}

static void
teardown(void)
{
    world_fini(&world);
}

// ---- damage ----

static void
set_link(uint32_t slot, uint32_t place, uint32_t link)
{
    uint8_t *at = arena_row(&world.hnsw->graph.rows, slot) + (size_t)place * 3;
    for (int i = 0; i < 3; i++)
        at[i] = (uint8_t)(link >> 8 * i);
}

static struct byte_meta *
meta_of(uint32_t slot)
{
    return (struct byte_meta *)(void *)arena_row(&world.hnsw->meta, slot);
}

static void
link_beyond_all(void)
{
    set_link(17, 0, ROWS);
}
static void
link_far_beyond_all(void)
{
    set_link(17, 0, link_empty(LINKS_24) - 1);
}
static void
link_to_itself(void)
{
    set_link(17, 0, 17);
}

static void
link_twice(void)
{
    uint32_t links[LINK_ROW_MAX];
    graph_read(&world.hnsw->graph, 17, ROWS, links);
    set_link(17, 1, links[0]);
}

static void
link_of_the_unlinked(void)
{
    world_add(&world, 1);
    set_link(ROWS, 0, 5);
}

static void
link_to_the_unlinked(void)
{
    world_add(&world, 1);
    set_link(17, 0, ROWS);
}

static void
erased_miscounted(void)
{
    atomic_fetch_add(&world.hnsw->erased_count, 1);
}
static void
linked_miscounted(void)
{
    atomic_fetch_sub(&world.hnsw->linked_count, 1);
}
static void
repaired_miscounted(void)
{
    atomic_fetch_add(&world.hnsw->repaired_count, 1);
}
static void
prefix_too_short(void)
{
    atomic_fetch_sub(&world.hnsw->linked_prefix, 1);
}
static void
erased_bit_flipped(void)
{
    world.hnsw->erased[3] ^= 1;
}
static void
linked_bit_flipped(void)
{
    world.hnsw->linked[3] ^= 1;
}
static void
repaired_bit_flipped(void)
{
    world.hnsw->repaired[3] ^= 1;
}
static void
row_not_published(void)
{
    world.hnsw->appended++;
}
static void
factor_not_a_number(void)
{
    meta_of(33)->factor = NAN;
}
static void
factor_negative(void)
{
    meta_of(33)->factor = -1.0f;
}
static void
norm_infinite(void)
{
    meta_of(33)->norm = INFINITY;
}
static void
norm_negative(void)
{
    meta_of(33)->norm = -1.0f;
}
static void
entry_beyond_all(void)
{
    atomic_store(&world.hnsw->entries.slots[2], ROWS);
}
static void
entry_with_another_code(void)
{
    world.hnsw->entries.codes[40] ^= 4;
}
static void
no_entries(void)
{
    atomic_store(&world.hnsw->entries.count, 0);
}

static const struct {
    void (*inflict)(void);
    const char *said;
} damages[] = {
    {link_beyond_all, "slot 17 links to 1200 of 1200"},
    {link_far_beyond_all, "slot 17 links to"},
    {link_to_itself, "slot 17 links to itself"},
    {link_twice, "twice"},
    {link_of_the_unlinked, "slot 1200 has links and is not linked"},
    {link_to_the_unlinked, "slot 17 links to 1200, which is not linked"},
    {erased_miscounted, "rows erased"},
    {linked_miscounted, "rows linked"},
    {repaired_miscounted, "rows repaired"},
    {prefix_too_short, "prefix"},
    {erased_bit_flipped, "1 rows erased, 0 counted"},
    {linked_bit_flipped, "rows linked"},
    {repaired_bit_flipped, "rows repaired"},
    {row_not_published, "1201 rows appended, 1200 published"},
    {factor_not_a_number, "slot 33 has factor"},
    {factor_negative, "slot 33 has factor"},
    {norm_infinite, "slot 33 has factor"},
    {norm_negative, "slot 33 has factor"},
    {entry_beyond_all, "entry 2 is slot 1200"},
    {entry_with_another_code, "does not hold the code"},
    {no_entries, "no entry"},
};
#define DAMAGES ((int)(sizeof damages / sizeof damages[0]))

START_TEST(damage_is_found_and_named)
{
    char text[200] = "";
    uint32_t unreached;
    damages[_i].inflict();
    ck_assert_int_eq(hnsw_check(world.hnsw, &unreached, text, sizeof text), OMEN_E_CORRUPT);
    ck_assert_msg(strstr(text, damages[_i].said) != NULL, "'%s' lacks '%s'", text,
                  damages[_i].said);
}
END_TEST

START_TEST(a_row_that_nobody_links_to_is_counted)
{
    // Of the rows that are no entry, one loses all links to it.
    uint32_t lost = 600;
    for (uint32_t i = 0; i < world.hnsw->entries.count; i++)
        if (world.hnsw->entries.slots[i] == lost) {
            lost++;
            i = 0;
        }
    for (uint32_t slot = 0; slot < ROWS; slot++) {
        uint32_t links[LINK_ROW_MAX], kept = 0;
        const uint32_t count = graph_read(&world.hnsw->graph, slot, ROWS, links);
        for (uint32_t i = 0; i < count; i++)
            if (links[i] != lost)
                links[kept++] = links[i];
        graph_write_locked(&world.hnsw->graph, slot, links, kept);
    }
    ck_assert_uint_ge(world_check(&world), 1);
    hnsw_erase(world.hnsw, lost);
    ck_assert_uint_eq(world_check(&world), 0); // the erased need not be reached
}
END_TEST

START_TEST(a_short_text_is_cut_and_no_memory_is_told)
{
    char text[8];
    uint32_t unreached;
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_after(n);
        ck_assert_int_eq(hnsw_check(world.hnsw, &unreached, text, sizeof text), OMEN_E_NO_MEMORY);
        mem_fail_after(0);
    }
    link_to_itself();
    ck_assert_int_eq(hnsw_check(world.hnsw, &unreached, text, sizeof text), OMEN_E_CORRUPT);
    ck_assert_uint_lt(strlen(text), sizeof text);
}
END_TEST

static Suite *
hnsw_check_suite(void)
{
    Suite *suite = suite_create("hnsw_check");
    TCase *tcase = tcase_create("hnsw_check");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, damage_is_found_and_named, 0, DAMAGES);
    tcase_add_test(tcase, a_row_that_nobody_links_to_is_counted);
    tcase_add_test(tcase, a_short_text_is_cut_and_no_memory_is_told);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hnsw_check_suite)
