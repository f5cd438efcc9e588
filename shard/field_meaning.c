// shard/field_meaning.c -- keywords that are spelled times or UUIDs, found by what they mean.
//
// Shape: value.
//
// A keyword index is ordered by bytes, which is not the order of instants: 01:00+02:00 comes before midnight UTC. So an
// order is asked of every keyword. Equality is asked of those that begin like one that could be equal: a text of a time
// begins with a date within a day of its instant's, and both spellings of a UUID begin with the same eight digits, each
// letter of which is large or small.
#include "shard/field_meaning.h"

#include <string.h>

#include "base/assert.h"

#define UUID_DIGITS 8u
#define DATE_BYTES 10u
#define DAY_SECONDS 86400

struct meant {
    const struct field_index *index;
    enum filter_kind kind;
    const struct value_meaning *wanted;
    uint64_t *words;
    uint32_t slots;
};

static void select_beginning(const struct meant *meant, const char *bytes, uint32_t count);
static bool select_equal_uuid(const struct meant *meant);
static bool select_equal_instant(const struct meant *meant);
static bool compares(const struct meant *meant, const struct field_key *key);

void
field_meaning_select(const struct field_index *index, enum filter_kind kind,
                     const struct value_meaning *wanted, uint64_t *words, uint32_t slots)
{
    ASSERT(field_index_type(index) == FIELD_KEYWORD && wanted->kind != MEANING_PLAIN);
    const struct meant meant = {index, kind, wanted, words, slots};
    if (kind == FILTER_EQ && wanted->kind == MEANING_UUID && select_equal_uuid(&meant))
        return;
    if (kind == FILTER_EQ && wanted->kind == MEANING_INSTANT && select_equal_instant(&meant))
        return;
    select_beginning(&meant, "", 0);
}

static void
select_beginning(const struct meant *meant, const char *bytes, uint32_t count)
{
    struct field_cursor cursor;
    struct field_key key = field_key_of_text(bytes, count);
    const struct slot_set *set;
    field_index_seek(meant->index, &key, &cursor);
    while (field_index_next(meant->index, &cursor, &key, &set)) {
        if (key.length < count || memcmp(key.bytes, bytes, count) != 0)
            return;
        if (compares(meant, &key))
            slot_set_unite(set, meant->words, meant->slots);
    }
}

static bool
select_equal_uuid(const struct meant *meant)
{
    char digits[UUID_DIGITS];
    uint32_t letters[UUID_DIGITS];
    uint32_t letter_count = 0;
    for (uint32_t i = 0; i < UUID_DIGITS; i++) {
        digits[i] = "0123456789abcdef"[meant->wanted->key.high >> (60 - 4 * i) & 15];
        if (digits[i] >= 'a')
            letters[letter_count++] = i;
    }
    for (uint32_t large = 0; large < 1u << letter_count; large++) {
        char spelled[UUID_DIGITS];
        memcpy(spelled, digits, sizeof spelled);
        for (uint32_t i = 0; i < letter_count; i++)
            if ((large >> i & 1) != 0)
                spelled[letters[i]] = (char)(spelled[letters[i]] - 'a' + 'A');
        select_beginning(meant, spelled, UUID_DIGITS);
    }
    return true;
}

// False at the ends of the calendar, where a day has no neighbour.
static bool
select_equal_instant(const struct meant *meant)
{
    char dates[3][INSTANT_TEXT_BYTES];
    const int64_t seconds = (int64_t)(meant->wanted->key.high ^ (1ull << 63));
    if (seconds < INT64_MIN / 2 || seconds > INT64_MAX / 2)
        return false;
    for (int day = 0; day < 3; day++)
        if (!instant_print((struct instant){seconds + (int64_t)(day - 1) * DAY_SECONDS, 0},
                           dates[day]))
            return false;
    for (int day = 0; day < 3; day++)
        select_beginning(meant, dates[day], DATE_BYTES);
    return true;
}

static bool
compares(const struct meant *meant, const struct field_key *key)
{
    struct value value = {.kind = VALUE_STRING};
    value.string.bytes = key->bytes;
    value.string.length = key->length;
    const struct value_meaning meaning = value_meaning_of(&value);
    if (meaning.kind != meant->wanted->kind)
        return false;
    const int order = value_meaning_compare(&meaning, meant->wanted);
    switch (meant->kind) {
    case FILTER_EQ:
        return order == 0;
    case FILTER_GT:
        return order > 0;
    case FILTER_GTE:
        return order >= 0;
    case FILTER_LT:
        return order < 0;
    default:
        ASSERT(meant->kind == FILTER_LTE);
        return order <= 0;
    }
}
