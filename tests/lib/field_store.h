// tests/lib/field_store.h -- payloads with field indexes as the shard keeps them, random ones, and filters held to them.
//
// Shape: value. Header only, because tests/lib/*.c is linked into tests that have no shard.
#ifndef OMEN_TESTS_FIELD_STORE_H
#define OMEN_TESTS_FIELD_STORE_H
#include <check.h>

#include "base/limits.h"
#include "shard/filter_plan.h"
#include "tests/lib/random_filter.h"

struct store {
    struct epoch gate;
    struct payloads *payloads;
    struct fields *fields;
    struct filter_buffer buffer;
    uint32_t slots;
};

static inline void
store_open(struct store *store, uint32_t slots_max)
{
    *store = (struct store){0};
    epoch_init(&store->gate);
    ck_assert_int_eq(payloads_open(slots_max, &store->gate, &store->payloads), OMEN_OK);
    ck_assert_int_eq(fields_open(&store->fields), OMEN_OK);
    filter_buffer_init(&store->buffer);
}

static inline void
store_close(struct store *store)
{
    filter_buffer_fini(&store->buffer);
    fields_close(store->fields);
    payloads_close(store->payloads);
    epoch_fini(&store->gate);
}

static inline void
store_field(struct store *store, const char *name, enum field_type type)
{
    const struct field_spec spec = {name, strlen(name), type};
    uint32_t bad;
    ck_assert_int_eq(
        fields_declare(store->fields, &spec, store->payloads, store->slots, &bad, NULL), OMEN_OK);
}

static inline struct field_rows
one_row(uint32_t slot, const void *const *payload, const size_t *bytes)
{
    return (struct field_rows){.count = 1, .first_slot = slot, .payloads = payload, .bytes = bytes};
}

// What the shard does for one row: check, reserve, put; `slot` may hold a payload already.
static inline void
store_put(struct store *store, uint32_t slot, const struct packer *packer)
{
    const void *payload = packer->bytes;
    struct field_rows rows = one_row(slot, &payload, &packer->count);
    size_t old_bytes;
    const void *old = payloads_get(store->payloads, slot, &old_bytes);
    rows.old = &old;
    rows.old_bytes = &old_bytes;
    struct omen_error error;
    const struct payload_room room = {slot + 1, 1, packer->count};
    if (fields_check(store->fields, payload, packer->count, slot, &error) != OMEN_OK)
        ck_abort_msg("%s", error.text);
    if (payloads_reserve(store->payloads, &room) != OMEN_OK ||
        fields_reserve(store->fields, &rows) != OMEN_OK)
        ck_abort_msg("no memory");
    fields_put(store->fields, &rows);
    payloads_set(store->payloads, slot, packer->bytes, packer->count);
    if (store->slots <= slot)
        store->slots = slot + 1;
}

static inline void
store_remove(struct store *store, uint32_t slot)
{
    size_t bytes;
    const void *payload = payloads_get(store->payloads, slot, &bytes);
    fields_remove(store->fields, slot, payload, bytes);
    payloads_clear(store->payloads, slot);
}

static inline struct filter_selection
store_select(struct store *store, const struct filter *filter)
{
    struct filter_selection selection;
    const struct filter_rows rows = {store->fields, store->payloads, store->slots, 0};
    ck_assert_int_eq(filter_select(filter, &rows, &store->buffer, &selection), OMEN_OK);
    return selection;
}

static inline struct filter *
parse(const char *text)
{
    struct filter *filter;
    struct omen_error error;
    ck_assert_msg(filter_parse_text(text, strlen(text), &filter, &error) == OMEN_OK, "%s: %s", text,
                  error.text);
    return filter;
}

// ---- random ----

// Values that fit the type which the field may be indexed as, some of them in several spellings.
static inline struct value
draw_typed(struct prng *prng, uint32_t field)
{
    static const char *const keywords[] = {"a",
                                           "ab",
                                           "abc",
                                           "b",
                                           "",
                                           "Oslo",
                                           "Osl",
                                           "2024-05-01",
                                           "soon",
                                           "2024",
                                           "00000000-0000-0000-0000-00000000000A",
                                           "2024-05-02T00:30:00+01:00"};
    static const char *const times[] = {
        "2024-05-01T12:00:00Z",      "2024-05-01T12:00:01Z", "1999-12-31T23:59:59Z",
        "2024-05-01T14:00:00+02:00", "2024-05-01",           "2024-04-30T23:00:00-01:00",
        "2024-05-01t12:00:00.5z",    "0000-01-01",           "9999-12-31T23:59:60Z"};
    static const char *const uuids[] = {
        "00000000-0000-0000-0000-00000000000a", "0000000000000000000000000000000A",
        "ffffFFFF-0000-0000-0000-000000000001", "FFFFFFFF000000000000000000000001",
        "00000000-0000-0000-0000-000000000002"};
    struct value value = {.kind = VALUE_STRING};
    const uint32_t draw = prng_below(prng, 7);
    if (draw == 0 && prng_below(prng, 3) == 0)
        return (struct value){.kind = VALUE_NULL};
    switch (field) {
    case 0:
        return (struct value){.kind = VALUE_INT, .integer = (int64_t)draw - 3};
    case 1:
        value.string.bytes = prng_below(prng, 3) > 0 ? keywords[prng_below(prng, 12)]
                             : draw < 3              ? times[prng_below(prng, 9)]
                                                     : uuids[prng_below(prng, 5)];
        break;
    case 2:
        return draw < 5 ? (struct value){.kind = VALUE_FLOAT, .number = (double)draw / 2}
                        : (struct value){.kind = VALUE_INT, .integer = draw - 4};
    case 3:
        return (struct value){.kind = VALUE_BOOL, .boolean = draw % 2 != 0};
    case 4:
        if (draw == 1)
            return (struct value){.kind = VALUE_TIME, .time = {1714564800, 0}};
        value.string.bytes = times[prng_below(prng, 9)];
        break;
    case 5:
        value.string.bytes = uuids[prng_below(prng, 5)];
        break;
    default:
        return model_value(prng);
    }
    value.string.length = (uint32_t)strlen(value.string.bytes);
    return value;
}

// Values to ask for: those, values of other fields, and values of other kinds, which mostly match nothing.
static inline struct value
draw_asked(struct prng *prng, uint32_t field)
{
    const uint32_t draw = prng_below(prng, 8);
    return draw == 0   ? model_value(prng)
           : draw == 1 ? draw_typed(prng, prng_below(prng, 8))
                       : draw_typed(prng, field);
}

static const enum field_type random_types[] = {FIELD_INTEGER, FIELD_KEYWORD,  FIELD_FLOAT,
                                               FIELD_BOOL,    FIELD_DATETIME, FIELD_UUID};

static inline void
put_random(struct store *store, struct prng *prng, uint32_t slot)
{
    static struct packer packer;
    struct model_payload payload;
    model_payload_draw(prng, draw_typed, &payload);
    packer.count = 0;
    pack_payload(&packer, &payload);
    store_put(store, slot, &packer);
}

static inline void
expect_random_filters_hold(struct store *store, struct prng *prng, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        static struct model_text text;
        text.count = 0;
        struct model_filter *model = model_filter_draw(prng, draw_asked, 3);
        model_say_filter(&text, prng, model);
        text.bytes[text.count] = '\0';
        struct filter *filter = parse(text.bytes);
        const struct filter_selection selection = store_select(store, filter);
        uint32_t count = 0;
        for (uint32_t slot = 0; slot < store->slots; slot++) {
            size_t bytes;
            const void *payload = payloads_get(store->payloads, slot, &bytes);
            const bool expected = filter_match(filter, payload, bytes);
            if (bitmap_test(&selection.allowed, slot) != expected)
                ck_abort_msg("slot %u should be %d: %s", slot, expected, text.bytes);
            count += expected;
        }
        ck_assert_uint_eq(selection.count, count);
        ck_assert_uint_eq(bitmap_population(&selection.allowed), count);
        filter_close(filter);
        model_filter_free(model);
    }
}

#endif
