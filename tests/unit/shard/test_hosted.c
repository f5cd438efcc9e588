// tests/unit/shard/test_hosted.c -- copies that apply one log hold the same, whatever happens to them in between.
#include "tests/lib/check_main.h"
#include "tests/lib/hosted_world.h"
#include "tests/lib/process.h"

static struct folder folder;
static struct world *world;

static void
setup(void)
{
    folder_init(&folder);
    world = malloc(sizeof *world);
    ck_assert_ptr_nonnull(world);
}

static void
teardown(void)
{
    free(world);
    folder_fini(&folder);
}

// What happens to a copy between two entries.
static void
disturb(struct world_copy *copy)
{
    struct omen_error error = {0};
    const uint64_t applied = hosted_applied(copy->hosted), durable = hosted_durable(copy->hosted);
    switch (prng_below(&world->prng, 8)) {
    case 0:
        hosted_close(copy->hosted);
        world_open_copy(copy);
        ck_assert_uint_eq(hosted_applied(copy->hosted), applied);
        ck_assert_uint_eq(hosted_durable(copy->hosted), applied);
        break;
    case 1:
    case 2:
        hosted_abandon(copy->hosted);
        world_open_copy(copy);
        ck_assert_uint_ge(hosted_applied(copy->hosted), durable);
        ck_assert_uint_le(hosted_applied(copy->hosted), applied);
        break;
    case 3:
        ck_assert_done(hosted_checkpoint(copy->hosted, &error), error);
        ck_assert_uint_eq(hosted_durable(copy->hosted), applied);
        break;
    case 4:
        ck_assert_done(hosted_compact(copy->hosted, &error), error);
        break;
    default:
        break;
    }
}

START_TEST(copies_of_one_log_hold_the_same_through_restarts_and_compactions)
{
    world_init(world, &folder, (uint64_t)_i);
    struct hosted *primary = NULL;
    for (uint32_t step = 0; step < 150; step++) {
        primary = world->copies[0].hosted;
        if (prng_below(&world->prng, 12) == 0) {
            world_write_empty(world);
        } else if (prng_below(&world->prng, 8) == 0) {
            world_apply(world, &world->copies[0], world->last);
            world_write_filtered(world, primary);
        } else {
            world_write(world, primary);
        }
        struct world_copy *copy = &world->copies[prng_below(&world->prng, WORLD_COPIES)];
        const uint64_t applied = hosted_applied(copy->hosted);
        const uint64_t behind = world->last - applied;
        world_apply(world, copy, applied + prng_below(&world->prng, (uint32_t)behind + 1));
        disturb(&world->copies[prng_below(&world->prng, WORLD_COPIES)]);
    }
    for (uint32_t i = 0; i < WORLD_COPIES; i++) {
        world_apply(world, &world->copies[i], world->last);
        world_check(world, world->copies[i].hosted);
    }
    static struct hosted_sum buckets[WORLD_COPIES][SUMS_BUCKETS];
    for (uint32_t i = 0; i < WORLD_COPIES; i++) {
        hosted_buckets(world->copies[i].hosted, 0, SUMS_BUCKETS, buckets[i]);
        ck_assert_mem_eq(buckets[i], buckets[0], sizeof buckets[0]);
    }
    world_fini(world);
}
END_TEST

START_TEST(halves_of_a_shard_apply_its_log_and_add_up_to_it)
{
    const uint64_t middle = UINT64_MAX / 2;
    const struct world_range ranges[] = {{0, middle}, {middle + 1, UINT64_MAX}};
    struct hosted_sum sum = {0};
    struct omen_error error = {0};
    world_init(world, &folder, (uint64_t)_i);
    for (uint32_t i = 0; i < 2; i++) {
        struct world_copy *half = &world->copies[1 + i];
        hosted_close(half->hosted);
        (void)snprintf(half->path, sizeof half->path, "%s/half%u", folder.path, i);
        struct hosted_options options = world_options(half);
        options.first = ranges[i].first;
        options.last = ranges[i].last;
        world_make_copy(half, &options);
    }
    for (uint32_t step = 0; step < 60; step++) {
        world_write(world, world->copies[0].hosted);
        world_apply(world, &world->copies[0], world->last);
    }
    for (uint32_t i = 0; i < 2; i++) {
        struct hosted *half = world->copies[1 + i].hosted;
        for (uint64_t seq = 1; seq <= world->last; seq++) {
            const struct hosted_entry entry = {
                .seq = seq, .bytes = world->log[seq].bytes, .count = world->log[seq].count};
            const struct hosted_entries entries = {.entries = &entry, .count = 1};
            ck_assert_done(hosted_apply(half, &entries, NULL, &error), error);
        }
        world_check_range(world, half, ranges[i]);
        sum = sum_plus(sum, hosted_sum(half));
        uint64_t first, last;
        hosted_range(half, &first, &last);
        ck_assert_uint_eq(first, ranges[i].first);
        ck_assert_uint_eq(last, ranges[i].last);
    }
    ck_assert(sum_equal(sum, hosted_sum(world->copies[0].hosted)));
    world_fini(world);
}
END_TEST

// ---- files of embedded indexes ----

static omen_index_t
open_embedded(const char *path, uint32_t dimension)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    options.path = path;
    options.dimension = dimension;
    options.metric = OMEN_L2;
    options.threads = 1;
    ck_assert_msg(omen_open(&options, &index) == OMEN_OK, "%s", omen_error_message());
    return index;
}

static void
upsert_embedded(omen_index_t index, uint64_t first, size_t count)
{
    static float vectors[2000][WORLD_DIM];
    static uint64_t ids[2000];
    omen_batch batch = OMEN_BATCH_INIT;
    for (size_t i = 0; i < count; i++) {
        ids[i] = first + i;
        for (uint32_t c = 0; c < WORLD_DIM; c++)
            vectors[i][c] = (float)(first + i) + (float)c / 8;
    }
    batch.count = count;
    batch.ids = ids;
    batch.vectors = vectors;
    ck_assert_msg(omen_upsert(index, &batch) == OMEN_OK, "%s", omen_error_message());
}

START_TEST(the_file_of_an_embedded_index_becomes_a_copy_with_what_its_own_log_has)
{
    struct world_copy copy = {0};
    struct omen_error error = {0};
    (void)snprintf(copy.path, sizeof copy.path, "%s/index", folder.path);
    omen_index_t index = open_embedded(copy.path, WORLD_DIM);
    upsert_embedded(index, 0, 100);
    ck_assert_int_eq(omen_flush(index), OMEN_OK);
    upsert_embedded(index, 50, 100); // only in its log
    omen_close(index);
    world_open_copy(&copy);
    ck_assert_uint_eq(hosted_applied(copy.hosted), 2);
    ck_assert_uint_eq(hosted_version(copy.hosted, 10), 1);
    ck_assert_uint_eq(hosted_version(copy.hosted, 60), 2);
    ck_assert_done(hosted_verify(copy.hosted, &error), error);
    ck_assert(!sum_equal(hosted_sum(copy.hosted), (struct hosted_sum){0}));
    const struct hosted_sum sum = hosted_sum(copy.hosted);
    hosted_abandon(copy.hosted);
    world_open_copy(&copy);
    ck_assert(sum_equal(sum, hosted_sum(copy.hosted)));
    hosted_close(copy.hosted);
}
END_TEST

START_TEST(an_embedded_index_reads_the_folder_of_a_copy_and_writes_to_a_copy_of_it)
{
    struct omen_error error = {0};
    struct hosted *hosted;
    world_init(world, &folder, 0);
    struct world_copy *copy = &world->copies[0];
    for (uint32_t step = 0; step < 20; step++)
        world_write(world, copy->hosted);
    world_apply(world, copy, world->last);
    hosted_close(copy->hosted);

    uint64_t count, live = 0;
    omen_index_t index = open_embedded(copy->path, 0);
    for (uint32_t i = 0; i < WORLD_POINTS; i++)
        live += world->points[i].there;
    ck_assert_int_eq(omen_count(index, NULL, &count), OMEN_OK);
    ck_assert_uint_eq(count, live);
    omen_close(index);
    world_open_copy(copy); // reading is no harm
    ck_assert_uint_eq(hosted_applied(copy->hosted), world->last);
    world_check(world, copy->hosted);
    hosted_close(copy->hosted);

    // It wrote, and to its node the copy was lost, of whose shard there may be no other.
    char other[512];
    const uint64_t id = 5000;
    const omen_batch batch = {.struct_size = sizeof batch, .count = 1, .ids = &id};
    (void)snprintf(other, sizeof other, "%s/other", folder.path);
    index = open_embedded(copy->path, 0);
    ck_assert_int_eq(omen_set_payloads(index, &batch), OMEN_E_READ_ONLY);
    ck_assert_int_eq(omen_delete(index, &id, 1, NULL), OMEN_E_READ_ONLY);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "only its node writes; copy it"));
    ck_assert_int_eq(omen_compact(index), OMEN_OK);
    ck_assert_int_eq(omen_copy(index, other), OMEN_OK);
    omen_close(index);
    world_open_copy(copy); // and that was no harm either
    world_check(world, copy->hosted);
    hosted_close(copy->hosted);

    index = open_embedded(other, 0);
    upsert_embedded(index, 5000, 3);
    omen_close(index);
    struct hosted_options options = world_options(copy);
    options.path = other;
    ck_assert_int_eq(hosted_open(&options, &hosted, &error), OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.text, "an embedded index has written to it since"));
    ck_assert_ptr_null(hosted);
    options.adopt = true;
    ck_assert_done(hosted_open(&options, &hosted, &error), error);
    ck_assert_uint_eq(hosted_applied(hosted), world->last + 1);
    ck_assert_uint_eq(hosted_version(hosted, 5001), world->last + 1);
    ck_assert_done(hosted_verify(hosted, &error), error);
    ck_assert_done(hosted_checkpoint(hosted, &error), error);
    hosted_close(hosted);
    options.adopt = false;
    ck_assert_done(hosted_open(&options, &hosted, &error), error); // it is one again
    hosted_close(hosted);
    index = open_embedded(other, 0);
    ck_assert_int_eq(omen_delete(index, &id, 1, NULL), OMEN_E_READ_ONLY);
    omen_close(index);
    world_open_copy(copy);
    world_fini(world);
}
END_TEST

START_TEST(an_embedded_file_that_is_taken_over_for_a_part_of_the_hashes_keeps_only_those)
{
    struct world_copy copy = {0};
    struct omen_error error = {0};
    struct hosted *hosted;
    uint64_t count, expected = 0;
    (void)snprintf(copy.path, sizeof copy.path, "%s/index", folder.path);
    omen_index_t index = open_embedded(copy.path, WORLD_DIM);
    upsert_embedded(index, 0, 2000);
    omen_close(index);
    struct hosted_options options = world_options(&copy);
    options.last = UINT64_MAX / 3;
    for (uint64_t id = 0; id < 2000; id++)
        expected += hash_id_u64(id) <= options.last;
    ck_assert_done(hosted_open(&options, &hosted, &error), error);
    ck_assert_done(shard_count(hosted_shard(hosted), NULL, &count, &error), error);
    ck_assert_uint_eq(count, expected);
    ck_assert_done(hosted_verify(hosted, &error), error);
    hosted_abandon(hosted); // it is durable already
    ck_assert_done(hosted_open(&options, &hosted, &error), error);
    ck_assert_done(shard_count(hosted_shard(hosted), NULL, &count, &error), error);
    ck_assert_uint_eq(count, expected);
    hosted_close(hosted);
    options.last = UINT64_MAX / 2;
    ck_assert_int_eq(hosted_open(&options, &hosted, &error), OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.text, "it answers for hashes 0000000000000000 to"));
}
END_TEST

// ---- processes ----

START_TEST(a_killed_process_leaves_a_copy_that_applies_on)
{
    enum { ENTRIES = 120 };
    world_init(world, &folder, (uint64_t)_i);
    while (world->last < ENTRIES)
        world_write(world, world->copies[0].hosted);
    for (uint32_t i = 0; i < WORLD_COPIES; i++) {
        hosted_close(world->copies[i].hosted); // before others are made of this process
        world->copies[i].hosted = NULL;
    }
    struct world_copy *copy = &world->copies[1];
    uint64_t known = 0;
    for (uint64_t life = 0; life < 10; life++) {
        const uint32_t many = prng_below(&world->prng, 20);
        const bool saves = prng_below(&world->prng, 2) == 0;
        uint64_t *durable = process_share(sizeof *durable);
        const pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            struct omen_error error = {0};
            world_open_copy(copy);
            const uint64_t from = hosted_applied(copy->hosted);
            world_apply(world, copy, from + many < ENTRIES ? from + many : ENTRIES);
            if (saves)
                ck_assert_done(hosted_checkpoint(copy->hosted, &error), error);
            *durable = hosted_durable(copy->hosted);
            (void)raise(SIGKILL);
        }
        ck_assert(process_was_killed(child, life));
        world_open_copy(copy);
        ck_assert_uint_ge(hosted_applied(copy->hosted), *durable);
        ck_assert_uint_ge(*durable, known);
        known = *durable;
        hosted_abandon(copy->hosted);
        copy->hosted = NULL;
        process_unshare(durable, sizeof *durable);
    }
    world_open_copy(copy);
    world_apply(world, copy, ENTRIES);
    world_check(world, copy->hosted);
    world_fini(world);
}
END_TEST

START_TEST(an_embedded_reader_of_another_process_sees_what_a_checkpoint_has)
{
    uint64_t *live = process_share(sizeof *live);
    int ask[2], answer[2];
    struct omen_error error = {0};
    ck_assert_int_eq(pipe(ask), 0);
    ck_assert_int_eq(pipe(answer), 0);
    enum { TURNS = 10 };
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        omen_options options = OMEN_OPTIONS_INIT;
        omen_index_t index;
        uint64_t count;
        options.path = folder_path(&folder, "copy0");
        options.read_only = 1;
        process_hear(ask[0]);
        ck_assert_msg(omen_open(&options, &index) == OMEN_OK, "%s", omen_error_message());
        for (int turn = 0; turn < TURNS; turn++) {
            process_say(answer[1]);
            process_hear(ask[0]);
            ck_assert_int_eq(omen_count(index, NULL, &count), OMEN_OK);
            ck_assert_uint_eq(count, *live);
        }
        omen_close(index);
        _exit(0);
    }
    world_init(world, &folder, 0);
    struct world_copy *copy = &world->copies[0];
    process_say(ask[1]);
    for (int turn = 0; turn < TURNS; turn++) {
        process_hear(answer[0]);
        for (int i = 0; i < 5; i++)
            world_write(world, copy->hosted);
        world_apply(world, copy, world->last);
        ck_assert_done(hosted_checkpoint(copy->hosted, &error), error);
        if (turn % 3 == 2)
            ck_assert_done(hosted_compact(copy->hosted, &error), error);
        *live = 0;
        for (uint32_t i = 0; i < WORLD_POINTS; i++)
            *live += world->points[i].there;
        process_say(ask[1]);
    }
    ck_assert(!process_was_killed(child, 0));
    world_fini(world);
    process_unshare(live, sizeof *live);
}
END_TEST

// ---- refusals ----

START_TEST(what_is_missing_or_there_already_is_refused)
{
    struct world_copy copy = {0};
    struct omen_error error = {0};
    struct hosted *hosted;
    (void)snprintf(copy.path, sizeof copy.path, "%s/none", folder.path);
    struct hosted_options options = world_options(&copy);
    ck_assert_int_eq(hosted_open(&options, &hosted, &error), OMEN_E_NOT_FOUND);
    ck_assert_done(hosted_make(&options, &error), error);
    ck_assert_int_eq(hosted_make(&options, &error), OMEN_E_EXISTS);
    options.path = folder_path(&folder, "other");
    options.dimension = 0;
    ck_assert_int_eq(hosted_make(&options, &error), OMEN_E_DIMENSION);
}
END_TEST

START_TEST(nothing_but_its_log_changes_a_copy)
{
    const uint64_t id = 1;
    const float vector[WORLD_DIM] = {1};
    omen_batch batch = OMEN_BATCH_INIT;
    struct omen_error error = {0};
    size_t deleted;
    world_init(world, &folder, 0);
    struct shard *shard = hosted_shard(world->copies[0].hosted);
    batch.count = 1;
    batch.ids = &id;
    batch.vectors = vector;
    ck_assert_int_eq(shard_upsert(shard, &batch, &error), OMEN_E_READ_ONLY);
    ck_assert_ptr_nonnull(strstr(error.text, "only the log of its host changes this copy"));
    ck_assert_int_eq(shard_delete(shard, &id, 1, &deleted, &error), OMEN_E_READ_ONLY);
    ck_assert_int_eq(shard_delete_where(shard, "a = 1", &deleted, &error), OMEN_E_READ_ONLY);
    ck_assert_int_eq(shard_field_index(shard, "a", OMEN_FIELD_INTEGER, &error), OMEN_E_READ_ONLY);
    world_fini(world);
}
END_TEST

START_TEST(a_copy_begins_behind_its_base)
{
    struct world_copy copy = {0};
    struct omen_error error = {0};
    const struct hosted_entry entry = {.seq = 1001};
    const struct hosted_entries entries = {.entries = &entry, .count = 1};
    (void)snprintf(copy.path, sizeof copy.path, "%s/child", folder.path);
    struct hosted_options options = world_options(&copy);
    options.base_seq = 1000;
    world_make_copy(&copy, &options);
    ck_assert_uint_eq(hosted_applied(copy.hosted), 1000);
    ck_assert_done(hosted_apply(copy.hosted, &entries, NULL, &error), error);
    hosted_close(copy.hosted);
    world_open_copy(&copy);
    ck_assert_uint_eq(hosted_applied(copy.hosted), 1001);
    hosted_close(copy.hosted);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/hosted");
    TCase *copies = tcase_create("copies");
    tcase_add_checked_fixture(copies, setup, teardown);
    tcase_add_loop_test(copies, copies_of_one_log_hold_the_same_through_restarts_and_compactions, 0,
                        6);
    tcase_add_loop_test(copies, halves_of_a_shard_apply_its_log_and_add_up_to_it, 0, 2);
    tcase_add_test(copies, a_copy_begins_behind_its_base);
    suite_add_tcase(suite, copies);
    TCase *embedded = tcase_create("embedded");
    tcase_add_checked_fixture(embedded, setup, teardown);
    tcase_add_test(embedded,
                   the_file_of_an_embedded_index_becomes_a_copy_with_what_its_own_log_has);
    tcase_add_test(embedded,
                   an_embedded_index_reads_the_folder_of_a_copy_and_writes_to_a_copy_of_it);
    tcase_add_test(embedded,
                   an_embedded_file_that_is_taken_over_for_a_part_of_the_hashes_keeps_only_those);
    tcase_add_test(embedded, an_embedded_reader_of_another_process_sees_what_a_checkpoint_has);
    tcase_add_loop_test(embedded, a_killed_process_leaves_a_copy_that_applies_on, 0, 2);
    suite_add_tcase(suite, embedded);
    TCase *refusals = tcase_create("refusals");
    tcase_add_checked_fixture(refusals, setup, teardown);
    tcase_add_test(refusals, what_is_missing_or_there_already_is_refused);
    tcase_add_test(refusals, nothing_but_its_log_changes_a_copy);
    suite_add_tcase(suite, refusals);
    return suite;
}

CHECK_MAIN(suite)
