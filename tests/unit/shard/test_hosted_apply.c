// tests/unit/shard/test_hosted_apply.c -- entries are applied whole, in order, alike everywhere, and again after a failure.
//
// Labels: tsan
#include <pthread.h>
#include <sched.h>

#include "base/alloc.h"
#include "shard/field_names.h"
#include "shard/op.h"
#include "tests/lib/check_main.h"
#include "tests/lib/hosted_world.h"

static struct folder folder;
static struct world *world;
static struct omen_error error;

static void
setup(void)
{
    folder_init(&folder);
    world = malloc(sizeof *world);
    world_init(world, &folder, (uint64_t)0);
}

static void
teardown(void)
{
    world_fini(world);
    free(world);
    folder_fini(&folder);
}

static omen_status
apply_one(struct hosted *hosted, uint64_t seq, const void *bytes, size_t count,
          struct hosted_results *results)
{
    const struct hosted_entry entry = {.seq = seq, .bytes = bytes, .count = count};
    const struct hosted_entries entries = {.entries = &entry, .count = 1};
    return hosted_apply(hosted, &entries, results, &error);
}

// Prepares at one copy and applies at others; the result of the last is to be ended.
static void
do_at(const struct hosted_ask *ask, uint32_t copies, struct hosted_results *results)
{
    struct hosted_bytes bytes;
    ck_assert_done(hosted_prepare(world->copies[0].hosted, ask, &bytes, &error), error);
    for (uint32_t i = 0; i < copies; i++) {
        struct hosted *hosted = world->copies[i].hosted;
        if (i > 0)
            hosted_results_fini(results);
        ck_assert_done(
            apply_one(hosted, hosted_applied(hosted) + 1, bytes.bytes, bytes.count, results),
            error);
        ck_assert_uint_eq(results->count, 1);
    }
    hosted_bytes_fini(&bytes);
}

START_TEST(an_entry_follows_the_one_before)
{
    struct hosted *hosted = world->copies[0].hosted;
    ck_assert_int_eq(apply_one(hosted, 2, NULL, 0, NULL), OMEN_E_INVALID);
    ck_assert_str_eq(error.text, "entry 2 cannot follow entry 0");
    ck_assert_done(apply_one(hosted, 1, NULL, 0, NULL), error);
    ck_assert_int_eq(apply_one(hosted, 1, NULL, 0, NULL), OMEN_E_INVALID);
    ck_assert_str_eq(error.text, "entry 1 cannot follow entry 1");
    ck_assert_uint_eq(hosted_applied(hosted), 1);
}
END_TEST

START_TEST(each_row_that_is_not_done_says_why)
{
    const uint64_t ids[] = {1, 2, 3};
    const float vectors[3][WORLD_DIM] = {{1}, {2}, {3}};
    struct hosted_results results;
    struct hosted_ask ask = {
        .kind = HOSTED_UPSERT, .count = 2, .ids = ids, .vectors = vectors, .dtype = OMEN_F32};
    do_at(&ask, 1, &results);
    ck_assert_uint_eq(results.entries[0].rows, 2);
    hosted_results_fini(&results);
    ask.kind = HOSTED_INSERT;
    ask.count = 3;
    do_at(&ask, 1, &results);
    ck_assert_uint_eq(results.entries[0].rows, 1);
    ck_assert_uint_eq(results.entries[0].failed_count, 2);
    ck_assert_str_eq(results.entries[0].failed[1].error.text, "row 1: id 2 exists already");
    hosted_results_fini(&results);
    const uint64_t versions[] = {1, 7, 0};
    ask.kind = HOSTED_UPSERT;
    ask.if_versions = versions;
    do_at(&ask, 1, &results);
    ck_assert_uint_eq(results.entries[0].rows, 1);
    ck_assert_str_eq(results.entries[0].failed[0].error.text,
                     "row 1: id 2 has version 1, but should have 7");
    ck_assert_str_eq(results.entries[0].failed[1].error.text,
                     "row 2: id 3 has version 2, but should not be there");
    hosted_results_fini(&results);
    ask = (struct hosted_ask){.kind = HOSTED_DELETE,
                              .count = 3,
                              .ids = (const uint64_t[]){9, 1, 8},
                              .if_versions = (const uint64_t[]){4, 3, UINT64_MAX}};
    do_at(&ask, 1, &results);
    ck_assert_uint_eq(results.entries[0].rows, 1);
    ck_assert_uint_eq(results.entries[0].failed_count, 1);
    ck_assert_str_eq(results.entries[0].failed[0].error.text,
                     "row 0: id 9 is not there, but should have version 4");
    hosted_results_fini(&results);
    ask = (struct hosted_ask){.kind = HOSTED_PATCH,
                              .count = 1,
                              .ids = (const uint64_t[]){9},
                              .set = "\x80",
                              .set_bytes = 1};
    do_at(&ask, 1, &results);
    ck_assert_int_eq(results.entries[0].failed[0].error.status, OMEN_E_NOT_FOUND);
    ck_assert_str_eq(results.entries[0].failed[0].error.text, "row 0: id 9 is not there");
    hosted_results_fini(&results);
}
END_TEST

START_TEST(a_declared_field_refuses_rows_of_another_type_and_is_refused_by_them)
{
    const uint64_t ids[] = {1, 2};
    const float vectors[2][WORLD_DIM] = {{1}, {2}};
    const void *const payloads[] = {"\x81\xa1n\x05", "\x81\xa1n\xa1x"};
    const size_t payload_bytes[] = {4, 5};
    struct hosted_results results;
    struct hosted_ask field = {
        .kind = HOSTED_FIELD, .field = "n", .field_type = OMEN_FIELD_INTEGER};
    struct hosted_ask ask = {.kind = HOSTED_UPSERT,
                             .count = 2,
                             .ids = ids,
                             .vectors = vectors,
                             .dtype = OMEN_F32,
                             .payloads = payloads,
                             .payload_bytes = payload_bytes};
    do_at(&field, WORLD_COPIES, &results);
    ck_assert_int_eq(results.entries[0].error.status, OMEN_OK);
    hosted_results_fini(&results);
    do_at(&ask, WORLD_COPIES, &results);
    ck_assert_uint_eq(results.entries[0].rows, 1);
    ck_assert_int_eq(results.entries[0].failed[0].error.status, OMEN_E_FIELD_TYPE);
    ck_assert_str_eq(results.entries[0].failed[0].error.text,
                     "row 1: field \"n\" is indexed as integer, but the value is string");
    hosted_results_fini(&results);
    struct hosted_ask patch = {
        .kind = HOSTED_PATCH, .count = 1, .ids = ids, .set = "\x81\xa1n\xa1x", .set_bytes = 5};
    do_at(&patch, WORLD_COPIES, &results);
    ck_assert_int_eq(results.entries[0].failed[0].error.status, OMEN_E_FIELD_TYPE);
    hosted_results_fini(&results);
    field.field_type = OMEN_FIELD_KEYWORD;
    do_at(&field, WORLD_COPIES, &results);
    ck_assert_int_eq(results.entries[0].error.status, OMEN_E_EXISTS);
    hosted_results_fini(&results);
    ask.payloads = (const void *const[]){"\x81\xa1m\xa1x", NULL};
    ask.payload_bytes = (const size_t[]){5, 0};
    do_at(&ask, WORLD_COPIES, &results);
    ck_assert_uint_eq(results.entries[0].rows, 2);
    hosted_results_fini(&results);
    field =
        (struct hosted_ask){.kind = HOSTED_FIELD, .field = "m", .field_type = OMEN_FIELD_INTEGER};
    do_at(&field, WORLD_COPIES, &results);
    ck_assert_int_eq(results.entries[0].error.status, OMEN_E_FIELD_TYPE);
    ck_assert_uint_eq(hosted_applied(world->copies[0].hosted), 6);
    hosted_results_fini(&results);
    for (uint32_t i = 0; i < WORLD_COPIES; i++) {
        ck_assert(
            sum_equal(hosted_sum(world->copies[i].hosted), hosted_sum(world->copies[0].hosted)));
        ck_assert_done(hosted_verify(world->copies[i].hosted, &error), error);
    }
}
END_TEST

START_TEST(a_field_that_is_given_up_takes_any_value_on_every_copy)
{
    const uint64_t id = 1;
    const float vector[WORLD_DIM] = {1};
    const void *payload = "\x81\xa1n\x05";
    const size_t payload_bytes = 4;
    struct hosted_results results;
    struct hosted_ask field = {
        .kind = HOSTED_FIELD, .field = "n", .field_type = OMEN_FIELD_INTEGER};
    const struct hosted_ask drop = {.kind = HOSTED_FIELD_DROP, .field = "n"};
    const struct hosted_ask ask = {.kind = HOSTED_UPSERT,
                                   .count = 1,
                                   .ids = &id,
                                   .vectors = vector,
                                   .dtype = OMEN_F32,
                                   .payloads = &payload,
                                   .payload_bytes = &payload_bytes};
    const struct hosted_ask patch = {
        .kind = HOSTED_PATCH, .count = 1, .ids = &id, .set = "\x81\xa1n\xa1x", .set_bytes = 5};
    do_at(&drop, WORLD_COPIES, &results);
    ck_assert_int_eq(results.entries[0].error.status, OMEN_E_NOT_FOUND);
    ck_assert_str_eq(results.entries[0].error.text, "field \"n\" has no index");
    hosted_results_fini(&results);
    do_at(&field, WORLD_COPIES, &results);
    hosted_results_fini(&results);
    do_at(&ask, WORLD_COPIES, &results);
    hosted_results_fini(&results);
    for (uint32_t i = 0; i < WORLD_COPIES; i++)
        ck_assert_done(hosted_checkpoint(world->copies[i].hosted, &error), error);
    do_at(&drop, WORLD_COPIES, &results);
    ck_assert_int_eq(results.entries[0].error.status, OMEN_OK);
    hosted_results_fini(&results);
    do_at(&patch, WORLD_COPIES, &results);
    ck_assert_uint_eq(results.entries[0].rows, 1);
    hosted_results_fini(&results);
    // One copy starts again from its checkpoint, which has the index, and applies the same again.
    struct hosted_bytes again[2];
    ck_assert_done(hosted_prepare(world->copies[1].hosted, &drop, &again[0], &error), error);
    ck_assert_done(hosted_prepare(world->copies[1].hosted, &patch, &again[1], &error), error);
    const struct hosted_options options = {.path = world->copies[0].path, .threads = 1};
    hosted_abandon(world->copies[0].hosted);
    ck_assert_done(hosted_open(&options, &world->copies[0].hosted, &error), error);
    ck_assert_uint_eq(hosted_applied(world->copies[0].hosted), 3);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_done(
            apply_one(world->copies[0].hosted, 4 + i, again[i].bytes, again[i].count, NULL), error);
        hosted_bytes_fini(&again[i]);
    }
    field.field_type = OMEN_FIELD_KEYWORD;
    do_at(&field, WORLD_COPIES, &results);
    ck_assert_int_eq(results.entries[0].error.status, OMEN_OK);
    hosted_results_fini(&results);
    for (uint32_t i = 0; i < WORLD_COPIES; i++) {
        struct field_names names;
        shard_fields(hosted_shard(world->copies[i].hosted), &names);
        ck_assert_uint_eq(names.count, 1);
        ck_assert_str_eq(names.list[0].name, "n");
        ck_assert_int_eq(names.list[0].type, OMEN_FIELD_KEYWORD);
        ck_assert(
            sum_equal(hosted_sum(world->copies[i].hosted), hosted_sum(world->copies[0].hosted)));
        ck_assert_done(hosted_verify(world->copies[i].hosted, &error), error);
    }
}
END_TEST

// The kind of ids is the log's, not that of the points that a copy answers for.
START_TEST(a_half_that_has_no_point_yet_knows_the_kind_of_ids)
{
    struct world_copy half = {0};
    struct hosted_results results;
    struct hosted_bytes bytes;
    const char *const text = "a";
    const uint64_t id = 5, hash = hash_id_text("a", 1);
    const float vector[WORLD_DIM] = {1};
    (void)snprintf(half.path, sizeof half.path, "%s/half", folder.path);
    struct hosted_options options = world_options(&half);
    options.first = hash < UINT64_MAX / 2 ? UINT64_MAX / 2 : 0;
    options.last = hash < UINT64_MAX / 2 ? UINT64_MAX : UINT64_MAX / 2;
    world_make_copy(&half, &options);
    struct hosted_ask texts = {
        .kind = HOSTED_UPSERT, .count = 1, .texts = &text, .vectors = vector, .dtype = OMEN_F32};
    struct hosted_ask integers = texts;
    integers.texts = NULL;
    integers.ids = &id;
    ck_assert_done(hosted_prepare(half.hosted, &texts, &bytes, &error), error);
    ck_assert_done(apply_one(half.hosted, 1, bytes.bytes, bytes.count, &results), error);
    ck_assert_uint_eq(results.entries[0].rows + results.entries[0].failed_count, 0);
    hosted_results_fini(&results);
    hosted_bytes_fini(&bytes);
    // Prepared where nothing was known yet.
    ck_assert_done(hosted_prepare(world->copies[1].hosted, &integers, &bytes, &error), error);
    hosted_close(half.hosted);
    world_open_copy(&half);
    ck_assert_done(apply_one(half.hosted, 2, bytes.bytes, bytes.count, &results), error);
    ck_assert_int_eq(results.entries[0].error.status, OMEN_E_ID_KIND);
    ck_assert_str_eq(results.entries[0].error.text,
                     "this index holds text ids; integer ids were given");
    hosted_results_fini(&results);
    hosted_bytes_fini(&bytes);
    hosted_close(half.hosted);
}
END_TEST

START_TEST(bytes_that_are_no_operation_change_nothing_and_a_newer_one_stops_the_copy)
{
    struct hosted *hosted = world->copies[0].hosted;
    struct hosted_results results;
    uint64_t bytes[8] = {0};
    struct op_begin *begin = (struct op_begin *)bytes;
    ck_assert_done(apply_one(hosted, 1, bytes, 4, &results), error);
    ck_assert_int_eq(results.entries[0].error.status, OMEN_E_CORRUPT);
    hosted_results_fini(&results);
    begin->type = OP_CHANGE;
    ck_assert_done(apply_one(hosted, 2, bytes, sizeof bytes, &results), error);
    ck_assert_int_eq(results.entries[0].error.status, OMEN_E_CORRUPT);
    hosted_results_fini(&results);
    begin->type = OP_FIELD;
    ck_assert_done(apply_one(hosted, 3, bytes, sizeof bytes, &results), error);
    ck_assert_int_eq(results.entries[0].error.status, OMEN_E_CORRUPT);
    hosted_results_fini(&results);
    begin->type = 77;
    ck_assert_int_eq(apply_one(hosted, 4, bytes, sizeof bytes, &results), OMEN_E_VERSION);
    ck_assert_str_eq(error.text, "log entry 4: its type 77 was written by a newer version");
    ck_assert_uint_eq(results.count, 0);
    hosted_results_fini(&results);
    begin->type = OP_CHANGE;
    bytes[1] = 9; // the version
    ck_assert_int_eq(apply_one(hosted, 4, bytes, sizeof bytes, NULL), OMEN_E_VERSION);
    ck_assert_uint_eq(hosted_applied(hosted), 3);
}
END_TEST

START_TEST(an_entry_may_lie_at_any_address)
{
    static uint8_t shifted[1 << 16];
    struct world_copy *copy = &world->copies[0];
    while (world->last < 12) {
        world_write(world, copy->hosted);
        const struct world_entry *entry = &world->log[world->last];
        const size_t shift = world->last % 8;
        ck_assert_uint_lt(entry->count + shift, sizeof shifted);
        memcpy(shifted + shift, entry->bytes, entry->count);
        ck_assert_done(apply_one(copy->hosted, world->last, shifted + shift, entry->count, NULL),
                       error);
    }
    world_check(world, copy->hosted);
}
END_TEST

START_TEST(where_memory_is_short_nothing_is_applied_and_the_entry_can_be_given_again)
{
    struct world_copy *copy = &world->copies[0];
    uint64_t refused = 0;
    for (uint32_t step = 0; step < 25; step++) {
        world_write(world, copy->hosted);
        if (step % 8 == 7) {
            hosted_close(copy->hosted);
            world_open_copy(copy);
        }
        omen_status status = OMEN_E_NO_MEMORY;
        for (uint64_t n = 1; status != OMEN_OK; n++) {
            const struct hosted_sum sum = hosted_sum(copy->hosted);
            struct hosted_results results;
            mem_fail_after(n);
            status = apply_one(copy->hosted, world->last, world->log[world->last].bytes,
                               world->log[world->last].count, &results);
            mem_fail_after(0);
            ck_assert(status == OMEN_OK || status == OMEN_E_NO_MEMORY);
            if (status == OMEN_OK) {
                world_check_result(world, &results.entries[0]);
            } else {
                refused++;
                ck_assert_uint_eq(hosted_applied(copy->hosted), world->last - 1);
                ck_assert(sum_equal(sum, hosted_sum(copy->hosted)));
            }
            hosted_results_fini(&results);
        }
    }
    ck_assert_uint_gt(refused, 100);
    world_check(world, copy->hosted);
}
END_TEST

// ---- few slots ----

// A file of few slots, made as an embedded one and taken over.
static void
make_small(struct world_copy *copy, uint32_t slots_max)
{
    omen_options options = OMEN_OPTIONS_INIT;
    struct shard *shard;
    (void)snprintf(copy->path, sizeof copy->path, "%s/small", folder.path);
    options.path = copy->path;
    options.dimension = WORLD_DIM;
    options.metric = OMEN_L2;
    options.slots_max = slots_max;
    options.threads = 1;
    ck_assert_done(shard_open(&options, &shard, &error), error);
    shard_close(shard);
    world_open_copy(copy);
}

static void
upsert_range(struct hosted *hosted, uint64_t first, uint32_t count, struct hosted_results *results)
{
    uint64_t ids[64];
    float vectors[64][WORLD_DIM] = {{0}};
    struct hosted_bytes bytes;
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = first + i;
        vectors[i][0] = (float)i;
    }
    const struct hosted_ask ask = {
        .kind = HOSTED_UPSERT, .count = count, .ids = ids, .vectors = vectors, .dtype = OMEN_F32};
    // The other copies have room for everything, so that this one's log may have what its own primary would refuse.
    ck_assert_done(hosted_prepare(world->copies[2].hosted, &ask, &bytes, &error), error);
    ck_assert_done(apply_one(hosted, hosted_applied(hosted) + 1, bytes.bytes, bytes.count, results),
                   error);
    hosted_bytes_fini(&bytes);
}

START_TEST(slots_of_replaced_points_are_given_back_when_they_are_wanted)
{
    struct world_copy small;
    struct hosted_results results;
    uint64_t count;
    make_small(&small, 100);
    for (uint32_t turn = 0; turn < 20; turn++) {
        upsert_range(small.hosted, 0, 50, &results);
        ck_assert_uint_eq(results.entries[0].rows, 50);
        hosted_results_fini(&results);
    }
    ck_assert_done(shard_count(hosted_shard(small.hosted), NULL, &count, &error), error);
    ck_assert_uint_eq(count, 50);
    ck_assert_done(hosted_verify(small.hosted, &error), error);
    hosted_close(small.hosted);
}
END_TEST

START_TEST(points_beyond_what_there_is_room_for_are_refused_by_count_and_not_by_slots)
{
    struct world_copy small;
    struct hosted_results results;
    struct hosted_bytes bytes;
    make_small(&small, 100);
    upsert_range(small.hosted, 0, 60, &results);
    hosted_results_fini(&results);
    upsert_range(small.hosted, 100, 41, &results);
    ck_assert_int_eq(results.entries[0].error.status, OMEN_E_FULL);
    ck_assert_str_eq(results.entries[0].error.text,
                     "41 rows do not fit: 60 of 100 points are there");
    ck_assert_uint_eq(results.entries[0].rows, 0);
    hosted_results_fini(&results);
    upsert_range(small.hosted, 100, 40, &results);
    ck_assert_uint_eq(results.entries[0].rows, 40);
    hosted_results_fini(&results);
    const uint64_t id = 5000;
    const float vector[WORLD_DIM] = {0};
    const struct hosted_ask ask = {
        .kind = HOSTED_UPSERT, .count = 1, .ids = &id, .vectors = vector, .dtype = OMEN_F32};
    ck_assert_int_eq(hosted_prepare(small.hosted, &ask, &bytes, &error), OMEN_E_FULL);
    ck_assert_str_eq(error.text, "1 rows do not fit: 100 points are there, and 6 of 100 are kept "
                                 "free; split the shard");
    ck_assert_done(hosted_verify(small.hosted, &error), error);
    hosted_close(small.hosted);
}
END_TEST

// ---- beside each other ----

struct beside {
    struct hosted *hosted;
    _Atomic bool done;
};

static void *
checkpoint_again_and_again(void *context)
{
    struct beside *beside = context;
    struct omen_error failure = {0};
    while (!atomic_load(&beside->done)) {
        ck_assert_done(hosted_checkpoint(beside->hosted, &failure), failure);
        (void)hosted_sum(beside->hosted);
        (void)hosted_durable(beside->hosted);
    }
    return NULL;
}

static void *
read_again_and_again(void *context)
{
    struct beside *beside = context;
    struct omen_error failure = {0};
    struct hosted_bytes bytes;
    const struct hosted_ask ask = {.kind = HOSTED_DELETE, .filter = "a = 1"};
    for (uint64_t id = 0; !atomic_load(&beside->done); id = (id + 1) % WORLD_POINTS) {
        ck_assert_uint_le(hosted_version(beside->hosted, id), 400);
        ck_assert_done(hosted_prepare(beside->hosted, &ask, &bytes, &failure), failure);
        hosted_bytes_fini(&bytes);
    }
    return NULL;
}

START_TEST(a_checkpoint_that_is_made_beside_applying_is_of_exactly_one_entry)
{
    enum { ENTRIES = 200 };
    struct world_copy *copy = &world->copies[0];
    struct world_point(*history)[WORLD_POINTS] = malloc((ENTRIES + 1) * sizeof *history);
    while (world->last < ENTRIES) {
        memcpy(history[world->last], world->points, sizeof world->points);
        world_write(world, copy->hosted);
    }
    memcpy(history[world->last], world->points, sizeof world->points);
    for (uint32_t turn = 0; turn < 4; turn++) {
        struct beside beside = {.hosted = copy->hosted};
        pthread_t threads[2];
        ck_assert_int_eq(pthread_create(&threads[0], NULL, checkpoint_again_and_again, &beside), 0);
        ck_assert_int_eq(pthread_create(&threads[1], NULL, read_again_and_again, &beside), 0);
        world_apply(world, copy, (turn + 1) * ENTRIES / 4);
        atomic_store(&beside.done, true);
        for (uint32_t i = 0; i < 2; i++)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        hosted_abandon(copy->hosted);
        world_open_copy(copy);
        const uint64_t applied = hosted_applied(copy->hosted);
        ck_assert_uint_le(applied, (turn + 1) * ENTRIES / 4);
        memcpy(world->points, history[applied], sizeof world->points);
        world_check(world, copy->hosted);
    }
    world_apply(world, copy, world->last);
    memcpy(world->points, history[world->last], sizeof world->points);
    world_check(world, copy->hosted);
    free(history);
}
END_TEST

// ---- many points, with workers ----

enum { MANY = 2400, BATCH = 240, BATCHES = 40 };

// Batch number `batch`: ids at random, one of each; rows are new ones.
static void
prepare_many(struct hosted *hosted, struct prng *prng, struct hosted_bytes *bytes)
{
    static uint64_t ids[BATCH];
    static float vectors[BATCH][WORLD_DIM];
    const uint64_t stride = 1 + prng_below(prng, 7) * 2, first = prng_below(prng, MANY);
    for (uint64_t i = 0; i < BATCH; i++) {
        ids[i] = (first + i * stride) % MANY;
        for (uint32_t c = 0; c < WORLD_DIM; c++)
            vectors[i][c] = prng_unit(prng);
    }
    struct hosted_ask ask = {
        .kind = HOSTED_UPSERT, .count = BATCH, .ids = ids, .vectors = vectors, .dtype = OMEN_F32};
    if (prng_below(prng, 5) == 0)
        ask.kind = HOSTED_DELETE;
    while (hosted_prepare(hosted, &ask, bytes, &error) == OMEN_E_DUPLICATE_ID)
        ask.count /= 2; // the stride came round
    ck_assert_ptr_nonnull(bytes->bytes);
}

static void
apply_many(struct world_copy *copy, const struct hosted_bytes *log, uint64_t last)
{
    while (hosted_applied(copy->hosted) < last) {
        const uint64_t seq = hosted_applied(copy->hosted) + 1;
        ck_assert_done(apply_one(copy->hosted, seq, log[seq].bytes, log[seq].count, NULL), error);
    }
}

static void
open_many(struct world_copy *copy)
{
    struct hosted_options options = world_options(copy);
    options.threads = 2;
    ck_assert_done(hosted_open(&options, &copy->hosted, &error), error);
}

START_TEST(copies_with_workers_and_compactions_of_their_own_hold_the_same)
{
    static struct hosted_bytes log[BATCHES + 1];
    struct prng prng;
    prng_init(&prng, 5);
    for (uint32_t i = 0; i < WORLD_COPIES; i++) {
        hosted_close(world->copies[i].hosted);
        open_many(&world->copies[i]);
    }
    for (uint64_t seq = 1; seq <= BATCHES; seq++) {
        prepare_many(world->copies[0].hosted, &prng, &log[seq]);
        apply_many(&world->copies[0], log, seq);
        if (seq % 9 == 0) {
            apply_many(&world->copies[1], log, seq);
            hosted_abandon(world->copies[1].hosted);
            open_many(&world->copies[1]);
        }
        if (seq % 13 == 0)
            ck_assert_done(hosted_checkpoint(world->copies[0].hosted, &error), error);
    }
    for (uint32_t i = 0; i < WORLD_COPIES; i++) {
        apply_many(&world->copies[i], log, BATCHES);
        ck_assert_done(hosted_verify(world->copies[i].hosted, &error), error);
        ck_assert(
            sum_equal(hosted_sum(world->copies[i].hosted), hosted_sum(world->copies[0].hosted)));
    }
    for (uint64_t seq = 1; seq <= BATCHES; seq++)
        hosted_bytes_fini(&log[seq]);
}
END_TEST

START_TEST(what_is_applied_becomes_durable_by_itself)
{
    struct world_copy *copy = &world->copies[0];
    for (uint32_t i = 0; i < 5; i++)
        world_write(world, copy->hosted);
    world_write_empty(world);
    world_apply(world, copy, world->last);
    while (hosted_durable(copy->hosted) < world->last)
        (void)sched_yield();
    hosted_abandon(copy->hosted);
    world_open_copy(copy);
    ck_assert_uint_eq(hosted_applied(copy->hosted), world->last);
    world_check(world, copy->hosted);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/hosted_apply");
    TCase *tcase = tcase_create("apply");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_entry_follows_the_one_before);
    tcase_add_test(tcase, each_row_that_is_not_done_says_why);
    tcase_add_test(tcase, a_declared_field_refuses_rows_of_another_type_and_is_refused_by_them);
    tcase_add_test(tcase, a_field_that_is_given_up_takes_any_value_on_every_copy);
    tcase_add_test(tcase, a_half_that_has_no_point_yet_knows_the_kind_of_ids);
    tcase_add_test(tcase,
                   bytes_that_are_no_operation_change_nothing_and_a_newer_one_stops_the_copy);
    tcase_add_test(tcase, an_entry_may_lie_at_any_address);
    tcase_add_test(tcase,
                   where_memory_is_short_nothing_is_applied_and_the_entry_can_be_given_again);
    tcase_add_test(tcase, slots_of_replaced_points_are_given_back_when_they_are_wanted);
    tcase_add_test(tcase,
                   points_beyond_what_there_is_room_for_are_refused_by_count_and_not_by_slots);
    tcase_add_test(tcase, a_checkpoint_that_is_made_beside_applying_is_of_exactly_one_entry);
    tcase_add_test(tcase, copies_with_workers_and_compactions_of_their_own_hold_the_same);
    tcase_add_test(tcase, what_is_applied_becomes_durable_by_itself);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
