// base/value.c -- the scalars that filters compare.
//
// Shape: value.
//
// Numbers are compared through one key for all three kinds: the double nearest to the number, as
// bits whose unsigned order is the doubles' order, and then what the number is above or below
// that double. Rounding never swaps two numbers, so where the doubles differ they decide; where
// they are equal the difference does, which is a small integer (an int64 or uint64 lies at most
// 1,024 away from its double). So 2^53 + 1 keeps its place between 2^53 and 2^53 + 2, in a scan
// and in an index alike, because both use this key.
#include "base/value.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "base/float_bits.h"
#include "base/text.h"

#define LOW_ZERO 0x8000000000000000ull // the low half of a number that is a double

static struct value_key key_of_number(double nearest, int64_t above);
static struct value_meaning meaning_of_uuid(const uint8_t uuid[16]);
static int compare_strings(const struct value *a, const struct value *b);

struct value
value_of_msgpack(const struct msgpack_value *from)
{
    struct value value = {.kind = VALUE_OTHER};
    switch (from->kind) {
    case MSGPACK_NIL:
        value.kind = VALUE_NULL;
        break;
    case MSGPACK_BOOL:
        value.kind = VALUE_BOOL;
        value.boolean = from->boolean;
        break;
    case MSGPACK_INT:
        value.kind = VALUE_INT;
        value.integer = from->integer;
        break;
    case MSGPACK_UINT:
        value.kind = VALUE_UINT;
        value.unsigned_ = from->unsigned_;
        break;
    case MSGPACK_FLOAT:
        value.kind = VALUE_FLOAT;
        value.number = from->number;
        break;
    case MSGPACK_STRING:
        value.kind = VALUE_STRING;
        value.string.bytes = (const char *)from->raw.bytes;
        value.string.length = from->raw.length;
        break;
    case MSGPACK_EXT:
        if (msgpack_read_timestamp(from, &value.time.seconds, &value.time.nanoseconds))
            value.kind = VALUE_TIME;
        break;
    case MSGPACK_BINARY:
    case MSGPACK_ARRAY:
    case MSGPACK_MAP:
        break;
    }
    return value;
}

bool
value_is_number(const struct value *value)
{
    return value->kind == VALUE_INT || value->kind == VALUE_UINT ||
           (value->kind == VALUE_FLOAT && !isnan(value->number));
}

bool
value_compare(const struct value *a, const struct value *b, int *order)
{
    if (value_is_number(a) && value_is_number(b)) {
        *order = value_key_compare(value_key_of(a), value_key_of(b));
        return true;
    }
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case VALUE_STRING:
        *order = compare_strings(a, b);
        return true;
    case VALUE_BOOL:
    case VALUE_TIME:
        *order = value_key_compare(value_key_of(a), value_key_of(b));
        return true;
    default:
        return false;
    }
}

static int
compare_strings(const struct value *a, const struct value *b)
{
    const uint32_t common =
        a->string.length < b->string.length ? a->string.length : b->string.length;
    const int order = common == 0 ? 0 : memcmp(a->string.bytes, b->string.bytes, common);
    if (order != 0)
        return order;
    return (a->string.length > b->string.length) - (a->string.length < b->string.length);
}

struct value_key
value_key_of(const struct value *value)
{
    switch (value->kind) {
    case VALUE_BOOL:
        return (struct value_key){value->boolean ? 1 : 0, 0};
    case VALUE_TIME:
        return (struct value_key){(uint64_t)value->time.seconds ^ LOW_ZERO,
                                  value->time.nanoseconds};
    case VALUE_INT: {
        // INT64_MAX and its neighbours round up to 2^63, which int64 cannot hold: subtract in the
        // unsigned numbers, where the true difference, being small, survives the wrap.
        const double nearest = (double)value->integer;
        const uint64_t back = nearest >= 0x1p63 ? LOW_ZERO : (uint64_t)(int64_t)nearest;
        return key_of_number(nearest, (int64_t)((uint64_t)value->integer - back));
    }
    case VALUE_UINT: {
        const double nearest = (double)value->unsigned_;
        const uint64_t back = nearest >= 0x1p64 ? 0 : (uint64_t)nearest;
        return key_of_number(nearest, (int64_t)(value->unsigned_ - back));
    }
    case VALUE_FLOAT:
        return key_of_number(value->number, 0);
    default:
        ASSERT(value->kind == VALUE_FLOAT); // strings, null and other have no key
        return (struct value_key){0, 0};
    }
}

static struct value_key
key_of_number(double nearest, int64_t above)
{
    const uint64_t bits = double_bits(nearest + 0.0); // -0 becomes 0
    const uint64_t ordered = bits & LOW_ZERO ? ~bits : bits | LOW_ZERO;
    return (struct value_key){ordered, (uint64_t)above ^ LOW_ZERO};
}

int
value_key_compare(struct value_key a, struct value_key b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return (a.low > b.low) - (a.low < b.low);
}

// ---- RFC 3339 ----

#define DAY_SECONDS 86400
#define YEAR_0_SECONDS (-62167219200ll)   // 0000-01-01T00:00:00Z
#define YEAR_10000_SECONDS 253402300800ll // 10000-01-01T00:00:00Z

struct cursor {
    const char *at;
    const char *end;
};

struct clock_time {
    uint32_t hour, minute, second, nanoseconds;
    int32_t offset_minutes;
};

static bool parse_time(struct cursor *cursor, struct clock_time *time);
static bool parse_fraction(struct cursor *cursor, uint32_t *nanoseconds);
static bool parse_offset(struct cursor *cursor, int32_t *minutes);
static bool take_digits(struct cursor *cursor, uint32_t count, uint32_t *out);
static bool take_char(struct cursor *cursor, char c);
static uint32_t days_in_month(uint32_t year, uint32_t month);
static int64_t days_from_civil(int64_t year, uint32_t month, uint32_t day);

struct value_meaning
value_meaning_of(const struct value *value)
{
    struct value instant = {.kind = VALUE_TIME};
    uint8_t uuid[16];
    if (value->kind == VALUE_TIME)
        return (struct value_meaning){MEANING_INSTANT, value_key_of(value)};
    if (value->kind != VALUE_STRING)
        return (struct value_meaning){.kind = MEANING_PLAIN};
    if (instant_parse(value->string.bytes, value->string.length, &instant.time))
        return (struct value_meaning){MEANING_INSTANT, value_key_of(&instant)};
    if (uuid_parse(value->string.bytes, value->string.length, uuid))
        return meaning_of_uuid(uuid);
    return (struct value_meaning){.kind = MEANING_PLAIN};
}

struct value_meaning
value_meaning_of_msgpack(const struct msgpack_value *from)
{
    if (from->kind == MSGPACK_BINARY && from->raw.length == 16)
        return meaning_of_uuid(from->raw.bytes);
    const struct value value = value_of_msgpack(from);
    return value_meaning_of(&value);
}

static struct value_meaning
meaning_of_uuid(const uint8_t uuid[16])
{
    struct value_meaning meaning = {.kind = MEANING_UUID};
    for (uint32_t i = 0; i < 8; i++) {
        meaning.key.high = meaning.key.high << 8 | uuid[i];
        meaning.key.low = meaning.key.low << 8 | uuid[8 + i];
    }
    return meaning;
}

int
value_meaning_compare(const struct value_meaning *a, const struct value_meaning *b)
{
    return a->kind != b->kind ? (int)a->kind - (int)b->kind : value_key_compare(a->key, b->key);
}

bool
instant_parse(const char *text, size_t bytes, struct instant *out)
{
    struct cursor cursor = {text, text + bytes};
    uint32_t year, month, day;
    if (!take_digits(&cursor, 4, &year) || !take_char(&cursor, '-') ||
        !take_digits(&cursor, 2, &month) || !take_char(&cursor, '-') ||
        !take_digits(&cursor, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;

    struct clock_time time = {0};
    if (cursor.at < cursor.end && !parse_time(&cursor, &time))
        return false;
    if (cursor.at != cursor.end)
        return false;
    out->seconds = days_from_civil(year, month, day) * DAY_SECONDS + (int64_t)time.hour * 3600 +
                   ((int64_t)time.minute - time.offset_minutes) * 60 + time.second;
    out->nanoseconds = time.nanoseconds;
    return true;
}

static bool
parse_time(struct cursor *cursor, struct clock_time *time)
{
    if (!take_char(cursor, 'T') && !take_char(cursor, 't') && !take_char(cursor, ' '))
        return false;
    if (!take_digits(cursor, 2, &time->hour) || !take_char(cursor, ':') ||
        !take_digits(cursor, 2, &time->minute) || !take_char(cursor, ':') ||
        !take_digits(cursor, 2, &time->second))
        return false;
    if (time->hour > 23 || time->minute > 59 || time->second > 60)
        return false;
    if (take_char(cursor, '.') && !parse_fraction(cursor, &time->nanoseconds))
        return false;
    if (time->second == 60)
        time->nanoseconds = 0; // a leap second is the first instant of the next minute
    return parse_offset(cursor, &time->offset_minutes);
}

static bool
parse_fraction(struct cursor *cursor, uint32_t *nanoseconds)
{
    uint32_t weight = 100000000;
    uint32_t digit;
    bool any = false;
    while (take_digits(cursor, 1, &digit)) {
        *nanoseconds += digit * weight;
        weight /= 10;
        any = true;
    }
    return any;
}

static bool
parse_offset(struct cursor *cursor, int32_t *minutes)
{
    if (take_char(cursor, 'Z') || take_char(cursor, 'z'))
        return true;
    const bool west = take_char(cursor, '-');
    uint32_t hour, minute;
    if (!west && !take_char(cursor, '+'))
        return false;
    if (!take_digits(cursor, 2, &hour) || !take_char(cursor, ':') ||
        !take_digits(cursor, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *minutes = (int32_t)(hour * 60 + minute) * (west ? -1 : 1);
    return true;
}

static bool
take_digits(struct cursor *cursor, uint32_t count, uint32_t *out)
{
    if ((size_t)(cursor->end - cursor->at) < count)
        return false;
    uint32_t number = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (cursor->at[i] < '0' || cursor->at[i] > '9')
            return false;
        number = number * 10 + (uint32_t)(cursor->at[i] - '0');
    }
    cursor->at += count;
    *out = number;
    return true;
}

static bool
take_char(struct cursor *cursor, char c)
{
    if (cursor->at == cursor->end || *cursor->at != c)
        return false;
    cursor->at++;
    return true;
}

static uint32_t
days_in_month(uint32_t year, uint32_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

// Days since 1970-01-01 in the proleptic Gregorian calendar: years begin in March, so that the
// leap day comes last, and repeat every 400 years (H. Hinnant, "chrono-compatible low-level date
// algorithms").
static int64_t
days_from_civil(int64_t year, uint32_t month, uint32_t day)
{
    year -= month <= 2;
    const int64_t era = (year >= 0 ? year : year - 399) / 400;
    const uint32_t year_of_era = (uint32_t)(year - era * 400);
    const uint32_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    const uint32_t day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

bool
instant_print(struct instant instant, char text[INSTANT_TEXT_BYTES])
{
    if (instant.seconds < YEAR_0_SECONDS || instant.seconds >= YEAR_10000_SECONDS)
        return false;
    // The inverse of days_from_civil, counted from 0000-03-01.
    const uint64_t since_0 = (uint64_t)(instant.seconds - YEAR_0_SECONDS);
    const int64_t days =
        (int64_t)(since_0 / DAY_SECONDS) - 60; // January and leap February of year 0
    const uint32_t second_of_day = (uint32_t)(since_0 % DAY_SECONDS);
    const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    const uint32_t day_of_era = (uint32_t)(days - era * 146097);
    const uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const uint32_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const uint32_t month_from_march = (5 * day_of_year + 2) / 153;
    const uint32_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    const int64_t year = year_of_era + era * 400 + (month <= 2);

    struct text line;
    text_init(&line, text, INSTANT_TEXT_BYTES);
    text_add(&line, "%04u-%02u-%02uT%02u:%02u:%02u", (uint32_t)year, month,
             day_of_year - (153 * month_from_march + 2) / 5 + 1, second_of_day / 3600,
             second_of_day / 60 % 60, second_of_day % 60);
    if (instant.nanoseconds != 0)
        text_add(&line, ".%09u", instant.nanoseconds);
    text_add(&line, "Z");
    return true;
}

// ---- UUIDs ----

static int hex_digit(char c);

bool
uuid_parse(const char *text, size_t bytes, uint8_t out[16])
{
    const bool dashed = bytes == 36;
    if (!dashed && bytes != 32)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (dashed && (i == 4 || i == 6 || i == 8 || i == 10) && text[at++] != '-')
            return false;
        const int high = hex_digit(text[at]);
        const int low = hex_digit(text[at + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    return true;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}
