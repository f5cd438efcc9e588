// wire/found.c -- what a copy found for a part of a search: lists of hits that a merge can read without unpacking them.
//
// Shape: value.
//
// A hit is a byte that says what comes, distance, version, and the id's number (of a text its length, and the text behind it);
// then, each with its length, the payload and the vector.
#include "wire/found.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"

#define HEAD_BYTES FOUND_HIT_BYTES_MIN
// What a row cannot exceed, since it lies in a frame.
#define ROW_BYTES_MAX ((size_t)1 << 31)
#define COUNT(rows) ((uint32_t)(sizeof(rows) / sizeof(rows)[0]))

enum hit_bits { HIT_TEXT = 1, HIT_PAYLOAD = 2, HIT_VECTOR = 4 };

// The order is for ever; what is new goes behind.
static const struct plain_row found_rows[] = {
    PLAIN_ROW(found, shard, UINT64_MAX / 4),
    PLAIN_ROW(found, took_us, UINT64_MAX),
    PLAIN_ROW(found, evaluations, UINT64_MAX),
    PLAIN_ROW(found, exact_distances, UINT64_MAX),
    PLAIN_ROW(found, tail, UINT64_MAX),
    PLAIN_ROW(found, matches, UINT64_MAX),
    PLAIN_ROW(found, warnings, 7),
    PLAIN_ROW(found, list_count, WIRE_BATCH_MAX),
    PLAIN_ROW(found, strategy, UINT8_MAX),
};

static void
number_put(uint8_t *at, uint64_t number)
{
    for (uint32_t i = 0; i < 8; i++)
        at[i] = (uint8_t)(number >> (8 * i));
}

static void
half_put(uint8_t *at, uint32_t half)
{
    for (uint32_t i = 0; i < 4; i++)
        at[i] = (uint8_t)(half >> (8 * i));
}

void
found_write(struct encode *encode, const struct found *found)
{
    plain_rows_write(encode, found_rows, COUNT(found_rows), found);
}

void
found_list_write(struct encode *encode, uint32_t hits)
{
    encode_plain(encode, hits, 4);
}

static void
bytes_write(struct encode *encode, struct wire_bytes bytes)
{
    encode_plain(encode, bytes.count, 4);
    encode_raw(encode, bytes.bytes, bytes.count);
}

static void
head_put(uint8_t *at, uint8_t bits, float distance, uint64_t version, uint64_t number)
{
    at[0] = bits;
    half_put(at + 1, float_bits(distance));
    number_put(at + 5, version);
    number_put(at + 13, number);
}

void
found_hit_write(struct encode *encode, const struct found_hit *hit)
{
    const bool text = hit->id.text_bytes > 0, vector = hit->vector.form != VECTORS_NONE;
    ASSERT(hit->id.text_bytes <= ID_TEXT_BYTES_MAX);
    uint8_t *at = encode_reserve(encode, HEAD_BYTES);
    if (at == NULL)
        return;
    head_put(at,
             (uint8_t)((text ? HIT_TEXT : 0) | (hit->payload.count > 0 ? HIT_PAYLOAD : 0) |
                       (vector ? HIT_VECTOR : 0)),
             hit->distance, hit->version, text ? hit->id.text_bytes : hit->id.number);
    if (text)
        encode_raw(encode, hit->id.text, hit->id.text_bytes);
    if (hit->payload.count > 0)
        bytes_write(encode, hit->payload);
    if (vector) {
        ASSERT(hit->vector.form == VECTORS_RAW);
        encode_plain(encode, hit->vector.dtype, 1);
        bytes_write(encode, hit->vector.bytes);
    }
}

void
found_numbers_write(struct encode *encode, const uint64_t *ids, const float *distances,
                    uint32_t count)
{
    found_list_write(encode, count);
    uint8_t *at = encode_reserve(encode, (size_t)count * HEAD_BYTES);
    for (uint32_t i = 0; at != NULL && i < count; i++, at += HEAD_BYTES)
        head_put(at, 0, distances[i], 0, ids[i]);
}

// ---- reading ----

void
found_read(struct plain *plain, struct found *out)
{
    *out = (struct found){0};
    plain_rows_read(plain, found_rows, COUNT(found_rows), out);
}

uint32_t
found_list_read(struct plain *plain)
{
    const uint32_t hits = (uint32_t)plain_number(plain, 4, UINT32_MAX);
    if (hits <= plain_left(plain) / HEAD_BYTES)
        return hits;
    plain->failed = true;
    return 0;
}

static struct wire_bytes
bytes_read(struct plain *plain)
{
    const uint32_t count = (uint32_t)plain_number(plain, 4, UINT32_MAX);
    const uint8_t *bytes = plain_bytes(plain, count);
    if (bytes == NULL || count == 0)
        plain->failed = true;
    return (struct wire_bytes){bytes, bytes == NULL ? 0 : count};
}

static void
vector_read(struct plain *plain, struct wire_vectors *out)
{
    const uint8_t dtype = (uint8_t)plain_number(plain, 1, WIRE_U8);
    const struct wire_bytes bytes = bytes_read(plain);
    if (dtype == 0 || bytes.count % wire_dtype_bytes(dtype) != 0) {
        plain->failed = true;
        return;
    }
    *out = (struct wire_vectors){.form = VECTORS_RAW,
                                 .dtype = dtype,
                                 .count = bytes.count / (uint32_t)wire_dtype_bytes(dtype),
                                 .bytes = bytes};
}

void
found_hit_read(struct plain *plain, struct found_hit *out, const uint8_t **row)
{
    const uint8_t *at = plain_bytes(plain, HEAD_BYTES);
    *out = (struct found_hit){.distance = 0};
    if (row != NULL)
        *row = at;
    if (at == NULL)
        return;
    const uint8_t bits = at[0];
    const uint32_t distance = plain_u32_at(at + 1);
    const uint64_t number = plain_u64_at(at + 13);
    memcpy(&out->distance, &distance, sizeof distance);
    out->version = plain_u64_at(at + 5);
    out->id.given = 1;
    if ((bits & HIT_TEXT) == 0) {
        out->id.number = number;
        plain->failed |= number > ID_MAX;
    } else if (number >= 1 && number <= ID_TEXT_BYTES_MAX) {
        out->id.text = (const char *)plain_bytes(plain, (uint32_t)number);
        out->id.text_bytes = out->id.text == NULL ? 0 : (uint32_t)number;
    } else
        plain->failed = true;
    if ((bits & HIT_PAYLOAD) != 0)
        out->payload = bytes_read(plain);
    if ((bits & HIT_VECTOR) != 0)
        vector_read(plain, &out->vector);
    plain->failed |= bits > (HIT_TEXT | HIT_PAYLOAD | HIT_VECTOR);
}

void
found_hit_at(const uint8_t *row, struct found_hit *out)
{
    struct plain plain = {.at = row, .end = row + ROW_BYTES_MAX};
    found_hit_read(&plain, out, NULL);
    ASSERT(!plain.failed); // it was read before
}
