// router/front_hear.c -- what a copy answered is looked at once, so that nobody has to doubt it later.
//
// Shape: handle, in memory.
//
// A reply may be any bytes. Lists of hits are gone through and thrown away: who joins them reads them again, which is cheaper than
// to keep them, since most hits of most shards are not answered.
#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "router/front_int.h"

// Of searches there is none.
static const struct shape *
reply_shape(enum method_number method)
{
    switch (method) {
    case METHOD_POINT_GET:
        return &api_points;
    case METHOD_POINT_SCROLL:
        return &inner_page;
    case METHOD_POINT_COUNT:
        return &api_count;
    case METHOD_POINT_FACET:
        return &api_facets;
    case METHOD_QUERY_WHY_NOT:
        return &inner_why;
    case METHOD_RECALL_MEASURE:
        return &api_recall;
    case METHOD_QUERY_SEARCH:
    case METHOD_QUERY_BATCH:
    case METHOD_QUERY_RANGE:
        return NULL;
    default:
        return &api_written;
    }
}

// What a client could read: distances are finite, texts are text, a payload is one object.
static bool
is_object(struct wire_bytes bytes)
{
    struct msgpack_reader reader = {bytes.bytes, bytes.bytes + bytes.count};
    return msgpack_skip(&reader) && reader.at == reader.end;
}

static bool
is_sound(const struct found_hit *hit)
{
    return isfinite(hit->distance) && utf8_valid(hit->id.text, hit->id.text_bytes) &&
           (hit->payload.count == 0 || is_object(hit->payload));
}

static bool
read_hit(struct plain *plain, struct front_lent *lent, struct merge_hit *out)
{
    struct found_hit hit;
    found_hit_read(plain, &hit, NULL);
    if (plain->failed || !is_sound(&hit))
        return false;
    lent->texts |= hit.id.text_bytes > 0;
    *out = (struct merge_hit){.distance = hit.distance,
                              .text_bytes = hit.id.text_bytes,
                              .number = hit.id.number,
                              .text = hit.id.text,
                              .version = hit.version};
    return true;
}

// Whether these are `count` sound hits of numbers, which comes to the same as read_list says of them; else nothing was read.
static bool
read_numbers(struct plain *plain, uint32_t count)
{
    const uint8_t *begin = plain->at;
    struct found_number before = {.distance = -INFINITY}, number;
    for (uint32_t i = 0; i < count; i++, before = number)
        if (!found_number_read(plain, &number) || !isfinite(number.distance) ||
            number.distance < before.distance ||
            (number.distance == before.distance && number.id <= before.id)) {
            plain->at = begin;
            return false;
        }
    return true;
}

// `hits` has room for `most`, and is anybody's afterwards.
static bool
read_list(struct plain *plain, struct front_lent *lent, struct merge_hit *hits, uint32_t most)
{
    const uint32_t count = found_list_read(plain);
    if (count > most)
        return false;
    if (read_numbers(plain, count))
        return true;
    for (uint32_t i = 0; i < count; i++)
        if (!read_hit(plain, lent, &hits[i]))
            return false;
    return merge_list_is_sound(&(struct merge_list){hits, count});
}

static bool
read_found(struct front *front, const struct front_call *call, struct front_lent *lent)
{
    struct plain plain = plain_of(lent->answer);
    found_read(&plain, &lent->found);
    if (plain.failed || lent->found.list_count != call->queries)
        return false;
    const size_t whole = plain_left(&plain) / FOUND_HIT_BYTES_MIN;
    const uint32_t most = whole < call->k ? (uint32_t)whole : call->k;
    struct merge_hit *hits = front_take(front, most * sizeof *hits);
    if (hits == NULL)
        return false;
    for (uint32_t i = 0; i < lent->found.list_count; i++)
        if (!read_list(&plain, lent, hits, most))
            return false;
    return plain_done(&plain);
}

static bool
read_map(const struct front_call *call, struct front_lent *lent)
{
    struct decode decode;
    decode_init(&decode, lent->answer, &decode_answers, NULL);
    shape_read(&decode, reply_shape(call->asks), &lent->body);
    if (decode_end(&decode) != OMEN_OK)
        return false;
    const struct api_points *points = (const void *)&lent->body;
    return call->asks != METHOD_POINT_GET || points->points.count == lent->item_count;
}

// A newer version may say what this one has no name for.
omen_status
front_status_of(uint32_t failure)
{
    const omen_status status = -(omen_status)failure;
    return strcmp(status_name(status), "UNKNOWN") == 0 ? OMEN_E_INTERNAL : status;
}

// Some are told, or none where all are well.
static bool
read_items(struct front *front, const struct wire_reply *reply, const omen_status **out)
{
    if (reply->failures == NULL)
        return true;
    omen_status *statuses = front_take(front, reply->item_count * sizeof *statuses);
    if (statuses == NULL)
        return false;
    for (uint32_t i = 0; i < reply->item_count; i++)
        statuses[i] = front_status_of(reply->failures[i]);
    *out = statuses;
    return true;
}

omen_status
front_hear(struct front *front, const struct front_call *call, const struct wire_reply *reply,
           struct front_lent *lent, const omen_status **statuses)
{
    lent->answer = (struct wire_bytes){reply->answer, reply->answer_bytes};
    lent->texts = false;
    lent->item_first = lent->item_count = 0;
    if (reply->method != call->asks || reply->part >= front->fanout.part_room)
        return OMEN_E_INTERNAL;
    // If it is taken it is about these: the part keeps its items while its sub-request is in the air.
    lent->item_first = front->fanout.parts[reply->part].item_first;
    lent->item_count = front->fanout.parts[reply->part].item_count;
    const bool sound =
        reply_shape(call->asks) == NULL ? read_found(front, call, lent) : read_map(call, lent);
    return sound && read_items(front, reply, statuses) ? OMEN_OK : OMEN_E_INTERNAL;
}
