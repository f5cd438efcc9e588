// tests/unit/shard/test_payload_image.c -- payloads saved and loaded, beside an array of what each slot had.
//
// Labels: tsan
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/prng.h"
#include "shard/payload.h"
#include "tests/lib/check_main.h"
#include "tests/lib/image_table.h"

#define SLOTS 40000u // two pieces of places

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

// Bytes and size follow from a number above 0.
static size_t
make(uint8_t *bytes, uint32_t number)
{
    struct prng prng;
    prng_init(&prng, number);
    const size_t count = 8 + prng_below(&prng, prng_below(&prng, 100) == 0 ? 30000 : 300);
    memset(bytes, (int)(number * 7 & 0xff), count);
    memcpy(bytes, &number, sizeof number);
    return count;
}

static void
set(struct payloads *payloads, uint32_t slot, uint32_t number)
{
    static _Thread_local uint8_t bytes[PAYLOAD_BYTES_MAX];
    const size_t count = make(bytes, number);
    const struct payload_room room = {slot + 1, 1, count};
    ck_assert_int_eq(payloads_reserve(payloads, &room), OMEN_OK);
    ck_assert_int_eq(payloads_own(payloads, slot), OMEN_OK);
    payloads_set(payloads, slot, bytes, count);
}

// The number whose payload the slot has, whole; 0: none.
static uint32_t
get(const struct payloads *payloads, uint32_t slot)
{
    static _Thread_local uint8_t expected[PAYLOAD_BYTES_MAX];
    size_t count;
    uint32_t number;
    const void *bytes = payloads_get(payloads, slot, &count);
    if (bytes == NULL)
        return 0;
    memcpy(&number, bytes, sizeof number);
    if (number == 0 || make(expected, number) != count || memcmp(expected, bytes, count) != 0)
        ck_abort_msg("slot %u has bytes that were never set", slot);
    return number;
}

static omen_status
save(struct payloads *payloads, uint32_t rows)
{
    const struct image_sink sink = image_table_sink(table);
    return payloads_save(payloads, rows, &sink);
}

static omen_status
load(uint32_t rows, struct payloads **out)
{
    const struct image_source source = image_table_source(table);
    return payloads_load(SLOTS, &gate, rows, &source, out);
}

static struct payloads *
fill(uint32_t slots)
{
    struct payloads *payloads;
    ck_assert_int_eq(payloads_open(SLOTS, &gate, &payloads), OMEN_OK);
    for (uint32_t slot = 0; slot < slots; slot++)
        if (slot % 3 != 0)
            set(payloads, slot, slot + 1);
    return payloads;
}

START_TEST(what_is_loaded_is_what_was_saved_below_the_rows)
{
    struct payloads *payloads = fill(SLOTS), *loaded;
    struct payload_memory memory, memory_loaded;
    uint32_t bad;
    ck_assert_int_eq(save(payloads, SLOTS), OMEN_OK);
    payloads_memory(payloads, &memory);
    payloads_close(payloads);
    ck_assert_int_eq(load(SLOTS, &loaded), OMEN_OK);
    payloads_memory(loaded, &memory_loaded);
    ck_assert_uint_eq(memory.live, memory_loaded.live);
    ck_assert_uint_eq(memory.dead, memory_loaded.dead);
    ck_assert_uint_lt(payloads_bytes(loaded), 200000);
    for (int changed = 0; changed < 2; changed++) {
        for (uint32_t slot = 1; slot < SLOTS; slot++)
            ck_assert_uint_eq(get(loaded, slot), slot % 3 != 0 ? slot + 1 : 0);
        ck_assert_int_eq(payloads_verify(loaded, &bad), OMEN_OK);
        set(loaded, 0, 5);
    }
    payloads_memory(loaded, &memory_loaded);
    ck_assert_uint_eq(memory_loaded.live + memory_loaded.dead + memory_loaded.overhead -
                          memory_loaded.lent,
                      payloads_bytes(loaded));
    ck_assert_int_eq(save(loaded, 100), OMEN_OK);
    payloads_close(loaded);
    ck_assert_int_eq(load(50, &loaded), OMEN_E_CORRUPT);
    ck_assert_int_eq(load(100, &loaded), OMEN_OK);
    for (uint32_t slot = 0; slot < 200; slot++)
        ck_assert_uint_eq(get(loaded, slot), slot == 0                     ? 5
                                             : slot < 100 && slot % 3 != 0 ? slot + 1
                                                                           : 0);
    payloads_close(loaded);
}
END_TEST

START_TEST(a_shard_without_payloads_has_only_a_head)
{
    struct payloads *payloads = fill(0);
    ck_assert_int_eq(save(payloads, 1000), OMEN_OK);
    ck_assert_uint_eq(image_table_puts(table, 0), 1);
    payloads_close(payloads);
    ck_assert_int_eq(load(1000, &payloads), OMEN_OK);
    ck_assert_uint_eq(get(payloads, 999), 0);
    set(payloads, 999, 3);
    ck_assert_uint_eq(get(payloads, 999), 3);
    payloads_close(payloads);
}
END_TEST

START_TEST(a_save_puts_what_changed_and_drops_what_died)
{
    struct payloads *payloads = fill(SLOTS);
    ck_assert_int_eq(save(payloads, SLOTS), OMEN_OK);
    image_table_reset_counts(table);
    ck_assert_int_eq(save(payloads, SLOTS), OMEN_OK);
    ck_assert_uint_eq(image_table_puts(table, 0), 1); // the head
    set(payloads, 7, 100001);
    image_table_reset_counts(table);
    ck_assert_int_eq(save(payloads, SLOTS), OMEN_OK);
    ck_assert_uint_eq(image_table_puts(table, 0), 3); // a block, a piece of places, the head
    payloads_close(payloads);
    ck_assert_int_eq(load(SLOTS, &payloads), OMEN_OK);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        set(payloads, slot, slot + 200000);
    size_t count;
    ck_assert_ptr_nonnull(image_table_piece(table, IMAGE_PAYLOADS, 1, &count));
    epoch_wait(&gate);
    ck_assert_int_eq(save(payloads, SLOTS), OMEN_OK);
    ck_assert_ptr_null(image_table_piece(table, IMAGE_PAYLOADS, 1, &count));
    payloads_close(payloads);
    ck_assert_int_eq(load(SLOTS, &payloads), OMEN_OK);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        ck_assert_uint_eq(get(payloads, slot), slot + 200000);
    payloads_close(payloads);
}
END_TEST

START_TEST(a_block_that_a_reader_is_in_is_not_dropped)
{
    struct payloads *payloads;
    ck_assert_int_eq(payloads_open(SLOTS, &gate, &payloads), OMEN_OK);
    for (uint32_t slot = 0; slot < 4000; slot++)
        set(payloads, slot, slot + 1);
    ck_assert_int_eq(save(payloads, 4000), OMEN_OK);
    payloads_close(payloads);
    ck_assert_int_eq(load(4000, &payloads), OMEN_OK);
    const uint32_t ticket = epoch_enter(&gate);
    size_t count;
    const void *held = payloads_get(payloads, 0, &count);
    for (uint32_t slot = 0; slot < 4000; slot++)
        set(payloads, slot, slot + 5001);
    ck_assert_int_eq(save(payloads, 4000), OMEN_OK);
    uint32_t number;
    memcpy(&number, held, sizeof number);
    ck_assert_uint_eq(number, 1);
    epoch_leave(&gate, ticket);
    epoch_wait(&gate);
    ck_assert_int_eq(save(payloads, 4000), OMEN_OK);
    ck_assert_ptr_null(image_table_piece(table, IMAGE_PAYLOADS, 1, &count));
    payloads_close(payloads);
}
END_TEST

// ---- beside a model, with saves that writes come between and saves that come to nothing ----

#define MODEL_SLOTS 1500u

struct model {
    uint32_t now[MODEL_SLOTS];
    uint32_t at_save[MODEL_SLOTS];     // when the last whole save began
    uint8_t changed[MODEL_SLOTS];      // since then
    uint32_t next, rows, rows_at_save; // rows grow
    struct prng prng;
};

static void
change(struct model *model, struct payloads *payloads)
{
    if (model->rows < MODEL_SLOTS && prng_below(&model->prng, 3) == 0)
        model->rows++;
    const uint32_t slot = prng_below(&model->prng, model->rows);
    if (prng_below(&model->prng, 4) == 0) {
        ck_assert_int_eq(payloads_own(payloads, slot), OMEN_OK);
        payloads_clear(payloads, slot);
        model->now[slot] = 0;
    } else {
        set(payloads, slot, model->next);
        model->now[slot] = model->next++;
    }
    model->changed[slot] = 1;
}

static void
save_between_changes(struct model *model, struct payloads *payloads)
{
    static uint32_t begun[MODEL_SLOTS];
    static uint8_t since[MODEL_SLOTS], before[MODEL_SLOTS];
    struct payloads_save steps = {.rows = model->rows};
    const struct image_sink sink = image_table_sink(table);
    memcpy(begun, model->now, sizeof begun);
    memcpy(before, model->changed, sizeof before);
    memset(model->changed, 0, sizeof model->changed);
    if (prng_below(&model->prng, 2) == 0)
        image_table_fail_after(table, 1 + prng_below(&model->prng, 20));
    omen_status status = OMEN_OK;
    for (bool done = false; !done && status == OMEN_OK;) {
        status = payloads_save_step(payloads, &steps, &sink, &done);
        for (uint32_t n = prng_below(&model->prng, 300); n > 0 && !done; n--)
            change(model, payloads);
    }
    image_table_fail_after(table, 0);
    memcpy(since, model->changed, sizeof since);
    if (status == OMEN_OK) {
        memcpy(model->at_save, begun, sizeof begun);
        model->rows_at_save = steps.rows;
        return;
    }
    ck_assert_int_eq(status, OMEN_E_DISK_FULL);
    payloads_touch(payloads);
    for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++)
        model->changed[slot] = since[slot] | before[slot];
}

// What did not change since the save is there; what did is nothing, or what was there once. Then the changes come again.
static struct payloads *
load_and_replay(struct model *model)
{
    struct payloads *loaded;
    uint32_t bad;
    ck_assert_int_eq(load(model->rows_at_save, &loaded), OMEN_OK);
    for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++) {
        const uint32_t number = get(loaded, slot);
        if (slot < model->rows_at_save && !model->changed[slot])
            ck_assert_uint_eq(number, model->at_save[slot]);
    }
    for (uint32_t slot = 0; slot < model->rows; slot++) {
        if (!model->changed[slot])
            continue;
        ck_assert_int_eq(payloads_own(loaded, slot), OMEN_OK);
        if (model->now[slot] == 0)
            payloads_clear(loaded, slot);
        else
            set(loaded, slot, model->now[slot]);
        for (uint32_t other = slot % 16; other < MODEL_SLOTS; other += 16)
            (void)get(loaded, other);
    }
    ck_assert_int_eq(payloads_verify(loaded, &bad), OMEN_OK);
    return loaded;
}

START_TEST(changes_saves_and_crashes_leave_what_the_log_says)
{
    static struct model model;
    memset(&model, 0, sizeof model);
    model.next = 1;
    model.rows = 1;
    prng_init(&model.prng, 7000 + (uint64_t)_i);
    struct payloads *payloads;
    ck_assert_int_eq(payloads_open(SLOTS, &gate, &payloads), OMEN_OK);
    ck_assert_int_eq(save(payloads, 0), OMEN_OK);
    for (int round = 0; round < 40; round++) {
        for (uint32_t n = prng_below(&model.prng, 1500); n > 0; n--)
            change(&model, payloads);
        if (prng_below(&model.prng, 3) > 0)
            save_between_changes(&model, payloads);
        if (prng_below(&model.prng, 3) == 0) {
            payloads_close(payloads);
            epoch_wait(&gate);
            payloads = load_and_replay(&model);
        }
        uint64_t live = 0;
        struct payload_memory memory;
        for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++) {
            size_t count;
            ck_assert_uint_eq(get(payloads, slot), model.now[slot]);
            (void)payloads_get(payloads, slot, &count);
            live += count;
        }
        payloads_memory(payloads, &memory);
        ck_assert_uint_eq(memory.live, live);
        ck_assert_uint_lt(memory.dead, 40u << 20);
    }
    payloads_close(payloads);
}
END_TEST

// Reads what there is, replaces some of it and reads again: nothing but the bytes of a payload is read.
static void
use(struct payloads *payloads)
{
    const struct payload_room room = {SLOTS, SLOTS / 100, SLOTS / 100 * 5};
    size_t count;
    uint64_t sum = 0;
    const bool writable = payloads_reserve(payloads, &room) == OMEN_OK;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        const uint8_t *at = payloads_get(payloads, slot, &count);
        for (size_t i = 0; i < count; i++)
            sum += at[i];
        if (slot % 100 == 0 && writable)
            payloads_set(payloads, slot, "hello", 5);
        else if (slot % 3 == 0)
            payloads_clear(payloads, slot);
        (void)payloads_get(payloads, slot, &count);
        ck_assert_uint_eq(count, slot % 100 == 0 && writable ? 5 : slot % 3 == 0 ? 0 : count);
    }
    ck_assert_uint_gt(sum, 0);
}

// Blocks die all the time; their numbers come back, so that tables stay small.
START_TEST(numbers_of_blocks_that_died_are_given_again)
{
    struct payloads *payloads = fill(0);
    uint32_t number = 1;
    for (int round = 0; round < 40; round++) {
        for (uint32_t slot = 0; slot < 6000; slot++)
            set(payloads, slot, number++);
        epoch_reclaim(&gate);
        if (_i > 0)
            ck_assert_int_eq(save(payloads, 6000), OMEN_OK);
        if (_i > 1 && round % 4 == 0) {
            payloads_close(payloads);
            ck_assert_int_eq(load(6000, &payloads), OMEN_OK);
        }
    }
    ck_assert_int_eq(save(payloads, 6000), OMEN_OK);
    for (uint32_t slot = 0; slot < 6000; slot++)
        ck_assert_uint_eq(get(payloads, slot), number - 6000 + slot);
    payloads_close(payloads);
    size_t count;
    for (uint32_t block = 60; block < 1000; block++) // each round fills about eight
        ck_assert_ptr_null(image_table_piece(table, IMAGE_PAYLOADS, block, &count));
}
END_TEST

START_TEST(damaged_bytes_are_no_payloads_and_are_reported)
{
    static const uint32_t arrays[] = {IMAGE_PAYLOAD_AT, IMAGE_PAYLOADS, IMAGE_PAYLOAD_HEAD};
    const uint32_t array = arrays[_i % 3], piece = array == IMAGE_PAYLOADS ? 1 : 0;
    static uint8_t bytes[IMAGE_PIECE_BYTES];
    struct payloads *payloads = fill(SLOTS);
    struct prng prng;
    size_t whole, count;
    uint32_t bad;
    prng_init(&prng, (uint64_t)_i);
    ck_assert_int_eq(save(payloads, SLOTS), OMEN_OK);
    payloads_close(payloads);
    const uint8_t *saved = image_table_piece(table, array, piece, &whole);
    memcpy(bytes, saved, whole);
    image_table_set(table, array, piece, bytes, whole / 2);
    const omen_status status = load(SLOTS, &payloads);
    if (array != IMAGE_PAYLOADS) {
        ck_assert_int_eq(status, OMEN_E_CORRUPT);
    } else {
        ck_assert_int_eq(payloads_verify(payloads, &bad), OMEN_E_CORRUPT);
        ck_assert_ptr_null(payloads_get(payloads, bad, &count));
        use(payloads);
        payloads_close(payloads);
    }
    for (uint32_t n = 0; n < 1 + (uint32_t)_i / 3 * 50; n++) {
        const uint32_t place = prng_below(&prng, (uint32_t)whole);
        bytes[place] ^= (uint8_t)(1u << prng_below(&prng, 8));
    }
    image_table_set(table, array, piece, bytes, whole);
    if (load(SLOTS, &payloads) == OMEN_OK) {
        if (array == IMAGE_PAYLOAD_AT)
            ck_assert(payloads_verify(payloads, &bad) == OMEN_E_CORRUPT || _i < 9);
        use(payloads);
        payloads_close(payloads);
    }
}
END_TEST

START_TEST(refused_memory_leaves_loaded_payloads_as_they_were)
{
    struct payloads *payloads = fill(2000);
    ck_assert_int_eq(save(payloads, 2000), OMEN_OK);
    payloads_close(payloads);
    uint64_t refused = 1;
    for (uint64_t n = 1; refused > 0; n++) {
        mem_fail_after(n);
        omen_status status = load(2000, &payloads);
        if (status == OMEN_OK) {
            const struct payload_room room = {2100, 1, 300};
            status = payloads_own(payloads, 4);
            if (status == OMEN_OK)
                status = payloads_reserve(payloads, &room);
            if (status == OMEN_OK) {
                payloads_set(payloads, 4, "1234", 4);
                payloads_clear(payloads, 5);
                ck_assert_uint_eq(get(payloads, 5), 0);
            }
            for (uint32_t slot = 7; slot < 2000; slot++)
                ck_assert_uint_eq(get(payloads, slot), slot % 3 != 0 ? slot + 1 : 0);
            payloads_close(payloads);
        }
        refused = mem_refused();
        mem_fail_after(0);
        ck_assert_int_eq(status, refused > 0 ? OMEN_E_NO_MEMORY : OMEN_OK);
    }
}
END_TEST

struct world {
    struct payloads *payloads;
    _Atomic uint32_t stop;
};

// Every slot has a payload all the time.
static void *
look(void *context)
{
    struct world *world = context;
    for (uint32_t i = 0; atomic_load(&world->stop) == 0; i = (i + 1) % 4000) {
        const uint32_t ticket = epoch_enter(&gate);
        if (get(world->payloads, i) == 0)
            abort();
        epoch_leave(&gate, ticket);
    }
    return NULL;
}

START_TEST(readers_of_loaded_payloads_see_them_replaced)
{
    struct world world = {0};
    ck_assert_int_eq(payloads_open(SLOTS, &gate, &world.payloads), OMEN_OK);
    for (uint32_t slot = 0; slot < 4000; slot++)
        set(world.payloads, slot, slot + 1);
    ck_assert_int_eq(save(world.payloads, 4000), OMEN_OK);
    payloads_close(world.payloads);
    ck_assert_int_eq(load(4000, &world.payloads), OMEN_OK);
    pthread_t readers[2];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, look, &world), 0);
    for (uint32_t n = 0; n < 20000; n++) {
        set(world.payloads, n * 7919 % 4000, 10000 + n);
        if (n == 10000)
            epoch_wait(&gate);
    }
    atomic_store(&world.stop, 1);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(readers[i], NULL), 0);
    ck_assert_int_eq(save(world.payloads, 4000), OMEN_OK);
    payloads_close(world.payloads);
    ck_assert_int_eq(load(4000, &world.payloads), OMEN_OK);
    for (uint32_t n = 16000; n < 20000; n++)
        ck_assert_uint_eq(get(world.payloads, n * 7919 % 4000), 10000 + n);
    payloads_close(world.payloads);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/payload_image");
    TCase *tcase = tcase_create("image");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, what_is_loaded_is_what_was_saved_below_the_rows);
    tcase_add_test(tcase, a_shard_without_payloads_has_only_a_head);
    tcase_add_test(tcase, a_save_puts_what_changed_and_drops_what_died);
    tcase_add_test(tcase, a_block_that_a_reader_is_in_is_not_dropped);
    tcase_add_loop_test(tcase, changes_saves_and_crashes_leave_what_the_log_says, 12, 18);
    tcase_add_loop_test(tcase, numbers_of_blocks_that_died_are_given_again, 0, 3);
    tcase_add_loop_test(tcase, damaged_bytes_are_no_payloads_and_are_reported, 0, 12);
    tcase_add_test(tcase, refused_memory_leaves_loaded_payloads_as_they_were);
    suite_add_one_thread(suite, tcase);
    TCase *threads = tcase_create("threads");
    tcase_add_checked_fixture(threads, setup, teardown);
    tcase_set_timeout(threads, 120);
    tcase_add_test(threads, readers_of_loaded_payloads_see_them_replaced);
    suite_add_tcase(suite, threads);
    return suite;
}

CHECK_MAIN(suite)
