// tests/lib/wire_random.h -- structs of wire/shape.h by their tables: filled at random, compared, and gone through.
//
// Shape: value. Lists are made in the form of items and read in the packed form; the comparison takes both.
#ifndef OMEN_TESTS_WIRE_RANDOM_H
#define OMEN_TESTS_WIRE_RANDOM_H
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/prng.h"
#include "wire/shape_int.h"

struct wire_pool { // what the structs point to
    _Alignas(16) uint8_t bytes[1 << 18];
    size_t used;
};

static inline void *
pool_take(struct wire_pool *pool, size_t bytes)
{
    void *at = pool->bytes + pool->used;
    ASSERT(bytes <= sizeof pool->bytes - pool->used);
    pool->used += (bytes + 15) & ~(size_t)15;
    return memset(at, 0, bytes);
}

// Often at a limit.
static inline uint64_t
random_within(struct prng *prng, uint64_t least, uint64_t most)
{
    const uint64_t span = most - least + 1;
    switch (prng_below(prng, 4)) {
    case 0:
        return least;
    case 1:
        return most;
    default:
        return span == 0 ? prng_next(prng) : least + prng_next(prng) % span;
    }
}

static inline struct wire_text
random_text(struct prng *prng, struct wire_pool *pool, uint64_t least, uint64_t most)
{
    static const char names[] = "abcXYZ019_-";
    const uint64_t cap = most < least + 40 ? most : least + 40;
    const uint32_t count = (uint32_t)random_within(prng, least, cap);
    char *bytes = pool_take(pool, count + 1);
    for (uint32_t i = 0; i < count; i++)
        bytes[i] = names[prng_below(prng, sizeof names - 1)];
    return (struct wire_text){bytes, count};
}

static inline struct wire_bytes
random_bytes(struct prng *prng, struct wire_pool *pool, uint32_t count)
{
    uint8_t *bytes = pool_take(pool, count);
    for (uint32_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)prng_next(prng);
    return (struct wire_bytes){bytes, count};
}

// {"n": i, "t": [text, nil]}
static inline struct wire_bytes
random_map(struct prng *prng, struct wire_pool *pool)
{
    struct encode encode;
    encode_init(&encode, 4096);
    encode_map(&encode, 2);
    encode_word(&encode, "n");
    encode_u64(&encode, prng_next(prng) >> prng_below(prng, 64));
    encode_word(&encode, "t");
    encode_array(&encode, 2);
    encode_text(&encode, random_text(prng, pool, 0, 100));
    encode_nil(&encode);
    uint8_t *bytes = pool_take(pool, encode.count);
    memcpy(bytes, encode.bytes, encode.count);
    const uint32_t count = (uint32_t)encode.count;
    encode_fini(&encode);
    return (struct wire_bytes){bytes, count};
}

static inline struct wire_id
random_id(struct prng *prng, struct wire_pool *pool)
{
    if (prng_below(prng, 2) == 0)
        return (struct wire_id){.number = random_within(prng, 0, ID_MAX), .given = 1};
    const struct wire_text text = random_text(prng, pool, 1, ID_TEXT_BYTES_MAX);
    return (struct wire_id){.text = text.bytes, .text_bytes = text.count, .given = 1};
}

static inline struct wire_vectors
random_vector(struct prng *prng, struct wire_pool *pool, uint32_t vectors)
{
    const uint8_t dtype = (uint8_t)(1 + prng_below(prng, 5));
    const uint32_t count = vectors * (1 + prng_below(prng, 9));
    return (struct wire_vectors){
        .form = VECTORS_RAW,
        .dtype = dtype,
        .count = count,
        .bytes = random_bytes(prng, pool, count * (uint32_t)wire_dtype_bytes(dtype))};
}

static inline uint32_t
count_words(const struct field *field)
{
    uint32_t count = 0;
    while (field->words[count] != NULL)
        count++;
    return count;
}

static inline void random_struct(struct prng *prng, struct wire_pool *pool,
                                 const struct shape *shape, void *out);

static inline void
random_item(struct prng *prng, struct wire_pool *pool, const struct field *field, void *out)
{
    switch ((enum field_kind)field->kind) {
    case FIELD_LIST:
        if (field->shape->absent > 0 && prng_below(prng, 4) == 0)
            ((uint8_t *)out)[field->shape->absent] = 1;
        else
            random_struct(prng, pool, field->shape, out);
        return;
    case FIELD_IDS:
        *(struct wire_id *)out = random_id(prng, pool);
        return;
    case FIELD_TEXTS:
        *(struct wire_text *)out = random_text(prng, pool, 1, 255);
        return;
    case FIELD_PAYLOADS:
        if (prng_below(prng, 3) > 0)
            *(struct wire_bytes *)out = random_map(prng, pool);
        return;
    default:
        *(struct wire_token *)out =
            (struct wire_token){.shard = random_within(prng, 1, UINT64_MAX / 4),
                                .term = random_within(prng, 0, WIRE_STATE_MAX),
                                .seq = random_within(prng, 0, WIRE_STATE_MAX)};
    }
}

static inline struct wire_list
random_list(struct prng *prng, struct wire_pool *pool, const struct field *field)
{
    const uint64_t most = field->most < field->least + 3 ? field->most : field->least + 3;
    struct wire_list list = {.count = (uint32_t)random_within(prng, field->least, most)};
    const size_t bytes = field_item_bytes(field);
    uint8_t *items = pool_take(pool, list.count * bytes);
    for (uint32_t i = 0; i < list.count; i++)
        random_item(prng, pool, field, items + i * bytes);
    list.items = items;
    return list;
}

static inline struct wire_filter
random_filter(struct prng *prng, struct wire_pool *pool)
{
    const struct wire_text text = random_text(prng, pool, 1, 99);
    if (prng_below(prng, 2) == 0)
        return (struct wire_filter){FILTER_FORM_TEXT, {(const uint8_t *)text.bytes, text.count}};
    return (struct wire_filter){FILTER_FORM_MAP, random_map(prng, pool)};
}

static inline bool
random_number(struct prng *prng, const struct field *field, void *at)
{
    const uint64_t number = random_within(prng, field->least, field->most);
    switch ((enum field_kind)field->kind) {
    case FIELD_BOOL:
        *(uint8_t *)at = (uint8_t)prng_below(prng, 2);
        return true;
    case FIELD_U32:
        *(uint32_t *)at = (uint32_t)number;
        return true;
    case FIELD_U64:
        *(uint64_t *)at = number;
        return true;
    case FIELD_MAYBE:
        *(struct wire_maybe *)at = (struct wire_maybe){number, 1};
        return true;
    default:
        return false;
    }
}

static inline void
random_field(struct prng *prng, struct wire_pool *pool, const struct field *field, void *at)
{
    if (random_number(prng, field, at))
        return;
    switch ((enum field_kind)field->kind) {
    case FIELD_I64:
        *(int64_t *)at = (int64_t)prng_next(prng);
        return;
    case FIELD_REAL:
        *(double *)at =
            (double)prng_below(prng, 1000) / 1000 * (field->most != 0 ? (double)field->most : -1e6);
        return;
    case FIELD_FLOAT:
        *(float *)at = (float)prng_below(prng, 1000) / 8;
        return;
    case FIELD_TEXT:
        *(struct wire_text *)at = random_text(prng, pool, field->least, field->most);
        return;
    case FIELD_NAME:
        *(struct wire_text *)at = random_text(prng, pool, 1, WIRE_NAME_BYTES_MAX);
        return;
    case FIELD_BYTES:
        *(struct wire_bytes *)at =
            random_bytes(prng, pool, (uint32_t)field->least + prng_below(prng, 40));
        return;
    case FIELD_UUID:
        *(struct wire_uuid *)at = (struct wire_uuid){prng_next(prng), prng_next(prng) | 1};
        return;
    case FIELD_WORD:
        *(uint8_t *)at = (uint8_t)(1 + prng_below(prng, count_words(field)));
        return;
    case FIELD_WORDS:
        *(uint32_t *)at = prng_below(prng, 1u << count_words(field));
        return;
    case FIELD_ID:
        *(struct wire_id *)at = random_id(prng, pool);
        return;
    case FIELD_VECTOR:
        *(struct wire_vectors *)at = random_vector(prng, pool, 1);
        return;
    case FIELD_VECTORS:
        *(struct wire_vectors *)at = random_vector(prng, pool, 1 + prng_below(prng, 4));
        return;
    case FIELD_PAYLOAD:
    case FIELD_ANY:
        *(struct wire_bytes *)at = random_map(prng, pool);
        return;
    case FIELD_FILTER:
        *(struct wire_filter *)at = random_filter(prng, pool);
        return;
    case FIELD_INSIDE:
        random_struct(prng, pool, field->shape, at);
        return;
    default:
        *(struct wire_list *)at = random_list(prng, pool, field);
    }
}

// Every field that is required, and half of the others.
static inline void
random_struct(struct prng *prng, struct wire_pool *pool, const struct shape *shape, void *out)
{
    memset(out, 0, shape->bytes);
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        if ((field->flags & FIELD_ALIAS) == 0 &&
            ((field->flags & FIELD_REQUIRED) != 0 || prng_below(prng, 2) == 0))
            random_field(prng, pool, field, (uint8_t *)out + field->at);
    }
}

// ---- comparing ----

static inline bool
same_text(const void *a, uint32_t a_count, const void *b, uint32_t b_count)
{
    return a_count == b_count && (a_count == 0 || memcmp(a, b, a_count) == 0);
}

static inline bool
same_raw(struct wire_bytes a, struct wire_bytes b)
{
    return same_text(a.bytes, a.count, b.bytes, b.count);
}

static inline bool
same_id(const struct wire_id *a, const struct wire_id *b)
{
    return a->given == b->given && a->number == b->number &&
           same_text(a->text, a->text_bytes, b->text, b->text_bytes);
}

static inline bool
same_vectors(const struct wire_vectors *a, const struct wire_vectors *b)
{
    return a->form == b->form && a->dtype == b->dtype && a->count == b->count &&
           same_raw(a->bytes, b->bytes);
}

static inline bool same_struct(const struct shape *shape, const void *a, const void *b);

static inline bool
same_item(const struct field *field, const void *a, const void *b)
{
    switch ((enum field_kind)field->kind) {
    case FIELD_LIST:
        return same_struct(field->shape, a, b);
    case FIELD_IDS:
        return same_id(a, b);
    case FIELD_TEXTS:
        return same_text(((const struct wire_text *)a)->bytes, ((const struct wire_text *)a)->count,
                         ((const struct wire_text *)b)->bytes,
                         ((const struct wire_text *)b)->count);
    case FIELD_PAYLOADS:
        return same_raw(*(const struct wire_bytes *)a, *(const struct wire_bytes *)b);
    default:
        return memcmp(a, b, sizeof(struct wire_token)) == 0;
    }
}

union wire_item {
    uint64_t align;
    uint8_t bytes[SHAPE_BYTES_MAX];
};

static inline bool
same_list(const struct field *field, const struct wire_list *a, const struct wire_list *b)
{
    struct list_cursor one, other;
    union wire_item of_one, of_other;
    list_begin(&one, field, a);
    list_begin(&other, field, b);
    uint32_t count = 0;
    while (list_next(&one, &of_one) && list_next(&other, &of_other)) {
        if (!same_item(field, &of_one, &of_other))
            return false;
        count++;
    }
    return count == a->count && a->count == b->count;
}

static inline bool
same_field(const struct field *field, const void *a, const void *b)
{
    if (field_is_list(field))
        return same_list(field, a, b);
    switch ((enum field_kind)field->kind) {
    case FIELD_BOOL:
    case FIELD_WORD:
        return *(const uint8_t *)a == *(const uint8_t *)b;
    case FIELD_U32:
    case FIELD_WORDS:
        return *(const uint32_t *)a == *(const uint32_t *)b;
    case FIELD_FLOAT:
        return *(const float *)a == *(const float *)b;
    case FIELD_REAL:
        return *(const double *)a == *(const double *)b;
    case FIELD_TEXT:
    case FIELD_NAME:
        return same_item(&(const struct field){.kind = FIELD_TEXTS}, a, b);
    case FIELD_BYTES:
    case FIELD_PAYLOAD:
    case FIELD_ANY:
        return same_raw(*(const struct wire_bytes *)a, *(const struct wire_bytes *)b);
    case FIELD_MAYBE:
        return ((const struct wire_maybe *)a)->given == ((const struct wire_maybe *)b)->given &&
               ((const struct wire_maybe *)a)->value == ((const struct wire_maybe *)b)->value;
    case FIELD_UUID:
        return memcmp(a, b, sizeof(struct wire_uuid)) == 0;
    case FIELD_ID:
        return same_id(a, b);
    case FIELD_VECTOR:
    case FIELD_VECTORS:
        return same_vectors(a, b);
    case FIELD_FILTER:
        return ((const struct wire_filter *)a)->form == ((const struct wire_filter *)b)->form &&
               same_raw(((const struct wire_filter *)a)->bytes,
                        ((const struct wire_filter *)b)->bytes);
    case FIELD_INSIDE:
        return same_struct(field->shape, a, b);
    default:
        return *(const uint64_t *)a == *(const uint64_t *)b;
    }
}

static inline bool
same_struct(const struct shape *shape, const void *a, const void *b)
{
    if (shape->absent > 0 &&
        ((const uint8_t *)a)[shape->absent] != ((const uint8_t *)b)[shape->absent])
        return false;
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        if ((field->flags & FIELD_ALIAS) == 0 &&
            !same_field(field, (const uint8_t *)a + field->at, (const uint8_t *)b + field->at))
            return false;
    }
    return true;
}

#endif
