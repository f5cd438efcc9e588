// tests/unit/shard/test_names_image.c -- texts and keys saved and loaded: the same key for good.
//
// Labels: tsan
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/prng.h"
#include "shard/names.h"
#include "tests/lib/check_main.h"
#include "tests/lib/image_table.h"

#define KEYS 60000u // several pieces of everything

static struct epoch gate;
static struct image_table *table;

static void
setup(void)
{
    epoch_init(&gate);
    table = image_table_open();
}

static void
teardown(void)
{
    epoch_fini(&gate);
    image_table_close(table);
}

// Different for every key; of any length that is allowed.
static size_t
text_of(uint64_t key, char text[ID_TEXT_BYTES_MAX + 1])
{
    struct prng prng;
    prng_init(&prng, key);
    const size_t length = (size_t)snprintf(text, 32, "%llu-", (unsigned long long)key);
    const size_t bytes = prng_below(&prng, 20) == 0 ? ID_TEXT_BYTES_MAX : length + key % 9;
    memset(text + length, 'x', bytes - length);
    return bytes;
}

static void
add(struct names *names, uint64_t count)
{
    char text[ID_TEXT_BYTES_MAX + 1];
    while (names_count(names) < count) {
        const uint64_t key = names_count(names);
        const size_t bytes = text_of(key, text);
        if (names_reserve(names, 1, bytes) != OMEN_OK || names_add(names, text, bytes) != key)
            abort();
    }
}

static void
check(const struct names *names, uint64_t count)
{
    char text[ID_TEXT_BYTES_MAX + 1];
    size_t bytes;
    ck_assert_uint_eq(names_count(names), count);
    for (uint64_t key = 0; key < count + 50; key++) {
        const size_t length = text_of(key, text);
        const char *found = names_text(names, key, &bytes);
        if (key >= count) {
            ck_assert_ptr_null(found);
            ck_assert(names_find(names, text, length) == NAMES_NONE);
            continue;
        }
        if (bytes != length || memcmp(found, text, length) != 0 || found[length] != '\0')
            ck_abort_msg("key %llu has another text", (unsigned long long)key);
        ck_assert_uint_eq(names_find(names, text, length), key);
    }
}

// What there is, while more are added.
static omen_status
save(struct names *names, uint64_t more)
{
    const struct image_sink sink = image_table_sink(table);
    struct names_mark mark;
    const omen_status status = names_mark(names, &mark);
    if (status != OMEN_OK)
        return status;
    add(names, names_count(names) + more);
    return names_save(names, &mark, &sink);
}

static omen_status
load(struct names **out)
{
    const struct image_source source = image_table_source(table);
    return names_load(&gate, &source, out);
}

static struct names *
fill(uint64_t count)
{
    struct names *names;
    ck_assert_int_eq(names_open(&gate, &names), OMEN_OK);
    add(names, count);
    return names;
}

START_TEST(what_is_loaded_is_what_there_was_when_it_was_marked)
{
    struct names *names = fill(KEYS), *loaded;
    ck_assert_int_eq(save(names, 1000), OMEN_OK);
    check(names, KEYS + 1000);
    names_close(names);
    ck_assert_int_eq(load(&loaded), OMEN_OK);
    ck_assert_uint_lt(names_bytes(loaded), 700000);
    check(loaded, KEYS);
    add(loaded, KEYS + 2000);
    check(loaded, KEYS + 2000);
    names_close(loaded);
}
END_TEST

START_TEST(no_names_are_saved_too)
{
    struct names *names = fill(0);
    ck_assert_int_eq(save(names, 0), OMEN_OK);
    names_close(names);
    ck_assert_int_eq(load(&names), OMEN_OK);
    check(names, 0);
    add(names, 10);
    check(names, 10);
    names_close(names);
}
END_TEST

// Batches of any size, saves while more come, some of which come to nothing, loads that forget what was not saved.
START_TEST(random_saves_and_loads_give_every_text_its_key)
{
    struct names *names = fill(0);
    struct prng prng;
    uint64_t saved = 0;
    prng_init(&prng, (uint64_t)_i);
    ck_assert_int_eq(save(names, 0), OMEN_OK);
    for (int round = 0; round < 25; round++) {
        add(names, names_count(names) + prng_below(&prng, round % 4 == 0 ? 5000 : 300));
        const bool fails = prng_below(&prng, 3) == 0;
        const uint64_t marked = names_count(names);
        image_table_fail_after(table, fails ? 1 + prng_below(&prng, 4) : 0);
        const bool whole = save(names, prng_below(&prng, 100)) == OMEN_OK;
        image_table_fail_after(table, 0);
        saved = whole ? marked : saved;
        if (!whole)
            names_touch(names);
        if (whole && prng_below(&prng, 2) == 0) {
            names_close(names);
            ck_assert_int_eq(load(&names), OMEN_OK);
            ck_assert_uint_eq(names_count(names), saved);
        }
        check(names, names_count(names));
    }
    names_close(names);
}
END_TEST

START_TEST(a_save_puts_what_is_new)
{
    struct names *names = fill(KEYS);
    ck_assert_int_eq(save(names, 0), OMEN_OK);
    ck_assert_uint_ge(image_table_puts(table, IMAGE_NAMES), 5);
    image_table_reset_counts(table);
    add(names, KEYS + 1);
    ck_assert_int_eq(save(names, 0), OMEN_OK);
    ck_assert_uint_le(image_table_puts(table, IMAGE_NAMES), 2);
    ck_assert_uint_eq(image_table_puts(table, IMAGE_NAME_AT), 1);
    names_touch(names);
    image_table_reset_counts(table);
    ck_assert_int_eq(save(names, 0), OMEN_OK);
    ck_assert_uint_ge(image_table_puts(table, IMAGE_NAMES), 5);
    names_close(names);
}
END_TEST

static void
use(struct names *names, bool sound)
{
    for (uint64_t key = 0; key < KEYS; key += 9) {
        char text[ID_TEXT_BYTES_MAX + 1];
        size_t length = text_of(key, text), count;
        const uint64_t found = names_find(names, text, length);
        ck_assert(found == key || !sound);
        const char *other = names_text(names, found, &count);
        ck_assert(other == NULL || (count == length && memcmp(other, text, length) == 0));
        other = names_text(names, key, &count);
        ck_assert(other == NULL || other[count] == '\0');
    }
}

START_TEST(damaged_bytes_lead_to_no_text_or_to_a_key_that_has_it)
{
    static const uint32_t arrays[] = {IMAGE_NAME_AT, IMAGE_NAMES, IMAGE_NAME_TABLE,
                                      IMAGE_NAME_HEAD};
    static uint8_t bytes[IMAGE_PIECE_BYTES];
    const uint32_t array = arrays[_i % 4], piece = array == IMAGE_NAMES ? 2 : 0;
    struct names *names = fill(KEYS);
    struct prng prng;
    size_t whole;
    prng_init(&prng, (uint64_t)_i);
    ck_assert_int_eq(save(names, 0), OMEN_OK);
    names_close(names);
    const uint8_t *at = image_table_piece(table, array, piece, &whole);
    memcpy(bytes, at, whole);
    image_table_set(table, array, piece, bytes, whole / 2);
    ck_assert_int_eq(load(&names), OMEN_E_CORRUPT);
    ck_assert_ptr_null(names);
    image_table_drop(table, array, piece);
    ck_assert_int_eq(load(&names), OMEN_E_CORRUPT);
    if (_i < 4) // a table without EMPTY, lengths and places that are all the same
        memset(bytes, 1, whole);
    for (uint32_t n = 0; n < (uint32_t)_i * 30; n++) {
        const uint32_t place = prng_below(&prng, (uint32_t)whole);
        bytes[place] ^= (uint8_t)(1u << prng_below(&prng, 8));
    }
    image_table_set(table, array, piece, bytes, whole);
    if (load(&names) == OMEN_OK) {
        use(names, false);
        if (names_reserve(names, 1, 4) == OMEN_OK) {
            const uint64_t key = names_add(names, "????", 4);
            ck_assert_uint_eq(names_find(names, "????", 4), key);
        }
        use(names, false);
        names_close(names);
    }
}
END_TEST

// The last piece that was loaded ends with what it holds.
START_TEST(a_place_at_the_end_of_what_was_loaded_has_no_text)
{
    static uint32_t places[IMAGE_PIECE_BYTES / sizeof(uint32_t)];
    struct names *names = fill(9);
    size_t whole, count;
    ck_assert_int_eq(save(names, 0), OMEN_OK);
    const uint8_t *at = image_table_piece(table, IMAGE_NAME_AT, 0, &whole);
    memcpy(places, at, whole);
    (void)image_table_piece(table, IMAGE_NAMES, 0, &count);
    places[3] = (uint32_t)(count / 8);
    places[4] = (uint32_t)(count / 8) - 1; // within the last text
    image_table_set(table, IMAGE_NAME_AT, 0, places, whole);
    names_close(names);
    ck_assert_int_eq(load(&names), OMEN_OK);
    for (uint64_t key = 3; key < 5; key++) {
        char text[ID_TEXT_BYTES_MAX + 1];
        const size_t bytes = text_of(key, text);
        ck_assert(names_find(names, text, bytes) == NAMES_NONE);
        (void)names_text(names, key, &count);
        ck_assert_uint_eq(count, 0);
    }
    names_close(names);
}
END_TEST

START_TEST(refused_memory_leaves_names_as_they_were)
{
    struct names *names = fill(3000), *loaded;
    uint64_t refused = 1;
    for (uint64_t n = 1; refused > 0; n++) {
        mem_fail_after(n);
        omen_status status = save(names, 0);
        if (status == OMEN_OK)
            status = load(&loaded);
        const bool there = status == OMEN_OK;
        if (there)
            status = names_reserve(loaded, 100000, 4000000);
        refused = mem_refused();
        mem_fail_after(0);
        if (there) {
            check(loaded, 3000);
            names_close(loaded);
        }
        ck_assert_int_eq(status, refused > 0 ? OMEN_E_NO_MEMORY : OMEN_OK);
    }
    names_close(names);
}
END_TEST

START_TEST(a_batch_that_was_reserved_fits_whatever_the_sizes)
{
    struct names *names = fill(0);
    char text[ID_TEXT_BYTES_MAX + 1];
    uint64_t key = 0;
    for (uint64_t batch = 1; batch <= 20000; batch = batch * 5 / 2 + 1) {
        size_t bytes = 0;
        for (uint64_t i = 0; i < batch; i++)
            bytes += text_of(key + i, text);
        ck_assert_int_eq(names_reserve(names, (uint32_t)batch, bytes), OMEN_OK);
        mem_fail_after(1); // from here nothing may be allocated
        for (uint64_t i = 0; i < batch; i++, key++)
            ck_assert_uint_eq(names_add(names, text, text_of(key, text)), key);
        ck_assert_uint_eq(mem_refused(), 0);
        mem_fail_after(0);
    }
    check(names, key);
    names_close(names);
}
END_TEST

struct world {
    struct names *names;
    _Atomic uint32_t stop;
};

static void *
look(void *context)
{
    struct world *world = context;
    for (uint64_t key = 0; atomic_load(&world->stop) == 0; key = (key + 1) % 20000) {
        char text[ID_TEXT_BYTES_MAX + 1];
        size_t length = text_of(key, text), bytes;
        const uint32_t ticket = epoch_enter(&gate);
        const char *found = names_text(world->names, key, &bytes);
        if (names_find(world->names, text, length) != key || found == NULL || bytes != length)
            abort();
        epoch_leave(&gate, ticket);
    }
    return NULL;
}

static void *
write_more(void *context)
{
    struct world *world = context;
    add(world->names, 50000);
    return NULL;
}

START_TEST(loaded_names_are_read_added_to_and_saved_at_once)
{
    struct world world = {0};
    struct names *names = fill(20000);
    ck_assert_int_eq(save(names, 0), OMEN_OK);
    names_close(names);
    ck_assert_int_eq(load(&world.names), OMEN_OK);
    pthread_t reader, writer;
    struct names_mark mark;
    ck_assert_int_eq(pthread_create(&reader, NULL, look, &world), 0);
    ck_assert_int_eq(names_mark(world.names, &mark), OMEN_OK);
    names_touch(world.names);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_more, &world), 0);
    epoch_wait(&gate); // as a checkpoint does: who came before the mark may be in what the save puts elsewhere
    const struct image_sink sink = image_table_sink(table);
    ck_assert_int_eq(names_save(world.names, &mark, &sink), OMEN_OK);
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    atomic_store(&world.stop, 1);
    ck_assert_int_eq(pthread_join(reader, NULL), 0);
    check(world.names, 50000);
    names_close(world.names);
    ck_assert_int_eq(load(&names), OMEN_OK);
    check(names, 20000);
    names_close(names);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/names_image");
    TCase *tcase = tcase_create("image");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, what_is_loaded_is_what_there_was_when_it_was_marked);
    tcase_add_test(tcase, no_names_are_saved_too);
    tcase_add_loop_test(tcase, random_saves_and_loads_give_every_text_its_key, 0, 15);
    tcase_add_test(tcase, a_save_puts_what_is_new);
    tcase_add_loop_test(tcase, damaged_bytes_lead_to_no_text_or_to_a_key_that_has_it, 0, 20);
    tcase_add_test(tcase, a_place_at_the_end_of_what_was_loaded_has_no_text);
    tcase_add_test(tcase, refused_memory_leaves_names_as_they_were);
    tcase_add_test(tcase, a_batch_that_was_reserved_fits_whatever_the_sizes);
    suite_add_one_thread(suite, tcase);
    TCase *threads = tcase_create("threads");
    tcase_add_checked_fixture(threads, setup, teardown);
    tcase_set_timeout(threads, 120);
    tcase_add_test(threads, loaded_names_are_read_added_to_and_saved_at_once);
    suite_add_tcase(suite, threads);
    return suite;
}

CHECK_MAIN(suite)
