// tests/unit/base/test_alloc.c -- the door to the heap opens, and closes when a test wants it closed.
//
// Shape: shell.
#include "base/alloc.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/check_main.h"
#include "tests/lib/own_heap.h"

#define MIB ((size_t)1 << 20)

// Through a volatile, so that the compiler does not see a size it would warn about.
static size_t
hidden(size_t bytes)
{
    volatile size_t copy = bytes;
    return copy;
}

START_TEST(zero_bytes_give_memory)
{
    void *blocks[] = {mem_alloc(0), mem_alloc_zero(0, 8), mem_alloc_zero(8, 0),
                      mem_alloc_aligned(64, 0), mem_resize(NULL, 0)};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        ck_assert_ptr_nonnull(blocks[i]);
        mem_free(blocks[i]);
    }
    mem_free(NULL);
}
END_TEST

START_TEST(zeroed_memory_is_zero)
{
    unsigned char *bytes = mem_alloc_zero(1000, 3);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < 3000; i++)
        ck_assert_uint_eq(bytes[i], 0);
    mem_free(bytes);
}
END_TEST

START_TEST(product_that_overflows_is_refused)
{
    ck_assert_ptr_null(mem_alloc_zero(hidden(SIZE_MAX / 2 + 1), 2));
    ck_assert_ptr_null(mem_alloc_zero(hidden(SIZE_MAX), hidden(SIZE_MAX)));
}
END_TEST

START_TEST(size_beyond_all_memory_is_refused)
{
    ck_assert_ptr_null(mem_alloc(hidden(SIZE_MAX / 2)));
    for (size_t less = 0; less < 130; less++)
        ck_assert_ptr_null(mem_alloc_aligned(64, hidden(SIZE_MAX - less)));
    for (size_t less = 0; less < 3 * MIB; less += MIB / 2 + 1)
        ck_assert_ptr_null(pages_alloc(hidden(SIZE_MAX - less)));
}
END_TEST

START_TEST(aligned_memory_is_aligned)
{
    for (size_t alignment = 16; alignment <= 4096; alignment *= 2) {
        for (size_t bytes = 1; bytes < 300; bytes += 37) {
            unsigned char *block = mem_alloc_aligned(alignment, bytes);
            ck_assert_ptr_nonnull(block);
            ck_assert_uint_eq((uintptr_t)block % alignment, 0);
            memset(block, 0xa5, bytes);
            mem_free(block);
        }
    }
}
END_TEST

START_TEST(only_the_nth_allocation_fails_once)
{
    void *blocks[4];
    mem_fail_once(2);
    for (size_t i = 0; i < 4; i++)
        blocks[i] = mem_alloc(8);
    ck_assert_uint_eq(mem_refused(), 1);
    mem_fail_after(0);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(blocks[i] == NULL, i == 1);
        mem_free(blocks[i]);
    }
}
END_TEST

START_TEST(alignment_that_is_no_power_of_two_aborts)
{
    mem_alloc_aligned(hidden(48), 64);
}
END_TEST

START_TEST(alignment_below_16_aborts)
{
    mem_alloc_aligned(hidden(8), 64);
}
END_TEST

START_TEST(resize_keeps_the_contents)
{
    unsigned char *bytes = mem_alloc(10);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 7, 10);
    bytes = mem_resize(bytes, 100000);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < 10; i++)
        ck_assert_uint_eq(bytes[i], 7);
    mem_free(bytes);
}
END_TEST

START_TEST(countdown_refuses_the_nth_and_every_later_one)
{
    mem_fail_after(3);
    void *first = mem_alloc(8);
    void *second = mem_alloc_zero(1, 8);
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_nonnull(second);
    ck_assert_uint_eq(mem_refused(), 0);

    ck_assert_ptr_null(mem_alloc(8));
    ck_assert_ptr_null(mem_alloc_zero(1, 8));
    ck_assert_ptr_null(mem_alloc_aligned(64, 64));
    ck_assert_ptr_null(mem_resize(first, 16)); // `first` stays, or the sanitizer tells
    ck_assert_ptr_null(pages_alloc(4096));
    ck_assert_ptr_null(pages_alloc_small(4096));
    ck_assert_ptr_null(pages_reserve(4096));
    ck_assert_ptr_null(pages_grow(first, 0, 0));
    ck_assert_uint_eq(mem_refused(), 8);

    mem_fail_after(0);
    ck_assert_uint_eq(mem_refused(), 0);
    void *third = mem_alloc(8);
    ck_assert_ptr_nonnull(third);
    mem_free(first);
    mem_free(second);
    mem_free(third);
}
END_TEST

START_TEST(pages_are_zero_and_aligned_to_a_huge_page)
{
    const size_t sizes[] = {0, 1, 4096, 4097, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 5 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *pages = pages_alloc(sizes[i]);
        ck_assert_ptr_nonnull(pages);
        ck_assert_uint_eq((uintptr_t)pages % (2 * MIB), 0);
        for (size_t at = 0; at < sizes[i]; at += 512)
            ck_assert_uint_eq(pages[at], 0);
        if (sizes[i] > 0)
            pages[sizes[i] - 1] = 1; // the last byte is ours
        pages_free(pages, sizes[i]);
    }
    pages_free(NULL, 4096);
}
END_TEST

START_TEST(pages_that_become_huge_keep_what_they_hold)
{
    const size_t bytes = 5 * MIB;
    unsigned char *pages = pages_alloc(bytes);
    ck_assert_ptr_nonnull(pages);
    for (size_t at = 0; at < 3 * MIB; at += 1000)
        pages[at] = (unsigned char)(at / 1000);
    pages_make_huge(pages, bytes); // whole ones only: the last MiB is none
    pages_join(pages);
    pages_join(pages + 2 * MIB);
    for (size_t at = 0; at < 3 * MIB; at += 1000)
        ck_assert_uint_eq(pages[at], (unsigned char)(at / 1000));
    for (size_t at = 3 * MIB; at < bytes; at += 512)
        ck_assert_uint_eq(pages[at], 0);
    pages_free(pages, bytes);
}
END_TEST

// The part that was ended is not there: the kernel says so of each of its pages.
START_TEST(the_end_of_pages_can_be_ended_before_the_rest)
{
    const size_t kept[] = {4096, 2 * MIB, 3 * MIB + 4096, 5 * MIB};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        const size_t bytes = 5 * MIB - 100;
        unsigned char *pages = pages_alloc(bytes), there;
        ck_assert_ptr_nonnull(pages);
        memset(pages, 7, bytes);
        pages_free_from(pages, kept[i], bytes);
        ck_assert_uint_eq(pages[(kept[i] < bytes ? kept[i] : bytes) - 1], 7);
        if (kept[i] < bytes)
            ck_assert_int_eq(mincore(pages + kept[i], 1, &there), -1);
        pages_free(pages, kept[i]);
    }
}
END_TEST

START_TEST(a_reservation_grows_in_place)
{
    const size_t bytes = (size_t)64 << 30; // more than most machines have
    unsigned char *array = pages_reserve(bytes);
    ck_assert_ptr_nonnull(array);
    ck_assert_uint_eq((uintptr_t)array % (2 * MIB), 0);
    const size_t sizes[] = {1, 4096, 4097, 100000, 100000, 3 * MIB};
    size_t usable = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ck_assert_ptr_eq(pages_grow(array, usable, sizes[i]), array);
        for (size_t at = usable; at < sizes[i]; at++)
            if (array[at] != 0)
                ck_abort_msg("byte %zu is not zero", at);
        memset(array + usable, 0xa5, sizes[i] - usable);
        usable = sizes[i];
    }
    for (size_t at = 0; at < usable; at++)
        if (array[at] != 0xa5)
            ck_abort_msg("byte %zu is not kept", at);
    pages_free(array, bytes);
}
END_TEST

START_TEST(what_is_only_reserved_may_not_be_touched)
{
    unsigned char *array = pages_reserve(MIB);
    ck_assert_ptr_eq(pages_grow(array, 0, 5000), array);
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq((int)write(ends[1], array + 8191, 1), 1);
    ck_assert_int_eq((int)write(ends[1], array + 8192, 1), -1);
    ck_assert_int_eq(errno, EFAULT);
    close(ends[0]);
    close(ends[1]);
    pages_free(array, MIB);
}
END_TEST

#if !OWN_HEAP
START_TEST(large_memory_stays_apart_after_some_was_freed)
{
    mem_keep_large_apart();
    const size_t before = mallinfo2().hblks;
    mem_free(mem_alloc(8 * MIB)); // the heap would raise its limit to that
    void *large = mem_alloc(MIB);
    ck_assert_ptr_nonnull(large);
    ck_assert_uint_eq(mallinfo2().hblks, before + 1);
    mem_free(large);
    ck_assert_uint_eq(mallinfo2().hblks, before);
}
END_TEST
#endif

static Suite *
alloc_suite(void)
{
    Suite *suite = suite_create("base/alloc");
    TCase *tcase = tcase_create("alloc");
    tcase_add_test(tcase, zero_bytes_give_memory);
    tcase_add_test(tcase, zeroed_memory_is_zero);
    tcase_add_test(tcase, product_that_overflows_is_refused);
    tcase_add_test(tcase, size_beyond_all_memory_is_refused);
    tcase_add_test(tcase, aligned_memory_is_aligned);
    tcase_add_test(tcase, only_the_nth_allocation_fails_once);
    tcase_add_test_raise_signal(tcase, alignment_that_is_no_power_of_two_aborts, SIGABRT);
    tcase_add_test_raise_signal(tcase, alignment_below_16_aborts, SIGABRT);
    tcase_add_test(tcase, resize_keeps_the_contents);
    tcase_add_test(tcase, countdown_refuses_the_nth_and_every_later_one);
    tcase_add_test(tcase, pages_are_zero_and_aligned_to_a_huge_page);
    tcase_add_test(tcase, pages_that_become_huge_keep_what_they_hold);
    tcase_add_test(tcase, the_end_of_pages_can_be_ended_before_the_rest);
    tcase_add_test(tcase, a_reservation_grows_in_place);
    tcase_add_test(tcase, what_is_only_reserved_may_not_be_touched);
#if !OWN_HEAP
    tcase_add_test(tcase, large_memory_stays_apart_after_some_was_freed);
#endif
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(alloc_suite)
