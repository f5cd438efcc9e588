// tests/unit/shard/test_fields_load.c -- field indexes that were saved and loaded, held to the payloads.
//
// Labels: tsan
#include <pthread.h>

#include "base/alloc.h"
#include "shard/fields_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/field_store.h"
#include "tests/lib/image_table.h"

#define FIELDS 6u

static void
save(struct store *store, uint32_t rows, struct image_table *table)
{
    const struct image_sink sink = image_table_sink(table);
    ck_assert_int_eq(fields_save(store->fields, rows, &sink), OMEN_OK);
}

// The store's fields become what the table has.
static void
load(struct store *store, struct image_table *table)
{
    const struct image_source source = image_table_source(table);
    fields_close(store->fields);
    ck_assert_int_eq(fields_load(&source, &store->fields), OMEN_OK);
}

static void
load_all(struct store *store)
{
    omen_status status;
    do
        status = fields_load_next(store->fields);
    while (status == OMEN_OK);
    ck_assert_int_eq(status, OMEN_E_NOT_FOUND);
}

// The stream as one block; the caller frees it.
static uint8_t *
stream_of(struct store *store, uint32_t rows, size_t *count)
{
    struct image_table *table = image_table_open();
    struct fields_frozen *frozen;
    const struct image_sink sink = image_table_sink(table);
    ck_assert_int_eq(fields_freeze(store->fields, rows, &frozen), OMEN_OK);
    ck_assert_int_eq(fields_frozen_put(frozen, &sink), OMEN_OK);
    *count = fields_frozen_bytes(frozen);
    fields_frozen_close(frozen);
    uint8_t *bytes = malloc(*count);
    ck_assert_ptr_nonnull(bytes);
    size_t at = 0;
    for (uint32_t i = 0; at < *count; i++) {
        size_t piece_bytes;
        const uint8_t *piece = image_table_piece(table, IMAGE_FIELDS, i, &piece_bytes);
        ck_assert_ptr_nonnull(piece);
        ck_assert_uint_le(piece_bytes, *count - at);
        memcpy(bytes + at, piece, piece_bytes);
        at += piece_bytes;
    }
    image_table_close(table);
    return bytes;
}

static void
expect_same_stream(struct store *store, uint32_t rows, const uint8_t *bytes, size_t count)
{
    size_t again_count;
    uint8_t *again = stream_of(store, rows, &again_count);
    ck_assert_uint_eq(again_count, count);
    ck_assert_mem_eq(again, bytes, count);
    free(again);
}

static void
open_random(struct store *store, struct prng *prng, uint32_t slots)
{
    store_open(store, 2000);
    for (uint32_t field = 0; field < FIELDS; field++)
        store_field(store, model_names[field], random_types[field]);
    for (uint32_t slot = 0; slot < slots; slot++)
        put_random(store, prng, slot);
}

static void
change_random(struct store *store, struct prng *prng, int changes)
{
    for (int change = 0; change < changes; change++) {
        const uint32_t slot = prng_below(prng, store->slots + 1);
        if (prng_below(prng, 3) == 0 && slot < store->slots)
            store_remove(store, slot);
        else
            put_random(store, prng, slot);
    }
}

// ---- round trips ----

START_TEST(what_was_saved_answers_and_changes_as_before)
{
    struct store store;
    struct prng prng;
    struct image_table *table = image_table_open();
    prng_init(&prng, (uint64_t)_i + 77);
    open_random(&store, &prng, _i == 0 ? 0 : 1 + prng_below(&prng, 600));
    for (int round = 0; round < 3; round++) {
        save(&store, store.slots, table);
        load(&store, table);
        if (prng_below(&prng, 2) == 0) // else by who needs it
            load_all(&store);
        if (prng_below(&prng, 2) == 0)
            expect_random_filters_hold(&store, &prng, 30);
        change_random(&store, &prng, 200);
        expect_random_filters_hold(&store, &prng, 30);
    }
    image_table_close(table);
    store_close(&store);
}
END_TEST

// Values that no table of examples has: whatever bits, equal beginnings, numbers beyond 2^53, instants of one second.
static void
pack_wide(struct packer *packer, struct prng *prng)
{
    char text[24];
    uint8_t uuid[16];
    uint32_t length = prng_below(prng, sizeof text);
    for (uint32_t i = 0; i < length; i++)
        text[i] = "ab\xc3"[prng_below(prng, 3)];
    for (uint32_t i = 0; i < 16; i++)
        uuid[i] = (uint8_t)(prng_below(prng, 4) == 0 ? prng_next(prng) : 0);
    const uint32_t shift = prng_below(prng, 64);
    const int64_t integer = (int64_t)(prng_next(prng) >> shift);
    packer->count = 0;
    pack_map(packer, 6);
    pack_text(packer, "integer");
    pack_int(packer, prng_below(prng, 2) == 0 ? integer : -1 - integer);
    pack_text(packer, "keyword");
    pack_string(packer, text, length);
    pack_text(packer, "float");
    const int exponent = (int)prng_below(prng, 200) - 100;
    if (prng_below(prng, 2) == 0)
        pack_uint(packer, prng_next(prng) | 1ull << 63);
    else
        pack_double(packer, ldexp((double)(int64_t)prng_next(prng), exponent));
    pack_text(packer, "bool");
    pack_bool(packer, prng_below(prng, 2) == 0);
    pack_text(packer, "datetime");
    const int64_t seconds = (int64_t)prng_below(prng, 50) - 25;
    pack_time(packer, seconds, prng_below(prng, 1000000000));
    pack_text(packer, "uuid");
    pack_binary(packer, uuid, sizeof uuid);
}

static void
open_wide(struct store *store, struct prng *prng, uint32_t slots)
{
    static struct packer packer;
    store_open(store, 1u << 18);
    for (int type = FIELD_KEYWORD; type <= FIELD_UUID; type++)
        store_field(store, field_type_name((enum field_type)type), (enum field_type)type);
    for (uint32_t slot = 0; slot < slots; slot++) {
        pack_wide(&packer, prng);
        store_put(store, slot, &packer);
    }
}

START_TEST(what_was_loaded_is_saved_as_the_same_bytes)
{
    struct store store;
    struct prng prng;
    struct image_table *table = image_table_open();
    size_t count;
    prng_init(&prng, (uint64_t)_i);
    open_wide(&store, &prng, _i == 0 ? 20000 : 1000); // the first in several pieces
    uint8_t *bytes = stream_of(&store, store.slots, &count);
    ck_assert(_i != 0 || count > 2 * IMAGE_PIECE_BYTES);
    save(&store, store.slots, table);
    load(&store, table);
    expect_same_stream(&store, store.slots, bytes, count);
    free(bytes);
    image_table_close(table);
    store_close(&store);
}
END_TEST

START_TEST(numbers_that_are_far_apart_or_at_the_ends_come_back)
{
    static const int64_t integers[] = {INT64_MIN,
                                       INT64_MIN + 1,
                                       -(1ll << 53) - 1,
                                       -(1ll << 53),
                                       -1,
                                       0,
                                       1,
                                       1ll << 53,
                                       (1ll << 53) + 1,
                                       (1ll << 62) + 3,
                                       INT64_MAX - 1,
                                       INT64_MAX - 512,
                                       INT64_MAX};
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        const struct field_key key = field_key_of_integer(integers[i]);
        ck_assert_int_eq(field_key_integer(&key), integers[i]);
    }
}
END_TEST

START_TEST(slots_from_rows_on_are_left_out)
{
    struct store store, fewer;
    struct prng prng;
    size_t count;
    prng_init(&prng, 4);
    open_wide(&store, &prng, 700);
    prng_init(&prng, 4);
    open_wide(&fewer, &prng, 321);
    uint8_t *bytes = stream_of(&store, 321, &count);
    expect_same_stream(&fewer, 321, bytes, count);
    free(bytes);
    store_close(&store);
    store_close(&fewer);
}
END_TEST

START_TEST(dense_sets_take_a_bit_a_row_and_sparse_ones_a_byte_or_two_a_slot)
{
    struct store store;
    size_t count;
    store_open(&store, 20000);
    store_field(&store, "half", FIELD_BOOL);
    store_field(&store, "of100", FIELD_INTEGER);
    for (uint32_t slot = 0; slot < 20000; slot++) {
        static struct packer packer;
        packer.count = 0;
        pack_map(&packer, 2);
        pack_text(&packer, "half");
        pack_bool(&packer, slot % 2 == 0);
        pack_text(&packer, "of100");
        pack_int(&packer, slot % 100);
        store_put(&store, slot, &packer);
    }
    uint8_t *bytes = stream_of(&store, 20000, &count);
    // Present twice, true and false: four times 2,500 bytes of bits; 100 lists of 200 one-byte gaps.
    ck_assert_uint_ge(count, 4 * 2500 + 100 * 200);
    ck_assert_uint_le(count, 4 * 2500 + 100 * (200 + 4) + 200);
    free(bytes);
    store_close(&store);
}
END_TEST

// ---- loading late ----

struct asking {
    struct image_source source;
    uint32_t gets;
};

static const void *
count_get(void *context, uint32_t array, uint32_t piece, size_t *count)
{
    struct asking *asking = context;
    asking->gets++;
    return asking->source.get(asking->source.context, array, piece, count);
}

START_TEST(loading_reads_names_and_types_and_the_rest_when_a_field_is_asked_for)
{
    struct store store;
    struct prng prng;
    struct image_table *table = image_table_open();
    prng_init(&prng, 3);
    open_random(&store, &prng, 200);
    save(&store, store.slots, table);
    fields_close(store.fields);
    struct asking asking = {image_table_source(table), 0};
    const struct image_source source = {.get = count_get, .context = &asking};
    ck_assert_int_eq(fields_load(&source, &store.fields), OMEN_OK);
    ck_assert_uint_eq(asking.gets, 1);
    ck_assert_uint_eq(fields_count(store.fields), FIELDS);
    for (uint32_t i = 0; i < FIELDS; i++) {
        struct field_spec spec;
        fields_spec(store.fields, i, &spec);
        ck_assert_int_eq((int)spec.type, (int)random_types[i]);
        ck_assert_uint_eq(spec.name_bytes, strlen(model_names[i]));
        ck_assert_mem_eq(spec.name, model_names[i], spec.name_bytes);
    }
    store_field(&store, "declared later", FIELD_BOOL);
    ck_assert_uint_eq(asking.gets, 1);
    const size_t before = fields_bytes(store.fields);

    struct filter *filter = parse("a = 1");
    const uint32_t matches = store_select(&store, filter).count;
    ck_assert_uint_gt(matches, 0);
    ck_assert_uint_gt(asking.gets, 1);
    ck_assert_uint_gt(fields_bytes(store.fields), before);
    const uint32_t gets = asking.gets;
    ck_assert_uint_eq(store_select(&store, filter).count, matches);
    ck_assert_uint_eq(asking.gets, gets);
    for (uint32_t i = 1; i < FIELDS; i++)
        ck_assert_int_eq(fields_load_next(store.fields), OMEN_OK);
    ck_assert_int_eq(fields_load_next(store.fields), OMEN_E_NOT_FOUND);
    expect_random_filters_hold(&store, &prng, 30);
    filter_close(filter);
    image_table_close(table);
    store_close(&store);
}
END_TEST

START_TEST(rows_taken_out_while_fields_are_pending_stay_out)
{
    struct store store;
    struct prng prng;
    struct image_table *table = image_table_open();
    prng_init(&prng, (uint64_t)_i);
    open_random(&store, &prng, 300);
    save(&store, store.slots, table);
    load(&store, table);
    for (uint32_t i = 0; i < 100; i++) {
        if (i == 50)
            ck_assert_int_eq(fields_load_next(store.fields), OMEN_OK);
        store_remove(&store, prng_below(&prng, store.slots));
    }
    expect_random_filters_hold(&store, &prng, 50);
    image_table_close(table);
    store_close(&store);
}
END_TEST

// Payloads are newer than the image here, as they can be when a log is applied.
START_TEST(forgotten_slots_can_be_put_again_whatever_the_image_said_of_them)
{
    struct store store;
    struct prng prng;
    struct image_table *table = image_table_open();
    bool changed[300] = {false};
    prng_init(&prng, (uint64_t)_i + 9);
    open_random(&store, &prng, 300);
    save(&store, store.slots, table);
    for (uint32_t i = 0; i < 60; i++) {
        const uint32_t slot = prng_below(&prng, store.slots);
        changed[slot] = true;
        put_random(&store, &prng, slot);
    }
    load(&store, table);
    for (uint32_t slot = 0; slot < store.slots; slot++)
        if (changed[slot])
            fields_forget(store.fields, slot);
    for (uint32_t slot = 0; slot < store.slots; slot++) {
        if (!changed[slot])
            continue;
        size_t bytes;
        const void *payload = payloads_get(store.payloads, slot, &bytes);
        const struct field_rows rows = one_row(slot, &payload, &bytes);
        ck_assert_int_eq(fields_reserve(store.fields, &rows), OMEN_OK);
        fields_put(store.fields, &rows);
    }
    expect_random_filters_hold(&store, &prng, 50);
    change_random(&store, &prng, 200);
    expect_random_filters_hold(&store, &prng, 50);
    image_table_close(table);
    store_close(&store);
}
END_TEST

// ---- what goes wrong ----

static void
cut_into_pieces(struct image_table *table, const uint8_t *bytes, size_t count)
{
    for (uint32_t piece = 0; piece < 8; piece++)
        image_table_drop(table, IMAGE_FIELDS, piece);
    for (size_t at = 0; at < count; at += IMAGE_PIECE_BYTES)
        image_table_set(table, IMAGE_FIELDS, (uint32_t)(at / IMAGE_PIECE_BYTES), bytes + at,
                        count - at < IMAGE_PIECE_BYTES ? count - at : IMAGE_PIECE_BYTES);
}

// Loads everything, and uses what could be; the first failure.
static omen_status
use_all(struct image_table *table)
{
    struct store store;
    const struct image_source source = image_table_source(table);
    store_open(&store, 2000);
    fields_close(store.fields);
    omen_status status = fields_load(&source, &store.fields);
    if (status != OMEN_OK) {
        ck_assert(status == OMEN_E_CORRUPT || status == OMEN_E_VERSION);
        ck_assert_ptr_null(store.fields);
        store_close(&store);
        return status;
    }
    for (uint32_t i = 0; i < fields_count(store.fields); i++) {
        const omen_status loaded = fields_load_next(store.fields);
        status = status == OMEN_OK ? loaded : status;
    }
    ck_assert_int_eq(fields_load_next(store.fields), OMEN_E_NOT_FOUND);
    struct filter *filter = parse("a > 0 or b prefix 'O' or exists(n.b)");
    struct filter_selection selection;
    const omen_status selected = filter_select(
        filter, &(const struct filter_rows){store.fields, NULL, 300, 0}, &store.buffer, &selection);
    ck_assert(selected == OMEN_OK || (selected == OMEN_E_CORRUPT && status != OMEN_OK));
    if (status == OMEN_OK) {
        struct prng prng;
        prng_init(&prng, 1);
        change_random(&store, &prng, 20);
    }
    filter_close(filter);
    store_close(&store);
    return status;
}

START_TEST(stream_that_ends_early_or_goes_on_is_corrupt)
{
    struct store store;
    struct prng prng;
    struct image_table *table = image_table_open();
    size_t count;
    prng_init(&prng, 1);
    open_random(&store, &prng, 40);
    uint8_t *bytes = stream_of(&store, store.slots, &count);
    bytes = realloc(bytes, count + 1);
    ck_assert_ptr_nonnull(bytes);
    bytes[count] = 0;
    ck_assert_int_eq(use_all(table), OMEN_E_CORRUPT); // nothing there
    cut_into_pieces(table, bytes, count);
    ck_assert_int_eq(use_all(table), OMEN_OK);
    for (size_t cut = 1; cut < count; cut++) {
        cut_into_pieces(table, bytes, cut);
        ck_assert_int_eq(use_all(table), OMEN_E_CORRUPT);
    }
    cut_into_pieces(table, bytes, count + 1);
    ck_assert_int_eq(use_all(table), OMEN_E_CORRUPT);
    free(bytes);
    image_table_close(table);
    store_close(&store);
}
END_TEST

START_TEST(later_piece_that_is_missing_is_corrupt_for_its_fields_only)
{
    struct store store;
    struct prng prng;
    struct image_table *table = image_table_open();
    prng_init(&prng, 1);
    open_wide(&store, &prng, 20000);
    save(&store, store.slots, table);
    uint32_t last = 0;
    size_t piece_bytes;
    while (image_table_piece(table, IMAGE_FIELDS, last + 1, &piece_bytes) != NULL)
        last++;
    image_table_drop(table, IMAGE_FIELDS, last);
    load(&store, table);
    struct filter *good = parse("keyword = 'a'"),
                  *bad = parse("uuid > 'aaaaaaaa-0000-0000-0000-000000000000'");
    struct filter_selection selection;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(filter_select(good,
                                       &(const struct filter_rows){store.fields, NULL, 100, 0},
                                       &store.buffer, &selection),
                         OMEN_OK);
        ck_assert_int_eq(filter_select(bad, &(const struct filter_rows){store.fields, NULL, 100, 0},
                                       &store.buffer, &selection),
                         OMEN_E_CORRUPT);
    }
    static struct packer packer;
    const void *payload = packer.bytes;
    pack_wide(&packer, &prng);
    const struct field_rows rows = one_row(20000, &payload, &packer.count);
    ck_assert_int_eq(fields_reserve(store.fields, &rows), OMEN_E_CORRUPT);
    struct fields_frozen *frozen;
    ck_assert_int_eq(fields_freeze(store.fields, 100, &frozen), OMEN_E_CORRUPT);
    filter_close(good);
    filter_close(bad);
    image_table_close(table);
    store_close(&store);
}
END_TEST

START_TEST(flipped_bits_never_break_anything)
{
    struct store store;
    struct prng prng;
    struct image_table *table = image_table_open();
    size_t count;
    prng_init(&prng, (uint64_t)_i);
    open_random(&store, &prng, 60);
    uint8_t *bytes = stream_of(&store, store.slots, &count);
    uint32_t found = 0;
    for (size_t at = 0; at < count; at++) {
        const uint8_t before = bytes[at];
        bytes[at] ^= (uint8_t)(1u << prng_below(&prng, 8));
        if (at % 7 == 0)
            bytes[prng_below(&prng, (uint32_t)count)] ^= 1;
        cut_into_pieces(table, bytes, count);
        found += use_all(table) != OMEN_OK;
        bytes[at] = before;
    }
    ck_assert_uint_gt(found, 0);
    free(bytes);
    image_table_close(table);
    store_close(&store);
}
END_TEST

START_TEST(newer_version_is_refused_as_such)
{
    struct store store;
    struct image_table *table = image_table_open();
    size_t count;
    store_open(&store, 10);
    uint8_t *bytes = stream_of(&store, 0, &count);
    bytes[4]++;
    cut_into_pieces(table, bytes, count);
    ck_assert_int_eq(use_all(table), OMEN_E_VERSION);
    free(bytes);
    image_table_close(table);
    store_close(&store);
}
END_TEST

START_TEST(sink_that_fails_ends_the_save_with_its_status)
{
    struct store store;
    struct prng prng;
    struct image_table *table = image_table_open();
    const struct image_sink sink = image_table_sink(table);
    prng_init(&prng, 8);
    open_wide(&store, &prng, 20000);
    image_table_fail_after(table, 2);
    ck_assert_int_eq(fields_save(store.fields, store.slots, &sink), OMEN_E_DISK_FULL);
    image_table_fail_after(table, 0);
    ck_assert_int_eq(fields_save(store.fields, store.slots, &sink), OMEN_OK);
    image_table_close(table);
    store_close(&store);
}
END_TEST

START_TEST(short_memory_is_said_and_the_next_try_succeeds)
{
    struct store store;
    struct prng prng;
    struct image_table *table = image_table_open();
    struct filter *filter = parse("a = 1 or b = 'Oslo' or `not` = 1 or exists(n.b)");
    struct fields_frozen *frozen = NULL;
    uint32_t failures[3] = {0};
    prng_init(&prng, 6);
    open_random(&store, &prng, 300);
    const uint32_t matches = store_select(&store, filter).count;
    for (uint64_t n = 1; frozen == NULL; n++) {
        mem_fail_after(n);
        const omen_status status = fields_freeze(store.fields, store.slots, &frozen);
        mem_fail_after(0);
        ck_assert_int_eq(status, frozen != NULL ? OMEN_OK : OMEN_E_NO_MEMORY);
        failures[0] += status != OMEN_OK;
    }
    const struct image_sink sink = image_table_sink(table);
    ck_assert_int_eq(fields_frozen_put(frozen, &sink), OMEN_OK);
    fields_frozen_close(frozen);

    const struct image_source source = image_table_source(table);
    fields_close(store.fields);
    omen_status status;
    for (uint64_t n = 1;; n++) {
        mem_fail_after(n);
        status = fields_load(&source, &store.fields);
        mem_fail_after(0);
        if (status == OMEN_OK)
            break;
        ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
        failures[1]++;
    }
    for (uint64_t n = 1;; n++) {
        struct filter_selection selection;
        mem_fail_after(n);
        status = filter_select(
            filter, &(const struct filter_rows){store.fields, store.payloads, store.slots, 0},
            &store.buffer, &selection);
        mem_fail_after(0);
        if (status == OMEN_OK) {
            ck_assert_uint_eq(selection.count, matches);
            break;
        }
        ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
        failures[2]++;
    }
    ck_assert(failures[0] >= 2 && failures[1] >= 7 && failures[2] >= 10);
    expect_random_filters_hold(&store, &prng, 30);
    filter_close(filter);
    image_table_close(table);
    store_close(&store);
}
END_TEST

// ---- threads ----

struct shared {
    struct store *store;
    struct filter *filters[FIELDS];
    _Atomic bool stop;
    _Atomic uint64_t selections;
};

static void *
select_always(void *context)
{
    struct shared *shared = context;
    struct filter_buffer buffer;
    filter_buffer_init(&buffer);
    for (uint32_t i = 0; !atomic_load(&shared->stop); i++) {
        struct filter_selection selection;
        const uint32_t ticket = epoch_enter(&shared->store->gate);
        if (filter_select(
                shared->filters[i % FIELDS],
                &(const struct filter_rows){shared->store->fields, shared->store->payloads, 300, 0},
                &buffer, &selection) != OMEN_OK)
            abort();
        epoch_leave(&shared->store->gate, ticket);
        atomic_fetch_add(&shared->selections, 1);
    }
    filter_buffer_fini(&buffer);
    return NULL;
}

static void *
load_always(void *context)
{
    struct shared *shared = context;
    while (fields_load_next(shared->store->fields) == OMEN_OK)
        ;
    return NULL;
}

START_TEST(filters_load_and_save_beside_a_writer_and_a_worker)
{
    static const char *const texts[FIELDS] = {"a > 0",  "b in ['a', 'ab']", "`not` <= 1",
                                              "`in x`", "exists(n.a)",      "n.b != '1'"};
    struct store store;
    struct shared shared = {.store = &store};
    struct prng prng;
    struct image_table *table = image_table_open();
    prng_init(&prng, 2);
    open_random(&store, &prng, 300);
    for (uint32_t i = 0; i < FIELDS; i++)
        shared.filters[i] = parse(texts[i]);
    for (int round = 0; round < 5; round++) {
        pthread_t threads[3];
        save(&store, store.slots, table);
        load(&store, table);
        atomic_store(&shared.stop, false);
        atomic_store(&shared.selections, 0);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, select_always, &shared), 0);
        ck_assert_int_eq(pthread_create(&threads[2], NULL, load_always, &shared), 0);
        do {
            (void)fields_bytes(store.fields);
            change_random(&store, &prng, 20);
            save(&store, store.slots, table);
        } while (atomic_load(&shared.selections) < 50);
        atomic_store(&shared.stop, true);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        expect_random_filters_hold(&store, &prng, 10);
    }
    for (uint32_t i = 0; i < FIELDS; i++)
        filter_close(shared.filters[i]);
    image_table_close(table);
    store_close(&store);
}
END_TEST

// ---- given up ----

static void
put_number(struct store *store, uint32_t slot)
{
    struct packer packer = {0};
    pack_byte(&packer, 0x81);
    pack_text(&packer, "n");
    pack_uint(&packer, slot);
    store_put(store, slot, &packer);
}

START_TEST(what_is_still_in_the_image_is_given_up_without_being_read)
{
    struct store store;
    struct image_table *table = image_table_open();
    store_open(&store, 200);
    store_field(&store, "n", FIELD_INTEGER);
    store_field(&store, "m", FIELD_INTEGER);
    for (uint32_t slot = 0; slot < 100; slot++)
        put_number(&store, slot);
    save(&store, store.slots, table);
    load(&store, table);
    fields_forget(store.fields, 7);
    struct field *taken = fields_take(store.fields, "n", 1);
    ck_assert_ptr_nonnull(taken);
    // Who found it before may ask for it to be loaded.
    ck_assert_int_eq(fields_settle(store.fields, taken), OMEN_OK);
    ck_assert(!fields_has(store.fields, "n", 1));
    ck_assert_ptr_null(fields_take(store.fields, "n", 1));
    field_close(taken);
    ck_assert_int_eq(fields_load_next(store.fields), OMEN_OK); // m
    ck_assert_int_eq(fields_load_next(store.fields), OMEN_E_NOT_FOUND);
    put_number(&store, 100);
    store_close(&store);
    image_table_close(table);
}
END_TEST

START_TEST(the_last_that_is_pending_takes_what_was_forgotten_with_it)
{
    struct store store;
    struct image_table *table = image_table_open();
    struct field_names names;
    store_open(&store, 200);
    store_field(&store, "n", FIELD_INTEGER);
    for (uint32_t slot = 0; slot < 100; slot++)
        put_number(&store, slot);
    save(&store, store.slots, table);
    load(&store, table);
    fields_names(store.fields, &names);
    ck_assert_uint_eq(names.count, 1);
    ck_assert_int_eq(names.list[0].type, FIELD_INTEGER);
    ck_assert_str_eq(names.list[0].name, "n");
    const size_t before = fields_bytes(store.fields);
    field_close(fields_take(store.fields, "n", 1));
    ck_assert_uint_lt(fields_bytes(store.fields), before);
    ck_assert_uint_eq(fields_count(store.fields), 0);
    fields_names(store.fields, &names);
    ck_assert_uint_eq(names.count, 0);
    store_close(&store);
    image_table_close(table);
}
END_TEST

static Suite *
fields_load_suite(void)
{
    Suite *suite = suite_create("shard/fields_load");
    TCase *trips = tcase_create("round trips");
    tcase_add_loop_test(trips, what_was_saved_answers_and_changes_as_before, 0, 8);
    tcase_add_loop_test(trips, what_was_loaded_is_saved_as_the_same_bytes, 0, 6);
    tcase_add_test(trips, numbers_that_are_far_apart_or_at_the_ends_come_back);
    tcase_add_test(trips, slots_from_rows_on_are_left_out);
    tcase_add_test(trips, dense_sets_take_a_bit_a_row_and_sparse_ones_a_byte_or_two_a_slot);
    suite_add_one_thread(suite, trips);
    TCase *late = tcase_create("late");
    tcase_add_test(late, loading_reads_names_and_types_and_the_rest_when_a_field_is_asked_for);
    tcase_add_loop_test(late, rows_taken_out_while_fields_are_pending_stay_out, 0, 3);
    tcase_add_loop_test(late, forgotten_slots_can_be_put_again_whatever_the_image_said_of_them, 0,
                        4);
    tcase_add_test(late, what_is_still_in_the_image_is_given_up_without_being_read);
    tcase_add_test(late, the_last_that_is_pending_takes_what_was_forgotten_with_it);
    suite_add_one_thread(suite, late);
    TCase *wrong = tcase_create("wrong");
    tcase_add_test(wrong, stream_that_ends_early_or_goes_on_is_corrupt);
    tcase_add_test(wrong, later_piece_that_is_missing_is_corrupt_for_its_fields_only);
    tcase_add_loop_test(wrong, flipped_bits_never_break_anything, 0, 4);
    tcase_add_test(wrong, newer_version_is_refused_as_such);
    tcase_add_test(wrong, sink_that_fails_ends_the_save_with_its_status);
    tcase_add_test(wrong, short_memory_is_said_and_the_next_try_succeeds);
    suite_add_one_thread(suite, wrong);
    TCase *threads = tcase_create("threads");
    tcase_add_test(threads, filters_load_and_save_beside_a_writer_and_a_worker);
    suite_add_tcase(suite, threads);
    return suite;
}

CHECK_MAIN(fields_load_suite)
