// tests/unit/base/test_arena.c -- rows that never move, pieces that lie elsewhere, and memory that is refused.
//
// Labels: tsan
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "tests/lib/check_main.h"
#include "tests/lib/image_table.h"

START_TEST(new_rows_are_zero_and_rows_keep_what_is_written)
{
    struct arena arena;
    ck_assert_int_eq(arena_init(&arena, 24, 200000), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&arena, 200000), OMEN_OK);
    static const uint8_t zeros[24] = {0};
    for (uint32_t slot = 0; slot < 200000; slot += 101) {
        ck_assert_mem_eq(arena_row(&arena, slot), zeros, 24);
        memset(arena_row(&arena, slot), (int)(slot % 251) + 1, 24);
    }
    for (uint32_t slot = 0; slot < 200000; slot += 101) {
        uint8_t want[24];
        memset(want, (int)(slot % 251) + 1, 24);
        ck_assert_mem_eq(arena_row(&arena, slot), want, 24);
    }
    arena_fini(&arena);
}
END_TEST

START_TEST(rows_stay_where_they_are_when_the_arena_grows)
{
    struct arena arena;
    ck_assert_int_eq(arena_init(&arena, 8, 300000), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&arena, 1), OMEN_OK);
    uint8_t *const first = arena_row(&arena, 0), *const last = arena_row(&arena, arena.mask);
    ck_assert_int_eq(arena_reserve(&arena, 300000), OMEN_OK);
    ck_assert_ptr_eq(arena_row(&arena, 0), first);
    ck_assert_ptr_eq(arena_row(&arena, arena.mask), last);
    ck_assert_int_eq(arena_reserve(&arena, 10), OMEN_OK); // less than there is: nothing happens
    ck_assert_ptr_eq(arena_row(&arena, 0), first);
    arena_fini(&arena);
}
END_TEST

START_TEST(neighbouring_rows_do_not_overlap_at_the_edge_of_a_piece)
{
    struct arena arena;
    ck_assert_int_eq(arena_init(&arena, 100, 140000), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&arena, 140000), OMEN_OK);
    const uint32_t edge = arena.mask + 1;
    for (uint32_t slot = edge - 2; slot < edge + 2; slot++)
        memset(arena_row(&arena, slot), (int)(slot - edge + 10), 100);
    for (uint32_t slot = edge - 2; slot < edge + 2; slot++)
        for (uint32_t i = 0; i < 100; i++)
            ck_assert_uint_eq(arena_row(&arena, slot)[i], (slot - edge + 10) & 0xff);
    arena_fini(&arena);
}
END_TEST

START_TEST(wide_rows_get_smaller_blocks)
{
    struct arena arena;
    ck_assert_int_eq(arena_init(&arena, 65536 * 4, 1000), OMEN_OK);
    ck_assert_uint_eq(arena_piece_bytes(&arena), IMAGE_PIECE_BYTES);
    ck_assert_uint_eq(arena.row_bytes << arena.block_shift, (size_t)64 << 20);
    ck_assert_int_eq(arena_reserve(&arena, 300), OMEN_OK);
    for (uint32_t slot = 0; slot < 300; slot += 50)
        arena_row(&arena, slot)[arena.row_bytes - 1] = 7;
    arena_fini(&arena);
}
END_TEST

static size_t
resident_bytes(void *memory, size_t bytes)
{
    static unsigned char pages[4096];
    size_t count = 0;
    ck_assert_uint_le(bytes / 4096, sizeof pages);
    ck_assert_int_eq(mincore(memory, bytes, pages), 0);
    for (size_t i = 0; i < bytes / 4096; i++)
        count += pages[i] & 1;
    return count * 4096;
}

static void
fill_rows(struct arena *arena, uint32_t from, uint32_t to)
{
    for (uint32_t slot = from; slot < to; slot++)
        memset(arena_row(arena, slot), (int)(slot % 251), arena->row_bytes);
}

START_TEST(memory_grows_by_small_pages_until_they_fill_a_huge_one)
{
    enum { STEP = 37, ROWS = 7000 };
    struct arena arena;
    ck_assert_int_eq(arena_init(&arena, 1000, 100000), OMEN_OK);
    for (uint32_t rows = STEP; rows < ROWS; rows += STEP) {
        ck_assert_int_eq(arena_reserve(&arena, rows), OMEN_OK);
        fill_rows(&arena, rows - STEP, rows);
        if (madvise(arena.blocks[0], 0, 25) == 0) // an older kernel has no MADV_COLLAPSE
            ck_assert_uint_le(resident_bytes(arena.blocks[0], 8 << 20), rows * 1000 + 4096);
    }
    for (uint32_t slot = 0; slot < ROWS / STEP * STEP; slot++)
        for (uint32_t i = 0; i < 1000; i += 333)
            ck_assert_uint_eq(arena_row(&arena, slot)[i], slot % 251);
    arena_fini(&arena);
}
END_TEST

START_TEST(tables_cost_nothing_for_rows_that_never_come)
{
    struct arena arena;
    ck_assert_int_eq(arena_init(&arena, 4096, 1u << 24), OMEN_OK);
    ck_assert_uint_ge(arena.pieces_max, 200000);
    ck_assert_int_eq(arena_reserve(&arena, 100), OMEN_OK);
    const size_t bytes = arena.pieces_max * sizeof *arena.pieces;
    ck_assert_uint_le(resident_bytes(arena.tables, bytes), 4096);
    arena_fini(&arena);
}
END_TEST

START_TEST(every_last_slot_can_be_reserved)
{
    static const uint32_t counts[] = {1, 2, 65535, 65536, 65537, 131072};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct arena arena;
        ck_assert_int_eq(arena_init(&arena, 32, counts[i]), OMEN_OK);
        ck_assert_int_eq(arena_reserve(&arena, counts[i]), OMEN_OK);
        arena_row(&arena, counts[i] - 1)[31] = 1;
        ck_assert_uint_eq(arena.reserved, arena.pieces_max);
        arena_fini(&arena);
    }
}
END_TEST

START_TEST(refused_memory_leaves_what_was_there)
{
    struct arena arena;
    mem_fail_after(1);
    ck_assert_int_eq(arena_init(&arena, 32, 200000), OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    arena_fini(&arena);

    ck_assert_int_eq(arena_init(&arena, 32, 200000), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&arena, 100), OMEN_OK);
    arena_row(&arena, 99)[0] = 42;
    mem_fail_after(2);
    ck_assert_int_eq(arena_reserve(&arena, 200000), OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    ck_assert_uint_eq(arena_row(&arena, 99)[0], 42);
    ck_assert_int_eq(arena_reserve(&arena, 200000), OMEN_OK);
    ck_assert_uint_eq(arena_row(&arena, 99)[0], 42);
    arena_fini(&arena);
}
END_TEST

START_TEST(an_arena_of_zeros_can_be_ended)
{
    struct arena arena = {0};
    arena_fini(&arena);
    ck_assert_ptr_null(arena.blocks);
}
END_TEST

START_TEST(bytes_count_whole_pages_of_rows_in_use)
{
    struct arena arena;
    ck_assert_int_eq(arena_init(&arena, 96, 100000), OMEN_OK);
    ck_assert_uint_eq(arena_bytes(&arena, 0), 0);
    ck_assert_uint_ge(arena_bytes(&arena, 1), 4096);
    ck_assert_uint_lt(arena_bytes(&arena, 1), 4096 + 64); // and a piece's line in the tables
    ck_assert_uint_eq(arena_bytes(&arena, 43) - arena_bytes(&arena, 1), 4096); // 4,128 bytes
    arena_fini(&arena);
}
END_TEST

// ---- saved and loaded ----

#define WIDE 1024u                 // bytes a row
#define PIECE_ROWS (256u)          // that a piece holds of them
#define SOME_ROWS (5 * PIECE_ROWS) // whole pieces

static struct image_table *table;
static struct image_sink sink;
static struct image_source source;

static void
table_make(void)
{
    table = image_table_open();
    sink = image_table_sink(table);
    source = image_table_source(table);
}

static void
fill(struct arena *arena, uint32_t first, uint32_t rows)
{
    ck_assert_int_eq(arena_reserve(arena, first + rows), OMEN_OK);
    for (uint32_t slot = first; slot < first + rows; slot++)
        memset(arena_row(arena, slot), (int)(slot % 251) + 1, WIDE);
}

static void
check_filled(const struct arena *arena, uint32_t rows)
{
    for (uint32_t slot = 0; slot < rows; slot++)
        if (arena_row(arena, slot)[slot % WIDE] != slot % 251 + 1)
            ck_abort_msg("slot %u has %u", slot, arena_row(arena, slot)[slot % WIDE]);
}

// A table with the image of so many rows.
static void
table_fill(uint32_t rows)
{
    struct arena arena;
    table_make();
    ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
    fill(&arena, 0, rows);
    ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, rows, &sink), OMEN_OK);
    arena_fini(&arena);
    image_table_reset_counts(table);
}

START_TEST(what_was_saved_is_loaded)
{
    static const uint32_t counts[] = {
        0, 1, PIECE_ROWS - 1, PIECE_ROWS, PIECE_ROWS + 1, SOME_ROWS, SOME_ROWS + 100};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct arena arena;
        table_fill(counts[i]);
        ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
        ck_assert_int_eq(arena_load(&arena, IMAGE_ROWS, counts[i], &source), OMEN_OK);
        check_filled(&arena, counts[i]);
        for (uint32_t slot = 0; slot < counts[i]; slot += 50)
            ck_assert(arena_is_lent(&arena, slot));
        ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, counts[i], &sink), OMEN_OK);
        ck_assert_uint_eq(image_table_puts(table, 0), 0); // nothing changed
        fill(&arena, counts[i], 600);
        check_filled(&arena, counts[i] + 600);
        arena_fini(&arena);
        image_table_close(table);
    }
}
END_TEST

START_TEST(a_save_puts_what_changed_since_the_last)
{
    struct arena arena;
    table_make();
    ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
    fill(&arena, 0, SOME_ROWS + 10);
    ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, SOME_ROWS + 10, &sink), OMEN_OK);
    ck_assert_uint_eq(image_table_puts(table, IMAGE_ROWS), 6);
    // Changed in place, and grown: the last piece without a mark.
    arena_row(&arena, 300)[3] = 0;
    arena_mark(&arena, 300);
    fill(&arena, SOME_ROWS + 10, 10);
    image_table_reset_counts(table);
    ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, SOME_ROWS + 20, &sink), OMEN_OK);
    ck_assert_uint_eq(image_table_puts(table, IMAGE_ROWS), 2);
    size_t count;
    ck_assert_uint_eq(
        image_table_piece(table, IMAGE_ROWS, 1, &count)[(300 - PIECE_ROWS) * WIDE + 3], 0);
    image_table_piece(table, IMAGE_ROWS, 5, &count);
    ck_assert_uint_eq(count, 20 * WIDE);
    arena_mark_locked(&arena, 0);
    image_table_reset_counts(table);
    ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, SOME_ROWS + 20, &sink), OMEN_OK);
    ck_assert_uint_eq(image_table_puts(table, 0), 1);
    // All of it, after a save that did not count.
    arena_touch_all(&arena);
    image_table_reset_counts(table);
    ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, SOME_ROWS + 20, &sink), OMEN_OK);
    ck_assert_uint_eq(image_table_puts(table, 0), 6);
    arena_fini(&arena);
    image_table_close(table);
}
END_TEST

START_TEST(what_could_not_be_put_is_put_by_the_next_save)
{
    struct arena arena;
    table_make();
    ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
    fill(&arena, 0, SOME_ROWS);
    for (uint32_t n = 1; n <= 5; n++) {
        image_table_fail_after(table, n);
        ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, SOME_ROWS, &sink), OMEN_E_DISK_FULL);
    }
    image_table_fail_after(table, 0);
    ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, SOME_ROWS, &sink), OMEN_OK);
    arena_fini(&arena);
    ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
    ck_assert_int_eq(arena_load(&arena, IMAGE_ROWS, SOME_ROWS, &source), OMEN_OK);
    check_filled(&arena, SOME_ROWS);
    arena_fini(&arena);
    image_table_close(table);
}
END_TEST

START_TEST(a_lent_piece_becomes_ours_before_it_is_written)
{
    struct arena arena;
    table_fill(SOME_ROWS);
    ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
    ck_assert_int_eq(arena_load(&arena, IMAGE_ROWS, SOME_ROWS, &source), OMEN_OK);
    const size_t lent = arena_owned_bytes(&arena, SOME_ROWS);
    ck_assert_uint_lt(lent, 4096);
    ck_assert_uint_ge(arena_bytes(&arena, SOME_ROWS), (size_t)SOME_ROWS * WIDE);
    mem_fail_after(1);
    ck_assert_ptr_null(arena_own(&arena, 700));
    uint32_t cursor = 0;
    ck_assert(!arena_promote(&arena, &cursor));
    mem_fail_after(0);
    const uint8_t *before = arena_row(&arena, 700);
    uint8_t *row = arena_own(&arena, 700);
    ck_assert_ptr_ne(row, before);
    ck_assert_ptr_eq(row, arena_row(&arena, 700));
    ck_assert(!arena_is_lent(&arena, 700) && arena_is_lent(&arena, 100));
    ck_assert_uint_eq(arena_owned_bytes(&arena, SOME_ROWS), lent + PIECE_ROWS * WIDE);
    check_filled(&arena, SOME_ROWS);
    memset(row, 9, WIDE);
    arena_mark(&arena, 700);
    ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, SOME_ROWS, &sink), OMEN_OK);
    ck_assert_uint_eq(image_table_puts(table, 0), 1);
    arena_fini(&arena);
    image_table_close(table);
}
END_TEST

START_TEST(a_last_piece_that_is_not_whole_is_copied_when_the_next_row_comes)
{
    struct arena arena;
    const uint32_t rows = SOME_ROWS + 7;
    table_fill(rows);
    ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
    ck_assert_int_eq(arena_load(&arena, IMAGE_ROWS, rows, &source), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&arena, rows), OMEN_OK); // no row more: it stays where it is
    ck_assert(arena_is_lent(&arena, rows - 1));
    ck_assert_uint_lt(arena_owned_bytes(&arena, rows), 4096);
    mem_fail_after(1);
    ck_assert_int_eq(arena_reserve(&arena, rows + 1), OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    check_filled(&arena, rows);
    fill(&arena, rows, 1);
    ck_assert(!arena_is_lent(&arena, rows) && arena_is_lent(&arena, SOME_ROWS - 1));
    ck_assert_uint_ge(arena_owned_bytes(&arena, rows + 1), (size_t)8 * WIDE);
    check_filled(&arena, rows + 1);
    ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, rows + 1, &sink), OMEN_OK);
    ck_assert_uint_eq(image_table_puts(table, 0), 1);
    arena_fini(&arena);
    image_table_close(table);
}
END_TEST

START_TEST(a_piece_that_a_load_began_stays_settled_when_more_rows_come)
{
    struct arena arena;
    const uint32_t rows = SOME_ROWS + 7, more = SOME_ROWS + PIECE_ROWS, piece = rows / PIECE_ROWS;
    size_t count;
    table_fill(rows);
    ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
    ck_assert_int_eq(arena_load(&arena, IMAGE_ROWS, rows, &source), OMEN_OK);
    fill(&arena, rows, more - rows);
    ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, more, &sink), OMEN_OK);
    const void *bytes = image_table_piece(table, IMAGE_ROWS, piece, &count);
    ck_assert(arena_settle(&arena, piece, bytes));
    arena_settled_release(&arena, piece);
    fill(&arena, more, 1);
    ck_assert_ptr_eq(arena_row(&arena, piece * PIECE_ROWS), bytes);
    ck_assert(arena_is_lent(&arena, rows));
    check_filled(&arena, more + 1);
    arena_fini(&arena);
    image_table_close(table);
}
END_TEST

START_TEST(a_settled_piece_that_becomes_ours_at_once_is_not_written_to)
{
    struct arena arena;
    uint8_t *elsewhere = mem_alloc_aligned(64, PIECE_ROWS * WIDE);
    ck_assert_ptr_nonnull(elsewhere);
    memset(elsewhere, 0xee, PIECE_ROWS * WIDE); // so that a copy would be seen
    table_fill(SOME_ROWS);
    ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
    fill(&arena, 0, SOME_ROWS);
    ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, SOME_ROWS, &sink), OMEN_OK);
    const uint8_t *old = arena_row(&arena, 3);
    ck_assert(arena_settle(&arena, 0, elsewhere));
    ck_assert_ptr_eq(arena_own(&arena, 3), old);
    arena_settled_release(&arena, 0); // no longer settled
    check_filled(&arena, SOME_ROWS);
    arena_fini(&arena);
    mem_free(elsewhere);
    image_table_close(table);
}
END_TEST

START_TEST(memory_of_ours_reserved_for_lent_pieces_makes_owning_them_certain)
{
    struct arena arena;
    table_fill(SOME_ROWS);
    ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
    ck_assert_int_eq(arena_load(&arena, IMAGE_ROWS, SOME_ROWS, &source), OMEN_OK);
    mem_fail_after(1);
    ck_assert_int_eq(arena_reserve_own(&arena, SOME_ROWS), OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    ck_assert_int_eq(arena_reserve_own(&arena, SOME_ROWS), OMEN_OK);
    ck_assert(arena_is_lent(&arena, 0));
    mem_fail_after(1);
    for (uint32_t slot = 0; slot < SOME_ROWS; slot += 100)
        ck_assert_ptr_nonnull(arena_own(&arena, slot));
    mem_fail_after(0);
    check_filled(&arena, SOME_ROWS);
    arena_fini(&arena);
    image_table_close(table);
}
END_TEST

START_TEST(promotion_makes_every_piece_ours_and_settling_gives_them_back)
{
    struct arena arena;
    table_fill(SOME_ROWS + 7);
    ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
    ck_assert_int_eq(arena_load(&arena, IMAGE_ROWS, SOME_ROWS + 7, &source), OMEN_OK);
    ck_assert_ptr_nonnull(arena_own(&arena, 300));
    uint32_t cursor = 0, promoted = 0;
    while (arena_promote(&arena, &cursor))
        promoted++;
    ck_assert_uint_eq(promoted, 5);
    check_filled(&arena, SOME_ROWS + 7);
    // Neighbours are neighbours again.
    ck_assert_ptr_eq(arena_row(&arena, PIECE_ROWS), arena_row(&arena, PIECE_ROWS - 1) + WIDE);

    size_t count;
    arena_row(&arena, 0)[0] = 77;
    arena_mark(&arena, 0);
    for (uint32_t piece = 0; piece < 6; piece++) {
        const void *bytes = image_table_piece(table, IMAGE_ROWS, piece, &count);
        // Not the one that changed, and not the one that is not whole.
        ck_assert_int_eq(arena_settle(&arena, piece, bytes), piece > 0 && piece < 5);
        arena_settled_release(&arena, piece);
    }
    ck_assert_uint_eq(arena_row(&arena, 0)[0], 77);
    arena_row(&arena, 0)[0] = 1;
    check_filled(&arena, SOME_ROWS + 7);
    ck_assert(arena_is_lent(&arena, 300));
    ck_assert_ptr_nonnull(arena_own(&arena, 300));
    check_filled(&arena, SOME_ROWS + 7);
    arena_touch_lent(&arena); // what another file would need
    image_table_reset_counts(table);
    struct image_table *other = image_table_open();
    const struct image_sink other_sink = image_table_sink(other);
    arena_touch_all(&arena);
    ck_assert_int_eq(arena_save(&arena, IMAGE_ROWS, SOME_ROWS + 7, &other_sink), OMEN_OK);
    ck_assert_uint_eq(image_table_puts(other, 0), 6);
    arena_fini(&arena);
    image_table_close(other);
    image_table_close(table);
}
END_TEST

START_TEST(memory_that_is_made_ahead_changes_no_row)
{
    struct arena old, arena;
    table_make();
    ck_assert_int_eq(arena_init(&old, WIDE, 10000), OMEN_OK);
    fill(&old, 0, SOME_ROWS);
    ck_assert_int_eq(arena_save(&old, IMAGE_ROWS, SOME_ROWS, &sink), OMEN_OK);
    ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
    ck_assert_int_eq(arena_load(&arena, IMAGE_ROWS, SOME_ROWS, &source), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&arena, 8000), OMEN_OK);
    uint8_t *const lent = arena_row(&arena, 0), *const mine = arena_row(&arena, SOME_ROWS);
    const size_t bytes = (8000 - SOME_ROWS) * (size_t)WIDE;
    memset(mine, 7, WIDE);
    memset(arena_row(&arena, 7999), 8, WIDE);
    const size_t before = resident_bytes(mine, bytes);
    arena_populate(&arena, 0, 8000);
    const size_t after = resident_bytes(mine, bytes);
    ck_assert(after == bytes || after == before); // the latter with a kernel before 5.14
    ck_assert_ptr_eq(arena_row(&arena, 0), lent);
    ck_assert_mem_eq(lent, arena_row(&old, 0), WIDE);
    ck_assert_uint_eq(mine[WIDE - 1], 7);
    ck_assert_uint_eq(mine[WIDE], 0);
    ck_assert_uint_eq(arena_row(&arena, 7999)[0], 8);
    arena_fini(&arena);
    arena_fini(&old);
    image_table_close(table);
}
END_TEST

START_TEST(pieces_that_are_missing_or_short_are_refused)
{
    for (uint32_t piece = 0; piece < 6; piece++)
        for (int missing = 0; missing < 2; missing++) {
            struct arena arena;
            size_t count;
            table_fill(SOME_ROWS + 7);
            const uint8_t *bytes = image_table_piece(table, IMAGE_ROWS, piece, &count);
            if (missing)
                image_table_drop(table, IMAGE_ROWS, piece);
            else
                image_table_set(table, IMAGE_ROWS, piece, bytes, count - 1);
            ck_assert_int_eq(arena_init(&arena, WIDE, 10000), OMEN_OK);
            ck_assert_int_eq(arena_load(&arena, IMAGE_ROWS, SOME_ROWS + 7, &source),
                             OMEN_E_CORRUPT);
            arena_fini(&arena);
            image_table_close(table);
        }
}
END_TEST

START_TEST(more_rows_than_there_may_be_are_refused)
{
    struct arena arena;
    table_fill(SOME_ROWS);
    ck_assert_int_eq(arena_init(&arena, WIDE, PIECE_ROWS), OMEN_OK);
    ck_assert_int_eq(arena_load(&arena, IMAGE_ROWS, SOME_ROWS, &source), OMEN_E_CORRUPT);
    ck_assert_int_eq(arena_lend(&arena, 1, arena.blocks), OMEN_E_CORRUPT);
    ck_assert_int_eq(arena_lend(&arena, 0, NULL), OMEN_E_CORRUPT);
    ck_assert_int_eq(arena_lend(&arena, 0, (const char *)table + 1), OMEN_E_CORRUPT);
    arena_fini(&arena);
    image_table_close(table);
}
END_TEST

START_TEST(loading_and_reserving_survive_refused_memory)
{
    table_fill(SOME_ROWS + 7);
    omen_status status = OMEN_E_NO_MEMORY;
    for (uint64_t n = 1; status != OMEN_OK; n++) {
        struct arena arena;
        ck_assert_uint_lt(n, 100);
        mem_fail_after(n);
        status = arena_init(&arena, WIDE, 10000);
        if (status == OMEN_OK)
            status = arena_load(&arena, IMAGE_ROWS, SOME_ROWS + 7, &source);
        mem_fail_after(0);
        if (status == OMEN_OK)
            check_filled(&arena, SOME_ROWS + 7);
        else
            ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
        arena_fini(&arena);
    }
    image_table_close(table);
}
END_TEST

// ---- beside each other ----

static struct arena shared;
static _Atomic uint32_t shared_rows;

static void *
append_and_own(void *unused)
{
    (void)unused;
    for (uint32_t slot = SOME_ROWS + 7; slot < SOME_ROWS + 1000; slot++) {
        fill(&shared, slot, 1);
        atomic_store_explicit(&shared_rows, slot + 1, memory_order_release);
        ck_assert_ptr_nonnull(arena_own(&shared, slot % SOME_ROWS));
    }
    return NULL;
}

static void *
promote_all(void *unused)
{
    (void)unused;
    uint32_t cursor = 0;
    while (arena_promote(&shared, &cursor)) {
    }
    return NULL;
}

static void *
read_rows(void *unused)
{
    (void)unused;
    for (uint32_t rows = 0; rows < SOME_ROWS + 1000;) {
        rows = atomic_load_explicit(&shared_rows, memory_order_acquire);
        check_filled(&shared, rows);
    }
    return NULL;
}

START_TEST(readers_see_every_row_while_pieces_become_ours_and_are_saved)
{
    pthread_t threads[3];
    table_fill(SOME_ROWS + 7);
    ck_assert_int_eq(arena_init(&shared, WIDE, 10000), OMEN_OK);
    ck_assert_int_eq(arena_load(&shared, IMAGE_ROWS, SOME_ROWS + 7, &source), OMEN_OK);
    atomic_store(&shared_rows, SOME_ROWS + 7);
    ck_assert_int_eq(pthread_create(&threads[0], NULL, read_rows, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[1], NULL, promote_all, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[2], NULL, append_and_own, NULL), 0);
    for (uint32_t rows = 0; rows < SOME_ROWS + 1000;) {
        rows = atomic_load_explicit(&shared_rows, memory_order_acquire);
        ck_assert_int_eq(arena_save(&shared, IMAGE_ROWS, rows, &sink), OMEN_OK);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    arena_fini(&shared);
    ck_assert_int_eq(arena_init(&shared, WIDE, 10000), OMEN_OK);
    ck_assert_int_eq(arena_load(&shared, IMAGE_ROWS, SOME_ROWS + 1000, &source), OMEN_OK);
    check_filled(&shared, SOME_ROWS + 1000);
    arena_fini(&shared);
    image_table_close(table);
}
END_TEST

static Suite *
arena_suite(void)
{
    Suite *suite = suite_create("arena");
    TCase *tcase = tcase_create("arena");
    tcase_add_test(tcase, new_rows_are_zero_and_rows_keep_what_is_written);
    tcase_add_test(tcase, rows_stay_where_they_are_when_the_arena_grows);
    tcase_add_test(tcase, neighbouring_rows_do_not_overlap_at_the_edge_of_a_piece);
    tcase_add_test(tcase, wide_rows_get_smaller_blocks);
    tcase_add_test(tcase, memory_grows_by_small_pages_until_they_fill_a_huge_one);
    tcase_add_test(tcase, tables_cost_nothing_for_rows_that_never_come);
    tcase_add_test(tcase, every_last_slot_can_be_reserved);
    tcase_add_test(tcase, refused_memory_leaves_what_was_there);
    tcase_add_test(tcase, an_arena_of_zeros_can_be_ended);
    tcase_add_test(tcase, bytes_count_whole_pages_of_rows_in_use);
    tcase_add_test(tcase, what_was_saved_is_loaded);
    tcase_add_test(tcase, a_save_puts_what_changed_since_the_last);
    tcase_add_test(tcase, what_could_not_be_put_is_put_by_the_next_save);
    tcase_add_test(tcase, a_lent_piece_becomes_ours_before_it_is_written);
    tcase_add_test(tcase, a_last_piece_that_is_not_whole_is_copied_when_the_next_row_comes);
    tcase_add_test(tcase, memory_of_ours_reserved_for_lent_pieces_makes_owning_them_certain);
    tcase_add_test(tcase, promotion_makes_every_piece_ours_and_settling_gives_them_back);
    tcase_add_test(tcase, a_piece_that_a_load_began_stays_settled_when_more_rows_come);
    tcase_add_test(tcase, a_settled_piece_that_becomes_ours_at_once_is_not_written_to);
    tcase_add_test(tcase, memory_that_is_made_ahead_changes_no_row);
    tcase_add_test(tcase, pieces_that_are_missing_or_short_are_refused);
    tcase_add_test(tcase, more_rows_than_there_may_be_are_refused);
    tcase_add_test(tcase, loading_and_reserving_survive_refused_memory);
    tcase_add_test(tcase, readers_see_every_row_while_pieces_become_ours_and_are_saved);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(arena_suite)
