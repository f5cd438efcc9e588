// tests/lib/hosts_real.h -- the real disk and the real shards under tests/lib/hosts_world.h, and what is asked of them.
//
// Shape: shell. A point has its key as its id, and a payload {"v": value}.
#ifndef OMEN_TESTS_HOSTS_REAL_H
#define OMEN_TESTS_HOSTS_REAL_H
#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os_lock.h"
#include "base/os_wait.h"
#include "node/disk.h"
#include "node/serve.h"

#define REAL_DIMENSION 8u

static _Atomic uint32_t model_events; // changes when a map or an answer has come
static _Atomic uint32_t model_opened;

static inline void
model_happened(void)
{
    atomic_fetch_add(&model_events, 1);
    os_wake_all(&model_events);
}

static inline void
model_restore(void)
{
}

static inline void
disk_place_failed(void *context, const char *why)
{
    (void)context;
    ck_abort_msg("the disk failed: %s", why);
}

static inline void
disk_place_start(struct disk **disk, const char *folder)
{
    char path[400];
    struct omen_error error;
    (void)snprintf(path, sizeof path, "%s/log", folder);
    const struct disk_config config = {.path = path, .fatal = disk_place_failed};
    const omen_status status = disk_open(&config, disk, &error);
    ck_assert_msg(status == OMEN_OK, "%s", error.text);
}

static inline void
disk_place_stop(struct disk **disk)
{
    disk_close(*disk);
    *disk = NULL;
}

static inline void
disk_place_end(struct disk **disk)
{
    ck_assert_ptr_null(*disk);
}

// Points first..first + count - 1 with that value.
static inline void
hosts_pack_points(struct encode *encode, uint64_t first, uint32_t count, uint64_t value)
{
    struct wire_id *ids = calloc(count, sizeof *ids);
    float *vectors = calloc(count, REAL_DIMENSION * sizeof *vectors);
    struct wire_bytes *payloads = calloc(count, sizeof *payloads);
    struct encode payload;
    ck_assert(ids != NULL && vectors != NULL && payloads != NULL);
    encode_init(&payload, 64);
    encode_map(&payload, 1);
    encode_word(&payload, "v");
    encode_u64(&payload, value);
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = (struct wire_id){.given = 1, .number = first + i};
        vectors[i * REAL_DIMENSION] = 1;
        vectors[i * REAL_DIMENSION + 1 + (first + i) % 7] = (float)(first + i + 1);
        payloads[i] = (struct wire_bytes){payload.bytes, (uint32_t)payload.count};
    }
    struct api_point_upsert ask = {
        .collection = {"docs", 4},
        .ids = {.count = count, .items = ids},
        .vectors = {.form = VECTORS_RAW,
                    .dtype = WIRE_F32,
                    .count = count,
                    .bytes = {(const uint8_t *)vectors,
                              count * REAL_DIMENSION * (uint32_t)sizeof *vectors}},
        .payloads = {.count = count, .items = payloads}};
    shape_write(encode, &api_point_upsert, &ask);
    encode_fini(&payload);
    free(ids);
    free(vectors);
    free(payloads);
}

static inline void
hosts_pack_write(struct encode *encode, uint64_t key, uint64_t value)
{
    hosts_pack_points(encode, key, 1, value);
}

static inline void
hosts_pack_read(struct encode *encode, uint64_t key)
{
    const struct wire_id id = {.given = 1, .number = key};
    const struct api_point_get ask = {
        .collection = {"docs", 4}, .ids = {.count = 1, .items = &id}, .with = API_WITH_PAYLOAD};
    shape_write(encode, &api_point_get, &ask);
}

static inline void
hosts_read_answer(const struct wire_reply *reply, const struct shape *shape, void *out)
{
    struct decode decode;
    struct omen_error error;
    decode_init(&decode, (struct wire_bytes){reply->answer, reply->answer_bytes}, &decode_answers,
                &error);
    shape_read(&decode, shape, out);
    ck_assert_msg(decode_end(&decode) == OMEN_OK, "%s", error.text);
}

// 0: there is no such point.
static inline uint64_t
hosts_unpack_value(const struct wire_reply *reply)
{
    union method_body body;
    struct list_cursor cursor;
    struct api_point point;
    hosts_read_answer(reply, &api_points, &body);
    const struct api_points *points = (const struct api_points *)(const void *)&body;
    list_begin(&cursor, shape_field(&api_points, "points"), &points->points);
    ck_assert(list_next(&cursor, &point));
    if (point.absent || point.payload.count == 0)
        return 0;
    struct decode decode;
    struct omen_error error;
    decode_init(&decode, point.payload, &decode_answers, &error);
    ck_assert_uint_eq(decode_map(&decode), 1);
    (void)decode_text(&decode, 1, 1);
    return decode_u64(&decode, 0, UINT64_MAX);
}

#endif
