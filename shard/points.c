// shard/points.c -- points read back: a copy that outlives the index.
//
// Shape: handle, in memory. Three growing arrays: heads, vectors, payload bytes. A head says where its payload
// begins; offsets rather than pointers, because the arrays move when they grow.
#include "shard/points.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define ROOM_MIN 16u
#define ROOM_FIRST_MAX 65536u // `room` is only a guess of the caller's, and may be SIZE_MAX

struct head {
    uint64_t id;
    uint64_t version;
    uint64_t payload_at;
    uint32_t payload_bytes;
    float distance;
    bool found;
    bool payload;
};

struct points {
    struct points_config config;
    size_t count;
    size_t room; // of heads and vectors
    struct head *heads;
    char *vectors;
    char *bytes;
    size_t bytes_count, bytes_room;
};

static omen_status make_room(struct points *points, size_t room);
static omen_status add_payload(struct points *points, const struct point *point, struct head *head);

omen_status
points_open(const struct points_config *config, struct points **out)
{
    *out = NULL;
    struct points *points = mem_alloc_zero(1, sizeof *points);
    if (points == NULL)
        return OMEN_E_NO_MEMORY;
    points->config = *config;
    const size_t room = config->room > ROOM_FIRST_MAX ? ROOM_FIRST_MAX : config->room;
    const omen_status status = make_room(points, room > 0 ? room : 1);
    if (status != OMEN_OK) {
        points_close(points);
        return status;
    }
    *out = points;
    return OMEN_OK;
}

void
points_close(struct points *points)
{
    if (points == NULL)
        return;
    mem_free(points->heads);
    mem_free(points->vectors);
    mem_free(points->bytes);
    mem_free(points);
}

omen_status
points_add(struct points *points, const struct point *point)
{
    omen_status status = OMEN_OK;
    if (points->count == points->room)
        status = make_room(points, points->room < ROOM_MIN ? ROOM_MIN : points->room * 2);
    if (status != OMEN_OK)
        return status;

    struct head head = {.id = point->id,
                        .version = point->version,
                        .distance = point->distance,
                        .found = point->found};
    if (point->found && point->payload != NULL && points->config.payloads)
        status = add_payload(points, point, &head);
    if (status != OMEN_OK)
        return status;
    if (point->found && points->config.row_bytes > 0)
        memcpy(points->vectors + points->count * points->config.row_bytes, point->vector,
               points->config.row_bytes);
    points->heads[points->count++] = head;
    return OMEN_OK;
}

size_t
points_count(const struct points *points)
{
    return points->count;
}

void
points_at(const struct points *points, size_t i, struct point *out)
{
    ASSERT(i < points->count);
    const struct head *head = &points->heads[i];
    *out = (struct point){
        .id = head->id, .version = head->version, .distance = head->distance, .found = head->found};
    if (head->found && points->config.row_bytes > 0)
        out->vector = points->vectors + i * points->config.row_bytes;
    if (head->payload) {
        out->payload = points->bytes + head->payload_at;
        out->payload_bytes = head->payload_bytes;
    }
}

static omen_status
make_room(struct points *points, size_t room)
{
    if (room > SIZE_MAX / sizeof(struct head) ||
        (points->config.row_bytes > 0 && room > SIZE_MAX / points->config.row_bytes))
        return OMEN_E_NO_MEMORY;
    struct head *heads = mem_resize(points->heads, room * sizeof *heads);
    if (heads == NULL)
        return OMEN_E_NO_MEMORY;
    points->heads = heads;
    if (points->config.row_bytes > 0) {
        char *vectors = mem_resize(points->vectors, room * points->config.row_bytes);
        if (vectors == NULL)
            return OMEN_E_NO_MEMORY;
        points->vectors = vectors;
    }
    points->room = room;
    return OMEN_OK;
}

static omen_status
add_payload(struct points *points, const struct point *point, struct head *head)
{
    ASSERT(point->payload_bytes <= UINT32_MAX);
    if (points->bytes == NULL || points->bytes_room - points->bytes_count < point->payload_bytes) {
        const size_t room = (points->bytes_room + point->payload_bytes) * 2;
        char *bytes = mem_resize(points->bytes, room);
        if (bytes == NULL)
            return OMEN_E_NO_MEMORY;
        points->bytes = bytes;
        points->bytes_room = room;
    }
    memcpy(points->bytes + points->bytes_count, point->payload, point->payload_bytes);
    head->payload = true;
    head->payload_at = points->bytes_count;
    head->payload_bytes = (uint32_t)point->payload_bytes;
    points->bytes_count += point->payload_bytes;
    return OMEN_OK;
}
