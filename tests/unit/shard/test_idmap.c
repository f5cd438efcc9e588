// tests/unit/shard/test_idmap.c -- the id table answers as an array of ids does, through growth, tombs, full turnover and
// saves.
//
// Labels: tsan
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/prng.h"
#include "shard/idmap.h"
#include "tests/lib/check_main.h"
#include "tests/lib/image_table.h"

#define IDS 600u
#define SLOTS 40000u

static struct epoch gate;
static struct idmap *map;

static void
setup(void)
{
    epoch_init(&gate);
    ck_assert_int_eq(idmap_open(SLOTS, &gate, &map), OMEN_OK);
}

static void
teardown(void)
{
    idmap_close(map);
    epoch_fini(&gate);
}

// Ids that differ in few bits, at both ends of the range.
static uint64_t
id_of(uint32_t i)
{
    return i % 2 == 0 ? i : 0x7fffffffffffffffull - i;
}

START_TEST(random_operations_answer_as_an_array_does)
{
    uint32_t where[IDS], live = 0, next = 0;
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (uint32_t i = 0; i < IDS; i++)
        where[i] = IDMAP_NONE;
    while (next < SLOTS) {
        const uint32_t i = prng_below(&prng, IDS);
        if (prng_below(&prng, 3) == 0) {
            ck_assert_uint_eq(idmap_remove(map, id_of(i)), where[i]);
            live -= where[i] != IDMAP_NONE;
            where[i] = IDMAP_NONE;
        } else {
            ck_assert_int_eq(idmap_reserve(map, next + 1, 1), OMEN_OK);
            idmap_name(map, next, id_of(i));
            ck_assert_uint_eq(idmap_put(map, next), where[i]);
            live += where[i] == IDMAP_NONE;
            where[i] = next++;
        }
        ck_assert_uint_eq(idmap_count(map), live);
        const uint32_t other = prng_below(&prng, IDS);
        ck_assert_uint_eq(idmap_find(map, id_of(other)), where[other]);
    }
    for (uint32_t i = 0; i < IDS; i++) {
        ck_assert_uint_eq(idmap_find(map, id_of(i)), where[i]);
        if (where[i] != IDMAP_NONE)
            ck_assert_uint_eq(idmap_id(map, where[i]), id_of(i));
    }
}
END_TEST

START_TEST(unknown_id_is_not_found)
{
    ck_assert_uint_eq(idmap_find(map, 0), IDMAP_NONE);
    ck_assert_uint_eq(idmap_remove(map, 0), IDMAP_NONE);
    ck_assert_uint_eq(idmap_count(map), 0);
}
END_TEST

START_TEST(memory_of_a_row_stays_below_what_the_header_promises)
{
    ck_assert_int_eq(idmap_reserve(map, SLOTS, SLOTS), OMEN_OK);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        idmap_name(map, slot, slot * 77ull);
        ck_assert_uint_eq(idmap_put(map, slot), IDMAP_NONE);
    }
    ck_assert_uint_le(idmap_bytes(map),
                      SLOTS * 143ull / 10 + 9000 * 8); // and the unused end of a chunk
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        ck_assert_uint_eq(idmap_find(map, slot * 77ull), slot);
}
END_TEST

// Past 2^24 slots a table gives bits of the hash away. Nothing that was there is lost, and tombs stay tombs.
START_TEST(ids_are_found_when_slots_outgrow_24_bits)
{
    struct idmap *wide;
    ck_assert_int_eq(idmap_open(SLOTS_MAX, &gate, &wide), OMEN_OK);
    ck_assert_int_eq(idmap_reserve(wide, IDS, IDS), OMEN_OK);
    for (uint32_t slot = 0; slot < IDS; slot++) {
        idmap_name(wide, slot, id_of(slot));
        ck_assert_uint_eq(idmap_put(wide, slot), IDMAP_NONE);
    }
    for (uint32_t i = 0; i < IDS; i += 5)
        ck_assert_uint_eq(idmap_remove(wide, id_of(i)), i);
    // At the last slot of 24 bits, one past it, and one past 25 bits.
    const uint32_t slots[] = {(1u << 24) - 2, (1u << 24) - 1, (1u << 25) + 1};
    for (uint32_t s = 0; s < sizeof slots / sizeof slots[0]; s++) {
        ck_assert_int_eq(idmap_reserve(wide, slots[s], 1), OMEN_OK);
        idmap_name(wide, slots[s] - 1, 1000000 + s);
        ck_assert_uint_eq(idmap_put(wide, slots[s] - 1), IDMAP_NONE);
        for (uint32_t seen = 0; seen <= s; seen++)
            ck_assert_uint_eq(idmap_find(wide, 1000000 + seen), slots[seen] - 1);
        for (uint32_t i = 0; i < IDS; i++)
            ck_assert_uint_eq(idmap_find(wide, id_of(i)), i % 5 == 0 ? IDMAP_NONE : i);
    }
    ck_assert_uint_eq(idmap_remove(wide, 1000002), slots[2] - 1);
    ck_assert_uint_eq(idmap_find(wide, 1000002), IDMAP_NONE);
    ck_assert_uint_eq(idmap_count(wide), IDS - IDS / 5 + 2);
    idmap_close(wide);
}
END_TEST

// ---- on disk ----

#define ROWS 200000u // several pieces of ids and of the table

static struct idmap *
fill(uint32_t rows)
{
    struct idmap *filled;
    ck_assert_int_eq(idmap_open(SLOTS_MAX, &gate, &filled), OMEN_OK);
    ck_assert_int_eq(idmap_reserve(filled, rows, rows), OMEN_OK);
    for (uint32_t slot = 0; slot < rows; slot++) {
        idmap_name(filled, slot, id_of(slot));
        ck_assert_uint_eq(idmap_put(filled, slot), IDMAP_NONE);
    }
    return filled;
}

static omen_status
save(struct idmap *saved, uint32_t rows, const uint64_t *erased, struct image_table *table)
{
    const struct image_sink sink = image_table_sink(table);
    const omen_status status = idmap_save_ids(saved, rows, &sink);
    return status == OMEN_OK ? idmap_save_table(saved, rows, erased, &sink) : status;
}

static omen_status
load(uint32_t rows, struct image_table *table, struct idmap **loaded)
{
    const struct image_source source = image_table_source(table);
    return idmap_load(SLOTS_MAX, &gate, rows, &source, loaded);
}

START_TEST(what_is_loaded_is_as_of_the_erased_bits)
{
    struct idmap *filled = fill(ROWS), *loaded;
    struct image_table *table = image_table_open();
    uint64_t *erased = calloc(ROWS / 64 + 1, sizeof *erased);
    const uint32_t rows = ROWS - 1000; // later ones came while it was saved
    for (uint32_t slot = 0; slot < rows; slot += 7)
        erased[slot / 64] |= 1ull << slot % 64;
    for (uint32_t slot = 1; slot < rows; slot += 14) // erased while it was saved
        ck_assert_uint_eq(idmap_remove(filled, id_of(slot)), slot);
    ck_assert_int_eq(save(filled, rows, erased, table), OMEN_OK);
    idmap_close(filled);
    ck_assert_int_eq(load(rows, table, &loaded), OMEN_OK);
    ck_assert_uint_lt(idmap_bytes(loaded), 400000); // the last piece of ids, and pointers
    for (int owned = 0; owned < 2; owned++) {
        ck_assert_uint_eq(idmap_count(loaded), rows - (rows + 6) / 7);
        for (uint32_t slot = 0; slot < ROWS; slot++)
            ck_assert_uint_eq(idmap_find(loaded, id_of(slot)),
                              slot < rows && slot % 7 != 0 ? slot : IDMAP_NONE);
        ck_assert_int_eq(idmap_own(loaded), OMEN_OK);
    }
    ck_assert_uint_eq(idmap_remove(loaded, id_of(1)), 1);
    ck_assert_uint_eq(idmap_find(loaded, id_of(1)), IDMAP_NONE);
    idmap_close(loaded);
    image_table_close(table);
    free(erased);
}
END_TEST

START_TEST(an_empty_map_and_one_without_live_rows_are_saved_too)
{
    static const uint64_t all[2] = {UINT64_MAX, UINT64_MAX};
    for (uint32_t rows = 0; rows <= 100; rows += 100) {
        struct idmap *filled = fill(rows), *loaded;
        struct image_table *table = image_table_open();
        ck_assert_int_eq(save(filled, rows, all, table), OMEN_OK);
        ck_assert_int_eq(load(rows, table, &loaded), OMEN_OK);
        ck_assert_uint_eq(idmap_count(loaded), 0);
        ck_assert_uint_eq(idmap_find(loaded, id_of(1)), IDMAP_NONE);
        idmap_close(loaded);
        ck_assert_int_eq(load(rows + 1, table, &loaded), OMEN_E_CORRUPT);
        ck_assert_ptr_null(loaded);
        idmap_close(filled);
        image_table_close(table);
    }
}
END_TEST

START_TEST(of_two_slots_with_one_id_the_later_is_found)
{
    struct idmap *filled = fill(50), *loaded;
    struct image_table *table = image_table_open();
    static const uint64_t none[2] = {0};
    ck_assert_int_eq(idmap_reserve(filled, 51, 1), OMEN_OK);
    idmap_name(filled, 50, id_of(3));
    ck_assert_int_eq(save(filled, 51, none, table), OMEN_OK);
    ck_assert_int_eq(load(51, table, &loaded), OMEN_OK);
    ck_assert_uint_eq(idmap_find(loaded, id_of(3)), 50);
    ck_assert_uint_eq(idmap_count(loaded), 50);
    ck_assert_int_eq(idmap_own(loaded), OMEN_OK);
    idmap_close(loaded);
    idmap_close(filled);
    image_table_close(table);
}
END_TEST

// An array of slots by id.
struct model {
    uint32_t where[IDS], live, next;
    uint64_t erased[SLOTS / 64 + 1];
};

static void
change(struct model *model, struct prng *prng)
{
    const uint32_t i = prng_below(prng, IDS), before = model->where[i];
    if (prng_below(prng, 3) == 0) {
        ck_assert_uint_eq(idmap_remove(map, id_of(i)), before);
        model->where[i] = IDMAP_NONE;
        model->live -= before != IDMAP_NONE;
    } else {
        ck_assert_int_eq(idmap_reserve(map, model->next + 1, 1), OMEN_OK);
        idmap_name(map, model->next, id_of(i));
        if (model->next % 2 == 0)
            ck_assert_uint_eq(idmap_put(map, model->next), before);
        else
            idmap_put_found(map, model->next, before);
        model->where[i] = model->next++;
        model->live += before == IDMAP_NONE;
    }
    if (before != IDMAP_NONE)
        model->erased[before / 64] |= 1ull << before % 64;
}

static void
expect(const struct model *model)
{
    ck_assert_uint_eq(idmap_count(map), model->live);
    for (uint32_t i = 0; i < IDS; i++)
        ck_assert_uint_eq(idmap_find(map, id_of(i)), model->where[i]);
}

// Through many rounds of writing, saving and loading; what came after a save is gone. Changes over a loaded table are few
// enough to leave it where it lies, or many.
START_TEST(random_operations_with_saves_between_answer_as_an_array_does)
{
    static struct model model;
    struct image_table *table = image_table_open();
    struct prng prng;
    prng_init(&prng, 100 + (uint64_t)_i);
    model = (struct model){0};
    memset(model.where, 0xff, sizeof model.where);
    for (uint32_t round = 0; round < 50; round++) {
        const uint32_t changes = prng_below(&prng, prng_below(&prng, 2) == 0 ? 100 : 1000);
        for (uint32_t n = 0; n < changes; n++) {
            change(&model, &prng);
            if (n < 8)
                expect(&model);
        }
        ck_assert_int_eq(idmap_own(map), OMEN_OK);
        expect(&model);
        for (uint32_t n = 0; n < 100; n++) // in what was two tables
            change(&model, &prng);
        ck_assert_int_eq(save(map, model.next, model.erased, table), OMEN_OK);
        if (prng_below(&prng, 4) > 0) {
            idmap_close(map);
            const struct image_source source = image_table_source(table);
            ck_assert_int_eq(idmap_load(SLOTS, &gate, model.next, &source, &map), OMEN_OK);
        }
        expect(&model);
    }
    image_table_close(table);
}
END_TEST

// A thousand ids are removed, a thousand put elsewhere, a thousand are new, and some of each removed and put again.
START_TEST(few_changes_leave_a_loaded_table_where_it_lies)
{
    struct idmap *filled = fill(ROWS), *loaded;
    struct image_table *table = image_table_open();
    uint64_t *erased = calloc(ROWS / 64 + 1, sizeof *erased);
    ck_assert_int_eq(save(filled, ROWS, erased, table), OMEN_OK);
    idmap_close(filled);
    ck_assert_int_eq(load(ROWS, table, &loaded), OMEN_OK);
    const size_t before = idmap_bytes(loaded);
    ck_assert_int_eq(idmap_reserve(loaded, ROWS + 3000, 3000), OMEN_OK);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_uint_eq(idmap_remove(loaded, id_of(i)), i);
        idmap_name(loaded, ROWS + i, id_of(1000 + i));
        ck_assert_uint_eq(idmap_put(loaded, ROWS + i), 1000 + i);
        idmap_name(loaded, ROWS + 1000 + i, id_of(ROWS + i));
        ck_assert_uint_eq(idmap_put(loaded, ROWS + 1000 + i), IDMAP_NONE);
    }
    for (uint32_t i = 0; i < 500; i++) {
        idmap_name(loaded, ROWS + 2000 + i, id_of(i)); // removed below, put above
        ck_assert_uint_eq(idmap_put(loaded, ROWS + 2000 + i), IDMAP_NONE);
        ck_assert_uint_eq(idmap_remove(loaded, id_of(1000 + i)), ROWS + i); // in both
        ck_assert_uint_eq(idmap_remove(loaded, id_of(ROWS + i)), ROWS + 1000 + i);
    }
    ck_assert_uint_lt(idmap_bytes(loaded),
                      before + 4 * IMAGE_PIECE_BYTES); // the table has 5 pieces
    for (int owned = 0; owned < 2; owned++) {
        ck_assert_uint_eq(idmap_count(loaded), ROWS - 500 - 500 + 500);
        for (uint32_t i = 0; i < ROWS + 2000; i++) {
            uint32_t slot = i < ROWS ? i : i < ROWS + 1000 ? i + 1000 : IDMAP_NONE;
            if (i < 2000)
                slot = i < 500 ? ROWS + 2000 + i : i < 1500 ? IDMAP_NONE : ROWS + i - 1000;
            else if (i >= ROWS && i < ROWS + 500)
                slot = IDMAP_NONE;
            ck_assert_uint_eq(idmap_find(loaded, id_of(i)), slot);
        }
        ck_assert_int_eq(idmap_own(loaded), OMEN_OK);
    }
    ck_assert_uint_gt(idmap_bytes(loaded), before + 4 * IMAGE_PIECE_BYTES);
    idmap_close(loaded);
    image_table_close(table);
    free(erased);
}
END_TEST

START_TEST(a_save_that_failed_is_made_up_for_by_the_next)
{
    struct idmap *filled = fill(ROWS), *loaded;
    uint64_t *erased = calloc(ROWS / 64 + 1, sizeof *erased);
    for (uint32_t n = 1;; n++) {
        struct image_table *table = image_table_open();
        image_table_fail_after(table, n);
        const omen_status status = save(filled, ROWS, erased, table);
        image_table_fail_after(table, 0);
        if (status != OMEN_OK) {
            ck_assert_int_eq(status, OMEN_E_DISK_FULL);
            ck_assert_int_eq(load(ROWS, table, &loaded), OMEN_E_CORRUPT);
            idmap_touch(filled); // what was put is lost
            image_table_close(table);
            continue;
        }
        ck_assert_int_eq(load(ROWS, table, &loaded), OMEN_OK);
        image_table_reset_counts(table);
        ck_assert_int_eq(idmap_own(loaded), OMEN_OK);
        ck_assert_int_eq(save(loaded, ROWS, erased, table), OMEN_OK);
        ck_assert_uint_eq(image_table_puts(table, IMAGE_IDS), 0); // nothing is new
        idmap_touch_lent(loaded);
        ck_assert_int_eq(save(loaded, ROWS, erased, table), OMEN_OK);
        ck_assert_uint_eq(image_table_puts(table, IMAGE_IDS), (ROWS >> 15) + 1);
        idmap_close(loaded);
        image_table_close(table);
        break;
    }
    idmap_close(filled);
    free(erased);
}
END_TEST

// Every kind of damage: a missing or a short piece, and bytes that were changed.
START_TEST(damaged_bytes_never_lead_out_of_the_map)
{
    static const uint32_t arrays[] = {IMAGE_IDS, IMAGE_ID_TABLE, IMAGE_ID_HEAD};
    struct idmap *filled = fill(ROWS), *loaded;
    uint64_t *erased = calloc(ROWS / 64 + 1, sizeof *erased);
    uint8_t *bytes = malloc(IMAGE_PIECE_BYTES);
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    const uint32_t array = arrays[_i % 3];
    struct image_table *table = image_table_open();
    ck_assert_int_eq(save(filled, ROWS, erased, table), OMEN_OK);
    size_t count;
    const uint8_t *piece = image_table_piece(table, array, 0, &count);
    memcpy(bytes, piece, count);
    image_table_set(table, array, 0, bytes, count - 1);
    ck_assert_int_eq(load(ROWS, table, &loaded), OMEN_E_CORRUPT);
    image_table_drop(table, array, 0);
    ck_assert_int_eq(load(ROWS, table, &loaded), OMEN_E_CORRUPT);
    if (_i < 3) // no EMPTY anywhere
        memset(bytes, array == IMAGE_ID_TABLE ? 1 : 0xff, count);
    for (uint32_t n = 0; n < 2000; n++) {
        const uint32_t at = prng_below(&prng, (uint32_t)count);
        bytes[at] ^= (uint8_t)prng_next(&prng);
    }
    image_table_set(table, array, 0, bytes, count);
    if (load(ROWS, table, &loaded) == OMEN_OK) {
        for (int owned = 0; owned < 2; owned++) {
            for (uint32_t i = 0; i < 20000; i++) {
                const uint32_t slot = idmap_find(loaded, id_of(i));
                if (slot != IDMAP_NONE)
                    ck_assert(slot < ROWS && idmap_id(loaded, slot) == id_of(i));
            }
            if (idmap_own(loaded) != OMEN_OK)
                break;
        }
        idmap_close(loaded);
    }
    idmap_close(filled);
    image_table_close(table);
    free(erased);
    free(bytes);
}
END_TEST

START_TEST(refused_memory_leaves_a_loaded_map_as_it_was)
{
    struct idmap *filled = fill(ROWS), *loaded;
    uint64_t *erased = calloc(ROWS / 64 + 1, sizeof *erased);
    struct image_table *table = image_table_open();
    ck_assert_int_eq(save(filled, ROWS, erased, table), OMEN_OK);
    uint64_t refused = 1;
    for (uint64_t n = 1; refused > 0; n++) {
        mem_fail_after(n);
        omen_status status = load(ROWS, table, &loaded);
        if (status == OMEN_OK) {
            status = idmap_reserve(loaded, ROWS + 100000, 100000);
            for (uint32_t slot = 0; slot < ROWS; slot += 1001)
                ck_assert_uint_eq(idmap_find(loaded, id_of(slot)), slot);
            idmap_close(loaded);
        }
        if (status == OMEN_OK)
            status = save(filled, ROWS, erased, table);
        refused = mem_refused();
        mem_fail_after(0);
        ck_assert_int_eq(status, refused > 0 ? OMEN_E_NO_MEMORY : OMEN_OK);
    }
    idmap_close(filled);
    image_table_close(table);
    free(erased);
}
END_TEST

struct world {
    struct idmap *map;
    _Atomic uint32_t stop;
};

static void *
look(void *context)
{
    struct world *world = context;
    for (uint32_t i = 0; atomic_load(&world->stop) == 0; i = (i + 1) % 60000) {
        const uint32_t ticket = epoch_enter(&gate);
        if (idmap_find(world->map, id_of(i)) != i)
            abort();
        epoch_leave(&gate, ticket);
    }
    return NULL;
}

static void *
grow(void *context)
{
    struct world *world = context;
    for (uint32_t slot = 60000; slot < 120000; slot++) {
        if (idmap_reserve(world->map, slot + 1, 1) != OMEN_OK)
            abort();
        idmap_name(world->map, slot, id_of(slot));
        (void)idmap_put(world->map, slot);
    }
    return NULL;
}

// A loaded map is read, grows and is saved at once; what was saved is the rows from before.
START_TEST(a_loaded_map_is_read_written_and_saved_at_once)
{
    struct idmap *filled = fill(60000);
    struct image_table *table = image_table_open(), *second = image_table_open();
    uint64_t *erased = calloc(60000 / 64 + 1, sizeof *erased);
    struct world world = {0};
    ck_assert_int_eq(save(filled, 60000, erased, table), OMEN_OK);
    idmap_close(filled);
    ck_assert_int_eq(load(60000, table, &world.map), OMEN_OK);
    idmap_touch(world.map);
    idmap_touch_lent(world.map);
    pthread_t reader, writer;
    ck_assert_int_eq(pthread_create(&reader, NULL, look, &world), 0);
    ck_assert_int_eq(idmap_own(world.map), OMEN_OK);
    ck_assert_int_eq(pthread_create(&writer, NULL, grow, &world), 0);
    ck_assert_int_eq(save(world.map, 60000, erased, second), OMEN_OK);
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    atomic_store(&world.stop, 1);
    ck_assert_int_eq(pthread_join(reader, NULL), 0);
    idmap_close(world.map);
    ck_assert_int_eq(load(60000, second, &world.map), OMEN_OK);
    for (uint32_t slot = 0; slot < 120000; slot++)
        ck_assert_uint_eq(idmap_find(world.map, id_of(slot)), slot < 60000 ? slot : IDMAP_NONE);
    idmap_close(world.map);
    image_table_close(table);
    image_table_close(second);
    free(erased);
}
END_TEST

// Of the first 6000 ids every third is put elsewhere, every third removed.
static void *
look_beside_changes(void *context)
{
    struct world *world = context;
    for (uint32_t i = 0; atomic_load(&world->stop) == 0; i = (i + 1) % 6000) {
        const uint32_t ticket = epoch_enter(&gate);
        const uint32_t slot = idmap_find(world->map, id_of(i));
        if (slot != i && (i % 3 == 0 || slot != (i % 3 == 1 ? 60000 + i : IDMAP_NONE)))
            abort();
        epoch_leave(&gate, ticket);
    }
    return NULL;
}

START_TEST(a_reader_beside_changes_of_a_loaded_map_finds_the_old_or_the_new)
{
    struct idmap *filled = fill(60000);
    struct image_table *table = image_table_open();
    uint64_t *erased = calloc(60000 / 64 + 1, sizeof *erased);
    struct world world = {0};
    ck_assert_int_eq(save(filled, 60000, erased, table), OMEN_OK);
    idmap_close(filled);
    ck_assert_int_eq(load(60000, table, &world.map), OMEN_OK);
    pthread_t reader;
    ck_assert_int_eq(pthread_create(&reader, NULL, look_beside_changes, &world), 0);
    for (uint32_t i = 0; i < 6000; i++) {
        ck_assert_int_eq(idmap_reserve(world.map, 60001 + i, 1), OMEN_OK);
        idmap_name(world.map, 60000 + i, id_of(i));
        if (i % 3 == 1)
            ck_assert_uint_eq(idmap_put(world.map, 60000 + i), i);
        if (i % 3 == 2)
            ck_assert_uint_eq(idmap_remove(world.map, id_of(i)), i);
    }
    ck_assert_int_eq(idmap_own(world.map), OMEN_OK);
    atomic_store(&world.stop, 1);
    ck_assert_int_eq(pthread_join(reader, NULL), 0);
    for (uint32_t i = 0; i < 6000; i++)
        ck_assert_uint_eq(idmap_find(world.map, id_of(i)), i % 3 == 0   ? i
                                                           : i % 3 == 1 ? 60000 + i
                                                                        : IDMAP_NONE);
    idmap_close(world.map);
    image_table_close(table);
    free(erased);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/idmap");
    TCase *tcase = tcase_create("idmap");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, random_operations_answer_as_an_array_does, 0, 3);
    tcase_add_test(tcase, unknown_id_is_not_found);
    tcase_add_test(tcase, memory_of_a_row_stays_below_what_the_header_promises);
    tcase_add_test(tcase, ids_are_found_when_slots_outgrow_24_bits);
    suite_add_one_thread(suite, tcase);
    TCase *disk = tcase_create("disk");
    tcase_add_checked_fixture(disk, setup, teardown);
    tcase_add_test(disk, what_is_loaded_is_as_of_the_erased_bits);
    tcase_add_test(disk, an_empty_map_and_one_without_live_rows_are_saved_too);
    tcase_add_test(disk, of_two_slots_with_one_id_the_later_is_found);
    tcase_add_loop_test(disk, random_operations_with_saves_between_answer_as_an_array_does, 0, 4);
    tcase_add_test(disk, few_changes_leave_a_loaded_table_where_it_lies);
    tcase_add_test(disk, a_save_that_failed_is_made_up_for_by_the_next);
    tcase_add_loop_test(disk, damaged_bytes_never_lead_out_of_the_map, 0, 9);
    tcase_add_test(disk, refused_memory_leaves_a_loaded_map_as_it_was);
    suite_add_one_thread(suite, disk);
    TCase *threads = tcase_create("threads");
    tcase_add_checked_fixture(threads, setup, teardown);
    tcase_add_test(threads, a_reader_beside_changes_of_a_loaded_map_finds_the_old_or_the_new);
    tcase_add_test(threads, a_loaded_map_is_read_written_and_saved_at_once);
    suite_add_tcase(suite, threads);
    return suite;
}

CHECK_MAIN(suite)
