// shard/fields_load.c -- the field indexes from their stream (shard/fields_int.h), one by one when they are needed.
//
// Shape: handle, in memory.
//
// A stream whose checksum does not hold, or that is none, is not needed: what it says follows from the payloads.
//
// Bytes from disk are not trusted: every count is held against the bytes that are left before memory is taken for it,
// values must ascend, and slots must be rows. What holds together can still contradict the payloads; then answers are
// wrong, but nothing breaks (field.was_stored). The storage below has checksums against bad luck.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bitmap.h"
#include "base/field_path.h"
#include "shard/fields.h"
#include "shard/fields_int.h"

// Reads on behind the end are zeros, and `bad` says so.
struct stream {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

// A field that is being read.
struct reading {
    struct stream stream;
    struct field_index *index;
    struct slot_set present;
    uint64_t multi_rows;
    uint32_t rows;
    const uint64_t *forgotten; // or NULL
    uint64_t last_integer;     // above INT64_MIN
    char *text;                // the last keyword
    uint32_t length;
};

enum rebuilding { REBUILD_NOW, REBUILD_LATER };

static omen_status load_head(struct fields *fields);
static omen_status read_head(struct fields *fields, struct stream *stream, size_t first_bytes);
static omen_status load_field(struct fields *fields, struct field *field,
                              enum rebuilding rebuilding);
static omen_status rebuild(const struct fields *fields, struct field *field);
static omen_status copy_content(const struct fields *fields, const struct field *field,
                                uint8_t **out);
static bool bit(const uint64_t *words, uint32_t slot);
static omen_status read_content(struct reading *reading);
static bool read_key(struct reading *reading, struct field_key *key);
static bool read_text(struct reading *reading, bool first, struct field_key *key);
static omen_status read_set(struct reading *reading, uint64_t head, struct slot_set *set);
static void read_list(struct reading *reading, uint32_t count, struct slot_set *set,
                      struct slot_set_room *into);
static void read_bits(struct reading *reading, uint32_t count, struct slot_set *set,
                      struct slot_set_room *into);
static uint64_t get_varint(struct stream *stream);
static uint64_t get_number(struct stream *stream, uint32_t bytes);

omen_status
fields_load(const struct image_source *source, struct fields **out)
{
    struct fields *fields;
    *out = NULL;
    omen_status status = fields_open(&fields);
    if (status != OMEN_OK)
        return status;
    fields->image = *source;
    status = load_head(fields);
    if (status != OMEN_OK) {
        fields_close(fields);
        return status;
    }
    *out = fields;
    return OMEN_OK;
}

omen_status
fields_rebuild_from(struct fields *fields, const struct fields_origin *origin)
{
    ASSERT(!fields->any_forgotten);
    if (fields->image_rows != origin->rows)
        return OMEN_E_CORRUPT;
    fields->origin = *origin;
    return OMEN_OK;
}

static omen_status
load_head(struct fields *fields)
{
    size_t count = 0;
    const uint8_t *first = fields->image.get(fields->image.context, IMAGE_FIELDS, 0, &count);
    if (first == NULL || count > IMAGE_PIECE_BYTES)
        return OMEN_E_CORRUPT;
    struct stream stream = {first, first + count, false};
    const omen_status status = read_head(fields, &stream, count);
    if (status != OMEN_OK || fields->pending == 0)
        return status;
    fields->forgotten =
        mem_alloc_zero(bitmap_words(fields->image_rows), sizeof fields->forgotten[0]);
    return fields->forgotten == NULL ? OMEN_E_NO_MEMORY : OMEN_OK;
}

static omen_status
read_head(struct fields *fields, struct stream *stream, size_t first_bytes)
{
    const uint64_t magic = get_number(stream, 4);
    const uint64_t version = get_number(stream, 2);
    const uint64_t count = get_number(stream, 2);
    const uint64_t total = get_number(stream, 8);
    const uint64_t rows = get_number(stream, 4);
    if (stream->bad || magic != FIELDS_MAGIC)
        return OMEN_E_CORRUPT;
    if (version != FIELDS_VERSION)
        return OMEN_E_VERSION;
    if (count > FIELDS_MAX || rows > SLOTS_MAX || total < first_bytes ||
        total > (uint64_t)UINT32_MAX * IMAGE_PIECE_BYTES ||
        (total > first_bytes && first_bytes != IMAGE_PIECE_BYTES))
        return OMEN_E_CORRUPT;
    fields->image_rows = fields->limit = (uint32_t)rows;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t type = get_number(stream, 1);
        const uint64_t name_bytes = get_number(stream, 1);
        if (stream->bad || (size_t)(stream->end - stream->at) < name_bytes ||
            !field_type_valid((int)type))
            return OMEN_E_CORRUPT;
        const struct field_spec spec = {(const char *)stream->at, name_bytes,
                                        (enum field_type)type};
        stream->at += name_bytes;
        const uint64_t bytes = get_number(stream, 8);
        if (stream->bad || !field_name_valid(spec.name, spec.name_bytes) ||
            fields_find(fields, spec.name, spec.name_bytes) != NULL || bytes > total)
            return OMEN_E_CORRUPT;
        struct field *field = field_open(&spec);
        if (field == NULL)
            return OMEN_E_NO_MEMORY;
        field->load = FIELD_PENDING;
        field->was_stored = true;
        field->content_bytes = bytes;
        fields->list[fields->count++] = field;
        fields->pending++;
    }
    uint64_t at = first_bytes - (size_t)(stream->end - stream->at);
    for (uint32_t i = 0; i < fields->count; i++) {
        fields->list[i]->content_at = at;
        at += fields->list[i]->content_bytes; // FIELDS_MAX times `total` at most; checked next
        if (at > total)
            return OMEN_E_CORRUPT;
    }
    return at == total ? OMEN_OK : OMEN_E_CORRUPT;
}

omen_status
fields_settle(struct fields *fields, struct field *field)
{
    rwlock_acquire_exclusive(&fields->lock);
    const omen_status status = load_field(fields, field, REBUILD_NOW);
    rwlock_release_exclusive(&fields->lock);
    return status;
}

omen_status
fields_settle_all(struct fields *fields)
{
    rwlock_acquire_shared(&fields->lock);
    const bool settled = fields->pending == 0 && fields->corrupt == 0;
    rwlock_release_shared(&fields->lock);
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < fields->count && !settled && status == OMEN_OK; i++)
        status = fields_settle(fields, fields->list[i]);
    return status;
}

omen_status
fields_load_next(struct fields *fields)
{
    omen_status status = OMEN_E_NOT_FOUND;
    rwlock_acquire_exclusive(&fields->lock);
    for (uint32_t i = 0; i < fields->count && status == OMEN_E_NOT_FOUND; i++)
        if (fields->list[i]->load == FIELD_PENDING && !fields->list[i]->damaged)
            status = load_field(fields, fields->list[i], REBUILD_LATER);
    rwlock_release_exclusive(&fields->lock);
    return status;
}

// Under the lock.
static omen_status
load_field(struct fields *fields, struct field *field, enum rebuilding rebuilding)
{
    if (field->load != FIELD_PENDING)
        return field->load != FIELD_CORRUPT ? OMEN_OK : OMEN_E_CORRUPT;
    struct reading reading = {.rows = fields->image_rows,
                              .forgotten = fields->any_forgotten ? fields->forgotten : NULL};
    uint8_t *content = NULL;
    omen_status status = field_index_open(field->type, &reading.index);
    if (status == OMEN_OK)
        status = copy_content(fields, field, &content);
    if (status == OMEN_OK) {
        reading.stream = (struct stream){content, content + field->content_bytes, false};
        status = read_content(&reading);
    }
    mem_free(content);
    mem_free(reading.text);
    if (status == OMEN_E_NO_MEMORY || status == OMEN_E_CORRUPT) {
        field_index_close(reading.index);
        slot_set_fini(&reading.present);
        field->damaged = status == OMEN_E_CORRUPT && fields->origin.payloads != NULL;
        if (field->damaged)
            status = rebuilding == REBUILD_NOW ? rebuild(fields, field) : OMEN_E_BUSY;
        if (status == OMEN_E_NO_MEMORY || status == OMEN_E_BUSY)
            return status; // it stays pending
    } else {
        ASSERT(atomic_load(&field->column) == NULL); // a pending field answers no range
        field_index_close(field->index);
        field->index = reading.index;
        field->present = reading.present;
        field->multi_rows = reading.multi_rows;
    }
    field->load = status == OMEN_OK ? FIELD_LOADED : FIELD_CORRUPT;
    fields->corrupt += status != OMEN_OK;
    fields_pending_less(fields);
    return status;
}

void
fields_pending_less(struct fields *fields)
{
    if (--fields->pending > 0)
        return;
    mem_free(fields->forgotten);
    fields->forgotten = NULL;
}

// What the stream said, said by the payloads of the same rows.
static omen_status
rebuild(const struct fields *fields, struct field *field)
{
    const struct fields_origin *origin = &fields->origin;
    const struct field_spec spec = {field->name, field->name_bytes, field->type};
    struct field *fresh = field_open(&spec);
    omen_status status = fresh != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
    for (uint32_t slot = 0; slot < origin->rows && status == OMEN_OK; slot++) {
        struct field_payload row;
        struct msgpack_value wrong;
        if (origin->erased(origin->context, slot) ||
            (fields->any_forgotten && bit(fields->forgotten, slot)))
            continue;
        row.payload = payloads_get(origin->payloads, slot, &row.bytes);
        if (row.payload == NULL)
            continue;
        status = msgpack_check_map(row.payload, row.bytes, NULL);
        if (status == OMEN_OK)
            status = field_fill(fresh, &row, slot, origin->rows, &wrong);
    }
    if (status == OMEN_OK) {
        field_index_close(field->index);
        field->index = fresh->index;
        field->present = fresh->present;
        field->multi_rows = fresh->multi_rows;
        mem_free(fresh);
        return OMEN_OK;
    }
    if (fresh != NULL)
        field_close(fresh);
    return status == OMEN_E_NO_MEMORY ? status : OMEN_E_CORRUPT; // they are damaged as well
}

static bool
bit(const uint64_t *words, uint32_t slot)
{
    return (words[slot >> 6] >> (slot & 63) & 1) != 0;
}

// The pieces lie apart.
static omen_status
copy_content(const struct fields *fields, const struct field *field, uint8_t **out)
{
    // Is it there at all? Else a few bytes could ask for any amount of memory.
    const uint64_t end = field->content_at + field->content_bytes;
    const struct image_source *image = &fields->image;
    for (uint64_t at = field->content_at; at < end;) {
        const uint64_t piece = at / IMAGE_PIECE_BYTES, skip = at % IMAGE_PIECE_BYTES;
        uint64_t wanted = IMAGE_PIECE_BYTES - skip;
        wanted = wanted < end - at ? wanted : end - at;
        size_t count = 0;
        const void *bytes = image->get(image->context, IMAGE_FIELDS, (uint32_t)piece, &count);
        if (bytes == NULL || count < skip + wanted)
            return OMEN_E_CORRUPT;
        if (image->sound != NULL && !image->sound(bytes, count))
            return OMEN_E_CORRUPT;
        at += wanted;
    }
    *out = mem_alloc(field->content_bytes);
    if (*out == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint64_t at = field->content_at; at < end;) {
        const uint64_t skip = at % IMAGE_PIECE_BYTES;
        uint64_t wanted = IMAGE_PIECE_BYTES - skip;
        wanted = wanted < end - at ? wanted : end - at;
        size_t count;
        const uint8_t *piece =
            image->get(image->context, IMAGE_FIELDS, (uint32_t)(at / IMAGE_PIECE_BYTES), &count);
        ASSERT(piece != NULL && count >= skip + wanted); // pieces stay as they are
        memcpy(*out + (at - field->content_at), piece + skip, wanted);
        at += wanted;
    }
    return OMEN_OK;
}

static omen_status
read_content(struct reading *reading)
{
    struct stream *stream = &reading->stream;
    reading->multi_rows = get_varint(stream);
    omen_status status = read_set(reading, get_varint(stream), &reading->present);
    const uint64_t values = get_number(stream, 8);
    struct field_key key = {0};
    const enum field_type type = field_index_type(reading->index);
    for (uint64_t i = 0; i < values && status == OMEN_OK; i++) {
        const struct field_key last = key;
        if (type == FIELD_KEYWORD ? !read_text(reading, i == 0, &key) : !read_key(reading, &key))
            return stream->bad ? OMEN_E_CORRUPT : OMEN_E_NO_MEMORY;
        const uint64_t head = get_varint(stream);
        uint64_t low = 0;
        if ((head & SET_HAS_LOW) != 0 && type == FIELD_UUID) {
            low = get_number(stream, 8);
        } else if ((head & SET_HAS_LOW) != 0) {
            low = get_varint(stream);
            low = low >> 1 ^ (0 - (low & 1));
        }
        if (type != FIELD_INTEGER && type != FIELD_KEYWORD)
            key.pair.low = field_low_base(type) + low;
        if (i > 0 && type != FIELD_KEYWORD && value_key_compare(last.pair, key.pair) >= 0)
            return OMEN_E_CORRUPT;
        struct slot_set set = {0};
        if (head >> SET_COUNT_SHIFT == 0)
            return OMEN_E_CORRUPT;
        status = read_set(reading, head, &set);
        // A set that is empty now was of forgotten slots.
        if (status == OMEN_OK && set.count > 0 && !field_index_append(reading->index, &key, &set))
            status = OMEN_E_NO_MEMORY;
        slot_set_fini(&set);
    }
    if (status == OMEN_OK &&
        (stream->bad || stream->at != stream->end || reading->multi_rows > reading->rows))
        status = OMEN_E_CORRUPT;
    return status;
}

static bool
read_key(struct reading *reading, struct field_key *key)
{
    const uint64_t step = get_varint(&reading->stream);
    if (field_index_type(reading->index) != FIELD_INTEGER) {
        key->pair.high += step; // what passes the end does not ascend
        return true;
    }
    // The key of a number is not a number: the last one is kept beside it.
    reading->last_integer += step;
    *key = field_key_of_integer((int64_t)(reading->last_integer ^ (1ull << 63)));
    return true;
}

// False with stream.bad for bytes that are no keyword behind the last one.
static bool
read_text(struct reading *reading, bool first, struct field_key *key)
{
    struct stream *stream = &reading->stream;
    const uint64_t shared = get_varint(stream);
    const uint64_t more = get_varint(stream);
    if (reading->text == NULL) {
        reading->text = mem_alloc(PAYLOAD_BYTES_MAX);
        if (reading->text == NULL)
            return false;
    }
    const bool longer = shared == reading->length && (more > 0 || first);
    if (stream->bad || shared > reading->length || more > PAYLOAD_BYTES_MAX - shared ||
        more > (size_t)(stream->end - stream->at) ||
        (!longer && (more == 0 || *stream->at <= (uint8_t)reading->text[shared]))) {
        stream->bad = true;
        return false;
    }
    memcpy(reading->text + shared, stream->at, more);
    stream->at += more;
    reading->length = (uint32_t)(shared + more);
    *key = field_key_of_text(reading->text, reading->length);
    return true;
}

static omen_status
read_set(struct reading *reading, uint64_t head, struct slot_set *set)
{
    struct stream *stream = &reading->stream;
    const uint64_t count = head >> SET_COUNT_SHIFT;
    const bool bits = (head & SET_IS_BITS) != 0;
    const uint64_t least = bits ? ((uint64_t)reading->rows + 7) / 8 : count;
    if (stream->bad || count > reading->rows || least > (size_t)(stream->end - stream->at))
        return OMEN_E_CORRUPT;
    if (count == 0)
        return OMEN_OK;
    struct slot_set_room into;
    if (!slot_set_fill(set, (uint32_t)count, reading->rows, &into))
        return OMEN_E_NO_MEMORY;
    if (bits)
        read_bits(reading, (uint32_t)count, set, &into);
    else
        read_list(reading, (uint32_t)count, set, &into);
    if (set->count == 0 || stream->bad)
        slot_set_fini(set);
    return stream->bad ? OMEN_E_CORRUPT : OMEN_OK;
}

static void
take(const struct reading *reading, uint32_t slot, struct slot_set *set, struct slot_set_room *into)
{
    if (reading->forgotten != NULL && bit(reading->forgotten, slot))
        return;
    if (into->list != NULL)
        into->list[set->count] = slot;
    else
        into->words[slot >> 6] |= 1ull << (slot & 63);
    set->count++;
}

static void
read_list(struct reading *reading, uint32_t count, struct slot_set *set, struct slot_set_room *into)
{
    struct stream *stream = &reading->stream;
    uint64_t next = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t gap = get_varint(stream);
        if (stream->bad || gap >= reading->rows - next) {
            stream->bad = true;
            return;
        }
        take(reading, (uint32_t)(next + gap), set, into);
        next += gap + 1;
    }
}

static void
read_bits(struct reading *reading, uint32_t count, struct slot_set *set, struct slot_set_room *into)
{
    struct stream *stream = &reading->stream;
    uint32_t there = 0;
    for (uint32_t w = 0; w < bitmap_words(reading->rows); w++) {
        const uint32_t bits = reading->rows - w * 64 < 64 ? reading->rows - w * 64 : 64;
        uint64_t word = get_number(stream, (bits + 7) / 8);
        there += (uint32_t)__builtin_popcountll(word);
        if (there > count || (bits < 64 && word >> bits != 0)) {
            stream->bad = true; // more of them than there is room for, or behind the last row
            return;
        }
        for (; word != 0; word &= word - 1)
            take(reading, w * 64 + (uint32_t)__builtin_ctzll(word), set, into);
    }
    if (there != count)
        stream->bad = true;
}

static uint64_t
get_varint(struct stream *stream)
{
    uint64_t number = 0;
    for (uint32_t shift = 0; stream->at < stream->end && shift < 64; shift += 7) {
        const uint8_t byte = *stream->at++;
        number |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return number;
    }
    stream->bad = true;
    return 0;
}

static uint64_t
get_number(struct stream *stream, uint32_t bytes)
{
    if ((size_t)(stream->end - stream->at) < bytes) {
        stream->at = stream->end;
        stream->bad = true;
        return 0;
    }
    uint64_t number = 0;
    for (uint32_t i = 0; i < bytes; i++)
        number |= (uint64_t)stream->at[i] << (8 * i);
    stream->at += bytes;
    return number;
}
