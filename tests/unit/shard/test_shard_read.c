// tests/unit/shard/test_shard_read.c -- searchers, readers, upserts and compactions at once: nobody sees a point twice, or
// not at all, or half of it.
//
// Labels: tsan
//
// A point's vector points in its own direction (component id is large), and its last component and its payload's age
// are the version of its last write.
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tests/lib/check_main.h"
#include "tests/lib/shard_model.h"

#define IDS 24u
#define DIM (IDS + 1)
#define UPSERTS 1500u
#define UPSERTS_BEFORE_COMPACTION 150u // enough rows for a graph

struct stage {
    omen_index_t index;
    _Atomic uint32_t stop;
    _Atomic uint32_t rounds;   // of readers together
    _Atomic uint32_t failures; // Check's asserts belong to the main thread
    const char *_Atomic what;
};

static void
note_failure(struct stage *stage, const char *what)
{
    atomic_fetch_add(&stage->failures, 1);
    atomic_store(&stage->what, what);
}

static void
expect(struct stage *stage, bool condition, const char *what)
{
    if (!condition)
        note_failure(stage, what);
}

static omen_status
write_version(struct stage *stage, uint32_t first, uint32_t count, uint32_t version)
{
    static _Thread_local float vectors[IDS * DIM];
    static _Thread_local uint8_t bytes[IDS][MODEL_PAYLOAD_MAX];
    uint64_t ids[IDS];
    const void *payloads[IDS];
    size_t sizes[IDS];
    omen_batch batch = OMEN_BATCH_INIT;
    memset(vectors, 0, sizeof vectors);
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = (first + i) % IDS;
        vectors[i * DIM + ids[i]] = 100000.0f; // a version moves no point nearer than another
        vectors[i * DIM + IDS] = (float)version;
        sizes[i] = model_payload(bytes[i], version, "Oslo");
        payloads[i] = bytes[i];
    }
    batch.count = count;
    batch.vectors = vectors;
    batch.ids = ids;
    batch.payloads = payloads;
    batch.payload_bytes = sizes;
    return omen_upsert(stage->index, &batch);
}

static void
look_by_query(struct stage *stage, const char *filter)
{
    float query[DIM] = {0};
    uint64_t ids[IDS], seen = 0;
    uint32_t found = 0;
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = IDS;
    options.exact = 1;
    options.filter = filter;
    query[3] = 100000.0f;
    expect(stage, omen_query(stage->index, query, &options, ids, NULL, &found) == OMEN_OK,
           "query failed");
    expect(stage, found == IDS, "a point was missed or there twice");
    for (uint32_t i = 0; i < found; i++)
        seen |= 1ull << ids[i];
    expect(stage, seen == (1ull << IDS) - 1, "not every point was seen");
    options.k = 1;
    expect(stage,
           omen_query(stage->index, query, &options, ids, NULL, &found) == OMEN_OK && found == 1 &&
               ids[0] == 3,
           "the nearest point was not found");
}

static void
look_by_get(struct stage *stage)
{
    uint64_t ids[IDS];
    omen_points_t points;
    for (uint64_t i = 0; i < IDS; i++)
        ids[i] = i;
    if (omen_get(stage->index, ids, IDS, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, &points) !=
        OMEN_OK) {
        note_failure(stage, "get failed");
        return;
    }
    for (size_t i = 0; i < IDS; i++) {
        size_t bytes;
        const float *vector = omen_points_vector(points, i);
        const uint8_t *payload = omen_points_payload(points, i, &bytes);
        if (vector == NULL || payload == NULL) {
            note_failure(stage, "a point was not there");
            continue;
        }
        expect(stage, (payload[6] << 8 | payload[7]) == (int)vector[IDS],
               "vector and payload of two versions");
    }
    omen_points_free(points);
}

static void
look_by_scroll(struct stage *stage)
{
    uint64_t cursor = 0, seen = 0, count = 0;
    omen_points_t points;
    expect(stage, omen_scroll(stage->index, NULL, 0, SIZE_MAX, &cursor, &points) == OMEN_OK,
           "scroll failed");
    expect(stage, cursor == UINT64_MAX, "scroll did not end");
    for (size_t i = 0; i < omen_points_count(points); i++)
        seen |= 1ull << omen_points_id(points, i);
    expect(stage, seen == (1ull << IDS) - 1, "scroll missed a point");
    omen_points_free(points);
    expect(stage, omen_count(stage->index, NULL, &count) == OMEN_OK && count == IDS,
           "count is off");
}

static void
look_by_count(struct stage *stage, const char *filter)
{
    uint64_t count = 0;
    expect(stage, omen_count(stage->index, filter, &count) == OMEN_OK, "count failed");
    expect(stage, count == IDS, "a point was counted twice, or not");
}

static void *
reader_main(void *argument)
{
    struct stage *stage = argument;
    while (atomic_load(&stage->stop) == 0) {
        look_by_query(stage, NULL);
        look_by_query(stage, "city == 'Oslo'");
        look_by_query(stage, "age >= 0");
        look_by_count(stage, "city == 'Oslo'");
        look_by_count(stage, "age >= 0"); // has no index
        look_by_get(stage);
        look_by_scroll(stage);
        atomic_fetch_add(&stage->rounds, 1);
    }
    return NULL;
}

static void *
compactor_main(void *argument)
{
    struct stage *stage = argument;
    while (atomic_load(&stage->stop) == 0)
        expect(stage, omen_compact(stage->index) == OMEN_OK, "compaction failed");
    return NULL;
}

START_TEST(readers_beside_upserts_and_compaction_see_every_point_once)
{
    struct stage stage = {0};
    omen_options options = OMEN_OPTIONS_INIT;
    options.dimension = DIM;
    options.metric = OMEN_L2;
    options.threads = 2;
    ck_assert_int_eq(omen_open(&options, &stage.index), OMEN_OK);
    ck_assert_int_eq(omen_field_index(stage.index, "city", OMEN_FIELD_KEYWORD), OMEN_OK);
    ck_assert_int_eq(write_version(&stage, 0, IDS, 0), OMEN_OK);
    pthread_t readers[2], compactor;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, reader_main, &stage), 0);
    for (uint32_t i = 1; i <= UPSERTS; i++) {
        if (i == UPSERTS_BEFORE_COMPACTION)
            ck_assert_int_eq(pthread_create(&compactor, NULL, compactor_main, &stage), 0);
        ck_assert_int_eq(write_version(&stage, i, 1 + i % IDS, i), OMEN_OK);
    }
    while (atomic_load(&stage.rounds) < 4)
        sched_yield();
    atomic_store(&stage.stop, 1);
    pthread_join(compactor, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    ck_assert_msg(atomic_load(&stage.failures) == 0, "%u: %s", atomic_load(&stage.failures),
                  atomic_load(&stage.what));
    ck_assert_int_eq(omen_flush(stage.index), OMEN_OK);
    ck_assert_msg(omen_verify(stage.index) == OMEN_OK, "%s", omen_error_message());
    omen_close(stage.index);
}
END_TEST

// Two writers of different ids: nothing is lost.
static void *
writer_main(void *argument)
{
    struct stage *stage = argument;
    const uint32_t half = atomic_fetch_add(&stage->rounds, 1);
    float vector[DIM] = {1.0f};
    for (uint32_t i = 0; i < 600; i++) {
        const uint64_t id = half * 100000 + i;
        omen_batch batch = OMEN_BATCH_INIT;
        batch.count = 1;
        batch.vectors = vector;
        batch.ids = &id;
        vector[1 + i % IDS] += 1.0f;
        expect(stage, omen_add(stage->index, &batch) == OMEN_OK, "add failed");
        if (i % 3 == 0)
            expect(stage, omen_delete(stage->index, &id, 1, NULL) == OMEN_OK, "delete failed");
    }
    return NULL;
}

START_TEST(writers_at_once_lose_nothing)
{
    struct stage stage = {0};
    omen_options options = OMEN_OPTIONS_INIT;
    uint64_t count;
    options.dimension = DIM;
    options.threads = 2;
    ck_assert_int_eq(omen_open(&options, &stage.index), OMEN_OK);
    pthread_t writers[2];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&writers[i], NULL, writer_main, &stage), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i], NULL);
    ck_assert_msg(atomic_load(&stage.failures) == 0, "%s", atomic_load(&stage.what));
    ck_assert_int_eq(omen_count(stage.index, NULL, &count), OMEN_OK);
    ck_assert_uint_eq(count, 800);
    ck_assert_int_eq(omen_flush(stage.index), OMEN_OK);
    omen_statistics stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(omen_stats(stage.index, &stats), OMEN_OK);
    ck_assert_uint_eq(stats.tail, 0);
    ck_assert_msg(omen_verify(stage.index) == OMEN_OK, "%s", omen_error_message());
    omen_close(stage.index);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/shard_read");
    TCase *tcase = tcase_create("threads");
    tcase_add_test(tcase, readers_beside_upserts_and_compaction_see_every_point_once);
    tcase_add_test(tcase, writers_at_once_lose_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
