// tests/unit/shard/test_filter_plan.c -- selections by index held to matching every payload, and
// batches of fields.
//
// Labels: tsan
#include "shard/filter_plan.h"

#include <pthread.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "shard/fields_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/field_store.h"

START_TEST(selections_hold_every_slot_whose_payload_matches_and_no_other)
{
    // _i: which of the six fields are indexed. Slots come, change and go meanwhile.
    struct store store;
    struct prng prng;
    prng_init(&prng, (uint64_t)_i + 5);
    store_open(&store, 1000);
    const uint32_t indexed = _i < 2 ? (_i == 0 ? 0 : 63) : prng_below(&prng, 64);
    for (uint32_t field = 0; field < 6; field += 2)
        if (indexed >> field & 1)
            store_field(&store, model_names[field], random_types[field]);
    for (uint32_t slot = 0; slot < 300; slot++)
        put_random(&store, &prng, slot);
    for (uint32_t field = 1; field < 6; field += 2) // these are filled from what is there
        if (indexed >> field & 1)
            store_field(&store, model_names[field], random_types[field]);
    expect_random_filters_hold(&store, &prng, 60);
    for (int change = 0; change < 400; change++) {
        const uint32_t slot = prng_below(&prng, store.slots + 1);
        if (prng_below(&prng, 3) == 0 && slot < store.slots)
            store_remove(&store, slot);
        else
            put_random(&store, &prng, slot);
    }
    expect_random_filters_hold(&store, &prng, 100);
    store_close(&store);
}
END_TEST

START_TEST(index_on_a_field_never_changes_an_answer)
{
    // _i: the field that is indexed in one of two stores, on its own.
    struct store with, without;
    struct prng prng, same;
    prng_init(&prng, (uint64_t)_i);
    prng_init(&same, (uint64_t)_i);
    store_open(&with, 400);
    store_open(&without, 400);
    store_field(&with, model_names[_i], random_types[_i]);
    for (uint32_t slot = 0; slot < 400; slot++) {
        put_random(&with, &prng, slot);
        put_random(&without, &same, slot);
    }
    uint32_t some = 0, answered = 0;
    for (int round = 0; round < 2000; round++) {
        static struct model_text text;
        text.count = 0;
        struct model_filter *model = model_filter_draw(&prng, draw_asked, (uint32_t)round % 2);
        if (model->child_count == 0)
            model->field = (uint32_t)_i;
        model_say_filter(&text, &prng, model);
        text.bytes[text.count] = '\0';
        struct filter *filter = parse(text.bytes);
        const struct filter_selection a = store_select(&with, filter);
        const struct filter_selection b = store_select(&without, filter);
        ck_assert_msg(a.count == b.count && memcmp(a.allowed.words, b.allowed.words,
                                                   bitmap_words(400) * sizeof(uint64_t)) == 0,
                      "%s: %u with an index, %u without", text.bytes, a.count, b.count);
        ck_assert(b.scanned);
        some += b.count > 0 && b.count < 400;
        answered += !a.scanned;
        filter_close(filter);
        model_filter_free(model);
    }
    ck_assert_uint_gt(some, 300);
    ck_assert_uint_gt(answered, 500);
    store_close(&with);
    store_close(&without);
}
END_TEST

// ---- directed ----

static void
put_text(struct store *store, uint32_t slot, const char *field, const char *text)
{
    struct packer packer = {.count = 0};
    pack_map(&packer, 1);
    pack_text(&packer, field);
    pack_text(&packer, text);
    store_put(store, slot, &packer);
}

static void
expect_slots(struct store *store, const char *text, uint64_t expected, bool scanned)
{
    struct filter *filter = parse(text);
    const struct filter_selection selection = store_select(store, filter);
    ck_assert_msg(selection.allowed.words[0] == expected, "%s: %llx", text,
                  (unsigned long long)selection.allowed.words[0]);
    ck_assert_msg(selection.scanned == scanned, "%s", text);
    filter_close(filter);
}

START_TEST(times_and_uuids_compare_whatever_their_spelling_indexed_or_not)
{
    struct store store;
    struct packer packer = {.count = 0};
    store_open(&store, 64);
    put_text(&store, 0, "t", "2024-05-01T12:00:00Z");
    put_text(&store, 1, "t", "2024-05-01T14:00:00+02:00");
    put_text(&store, 2, "t", "2024-05-01T12:00:00.5Z");
    pack_map(&packer, 1);
    pack_text(&packer, "t");
    pack_time(&packer, 1714564800, 0);
    store_put(&store, 3, &packer);
    put_text(&store, 4, "u", "00112233-4455-6677-8899-AABBCCDDEEFF");
    put_text(&store, 5, "u", "00112233445566778899aabbccddeeff");

    expect_slots(&store, "t = '2024-05-01T12:00:00Z'", 0xb, true);
    expect_slots(&store, "t = time('2024-05-01T12:00:00Z')", 0xb, true);
    expect_slots(&store, "u = '00112233445566778899AABBCCDDEEFF'", 0x30, true);
    store_field(&store, "t", FIELD_DATETIME);
    store_field(&store, "u", FIELD_UUID);
    expect_slots(&store, "t = '2024-05-01T12:00:00Z'", 0xb, false);
    expect_slots(&store, "t = time('2024-05-01T13:00:00+01:00')", 0xb, false);
    expect_slots(&store, "t > '2024-05-01T12:00:00Z'", 0x4, false);
    expect_slots(&store, "t >= '2024-05-01' and t < '2024-05-02'", 0xf, false);
    expect_slots(&store, "t = 'soon'", 0, false);
    expect_slots(&store, "t prefix '2024-05-01T12'", 0x5, true);
    expect_slots(&store, "u = '00112233-4455-6677-8899-aabbccddeeff'", 0x30, false);
    expect_slots(&store, "u = 3 or not exists(t)", 0x30, false);
    store_close(&store);
}
END_TEST

START_TEST(deadline_that_has_passed_lets_nothing_in_that_does_not_belong)
{
    static const char *const scanned[] = {"x = 1", "not x = 1", "a = 1 or not x = 1",
                                          "not (a = 1 and x = 1)", "x != 1 and (a = 2 or y = 3)"};
    struct store store;
    struct prng prng;
    struct filter_selection selection;
    prng_init(&prng, 3);
    store_open(&store, 1000);
    store_field(&store, "a", FIELD_INTEGER);
    for (uint32_t slot = 0; slot < 1000; slot++)
        put_random(&store, &prng, slot);
    const struct filter_rows rows = {store.fields, store.payloads, store.slots, 1};
    for (size_t i = 0; i < sizeof scanned / sizeof scanned[0]; i++) {
        struct filter *filter = parse(scanned[i]);
        ck_assert_int_eq(filter_select(filter, &rows, &store.buffer, &selection), OMEN_OK);
        ck_assert(selection.cut && selection.scanned);
        ck_assert_uint_eq(selection.count, 0);
        ck_assert_uint_eq(bitmap_population(&selection.allowed), 0);
        filter_close(filter);
    }
    struct filter *indexed = parse("not a = 1");
    const uint32_t count = store_select(&store, indexed).count;
    ck_assert_int_eq(filter_select(indexed, &rows, &store.buffer, &selection), OMEN_OK);
    ck_assert(!selection.cut && !selection.scanned);
    ck_assert_uint_eq(selection.count, count);
    filter_close(indexed);
    store_close(&store);
}
END_TEST

START_TEST(deadline_that_comes_meanwhile_leaves_the_first_slots_right)
{
    struct store store;
    struct prng prng;
    uint32_t cuts = 0;
    prng_init(&prng, 4);
    store_open(&store, 1000);
    for (uint32_t field = 0; field < 6; field += 2)
        store_field(&store, model_names[field], random_types[field]);
    for (uint32_t slot = 0; slot < 1000; slot++)
        put_random(&store, &prng, slot);
    for (int round = 0; round < 300; round++) {
        static struct model_text text;
        text.count = 0;
        struct model_filter *model = model_filter_draw(&prng, draw_asked, 3);
        model_say_filter(&text, &prng, model);
        text.bytes[text.count] = '\0';
        struct filter *filter = parse(text.bytes);
        struct filter_selection selection;
        const struct filter_rows rows = {store.fields, store.payloads, store.slots,
                                         os_clock_ns() + prng_below(&prng, 100000)};
        ck_assert_int_eq(filter_select(filter, &rows, &store.buffer, &selection), OMEN_OK);
        cuts += selection.cut;
        bool ended = false; // from one slot on there is nothing
        for (uint32_t slot = 0; slot < store.slots; slot++) {
            size_t bytes;
            const void *payload = payloads_get(store.payloads, slot, &bytes);
            const bool expected = filter_match(filter, payload, bytes);
            const bool there = bitmap_test(&selection.allowed, slot);
            ended = ended || (expected && !there);
            if (there != (expected && !ended) || (ended && !selection.cut))
                ck_abort_msg("slot %u: %d: %s", slot, there, text.bytes);
        }
        filter_close(filter);
        model_filter_free(model);
    }
    ck_assert_uint_gt(cuts, 0);
    store_close(&store);
}
END_TEST

START_TEST(two_bounds_are_one_range_only_while_no_slot_has_two_values)
{
    struct store store;
    store_open(&store, 64);
    store_field(&store, "n", FIELD_INTEGER);
    for (uint32_t slot = 0; slot < 5; slot++) {
        struct packer packer = {.count = 0};
        pack_map(&packer, 1);
        pack_text(&packer, "n");
        pack_int(&packer, slot * 10);
        store_put(&store, slot, &packer);
    }
    expect_slots(&store, "n > 5 and n < 30", 0x6, false);
    expect_slots(&store, "n >= 10 and n > 10 and n <= 30 and n < 31 and exists(n)", 0xc, false);
    expect_slots(&store, "n > 20 and n < 20", 0, false);
    expect_slots(&store, "n > 10 and n < 'x'", 0, false);
    struct packer packer = {.count = 0};
    pack_map(&packer, 1);
    pack_text(&packer, "n");
    pack_array(&packer, 2);
    pack_int(&packer, 0);
    pack_int(&packer, 100);
    store_put(&store, 5, &packer);
    expect_slots(&store, "n > 5 and n < 30", 0x26, false);
    store_remove(&store, 5);
    expect_slots(&store, "n > 5 and n < 30", 0x6, false);
    store_close(&store);
}
END_TEST

START_TEST(no_slots_and_no_payloads_are_fine)
{
    struct store store;
    store_open(&store, 64);
    store_field(&store, "n", FIELD_INTEGER);
    struct filter *filter = parse("n = 1 or m != 2");
    const struct filter_selection selection = store_select(&store, filter);
    ck_assert_uint_eq(selection.count, 0);
    ck_assert(selection.scanned);
    struct filter_selection other;
    ck_assert_int_eq(filter_select(filter, &(const struct filter_rows){store.fields, NULL, 70, 0},
                                   &store.buffer, &other),
                     OMEN_OK);
    ck_assert_uint_eq(other.count, 70);
    filter_close(filter);
    store_close(&store);
}
END_TEST

START_TEST(wrong_types_are_refused_with_row_field_and_kind)
{
    struct store store;
    struct omen_error error;
    struct packer packer = {.count = 0};
    store_open(&store, 64);
    store_field(&store, "a.b", FIELD_INTEGER);
    pack_map(&packer, 1);
    pack_text(&packer, "a");
    pack_map(&packer, 1);
    pack_text(&packer, "b");
    pack_array(&packer, 2);
    pack_int(&packer, 1);
    pack_text(&packer, "x");
    ck_assert_int_eq(fields_check(store.fields, packer.bytes, packer.count, 7, &error),
                     OMEN_E_FIELD_TYPE);
    ck_assert_str_eq(error.text,
                     "row 7: field \"a.b\" is indexed as integer, but the value is string");
    ck_assert_int_eq(fields_check(store.fields, NULL, 0, 0, &error), OMEN_OK);

    put_text(&store, 0, "when", "2024-05-01");
    put_text(&store, 1, "when", "yesterday");
    const struct field_spec when = {"when", 4, FIELD_DATETIME};
    uint32_t bad = 0;
    ck_assert_int_eq(fields_declare(store.fields, &when, store.payloads, 2, &bad, &error),
                     OMEN_E_FIELD_TYPE);
    ck_assert_uint_eq(bad, 1);
    ck_assert_uint_eq(fields_count(store.fields), 1);
    store_close(&store);
}
END_TEST

START_TEST(declaring_is_idempotent_typed_and_limited)
{
    struct store store;
    struct omen_error error;
    uint32_t bad;
    store_open(&store, 64);
    for (uint32_t i = 0; i < FIELDS_MAX; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "f%u", i);
        store_field(&store, name, FIELD_KEYWORD);
        store_field(&store, name, FIELD_KEYWORD);
    }
    ck_assert_uint_eq(fields_count(store.fields), FIELDS_MAX);
    const struct field_spec other = {"f1", 2, FIELD_BOOL};
    ck_assert_int_eq(fields_declare(store.fields, &other, NULL, 0, &bad, &error), OMEN_E_EXISTS);
    ck_assert_ptr_nonnull(strstr(error.text, "\"f1\" is indexed as keyword already"));
    const struct field_spec more = {"more", 4, FIELD_BOOL};
    ck_assert_int_eq(fields_declare(store.fields, &more, NULL, 0, &bad, &error), OMEN_E_FULL);
    const struct field_spec unnamed = {"", 0, FIELD_BOOL};
    ck_assert_int_eq(fields_declare(store.fields, &unnamed, NULL, 0, &bad, &error), OMEN_E_INVALID);
    const struct field_spec untyped = {"x", 1, (enum field_type)7};
    ck_assert_int_eq(fields_declare(store.fields, &untyped, NULL, 0, &bad, &error), OMEN_E_INVALID);
    struct field_spec spec;
    fields_spec(store.fields, 3, &spec);
    ck_assert(spec.name_bytes == 2 && memcmp(spec.name, "f3", 2) == 0 &&
              spec.type == FIELD_KEYWORD);
    store_close(&store);
}
END_TEST

#define BATCH 40u

START_TEST(batch_that_runs_out_of_memory_leaves_every_answer_and_byte_as_it_was)
{
    static struct packer packers[BATCH];
    const void *payloads[BATCH];
    size_t bytes[BATCH];
    struct store store;
    struct prng prng;
    prng_init(&prng, 21);
    store_open(&store, 1000);
    for (uint32_t field = 0; field < 6; field++)
        store_field(&store, model_names[field], random_types[field]);
    for (uint32_t slot = 0; slot < 100; slot++)
        put_random(&store, &prng, slot);
    for (uint32_t i = 0; i < BATCH; i++) {
        struct model_payload payload;
        model_payload_draw(&prng, draw_typed, &payload);
        packers[i].count = 0;
        pack_payload(&packers[i], &payload);
        payloads[i] = packers[i].bytes;
        bytes[i] = packers[i].count;
    }
    const struct field_rows rows = {
        .count = BATCH, .first_slot = 100, .payloads = payloads, .bytes = bytes};
    uint32_t failures = 0;
    for (uint64_t n = 1;; n++) {
        mem_fail_after(n);
        const omen_status status = fields_reserve(store.fields, &rows);
        mem_fail_after(0);
        if (status == OMEN_OK)
            break;
        ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
        failures++;
        expect_random_filters_hold(&store, &prng, 3);
    }
    ck_assert_uint_gt(failures, 3);
    fields_cancel(store.fields, &rows);
    expect_random_filters_hold(&store, &prng, 20);

    ck_assert_int_eq(fields_reserve(store.fields, &rows), OMEN_OK);
    mem_fail_after(1);
    fields_put(store.fields, &rows);
    ck_assert_uint_eq(mem_refused(), 0);
    mem_fail_after(0);
    const struct payload_room room = {100 + BATCH, BATCH, (uint64_t)BATCH * PAYLOAD_BYTES_MAX};
    ck_assert_int_eq(payloads_reserve(store.payloads, &room), OMEN_OK);
    for (uint32_t i = 0; i < BATCH; i++)
        payloads_set(store.payloads, 100 + i, payloads[i], bytes[i]);
    store.slots = 100 + BATCH;
    expect_random_filters_hold(&store, &prng, 50);
    for (uint32_t slot = 0; slot < store.slots; slot++)
        store_remove(&store, slot);
    ck_assert_uint_lt(fields_bytes(store.fields), 40000);
    store_close(&store);
}
END_TEST

START_TEST(failing_allocations_of_opening_declaring_and_selecting_are_reported)
{
    struct filter *filter = parse("(a = 1 or b = 2) and not (c = 3 or a > 4)");
    for (uint64_t n = 1;; n++) {
        struct fields *fields = NULL;
        struct filter_buffer buffer;
        struct filter_selection selection;
        const struct field_spec spec = {"a", 1, FIELD_INTEGER};
        uint32_t bad;
        filter_buffer_init(&buffer);
        mem_fail_after(n);
        omen_status status = fields_open(&fields);
        if (status == OMEN_OK)
            status = fields_declare(fields, &spec, NULL, 0, &bad, NULL);
        if (status == OMEN_OK)
            status = filter_select(filter, &(const struct filter_rows){fields, NULL, 100, 0},
                                   &buffer, &selection);
        const uint64_t refused = mem_refused();
        mem_fail_after(0);
        ck_assert_int_eq(status, refused > 0 ? OMEN_E_NO_MEMORY : OMEN_OK);
        filter_buffer_fini(&buffer);
        fields_close(fields);
        if (refused == 0)
            break;
    }
    filter_close(filter);
}
END_TEST

// ---- readers beside the writer ----

struct shared {
    struct store store;
    uint32_t slots;
    const struct filter *filter;
    _Atomic bool stop;
    _Atomic uint64_t selections;
};

// Every row is {n: i, even: i is even} or {n: i, even: i lies in the range}, so these filters let nothing through, whatever
// is put or removed meanwhile. The second asks for so much that a column is made, kept up to date and made anew.
static const struct {
    const char *filter;
    uint32_t slots, below, puts;
} beside[2] = {
    {"(n in [0, 2, 4, 6, 8] and even != true) or (n in [1, 3, 5, 7, 9] and even)", 2000, 10, 500},
    {"n >= 2000 and n < 8000 and even != true", 8000, 10000, 16000},
};

static bool
even_of(int which, uint32_t n)
{
    return which == 0 ? n % 2 == 0 : n >= 2000 && n < 8000;
}

static void
select_nothing(struct shared *shared, struct filter_buffer *buffer)
{
    struct filter_selection selection;
    const struct filter_rows rows = {shared->store.fields, shared->store.payloads, shared->slots,
                                     0};
    const uint32_t ticket = epoch_enter(&shared->store.gate);
    if (filter_select(shared->filter, &rows, buffer, &selection) != OMEN_OK || selection.count != 0)
        abort();
    epoch_leave(&shared->store.gate, ticket);
    atomic_fetch_add(&shared->selections, 1);
}

static void *
select_always(void *context)
{
    struct shared *shared = context;
    struct filter_buffer buffer;
    filter_buffer_init(&buffer);
    while (!atomic_load(&shared->stop))
        select_nothing(shared, &buffer);
    filter_buffer_fini(&buffer);
    return NULL;
}

static void
put_or_remove(struct store *store, struct prng *prng, int which)
{
    const uint32_t slot = prng_below(prng, beside[which].slots);
    const uint32_t n = prng_below(prng, beside[which].below);
    struct packer packer = {.count = 0};
    if (prng_below(prng, 5) == 0 && slot < store->slots) {
        store_remove(store, slot);
        return;
    }
    pack_map(&packer, 2);
    pack_text(&packer, "n");
    pack_int(&packer, n);
    pack_text(&packer, "even");
    pack_bool(&packer, even_of(which, n));
    store_put(store, slot, &packer);
}

START_TEST(readers_beside_a_writer_judge_rows_whole)
{
    static struct shared shared;
    pthread_t readers[2];
    struct prng prng;
    prng_init(&prng, 2);
    shared.slots = beside[_i].slots;
    store_open(&shared.store, shared.slots);
    store_field(&shared.store, "n", FIELD_INTEGER);
    store_field(&shared.store, "even", FIELD_BOOL);
    struct filter *filter = parse(beside[_i].filter);
    shared.filter = filter;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, select_always, &shared), 0);
    do {
        for (uint32_t i = 0; i < beside[_i].puts; i++)
            put_or_remove(&shared.store, &prng, _i);
    } while (atomic_load(&shared.selections) < 200);
    atomic_store(&shared.stop, true);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(readers[i], NULL), 0);
    select_nothing(&shared, &shared.store.buffer);
    ck_assert((atomic_load(&fields_find(shared.store.fields, "n", 1)->column) != NULL) ==
              (_i == 1));
    filter_close(filter);
    store_close(&shared.store);
}
END_TEST

static Suite *
filter_plan_suite(void)
{
    Suite *suite = suite_create("shard/filter_plan");
    TCase *selecting = tcase_create("selecting");
    tcase_add_loop_test(selecting, selections_hold_every_slot_whose_payload_matches_and_no_other, 0,
                        12);
    tcase_add_test(selecting, times_and_uuids_compare_whatever_their_spelling_indexed_or_not);
    tcase_add_loop_test(selecting, index_on_a_field_never_changes_an_answer, 0, 6);
    tcase_add_test(selecting, deadline_that_has_passed_lets_nothing_in_that_does_not_belong);
    tcase_add_test(selecting, deadline_that_comes_meanwhile_leaves_the_first_slots_right);
    tcase_add_test(selecting, two_bounds_are_one_range_only_while_no_slot_has_two_values);
    tcase_add_test(selecting, no_slots_and_no_payloads_are_fine);
    suite_add_one_thread(suite, selecting);
    TCase *fields = tcase_create("fields");
    tcase_add_test(fields, wrong_types_are_refused_with_row_field_and_kind);
    tcase_add_test(fields, declaring_is_idempotent_typed_and_limited);
    tcase_add_test(fields, batch_that_runs_out_of_memory_leaves_every_answer_and_byte_as_it_was);
    tcase_add_test(fields, failing_allocations_of_opening_declaring_and_selecting_are_reported);
    suite_add_one_thread(suite, fields);
    TCase *threads = tcase_create("threads");
    tcase_add_loop_test(threads, readers_beside_a_writer_judge_rows_whole, 0, 2);
    suite_add_tcase(suite, threads);
    return suite;
}

CHECK_MAIN(filter_plan_suite)
