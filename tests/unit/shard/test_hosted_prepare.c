// tests/unit/shard/test_hosted_prepare.c -- what can be refused before it is in the log is refused, with what was wrong.
#include "base/limits.h"
#include "tests/lib/check_main.h"
#include "tests/lib/hosted_world.h"
#include "tests/lib/packer.h"

static struct folder folder;
static struct world *world;
static struct hosted *hosted;
static struct omen_error error;

static const uint64_t ids[] = {1, 2, 3};
static const char *const texts[] = {"a", "b", "c"};
static const float vectors[3][WORLD_DIM] = {{1}, {2}, {3}};

static void
setup(void)
{
    folder_init(&folder);
    world = malloc(sizeof *world);
    world_init(world, &folder, 0);
    hosted = world->copies[0].hosted;
}

static void
teardown(void)
{
    world_fini(world);
    free(world);
    folder_fini(&folder);
}

static struct hosted_ask
upsert_of(size_t count)
{
    return (struct hosted_ask){
        .kind = HOSTED_UPSERT, .count = count, .ids = ids, .vectors = vectors, .dtype = OMEN_F32};
}

static void
refused(const struct hosted_ask *ask, omen_status status, const char *sentence)
{
    struct hosted_bytes bytes;
    ck_assert_msg(hosted_prepare(hosted, ask, &bytes, &error) == status, "%d: %s", error.status,
                  error.text);
    ck_assert_msg(strstr(error.text, sentence) != NULL, "'%s' lacks '%s'", error.text, sentence);
    ck_assert_ptr_null(bytes.bytes);
}

START_TEST(which_points_are_meant_is_said_once)
{
    struct hosted_ask ask = upsert_of(1);
    ask.ids = NULL;
    refused(&ask, OMEN_E_INVALID, "one of ids, text ids and a filter says which points are meant");
    ask.ids = ids;
    ask.texts = texts;
    refused(&ask, OMEN_E_INVALID, "one of ids, text ids and a filter says which points are meant");
    ask.texts = NULL;
    ask.filter = "a = 1";
    refused(&ask, OMEN_E_INVALID, "one of ids, text ids and a filter says which points are meant");
    ask.ids = NULL;
    refused(&ask, OMEN_E_INVALID, "a filter says what is patched or deleted only");
    ask = upsert_of(1);
    ask.kind = (enum hosted_kind)9;
    refused(&ask, OMEN_E_INVALID, "there is no write of kind 9");
}
END_TEST

START_TEST(ids_that_are_none_are_refused)
{
    static char longest[ID_TEXT_BYTES_MAX + 2];
    struct hosted_ask ask = upsert_of(3);
    ask.ids = (const uint64_t[]){1, 2, 1};
    refused(&ask, OMEN_E_DUPLICATE_ID, "row 2: id 1 is that of row 0 already");
    ask.ids = (const uint64_t[]){1, ID_MAX + 1, 3};
    refused(&ask, OMEN_E_ID_RANGE, "row 1: id 9223372036854775808 is above the largest id");
    ask.ids = NULL;
    ask.texts = (const char *const[]){"a", "", "c"};
    refused(&ask, OMEN_E_ID_LENGTH, "row 1: its text id is empty");
    ask.texts = (const char *const[]){"a", "\xff", "c"};
    refused(&ask, OMEN_E_ID_LENGTH, "row 1: its text id is not UTF-8");
    memset(longest, 'x', sizeof longest - 1);
    ask.texts = (const char *const[]){"a", "b", longest};
    refused(&ask, OMEN_E_ID_LENGTH, "row 2: its text id is longer than 255 bytes");
    ask.texts = (const char *const[]){"a", NULL, "c"};
    refused(&ask, OMEN_E_INVALID, "row 1: its text id is NULL");
    ask.texts = texts;
    ask.text_bytes = (const size_t[]){1, 1, 2};
    refused(&ask, OMEN_E_ID_LENGTH, "row 2: its text id has a NUL");
    ask.texts = (const char *const[]){"a", "b", "a"};
    ask.text_bytes = NULL;
    refused(&ask, OMEN_E_DUPLICATE_ID, "row 2: id \"a\" is that of row 0 already");
}
END_TEST

START_TEST(ids_of_the_other_kind_are_refused)
{
    world_write(world, hosted); // integers
    world_apply(world, &world->copies[0], world->last);
    while (world->last < 30) {
        world_write(world, hosted);
        world_apply(world, &world->copies[0], world->last);
    }
    struct hosted_ask ask = upsert_of(1);
    ask.ids = NULL;
    ask.texts = texts;
    refused(&ask, OMEN_E_ID_KIND, "this index holds integer ids; text ids were given");
}
END_TEST

START_TEST(vectors_that_are_none_are_refused)
{
    struct hosted_ask ask = upsert_of(3);
    ask.vectors = NULL;
    refused(&ask, OMEN_E_INVALID, "vectors is NULL");
    ask = upsert_of(3);
    ask.dtype = (omen_dtype)6;
    refused(&ask, OMEN_E_DTYPE, "dtype of the rows is 6");
    ask = upsert_of(3);
    ask.stride = 8;
    refused(&ask, OMEN_E_DIMENSION, "stride is 8 bytes, but a row of 6 components has 24");
    const float bad[3][WORLD_DIM] = {{1}, {1, 0.0f / 0.0f}, {1}};
    ask = upsert_of(3);
    ask.vectors = bad;
    refused(&ask, OMEN_E_NOT_FINITE, "row 1: component 1 is NaN");
}
END_TEST

START_TEST(payloads_that_are_none_are_refused)
{
    static uint8_t large[PAYLOAD_BYTES_MAX + 1];
    struct hosted_ask ask = upsert_of(2);
    ask.payloads = (const void *const[]){NULL, "\x01"};
    refused(&ask, OMEN_E_INVALID, "payloads without payload_bytes");
    ask.payload_bytes = (const size_t[]){0, 1};
    refused(&ask, OMEN_E_PAYLOAD, "row 1: ");
    ask.payloads = (const void *const[]){NULL, large};
    ask.payload_bytes = (const size_t[]){0, sizeof large};
    refused(&ask, OMEN_E_PAYLOAD, "row 1: its payload has 65537 bytes; at most 65536 are kept");
    ask = upsert_of(2);
    ask.kind = HOSTED_PAYLOADS;
    refused(&ask, OMEN_E_INVALID, "payloads is NULL");
}
END_TEST

START_TEST(patches_that_are_none_are_refused)
{
    static char large[PAYLOAD_BYTES_MAX];
    struct hosted_ask ask = {.kind = HOSTED_PATCH, .count = 1, .ids = ids};
    refused(&ask, OMEN_E_INVALID, "a patch sets or unsets something");
    ask.set = "\x01";
    ask.set_bytes = 1;
    refused(&ask, OMEN_E_PAYLOAD, "set: ");
    ask.set = "\x81\xa1k\x01";
    ask.set_bytes = 4;
    ask.unset = (const char *const[]){"k"};
    ask.unset_bytes = (const size_t[]){1};
    ask.unset_count = 1;
    refused(&ask, OMEN_E_INVALID, "key \"k\" is set or unset twice");
    ask.set = NULL;
    ask.unset = (const char *const[]){large};
    ask.unset_bytes = (const size_t[]){sizeof large};
    refused(&ask, OMEN_E_INVALID, "unset has 65546 bytes; at most 65536 are taken");
    ask.ids = NULL;
    ask.filter = "a = 1";
    refused(&ask, OMEN_E_INVALID, "unset has 65546 bytes; at most 65536 are taken");
}
END_TEST

START_TEST(filters_that_are_none_are_refused)
{
    struct hosted_ask ask = {.kind = HOSTED_DELETE, .filter = "a ="};
    refused(&ask, OMEN_E_FILTER, "");
    ask.filter = "a = 1";
    ask.if_versions = ids;
    refused(&ask, OMEN_E_INVALID, "if_version is of points, not of a filter");
    ask = (struct hosted_ask){.kind = HOSTED_DELETE, .filter_map = "\x01", .filter_map_bytes = 1};
    refused(&ask, OMEN_E_FILTER, "");
}
END_TEST

START_TEST(fields_that_are_none_are_refused)
{
    static char longest[FIELD_NAME_BYTES_MAX + 2];
    struct hosted_ask ask = {.kind = HOSTED_FIELD, .field = "a", .field_type = 7};
    refused(&ask, OMEN_E_INVALID, "field type is 7; there are 1 (keyword) to 6 (uuid)");
    ask.field_type = OMEN_FIELD_INTEGER;
    ask.field = "";
    refused(&ask, OMEN_E_INVALID, "the field's name is empty");
    memset(longest, 'x', sizeof longest - 1);
    ask.field = longest;
    refused(&ask, OMEN_E_INVALID, "the field's name is longer than 255 bytes");
}
END_TEST

START_TEST(a_batch_that_the_log_does_not_take_is_refused)
{
    enum { COUNT = 140 };
    static uint8_t payload[PAYLOAD_BYTES_MAX];
    static uint64_t many[COUNT];
    static float rows[COUNT][WORLD_DIM];
    static const void *payloads[COUNT];
    static size_t payload_bytes[COUNT];
    struct packer packer = {.count = 0};
    pack_map(&packer, 1);
    pack_string(&packer, "k", 1);
    memset(payload, 'x', sizeof payload);
    pack_string(&packer, (const char *)payload, 60000);
    for (uint32_t i = 0; i < COUNT; i++) {
        many[i] = i;
        payloads[i] = packer.bytes;
        payload_bytes[i] = packer.count;
    }
    struct hosted_ask ask = upsert_of(COUNT);
    ask.ids = many;
    ask.vectors = rows;
    ask.payloads = payloads;
    ask.payload_bytes = payload_bytes;
    refused(&ask, OMEN_E_INVALID, "bytes; the log takes at most 8388608: split it");
    ask.count = 100;
    struct hosted_bytes bytes;
    ck_assert_done(hosted_prepare(hosted, &ask, &bytes, &error), error);
    ck_assert_uint_le(bytes.count, HOSTED_OP_BYTES_MAX);
    hosted_bytes_fini(&bytes);
}
END_TEST

START_TEST(nothing_to_do_makes_no_entry)
{
    struct hosted_bytes bytes;
    struct hosted_ask ask = upsert_of(0);
    ck_assert_done(hosted_prepare(hosted, &ask, &bytes, &error), error);
    ck_assert_ptr_null(bytes.bytes);
    ask = (struct hosted_ask){.kind = HOSTED_DELETE, .filter = "a = 1"};
    ck_assert_done(hosted_prepare(hosted, &ask, &bytes, &error), error);
    ck_assert_ptr_null(bytes.bytes);
    ck_assert_uint_eq(bytes.cursor, UINT64_MAX);
}
END_TEST

START_TEST(rows_are_converted_and_laid_dense)
{
    // A copy of halves: rows come as f32, two of them behind each other with a hole between.
    struct world_copy half = {0};
    struct hosted_bytes bytes;
    struct points *points;
    struct point point;
    const float wide[2][WORLD_DIM + 2] = {{1, 2, 3, 4, 5, 6}, {-1, -2, -3, -4, -5, -6}};
    (void)snprintf(half.path, sizeof half.path, "%s/half", folder.path);
    struct hosted_options options = world_options(&half);
    options.dtype = OMEN_F16;
    world_make_copy(&half, &options);
    struct hosted_ask ask = upsert_of(2);
    ask.vectors = wide;
    ask.stride = sizeof wide[0];
    ck_assert_done(hosted_prepare(half.hosted, &ask, &bytes, &error), error);
    const struct hosted_entry entry = {.seq = 1, .bytes = bytes.bytes, .count = bytes.count};
    const struct hosted_entries entries = {.entries = &entry, .count = 1};
    ck_assert_done(hosted_apply(half.hosted, &entries, NULL, &error), error);
    hosted_bytes_fini(&bytes);
    const struct id_list list = {.ids = &ids[1], .count = 1};
    ck_assert_done(shard_get(hosted_shard(half.hosted), &list, OMEN_WITH_VECTOR, &points, &error),
                   error);
    points_at(points, 0, &point);
    const uint16_t expected[WORLD_DIM] = {0xbc00, 0xc000, 0xc200, 0xc400, 0xc500, 0xc600};
    ck_assert_mem_eq(point.vector, expected, sizeof expected);
    points_close(points);
    hosted_close(half.hosted);
}
END_TEST

// Parts until none is left; returns how many there were. Each is applied before the next.
static uint32_t
do_parts(struct hosted *many, struct hosted_ask ask, uint64_t *rows)
{
    uint32_t parts = 0;
    ask.cursor = 0;
    for (*rows = 0; ask.cursor != UINT64_MAX; parts++) {
        struct hosted_bytes bytes;
        struct hosted_results results;
        ck_assert_done(hosted_prepare(many, &ask, &bytes, &error), error);
        ask.cursor = bytes.cursor;
        if (bytes.bytes == NULL)
            continue;
        ck_assert_uint_le(bytes.count, HOSTED_OP_BYTES_MAX);
        const struct hosted_entry entry = {
            .seq = hosted_applied(many) + 1, .bytes = bytes.bytes, .count = bytes.count};
        const struct hosted_entries entries = {.entries = &entry, .count = 1};
        ck_assert_done(hosted_apply(many, &entries, &results, &error), error);
        ck_assert_uint_eq(results.entries[0].failed_count, 0);
        *rows += results.entries[0].rows;
        hosted_results_fini(&results);
        hosted_bytes_fini(&bytes);
    }
    return parts;
}

START_TEST(a_filter_that_means_many_points_makes_several_entries)
{
    enum { COUNT = 20000 };
    struct world_copy copy = {0};
    omen_options options = OMEN_OPTIONS_INIT;
    omen_batch batch = OMEN_BATCH_INIT;
    struct shard *shard;
    uint64_t rows, count;
    static float many[COUNT][WORLD_DIM];
    static char names[COUNT][16];
    static const char *list[COUNT];
    static const void *payloads[COUNT];
    static size_t payload_bytes[COUNT];
    (void)snprintf(copy.path, sizeof copy.path, "%s/many", folder.path);
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof names[i], "point-%u", i);
        list[i] = names[i];
        many[i][0] = (float)i;
        payloads[i] = i % 2 == 0 ? "\x81\xa1n\x01" : "\x81\xa1n\x02";
        payload_bytes[i] = 4;
    }
    options.path = copy.path;
    options.dimension = WORLD_DIM;
    options.threads = 1;
    options.metric = OMEN_L2;
    options.algorithm = OMEN_FLAT;
    batch.count = COUNT;
    batch.vectors = many;
    batch.text_ids = list;
    batch.payloads = payloads;
    batch.payload_bytes = payload_bytes;
    ck_assert_done(shard_open(&options, &shard, &error), error);
    ck_assert_done(shard_add(shard, &batch, &error), error);
    shard_close(shard);
    world_open_copy(&copy);
    const struct hosted_ask patch = {
        .kind = HOSTED_PATCH, .filter = "n = 1", .set = "\x81\xa1m\x05", .set_bytes = 4};
    ck_assert_uint_ge(do_parts(copy.hosted, patch, &rows), COUNT / 2 * 8 / HOSTED_PART_POINTS);
    ck_assert_uint_eq(rows, COUNT / 2);
    ck_assert_done(shard_count(hosted_shard(copy.hosted), "m = 5", &count, &error), error);
    ck_assert_uint_eq(count, COUNT / 2);
    const uint8_t map[] = {0x81, 0xa1, 'n', 0x81, 0xa3, 'g', 't', 'e', 0x01}; // {n: {gte: 1}}
    const struct hosted_ask erase = {
        .kind = HOSTED_DELETE, .filter_map = map, .filter_map_bytes = sizeof map};
    ck_assert_uint_ge(do_parts(copy.hosted, erase, &rows), 2);
    ck_assert_uint_eq(rows, COUNT);
    ck_assert(sum_equal(hosted_sum(copy.hosted), (struct hosted_sum){0}));
    hosted_close(copy.hosted);
}
END_TEST

// It was asked of the points as they were.
START_TEST(a_point_that_changes_behind_a_filter_is_left_alone)
{
    const struct hosted_ask erase = {.kind = HOSTED_DELETE, .filter = "n = 1"};
    struct hosted_ask ask = upsert_of(2);
    struct hosted_bytes log[3];
    struct hosted_results results;
    ask.payloads = (const void *const[]){"\x81\xa1n\x01", "\x81\xa1n\x01"};
    ask.payload_bytes = (const size_t[]){4, 4};
    struct hosted_entry entry[3];
    for (uint32_t i = 0; i < 3; i++)
        entry[i].seq = i + 1;
    ck_assert_done(hosted_prepare(hosted, &ask, &log[0], &error), error);
    entry[0].bytes = log[0].bytes;
    entry[0].count = log[0].count;
    ck_assert_done(hosted_apply(hosted, &(struct hosted_entries){&entry[0], 1}, NULL, &error),
                   error);
    ck_assert_done(hosted_prepare(hosted, &erase, &log[2], &error), error);
    ck_assert_uint_eq(log[2].rows, 2);
    ask.count = 1; // comes between
    ask.payloads = (const void *const[]){"\x81\xa1n\x02"};
    ck_assert_done(hosted_prepare(hosted, &ask, &log[1], &error), error);
    for (uint32_t i = 1; i < 3; i++) {
        entry[i].bytes = log[i].bytes;
        entry[i].count = log[i].count;
    }
    ck_assert_done(hosted_apply(hosted, &(struct hosted_entries){&entry[1], 2}, &results, &error),
                   error);
    ck_assert_uint_eq(results.entries[1].rows, 1);
    ck_assert_uint_eq(results.entries[1].failed_count, 1);
    ck_assert_int_eq(results.entries[1].failed[0].error.status, OMEN_E_CONFLICT);
    ck_assert_uint_eq(hosted_version(hosted, ids[0]), 2);
    ck_assert_uint_eq(hosted_version(hosted, ids[1]), 0);
    hosted_results_fini(&results);
    for (uint32_t i = 0; i < 3; i++)
        hosted_bytes_fini(&log[i]);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/hosted_prepare");
    TCase *tcase = tcase_create("prepare");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, which_points_are_meant_is_said_once);
    tcase_add_test(tcase, ids_that_are_none_are_refused);
    tcase_add_test(tcase, ids_of_the_other_kind_are_refused);
    tcase_add_test(tcase, vectors_that_are_none_are_refused);
    tcase_add_test(tcase, payloads_that_are_none_are_refused);
    tcase_add_test(tcase, patches_that_are_none_are_refused);
    tcase_add_test(tcase, filters_that_are_none_are_refused);
    tcase_add_test(tcase, fields_that_are_none_are_refused);
    tcase_add_test(tcase, a_batch_that_the_log_does_not_take_is_refused);
    tcase_add_test(tcase, nothing_to_do_makes_no_entry);
    tcase_add_test(tcase, rows_are_converted_and_laid_dense);
    tcase_add_test(tcase, a_filter_that_means_many_points_makes_several_entries);
    tcase_add_test(tcase, a_point_that_changes_behind_a_filter_is_left_alone);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
